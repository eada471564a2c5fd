"""The curves of single source images: the paper's figures 3 and 4 in the report."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import sample_run
from hypothesis import given
from hypothesis import strategies as st
from page_outline import outline

from spuraudit.record.folder import read_record, to_json, write_bytes
from spuraudit.record.scan import AuditRecord, Measurement, PatchCurve, ScanRecord
from spuraudit.report import render
from spuraudit.report.bounds import CURVES, SWEEPS
from spuraudit.report.charts.curve import HEIGHT, WIDTH, Curve, curve_chart, stretches
from spuraudit.report.numbers import Numbers
from spuraudit.report.views.patches import patch_view

share = st.none() | st.floats(0, 1)


@pytest.fixture(scope="module")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample_run.birds_run(tmp_path_factory.mktemp("birds"))


@pytest.fixture(scope="module")
def adaptive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample_run.adaptive_run(tmp_path_factory.mktemp("adaptive"))


def charts_of(page: str) -> list[ElementTree.Element]:
    """The small charts of a page, in its order."""
    parts = [part.partition("</svg>")[0] for part in page.split("<svg ") if 'class="chart small-curve"' in part]
    return [ElementTree.fromstring(f"<svg {part}</svg>") for part in parts]


def lines_of(chart: ElementTree.Element, tone: str) -> list[ElementTree.Element]:
    return [node for node in chart.iter("polyline") if node.attrib["class"] == f"stroke-{tone}"]


def numbers_of(chart: ElementTree.Element, tone: str) -> list[str | None]:
    return [node.text for node in chart.iter("text") if f"fill-{tone}" in node.attrib["class"]]


def changed(run: Path, **update: object) -> ScanRecord:
    """The run's record with other fields, written back."""
    record = read_record(run).model_copy(update=update)
    write_bytes(run / "scan.json", to_json(record))
    return record


def test_every_drawn_sweep_shows_its_source_images(birds: Path) -> None:
    page = render(birds, charts=False)
    strips = page.split('class="strip"')[1:]
    assert [strip.split("</div>")[0].count('class="source"') for strip in strips] == [4, 3]
    assert len(charts_of(page)) == 7
    text = outline(page).text
    assert "landbird/0000.png cell 46, 0.60 instead of 0.97" in text
    assert "waterbird/0002.png cell 4, 0.88 instead of 0.95; without dropout cell 5, 0.76 instead of 0.97" in text


def test_both_lines_the_level_and_the_lowest_cell_are_drawn_and_named(birds: Path) -> None:
    page = render(birds, charts=False)
    for chart in charts_of(page):
        with_dropout, without = lines_of(chart, "clean"), lines_of(chart, "teal")
        assert len(with_dropout) == len(without) == 1
        assert len(with_dropout[0].attrib["points"].split()) == 49
        assert "stroke-dasharray" in without[0].attrib
        assert "stroke-dasharray" not in with_dropout[0].attrib
        level = [node for node in chart.iter("line") if node.attrib["class"] == "stroke-core"]
        assert len(level) == 1
        assert level[0].attrib["y1"] == level[0].attrib["y2"]
    assert [numbers_of(chart, "spurious") for chart in charts_of(page)] == [["46"]] * 4 + [["4"]] * 3
    assert page.count('class="legend-list curve-legend"') == 1
    legend = outline(page).text
    for said in ("with MC dropout, mean over passes", "without dropout, mean over targets", "unperturbed image"):
        assert said in legend


def test_text_alternative_names_image_pair_and_both_lowest_cells(birds: Path) -> None:
    labels = [chart.attrib["aria-label"] for chart in charts_of(render(birds, charts=False))]
    assert all(chart.attrib["role"] == "img" for chart in charts_of(render(birds, charts=False)))
    assert labels[3] == (
        "Certainty over cells, landbird/0003.png, landbird with cells of waterbird: lowest at cell 46, 0.69 instead "
        "of 0.94; without dropout lowest at cell 47, 0.64 instead of 0.96."
    )


def test_a_cell_that_was_not_asked_leaves_a_gap(adaptive: Path) -> None:
    page = render(adaptive, charts=False)
    counts = [
        (len(lines_of(chart, "clean")), sum(len(node.attrib["points"].split()) for node in lines_of(chart, "clean")))
        for chart in charts_of(page)[:4]
    ]
    assert counts == [(1, 49)] * 3 + [(2, 47)]
    text = outline(page).text
    assert "A gap in a line is a cell that was not asked." in text
    note = "Cells dropped early by the adaptive search are means over fewer target images (6 to 50 per cell)"
    assert f"{note}; the lowest cell is one of those left at the end." in text


def test_full_sweeps_carry_no_note_on_gaps_or_targets(birds: Path) -> None:
    text = outline(render(birds, charts=False)).text
    assert "A gap in a line" not in text
    assert "dropped early" not in text
    assert "adaptive" not in text


def test_each_pair_says_whether_dropout_changed_the_answer(birds: Path, adaptive: Path) -> None:
    text = outline(render(birds, charts=False)).text
    assert "Without dropout, the lowest cell is the same in 11 of 12 source images." in text
    assert "Without dropout, the lowest cell is the same in 12 of 12 source images." in text
    assert "Drop at each image’s own lowest cell: 0.380 (0.340 to 0.420)." in text
    assert "The mean drop at cell 46 is 0.36 with dropout and 0.37 without." in text
    assert (
        "Without dropout, the lowest cell is the same in 3 of the first 4 source images."
        in outline(render(adaptive, charts=False)).text
    )


def test_curves_of_all_sources_are_not_called_the_first(tmp_path: Path) -> None:
    record = read_record(sample_run.adaptive_run(tmp_path))
    four = [item.model_copy(update={"n": 4}) for item in record.measurements]
    changed(tmp_path, measurements=four)
    text = outline(render(tmp_path, charts=False)).text
    assert "Without dropout, the lowest cell is the same in 3 of 4 source images." in text
    assert "The adaptive search settled the lowest cell in 3 of 4 source images." in text
    assert "cell 43, 0.24 instead of 0.94; without dropout cell 44, 0.19 instead of 0.96; not settled" in text


def test_settled_counts_all_sources_where_that_was_measured(tmp_path: Path) -> None:
    record = read_record(sample_run.adaptive_run(tmp_path))
    pair = {"class": "zero", "target_class": "one"}
    settled = sample_run.number("patch_settled", 0.75, 12, sample_run.PATCH, width=0.2, **pair)
    changed(tmp_path, measurements=[*record.measurements, settled])
    text = outline(render(tmp_path, charts=False)).text
    assert "The adaptive search settled the lowest cell in 9 of 12 source images." in text


def test_the_table_has_the_numbers_of_single_images(birds: Path) -> None:
    text = outline(render(birds, charts=False)).text
    assert "Consistency Drop at each image’s own lowest cell Mean absolute change Same cell without dropout n" in text
    assert "landbird waterbird 46 lower middle 0.974 0.610 0.364 98 % 0.380 0.043 92 % 12 yes" in text


def test_method_names_the_adaptive_search_only_where_it_was_used(birds: Path, adaptive: Path) -> None:
    assert "The search is adaptive" in outline(render(adaptive, charts=False)).text
    text = outline(render(birds, charts=False)).text
    assert "Monte Carlo dropout: only the dropout layers draw at random" in text
    assert "The paper reports an “average change” of 0.50 before and 0.15 after its repair" in text


def test_records_without_curves_show_no_trace_of_them(tmp_path: Path) -> None:
    run = sample_run.digits_run(tmp_path)
    content = json.loads((run / "scan.json").read_bytes())
    del content["curves"]
    (run / "scan.json").write_text(json.dumps(content))
    page = render(run, charts=False)
    section = page.partition('<section id="patches"')[2].partition("</section>")[0]
    assert section.count('class="sweep"') == SWEEPS
    for trace in ("strip", "small-curve", "legend-list", "own lowest cell", "single source images", "sweeps-table"):
        assert trace not in section
    assert "zero one 1 upper left 0.974 0.120 0.854 98 % 12 yes" in outline(page).text


def test_hostile_ids_and_names_stay_text_in_the_curves(tmp_path: Path) -> None:
    page = render(sample_run.hostile_run(tmp_path), charts=False)
    charts = charts_of(page)
    assert len(charts) == 4
    assert all(chart.attrib["aria-label"].count(sample_run.HOSTILE) == 2 for chart in charts)
    section = page.partition('<section id="patches"')[2].partition("</section>")[0]
    assert "<img" not in section
    assert outline(section).text.count(f"{sample_run.HOSTILE} cell 9") == 4


def test_more_sources_than_are_drawn_are_counted(tmp_path: Path) -> None:
    sample_run.birds_run(tmp_path)
    changed(tmp_path, curves=sample_run.patch_curves("landbird", "waterbird", 46, 0.2, images=9))
    page = render(tmp_path, charts=False)
    assert len(charts_of(page)) == CURVES
    assert page.count('class="strip"') == 1
    assert "5 curves of single source images not drawn: see curves in scan.json." in outline(page).text


def coarse(classes: int, rows: int, images: int) -> ScanRecord:
    """A sweep and its curves for each of many classes."""
    measurements: list[Measurement] = []
    curves: list[PatchCurve] = []
    for index in range(classes):
        name = f"class {index:04d}"
        measurements += sample_run.patch_measurements(name, "other", 1 + index % (rows * rows), 0.2, rows)
        curves += sample_run.patch_curves(name, "other", 1 + index % (rows * rows), 0.2, images=images, rows=rows)
    audits = [AuditRecord(name="patch_swap", status="run")]
    record = sample_run.record(classes={"a": 12}, measurements=measurements, findings=[], audits=audits)
    return record.model_copy(update={"curves": curves})


def test_a_thousand_classes_draw_the_curves_of_the_drawn_sweeps_only() -> None:
    record = coarse(1000, 2, 4)
    view = patch_view(record, Numbers(record.measurements))
    assert view is not None
    assert [len(sweep.images) for sweep in view.sweeps] == [CURVES] * SWEEPS
    assert "3\u202f952 curves of single source images not drawn: see curves in scan.json." in view.left_out
    drawn = sum(len(image.chart) for sweep in view.sweeps for image in sweep.images)
    assert drawn < 300_000


def test_fine_grids_are_drawn_fewer_times() -> None:
    record = coarse(4, 64, 1)
    view = patch_view(record, Numbers(record.measurements))
    assert view is not None
    assert len(view.sweeps) == 2
    assert "2 sweeps not drawn: see the table." in view.left_out


def test_curves_with_nothing_asked_or_a_lowest_cell_out_of_range_are_borne(tmp_path: Path) -> None:
    sample_run.birds_run(tmp_path)
    first, second = sample_run.patch_curves("landbird", "waterbird", 46, 0.2, images=2)
    empty = first.model_copy(update={"certainty": [None] * 49, "targets": [0] * 49})
    odd = second.model_copy(update={"argmin": 99, "plain_argmin": 0})
    changed(tmp_path, curves=[empty, odd])
    charts = charts_of(render(tmp_path, charts=False))
    assert len(charts) == 1
    assert numbers_of(charts[0], "spurious") == []
    assert "lowest at cell 99, – instead of" in charts[0].attrib["aria-label"]


@given(st.lists(share, max_size=80))
def test_stretches_hold_every_asked_cell_once_and_break_at_gaps(values: list[float | None]) -> None:
    found = stretches(values)
    assert [cell for stretch in found for cell, _ in stretch] == [
        cell for cell, value in enumerate(values, 1) if value is not None
    ]
    for stretch in found:
        assert [cell for cell, _ in stretch] == list(range(int(stretch[0][0]), int(stretch[-1][0]) + 1))
    assert len(found) == sum(
        value is not None and (index == 0 or values[index - 1] is None) for index, value in enumerate(values)
    )


@given(
    st.lists(share, min_size=1, max_size=200),
    st.integers(1, 200),
    st.integers(1, 200),
    st.integers(1, 30),
    st.floats(0, 1),
)
def test_any_curve_stays_inside_its_chart(
    values: list[float | None], marked: int, plain_marked: int, columns: int, level: float
) -> None:
    curve = Curve(columns, level, values, list(reversed(values)), marked, plain_marked)
    drawn = ElementTree.fromstring(curve_chart(curve, "l"))
    points = [point.split(",") for node in drawn.iter("polyline") for point in node.attrib["points"].split()]
    assert all(0 <= float(x) <= WIDTH and 0 <= float(y) <= HEIGHT for x, y in points)
    for node in drawn.iter("text"):
        assert 0 <= float(node.attrib["x"]) <= WIDTH
        assert 0 <= float(node.attrib["y"]) <= HEIGHT
    ticks = [float(node.attrib["x"]) for node in drawn.iter("text") if node.attrib["text-anchor"] == "middle"]
    assert len(ticks) <= 10


@pytest.mark.parametrize(("marked", "other", "anchor"), [(20, 21, "end"), (21, 20, "start"), (20, 45, "middle")])
def test_numbers_of_lowest_cells_keep_away_from_each_other(marked: int, other: int, anchor: str) -> None:
    values = [0.9] * 49
    drawn = ElementTree.fromstring(curve_chart(Curve(7, 0.95, values, values, marked, other), "l"))
    label = next(node for node in drawn.iter("text") if "fill-spurious" in node.attrib["class"])
    assert label.attrib["text-anchor"] == anchor
    assert (len(numbers_of(drawn, "teal")) == 1) is (anchor == "middle")
    assert sum(node.attrib.get("class") == "ring stroke-teal" for node in drawn.iter("circle")) == 1
