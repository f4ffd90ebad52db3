"""Lines, gaps and cells end up where thought says they must."""

import re

from isograd.render.axes import Axis
from isograd.render.svg import Grid, Series, heat, lines

X, Y = Axis(0.0, 4.0, (0.0, 4.0)), Axis(0.0, 1.0, (0.0, 1.0))


def drawn(points, y=Y, style=0):
    picture = lines([Series("a", points, style)], X, y, title="t", x_label="x", y_label="y")
    return re.findall(rf'd="([^"]*)" class="line s{style}"', picture), re.findall(
        rf'd="([^"]*)" class="dots s{style}"', picture
    )


def test_a_line_from_corner_to_corner_goes_from_corner_to_corner():
    assert drawn(((0.0, 0.0), (4.0, 1.0)))[0] == ["M0 1000L1000 0"]


def test_nan_breaks_a_line_and_a_point_alone_is_a_dot():
    strokes, dots = drawn(((0.0, 0.0), (1.0, 0.0), (2.0, float("nan")), (4.0, 1.0)), style=1)
    assert strokes == ["M0 1000L250 1000"]
    assert dots == ["M1000 0h.01"]


def test_nothing_below_zero_is_drawn_on_a_logarithmic_axis():
    strokes, dots = drawn(((0.0, 0.0), (4.0, -1.0)), Axis(0.1, 1.0, (0.1, 1.0), log=True))
    assert strokes == [] and dots == []


def test_neighbours_of_one_level_are_one_shape_and_the_unmeasured_is_left_open():
    picture = heat(
        Grid(((3, 3, None), ("zero", "odd", 3)), ((0, "2"), (1, "1")), ((0, "5"),)), title="t", x_label="x", y_label="y"
    )
    assert 'd="M0 0h2v1h-2zM2 1h1v1h-1z" class="h3"' in picture
    assert 'd="M0 1h1v1h-1z" class="hzero"' in picture and 'd="M1 1h1v1h-1z" class="hodd"' in picture


def test_a_band_goes_up_along_its_high_edge_and_back_along_its_low_one():
    series = Series("a", (), 1, ((0.0, 0.0, 1.0), (4.0, 0.5, 1.0)))
    assert 'd="M0 0L1000 0L1000 500L0 1000Z" class="band s1"' in lines([series], X, Y, title="t", x_label="x", y_label="y")
