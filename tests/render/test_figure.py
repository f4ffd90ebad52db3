"""A figure for notebooks draws what the page says, and asks for matplotlib in one line where it is missing."""

import sys

import pytest

from isograd.errors import MissingExtra
from isograd.render.figure import figure
from isograd.render.gradients import flow_of, title_of


def test_a_figure_has_the_curve_of_the_layers_and_the_heat_map(samples, tmp_path):
    report = samples.vanishing("watch", (1, 2, 3))
    made = figure(report)
    curve, heat = made.axes[:2]
    assert curve.get_title().replace("\n", " ") == title_of(flow_of(report))
    assert [len(line.get_xdata()) for line in curve.get_lines()] == [30, 30]
    assert heat.get_images()[0].get_array().shape == (30, 3)
    made.savefig(tmp_path / "flow.png")
    assert (tmp_path / "flow.png").stat().st_size > 5000


def test_one_step_needs_no_heat_map(samples):
    assert len(figure(samples.report(5, steps=(1,))).axes) == 1


def test_a_figure_touches_no_global_state_of_matplotlib(samples):
    figure(samples.report())
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_without_matplotlib_one_line_says_what_to_install(samples, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match="needs matplotlib"):
        figure(samples.report())
