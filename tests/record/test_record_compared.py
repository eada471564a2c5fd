"""The form of compared.json: a change of it needs another version, or older files would be misread."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import toys

from spuraudit.record.compared import FILE, Compared, FeatureRow, compared, write_compared

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> toys.Scanned:
    folder = tmp_path_factory.mktemp("finished")
    data = toys.draw(folder / "data", toys.Toy(test=4, tag=True, odd_every=2))
    audits = ("noise", "feature_drop", "region_swap")
    return toys.scan(toys.Reader(toys.OBJECT, guess=0), data, folder / "run", audits=audits)


def test_version_one_is_this(finished: toys.Scanned) -> None:
    assert Compared.model_fields["version"].default == 1
    assert FeatureRow._fields == (
        "class_name",
        "feature",
        "role",
        "drop",
        "drop_ci",
        "control_drop",
        "excess",
        "excess_ci",
        "n",
        "p",
        "q",
        "suspected",
    )
    kept = compared(finished.record).record
    assert {key for item in kept.measurements for key in item.scope} == {"sigma", "feature"}
    assert kept.findings == kept.curves == []


def test_it_holds_the_numbers_of_the_record_exactly(finished: toys.Scanned, tmp_path: Path) -> None:
    write_compared(tmp_path, finished.record)
    read = Compared.model_validate_json((tmp_path / FILE).read_bytes())
    assert read == compared(finished.record)
    tested = [item for item in finished.record.findings if item.audit == "feature_drop" and item.role != "core"]
    assert tested
    assert [(row.class_name, row.excess, row.q) for row in read.features] == [
        (item.class_name, item.effect, item.q) for item in tested
    ]
    drops = {
        (item.scope["class"], item.scope["feature"]): (item.value, item.ci)
        for item in finished.record.measurements
        if item.metric == "feature_drop" and set(item.scope) == {"class", "feature"}
    }
    for row in read.features:
        assert (row.drop, row.drop_ci) == (
            pytest.approx(drops[row.class_name, row.feature][0]),
            drops[row.class_name, row.feature][1],
        )
