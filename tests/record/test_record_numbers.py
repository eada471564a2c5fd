"""Numbers that cannot be are refused, whoever wrote them: with the file, the field and the value."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import toys
from pydantic import ValidationError

from spuraudit.errors import RunError
from spuraudit.record.folder import read_record
from spuraudit.record.scan import Measurement, ScanRecord

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real, small, finished run."""
    folder = tmp_path_factory.mktemp("numbers")
    data = toys.draw(folder / "data", toys.Toy(test=3, train=2, tag=True))
    return toys.scan(toys.Reader(toys.TAG), data, folder / "run", trials=1, swap_trials=1).folder


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("value", 7.5, "measurements.0: value 7.5 of clean_accuracy is outside 0 to 1"),
        ("value", -0.1, "measurements.0: value -0.1 of clean_accuracy is outside 0 to 1"),
        ("value", "0.99", "measurements.0.value: Input should be a valid number, not '0.99'"),
        ("value", True, "measurements.0.value: Input should be a valid number, not True"),
        ("ci", [0.9, -0.9], "measurements.0: ci [0.9, -0.9] of clean_accuracy ends below its start"),
        ("ci", [0.0, 7.5], "measurements.0: ci [0.0, 7.5] of clean_accuracy is outside 0 to 1"),
        ("ci", [0.0, 0.0], "measurements.0: ci [0.0, 0.0] of clean_accuracy does not hold its value 0.5"),
        ("ci", ["0", 1], "measurements.0.ci.0: Input should be a valid number, not '0'"),
        ("n", True, "measurements.0.n: Input should be a valid integer, not True"),
        ("n", "9", "measurements.0.n: Input should be a valid integer, not '9'"),
        ("n", -1, "measurements.0.n: Input should be greater than or equal to 0, not -1"),
        ("n", 10, "measurements.0: n 10 of clean_accuracy is more than the 9 images of the data"),
        ("definition", "else", "measurements.0: definition 'else' of clean_accuracy is not among definitions"),
    ],
)
def test_a_measurement_that_cannot_be(finished: Path, tmp_path: Path, field: str, value: Any, said: str) -> None:
    assert refused(finished, tmp_path, "measurements", {"value": 0.5, "ci": [0.2, 0.8], field: value}) == said


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("effect", -1.5, "findings.0: effect -1.5 of F001 is outside -1 to 1"),
        ("effect_ci", [0.3, 0.1], "findings.0: effect_ci [0.3, 0.1] of F001 ends below its start"),
        ("effect_ci", [0.6, 0.8], "findings.0: effect_ci [0.6, 0.8] of F001 does not hold its value 0.5"),
        ("q", 1.5, "findings.0.q: Input should be less than or equal to 1, not 1.5"),
        ("p", -0.1, "findings.0.p: Input should be greater than or equal to 0, not -0.1"),
        ("p", "0.9", "findings.0.p: Input should be a valid number, not '0.9'"),
        ("suspected", "no", "findings.0.suspected: Input should be a valid boolean, not 'no'"),
        ("numbers", {"clean": True}, "findings.0.numbers.clean: Input should be a valid number, not True"),
        ("n", 10, "findings.0: n 10 of F001 is more than the 9 images of the data"),
    ],
)
def test_a_finding_that_cannot_be(finished: Path, tmp_path: Path, field: str, value: Any, said: str) -> None:
    assert refused(finished, tmp_path, "findings", {"effect": 0.5, "effect_ci": [0.2, 0.8], field: value}) == said


def refused(finished: Path, tmp_path: Path, part: str, update: dict[str, Any]) -> str:
    """What is said of the run's record with other numbers in the first of its measurements or findings."""
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    content = json.loads((run / "scan.json").read_bytes())
    content[part][0].update(update)
    (run / "scan.json").write_text(json.dumps(content))
    with pytest.raises(RunError) as caught:
        read_record(run)
    start = f"{run / 'scan.json'}: not a valid record: "
    assert caught.value.exit_code == 2
    assert caught.value.message.startswith(start)
    with pytest.raises(ValidationError):  # and nothing could write it
        ScanRecord.model_validate(content)
    return caught.value.message.removeprefix(start).removesuffix(".")


@pytest.mark.parametrize(
    ("metric", "value", "ci"),
    [
        ("rcs", -1.0, (-1.0, 1.0)),
        ("swap_gap", -0.5, (-0.75, 0.0)),
        ("clean_accuracy", 1, (0, 1)),
        ("clean_accuracy", 1 + 1e-12, (0.9, 1.0)),
        ("clean_accuracy", None, None),
        ("core_mean_label_false_alarm_drop", 0.99, (0.9, 1.02)),
    ],
)
def test_ends_of_the_range_rounding_and_nothing_are_numbers(metric: str, value: float | None, ci: Any) -> None:
    assert Measurement(metric=metric, definition="d", value=value, n=1, ci=ci).value == value
