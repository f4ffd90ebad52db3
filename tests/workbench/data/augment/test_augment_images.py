"""Pictures: what each change does to a picture whose change is known by thought, and that another implementation agrees."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from isograd.records.schema import Encoding
from isograd.workbench.data.augment import images
from isograd.workbench.data.augment.mixing import mixed
from isograd.workbench.data.augment.plan import Settled

KEYS = np.arange(200)
GREY = Encoding("images", "label", image=(1, 8, 8), channel_mean=(0.5,), channel_std=(0.25,), classes=("a", "b"))
COLOUR = Encoding("images", "label", image=(3, 4, 4), channel_mean=(0.5,) * 3, channel_std=(0.25,) * 3, classes=("a", "b"))


def corner(rows: int = 200, side: int = 8) -> torch.Tensor:
    """One bright pixel in the second row and the third column."""
    pictures = torch.zeros(rows, 1, side, side)
    pictures[:, 0, 1, 2] = 1.0
    return pictures


def moved(pictures: torch.Tensor, **how: object) -> torch.Tensor:
    return images.moved(pictures, Settled(**how), 0, 1, KEYS[: len(pictures)])  # type: ignore[arg-type]


def test_a_flip_is_a_flip_for_half_of_the_pictures_and_nothing_for_the_others() -> None:
    picture = torch.rand(1, 1, 5, 6)
    found = moved(picture.expand(200, -1, -1, -1), flip="horizontal")
    flipped = torch.isclose(found, picture.flip(3), atol=1e-5).flatten(1).all(dim=1)
    same = torch.isclose(found, picture, atol=1e-5).flatten(1).all(dim=1)
    assert bool((flipped ^ same).all()) and 70 <= int(flipped.sum()) <= 130
    upset = moved(picture.expand(200, -1, -1, -1), flip="vertical")
    assert set((upset - picture.flip(2)).abs().amax(dim=(1, 2, 3)).lt(1e-5).tolist()) == {True, False}


def test_a_crop_moves_by_whole_pixels_and_never_farther() -> None:
    found = moved(corner(), crop=1, fill="mean")
    places = {tuple(divmod(int(at), 8)) for at in found.flatten(1).argmax(dim=1)}
    assert places == {(y, x) for y in (0, 1, 2) for x in (1, 2, 3)}
    assert found.flatten(1).max(dim=1).values.allclose(torch.ones(200), atol=1e-5)


def test_a_shift_is_even_between_minus_and_plus_its_share() -> None:
    pictures = torch.zeros(200, 1, 40, 40)
    pictures[:, :, 18:22, 18:22] = 1.0
    found = moved(pictures, shift=0.25)[:, 0]
    place = torch.arange(40.0)
    right = (found.sum(dim=1) * place).sum(dim=1) / found.sum(dim=(1, 2)) - 19.5
    assert right.abs().max() <= 10.001 and right.abs().max() > 9
    assert abs(float(right.mean())) < 1.5


def test_edges_go_on_where_a_shift_uncovers_them_and_the_mean_does_if_asked() -> None:
    bright = torch.ones(200, 1, 8, 8)
    assert moved(bright, shift=0.5, fill="edge").allclose(bright, atol=1e-6)
    assert moved(bright, shift=0.5, fill="reflect").allclose(bright, atol=1e-6)
    assert moved(bright, shift=0.5, fill="mean").flatten(1).min(dim=1).values.eq(0).any()


def test_a_zoom_scales_areas_within_its_bounds_and_a_turn_keeps_them() -> None:
    pictures = torch.zeros(200, 1, 60, 60)
    y, x = torch.meshgrid(torch.arange(60) - 29.5, torch.arange(60) - 29.5, indexing="ij")
    pictures[:, 0] = (x**2 + y**2 < 15**2).float()
    area = pictures[0].sum()
    zoomed = moved(pictures, zoom=0.2).sum(dim=(1, 2, 3)) / area
    assert zoomed.min() >= 0.98 / 1.2**2 and zoomed.max() <= 1.02 * 1.2**2 and zoomed.max() / zoomed.min() > 1.8
    assert (moved(pictures, rotate=180.0).sum(dim=(1, 2, 3)) / area - 1).abs().max() < 0.01


def test_kornia_turns_slants_and_zooms_the_same_pictures_alike() -> None:
    from kornia.geometry.transform import warp_affine

    pictures = torch.rand(6, 2, 11, 17)
    turn, zoom, slant, right, down = np.deg2rad(25.0), 1.3, 0.2, 2.5, -1.25
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    forward = zoom * rotation @ np.array([[1.0, slant], [0.0, 1.0]])
    back = np.linalg.inv(forward)
    columns = [np.full(6, value) for value in back.reshape(-1)]
    found = images.warped(
        pictures, (columns[0], columns[1]), (columns[2], columns[3]), np.full(6, right), np.full(6, down), padding="zeros"
    )
    middle = np.array([(17 - 1) / 2, (11 - 1) / 2])
    matrix = np.concatenate([forward, (middle + np.array([right, down]) - forward @ middle)[:, None]], axis=1)
    expected = warp_affine(pictures, torch.from_numpy(matrix).float().expand(6, 2, 3), (11, 17), align_corners=True)
    assert torch.allclose(found, expected, atol=2e-4)


def test_the_drawn_turn_is_the_inverse_of_what_is_read() -> None:
    """Turning a bright pixel by +90 degrees at most and looking where it lands stays on its circle."""
    found = moved(corner(side=9), rotate=90.0)
    at = found.flatten(1).argmax(dim=1)
    radius = torch.hypot(at // 9 - 4.0, at % 9 - 4.0)
    assert (radius - torch.hypot(torch.tensor(-3.0), torch.tensor(-2.0))).abs().max() < 0.75


def test_brightness_and_contrast_stay_within_what_a_pixel_can_be() -> None:
    pictures = (torch.rand(200, 1, 8, 8) - 0.5) / 0.25
    found = images.coloured(pictures, Settled(brightness=0.4, contrast=0.5), GREY, 0, 1, KEYS)
    pixels = found * 0.25 + 0.5
    assert pixels.min() >= -1e-6 and pixels.max() <= 1 + 1e-6
    mean = torch.zeros(200, 1, 8, 8)  # a picture of the mean is not changed by contrast
    assert images.coloured(mean, Settled(contrast=0.5), GREY, 0, 1, KEYS).abs().max() == 0
    light = images.coloured(mean, Settled(brightness=0.4), GREY, 0, 1, KEYS)[:, 0, 0, 0] * 0.25
    assert light.abs().max() <= 0.4 and light.max() > 0.35 and light.min() < -0.35


def test_hue_and_saturation_leave_grey_as_it_is_and_hue_keeps_the_sum() -> None:
    grey = torch.rand(200, 1, 4, 4).expand(-1, 3, -1, -1).contiguous() - 0.5
    plan = Settled(hue=180.0, saturation=0.9)
    assert images.coloured(grey, plan, COLOUR, 0, 1, KEYS).allclose(grey, atol=1e-5)
    colours = torch.rand(200, 3, 4, 4) * 0.2
    turned = images.coloured(colours, Settled(hue=60.0), COLOUR, 0, 1, KEYS)
    assert turned.sum(dim=1).allclose(colours.sum(dim=1), atol=1e-5)
    red = torch.zeros(200, 3, 4, 4)
    red[:, 0] = 1.0
    third = images.coloured(red, Settled(hue=120.0), COLOUR, 0, 1, KEYS)[:, :, 0, 0]
    assert third[:, 1].max() > 0.95 and third[:, 2].max() > 0.95  # a third of a turn makes red green, or blue


def test_a_patch_is_erased_as_often_as_asked_and_of_the_size_that_was_said() -> None:
    pictures = torch.ones(200, 1, 20, 20)
    found = images.erased(pictures, Settled(erase=0.5), 0, 1, KEYS)
    gone = found.eq(0).float().mean(dim=(1, 2, 3))
    assert 70 <= int((gone > 0).sum()) <= 130
    assert gone.max() <= images.ERASED[1] + 0.05
    assert images.erased(pictures, Settled(erase=1.0), 0, 1, KEYS).eq(0).flatten(1).any(dim=1).all()


def test_mixed_targets_say_how_much_of_each_row_is_there() -> None:
    inputs = torch.arange(201.0).remainder(2).reshape(-1, 1, 1, 1).expand(-1, 1, 8, 8).contiguous()
    targets = torch.eye(2)[torch.arange(201) % 2]
    for plan in (Settled(mixup=0.5), Settled(cutmix=1.0), Settled(mixup=0.5, cutmix=1.0)):
        made, shares = mixed(inputs, targets, plan, 0, 1, KEYS)
        assert shares.sum(dim=1).allclose(torch.ones(200))
        assert shares[:, 1].allclose(made.mean(dim=(1, 2, 3)), atol=1e-5)  # bright pixels are those of the second class
        assert 0.3 < float(shares[:, 1].mean()) < 0.7
    cut, _ = mixed(inputs, targets, Settled(cutmix=1.0), 0, 1, KEYS)
    assert set(cut.unique().tolist()) == {0.0, 1.0}  # patches, nothing in between


@pytest.mark.parametrize("shape", [(3, 1, 1, 1), (3, 3, 1, 9), (3, 1, 224, 2)])
def test_odd_shapes_are_taken(shape: tuple[int, ...]) -> None:
    plan = Settled(rotate=30.0, shift=0.3, shear=20.0, zoom=0.5, flip="both", crop=3, fill="edge", erase=1.0)
    found = images.erased(images.moved(torch.randn(shape), plan, 0, 1, KEYS[:3]), plan, 0, 1, KEYS[:3])
    assert found.shape == shape and bool(found.isfinite().all())
