"""Change pictures in batches on tensors: one resampling for all of geometry, one matrix for all of colour, a patch erased.

Legend: N rows, C channels, H height, W width. Whatever is drawn comes from ``order.uniforms``; each row is computed by itself,
element by element, so that the others in its batch change no bit of it.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from isograd.records.schema import Encoding
from isograd.workbench.data.augment.plan import Settled
from isograd.workbench.data.order import uniforms

Keys = NDArray[np.int64]
Floats = NDArray[np.float64]
_PADDING = {"edge": "border", "mean": "zeros", "reflect": "reflection"}
_GEOMETRY, _COLOUR, _ERASE = 1, 2, 3
ERASED, ASPECT = (0.02, 0.2), 3.3
"""Share of the picture that is erased, and the patch's longest side over its shorter one; the paper's, of at most 0.4."""


def moved(inputs: torch.Tensor, plan: Settled, seed: int, epoch: int, keys: Keys) -> torch.Tensor:
    r"""Pictures flipped, sheared, zoomed, turned about their middle and shifted, by one bilinear resampling.

    .. math:: p_{in} = B (p_{out} - t), \quad B = F \, S^{-1} z^{-1} R(-\theta)

    in pixels from the middle, so that circles stay circles where H and W differ. ``shift`` is a share of each side, ``crop``
    adds whole pixels: what is left of padding by ``crop`` and cutting at random. Shape: (N, C, H, W) -> (N, C, H, W).
    """
    if not (plan.rotate or plan.shift or plan.shear or plan.zoom or plan.crop or plan.flip != "none"):
        return inputs
    height, width = inputs.shape[2:]
    u = uniforms(seed, epoch, keys, _GEOMETRY, 9)
    between = 2 * u - 1
    angle, shear = np.deg2rad(plan.rotate) * between[:, 0], np.tan(np.deg2rad(plan.shear) * between[:, 1])
    zoom = np.exp(np.log1p(plan.zoom) * between[:, 2])
    down = plan.shift * height * between[:, 3] + np.floor(u[:, 5] * (2 * plan.crop + 1)) - plan.crop
    right = plan.shift * width * between[:, 4] + np.floor(u[:, 6] * (2 * plan.crop + 1)) - plan.crop
    mirror = np.where((plan.flip in ("horizontal", "both")) & (u[:, 7] < 0.5), -1.0, 1.0)
    upset = np.where((plan.flip in ("vertical", "both")) & (u[:, 8] < 0.5), -1.0, 1.0)
    cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
    x_of = mirror * (cos + shear * sin), mirror * (sin - shear * cos)
    y_of = -upset * sin, upset * cos
    return warped(inputs, x_of, y_of, right, down, padding=_PADDING[plan.fill])


def warped(
    inputs: torch.Tensor, x_of: tuple[Floats, Floats], y_of: tuple[Floats, Floats], right: Floats, down: Floats, *, padding: str
) -> torch.Tensor:
    """Pictures read at x_in = x_of[0] (x - right) + x_of[1] (y - down), and y_in likewise, in pixels from the middle."""
    height, width = inputs.shape[2:]
    x = torch.arange(width, dtype=torch.float32, device=inputs.device).sub((width - 1) / 2)[None, None, :]
    y = torch.arange(height, dtype=torch.float32, device=inputs.device).sub((height - 1) / 2)[None, :, None]

    def column(values: Floats) -> torch.Tensor:
        return torch.from_numpy(values.astype(np.float32)).to(inputs.device)[:, None, None]

    grids = []
    for (over_x, over_y), side in ((x_of, width), (y_of, height)):
        # grid_sample wants -1 .. 1 from the first pixel's outer edge to the last one's
        scale = 2.0 / side
        offset = column(-(over_x * right + over_y * down) * scale)
        grids.append(column(over_x * scale) * x + column(over_y * scale) * y + offset)
    return F.grid_sample(inputs, torch.stack(grids, dim=3), mode="bilinear", padding_mode=padding, align_corners=False)


def coloured(inputs: torch.Tensor, plan: Settled, encoding: Encoding, seed: int, epoch: int, keys: Keys) -> torch.Tensor:
    r"""Pictures with another brightness, contrast, saturation and hue, clipped to what a pixel can be.

    .. math:: p' = \mathrm{clip}_{[0, 1]}(c \, M (p - \bar p) + \bar p + b)

    with the training mean :math:`\bar p`, so that no sum over a picture is needed; M mixes a pixel with its own grey
    (saturation) and turns it about the grey axis (hue). Unit: pixels of 0 .. 1. Source: Haeberli 1993, "Matrix operations for
    image processing".
    """
    if not (plan.brightness or plan.contrast or plan.saturation or plan.hue):
        return inputs
    channels = inputs.shape[1]
    between = 2 * uniforms(seed, epoch, keys, _COLOUR, 4) - 1
    matrix = (1 + plan.contrast * between[:, 1])[:, None, None] * _mixing(channels, plan, between)
    offset = plan.brightness * between[:, 0]
    mean, std = np.array(encoding.channel_mean), np.array(encoding.channel_std)
    # the same in encoded values e, where p = mean + std e
    inner = torch.from_numpy((matrix * std[None, None, :] / std[None, :, None]).astype(np.float32)).to(inputs.device)
    outer = torch.from_numpy((offset[:, None] / std).astype(np.float32)).to(inputs.device)
    low, high = ((0 - mean) / std).tolist(), ((1 - mean) / std).tolist()
    planes = []
    for c in range(channels):
        plane = outer[:, c, None, None].expand(-1, *inputs.shape[2:])
        for k in range(channels):
            plane = plane + inner[:, c, k, None, None] * inputs[:, k]
        planes.append(plane.clamp(low[c], high[c]))
    return torch.stack(planes, dim=1)


def _mixing(channels: int, plan: Settled, between: Floats) -> Floats:
    """The matrix (N, C, C) of saturation and hue; for grey pictures there is nothing to mix."""
    if channels == 1:
        return np.ones((len(between), 1, 1))
    saturation = (1 + plan.saturation * between[:, 2])[:, None, None]
    angle = np.deg2rad(plan.hue * between[:, 3])[:, None, None]
    grey = np.full((3, 3), 1 / 3)
    axis = np.sqrt(1 / 3)
    cross = axis * np.array([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    turn = np.cos(angle) * np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * grey  # Rodrigues
    mixing: Floats = saturation * turn + (1 - saturation) * grey  # turning leaves grey where it is
    return mixing


def erased(inputs: torch.Tensor, plan: Settled, seed: int, epoch: int, keys: Keys) -> torch.Tensor:
    """Pictures in which, with probability ``erase``, one patch is the mean of the training part.

    Source: Zhong et al. 2020, arXiv:1708.04896.
    """
    if not plan.erase:
        return inputs
    height, width = inputs.shape[2:]
    u = uniforms(seed, epoch, keys, _ERASE, 5)
    area = (ERASED[0] + (ERASED[1] - ERASED[0]) * u[:, 1]) * height * width
    aspect = np.exp(np.log(ASPECT) * (2 * u[:, 2] - 1))
    tall = np.clip(np.rint(np.sqrt(area * aspect)), 1, height)
    wide = np.clip(np.rint(np.sqrt(area / aspect)), 1, width)
    top, left = np.floor(u[:, 3] * (height - tall + 1)), np.floor(u[:, 4] * (width - wide + 1))
    tall = np.where(u[:, 0] < plan.erase, tall, 0)
    return torch.where(box(top, left, tall, wide, inputs), torch.zeros((), device=inputs.device), inputs)


def box(top: Floats, left: Floats, tall: Floats, wide: Floats, like: torch.Tensor) -> torch.Tensor:
    """Where a rectangle is, as a mask (N, 1, H, W)."""
    y = torch.arange(like.shape[2], device=like.device)[None, :, None]
    x = torch.arange(like.shape[3], device=like.device)[None, None, :]
    first, last, start, end = (
        torch.from_numpy(side).to(like.device)[:, None, None] for side in (top, top + tall, left, left + wide)
    )
    return ((y >= first) & (y < last) & (x >= start) & (x < end))[:, None]
