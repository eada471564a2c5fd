"""Numbers and sentences as people read them, and the table of published models."""

from __future__ import annotations

from pathlib import Path

import pytest
import sample_run
from hypothesis import given
from hypothesis import strategies as st

from spuraudit.errors import ConfigError
from spuraudit.record.scan import Cell
from spuraudit.report.formats import count, interval, listing, many, percent, plain, points, q_value, size
from spuraudit.report.numbers import Numbers
from spuraudit.report.published import published_models
from spuraudit.report.wording import place, sentence


def readable(text: str) -> str:
    return text.replace("\u202f", " ")


def test_numbers_are_rounded_once_and_never_minus_zero() -> None:
    assert readable(percent(0.97526)) == "97.5 %"
    assert readable(points(-0.046)) == "−4.6 points"
    assert plain(-0.0001) == "0.000"
    assert plain(None) == "–"
    assert readable(count(226946)) == "226 946"
    assert q_value(0.0004) == "q < 0.001"
    assert q_value(0.05) == "q = 0.050"
    assert readable(size(14_214_848)) == "14.2 MB"
    assert interval("rcs", (-0.1, 0.25)) == "−0.100 to 0.250"
    assert interval("swap_gap", (-0.01, 0.25)) == "−1.0 to 25.0"


def test_listing_names() -> None:
    assert listing([]) == ""
    assert listing(["a"]) == "a"
    assert listing(["a", "b"]) == "a and b"
    assert listing(["a", "b", "c", "d", "e", "f"]) == "a, b, c and 3 more"
    assert many(1, "class", "classes") == "1 class"
    assert many(2, "class", "classes") == "2 classes"


def test_places_of_a_seven_by_seven_grid() -> None:
    def at(number: int) -> str:
        row, column = (number - 1) // 7 + 1, (number - 1) % 7 + 1
        return place(Cell(number=number, row=row, column=column, rows=7, columns=7))

    assert [at(number) for number in (1, 7, 43, 49, 25)] == [
        "upper left",
        "upper right",
        "lower left",
        "lower right",
        "centre",
    ]
    assert (at(22), at(4)) == ("middle left", "upper middle")


@given(st.integers(1, 30), st.integers(1, 30), st.data())
def test_every_cell_has_a_place(rows: int, columns: int, data: st.DataObject) -> None:
    row, column = data.draw(st.integers(1, rows)), data.draw(st.integers(1, columns))
    words = place(Cell(number=1, row=row, column=column, rows=rows, columns=columns)).split()
    assert set(words) <= {"upper", "middle", "lower", "left", "right", "centre"}
    if row == 1 and rows >= 2:
        assert words[0] == "upper"


def test_sentences_survive_missing_numbers() -> None:
    for audit in ("feature_drop", "region_swap", "patch_swap"):
        found = sample_run.finding(1, audit, "cat", "bowl", effect=0.1, effect_ci=(0.0, 0.2), numbers={})
        assert "“cat”" in sentence(found)
        assert "None" not in sentence(found)


def test_sigma_in_front_is_that_of_the_published_table() -> None:
    levels = [sample_run.number("core_accuracy", 0.5, 10, sigma=sigma) for sigma in (1.0, 0.25, 0.1)]
    assert Numbers(levels).sigma() == 0.25
    assert Numbers(levels[::2]).sigma() == 0.1
    assert Numbers(levels).sigmas() == [0.1, 0.25, 1.0]
    assert Numbers([]).sigma() is None


def test_shipped_table_holds_the_42_published_models() -> None:
    models = published_models()
    assert len(models) == 42
    for model in models:
        mean = (model.core + model.spurious) / 2
        assert (model.core - model.spurious) / (2 * min(mean, 1 - mean)) == pytest.approx(model.rcs, abs=5e-4)
    by_name = {model.name: model for model in models}
    assert by_name["EfficientNet B0"].clean == pytest.approx(0.8952)


def test_entries_without_figures_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "zoo.yaml"
    file.write_text(
        "version: 1\nmodels:\n"
        "- {id: a, name: A, group: ViTs, spec: a.pt, published: {clean: 90, core: 80, spurious: 70, rcs: 20}}\n"
        "- {id: b, name: B, spec: b.pt}\n- {id: c, spec: c.pt, published: {clean: 90, core: null, spurious: 70}}\n"
        "- {id: d, spec: d.pt, published: {core: 80, spurious: 70}}\n"
    )
    first, last = published_models(file)
    assert (first.name, first.core, first.rcs) == ("A", 0.8, 0.2)
    assert (last.name, last.group, last.clean, last.rcs) == ("d", "Other", None, None)


def test_broken_yaml_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "zoo.yaml").write_text("models: [")
    with pytest.raises(ConfigError, match=r"zoo\.yaml"):
        published_models(tmp_path / "zoo.yaml")
