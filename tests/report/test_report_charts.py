"""The drawing functions: places, colours, escaping."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spuraudit.report.charts.bars import Mark, dot_rows, dumbbell, interval_bar
from spuraudit.report.charts.colour import CIVIDIS, cividis, ink_on
from spuraudit.report.charts.grid import heat_map, locator
from spuraudit.report.charts.lines import Frame, Series, line_chart
from spuraudit.report.charts.scale import Scale, ticks
from spuraudit.report.charts.scatter import Dot, Here, iso_rcs, zoo_scatter
from spuraudit.report.charts.svg import el

share = st.floats(0, 1)


def rcs(core: float, spurious: float) -> float:
    mean = (core + spurious) / 2
    return (core - spurious) / (2 * min(mean, 1 - mean))


@given(st.floats(-0.95, 0.95), st.floats(0.01, 0.99), st.booleans())
def test_points_on_an_iso_line_have_that_rcs(level: float, along: float, upper: bool) -> None:
    start, bend, end = iso_rcs(level)
    (a, b), (c, d) = (bend, end) if upper else (start, bend)
    core, spurious = a + along * (c - a), b + along * (d - b)
    assert rcs(core, spurious) == pytest.approx(level, abs=1e-9)


@given(st.floats(-10, 10), st.floats(0.01, 10), st.floats(-30, 30))
def test_scale_is_linear_and_never_leaves_its_range(low: float, span: float, value: float) -> None:
    scale = Scale(low, low + span, 10, 210)
    assert 10 <= scale(value) <= 210
    assert scale(low) == pytest.approx(10)
    assert scale(low + span) == pytest.approx(210)
    assert scale(low + span / 2) == pytest.approx(110)


@given(st.floats(-100, 100), st.floats(0.01, 1000))
def test_ticks_lie_inside_and_are_evenly_spaced(low: float, span: float) -> None:
    found = ticks(low, low + span)
    assert 2 <= len(found) <= 11
    assert all(low - 1e-6 <= tick <= low + span + 1e-6 for tick in found)
    steps = [after - before for before, after in itertools.pairwise(found)]
    assert max(steps) == pytest.approx(min(steps), rel=1e-4)


def test_ticks_of_a_proportion() -> None:
    assert ticks(0, 1) == [0, 0.25, 0.5, 0.75, 1.0]


def test_cividis_is_the_published_map() -> None:
    from plotly.colors import sequential

    assert list(CIVIDIS) == [colour.lower() for colour in sequential.Cividis]
    assert cividis(0) == CIVIDIS[0]
    assert cividis(1) == CIVIDIS[-1]
    assert cividis(-3) == CIVIDIS[0]


def _luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@given(share)
def test_text_on_any_colour_of_the_map_is_readable(value: float) -> None:
    back, front = sorted((_luminance(cividis(value)), _luminance(ink_on(cividis(value)))))
    assert (front + 0.05) / (back + 0.05) >= 4.5


@given(share, share)
def test_brighter_means_more(first: float, second: float) -> None:
    if first < second - 0.01:
        assert _luminance(cividis(first)) < _luminance(cividis(second))


def test_elements_escape_text_and_attributes() -> None:
    made = el("text", "<b>&\"'", x=1.0, aria_label='"><script>')
    assert made == '<text x="1" aria-label="&#34;&gt;&lt;script&gt;">&lt;b&gt;&amp;&#34;&#39;</text>'


def test_interval_bar_puts_value_and_interval_on_the_axis() -> None:
    drawn = ElementTree.fromstring(
        interval_bar(0.5, (0.25, 0.75), low=0, high=1, tone="core", shape="circle", label="half", ticks=(0, 1))
    )
    band, point = drawn.find("rect"), drawn.find("circle")
    assert band is not None
    assert point is not None
    assert float(point.attrib["cx"]) == 160
    assert float(band.attrib["x"]) == 84
    assert float(band.attrib["width"]) == 152
    assert drawn.attrib["aria-label"] == "half"


def test_heat_map_colours_cells_by_value_and_frames_the_worst() -> None:
    values = {(1, 1): 0.0, (1, 2): 0.5, (2, 1): 1.0}
    drawn = ElementTree.fromstring(heat_map(2, 2, values, low=0, high=1, worst=(2, 1), label="map"))
    *cells, frame = drawn.findall("rect")
    assert [cell.attrib["fill"] for cell in cells] == [cividis(0), cividis(0.5), cividis(1)]
    assert [(cell.attrib["x"], cell.attrib["y"]) for cell in cells] == [("2", "2"), ("100", "2"), ("2", "100")]
    assert (frame.attrib["x"], frame.attrib["y"], frame.attrib["fill"]) == ("1.5", "99.5", "none")


def test_locator_marks_one_cell_of_all() -> None:
    drawn = ElementTree.fromstring(locator(7, 7, 7, 1, "cell 43"))
    cells = drawn.findall("rect")
    assert len(cells) == 49 + 1
    assert (cells[-1].attrib["x"], cells[-1].attrib["y"]) == ("2", "74")


def test_line_chart_keeps_the_names_of_touching_lines_apart() -> None:
    lines = [Series(name, "core", "circle", [(0, value), (1, value)]) for name, value in (("a", 0.5), ("b", 0.505))]
    drawn = ElementTree.fromstring(
        line_chart(Frame(300, 200, "x", "y", (0, 1)), lines, "two", x_ticks=[0, 1], name_x=str, name_y=str)
    )
    places = [float(node.attrib["y"]) for node in drawn.findall("text") if node.text in {"a", "b"}]
    assert abs(places[0] - places[1]) >= 14


def test_line_chart_draws_bands_only_where_there_are_intervals() -> None:
    frame = Frame(300, 200, "x", "y", (0, 1))
    bare = Series("a", "core", "circle", [(0, 0.5), (1, 0.6)], [None, None])
    banded = Series("a", "core", "circle", [(0, 0.5), (1, 0.6)], [(0.4, 0.6), (0.5, 0.7)])
    assert "<polygon" not in line_chart(frame, [bare], "l", x_ticks=[], name_x=str, name_y=str)
    assert "<polygon" in line_chart(frame, [banded], "l", x_ticks=[], name_x=str, name_y=str)


@given(share, share)
def test_scatter_holds_every_model_and_stays_valid(core: float, spurious: float) -> None:
    dots = [Dot("<a>", "ViTs", 0.9, 0.8), Dot("b", "Robust", 0.7, 0.5), Dot("c", "new kind", 0.2, 0.1)]
    drawn = ElementTree.fromstring(zoo_scatter(dots, Here(core, spurious, (0.0, 1.0), None), "zoo"))
    assert [node.text for node in drawn.iter("title")] == ["<a>", "b", "c"]


def test_marks_differ_in_form_and_not_only_in_colour() -> None:
    first, second = Mark("same", 0.9, "90 %", "control", "ring"), Mark("other", 0.4, "40 %", "spurious", "diamond")
    for drawn in (dot_rows([first, second], "l"), dumbbell(first, second, "l")):
        assert drawn.count("<circle") == drawn.count("<polygon") == 1
