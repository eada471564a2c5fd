"""Before a patch swap: sources, budget, reduced precision; and a run that ran out of memory or was interrupted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import toys
from torch import Tensor, nn

from spuraudit.audits.patch_swap import PatchSwapAudit
from spuraudit.data import open_dataset
from spuraudit.errors import UsageError
from spuraudit.record.folder import read_record
from spuraudit.record.settings import ScanSettings, seconds_of
from spuraudit.runs.execute import execute
from spuraudit.runs.patch_sweep import resolve
from spuraudit.runs.plan import Plan, Resolved
from spuraudit.runs.prepare import Machine, Scan, prepare_scan

PATCH = {"audits": ("patch_swap",), "passes": 4, "patch_targets": 10, "patch_sources": 2, "target_classes": 1}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toys.draw(tmp_path_factory.mktemp("data"), toys.Toy(tag=True, test=4, train=10))


def prepared(data: Path, network: nn.Module | None = None, **settings: object) -> Scan:
    model = toys.as_model(network or toys.Reader(toys.TAG))
    return prepare_scan(model, open_dataset(str(data)), ScanSettings(**{**PATCH, **settings}), Machine(32, 1))


def swap_of(scan: Scan) -> PatchSwapAudit:
    audit = scan.audits["patch_swap"]
    assert isinstance(audit, PatchSwapAudit)
    return audit


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("1.5h", 5400)])
def test_a_budget_is_a_time(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds
    assert ScanSettings(budget=text).budget == text


@pytest.mark.parametrize("text", ["", "m", "10", "10 m", "-1m", "0s", "10d", "tenm"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="such as 90s, 10m or 2h"):
        ScanSettings(budget=text)


def test_a_large_budget_changes_nothing(data: Path) -> None:
    scan = prepared(data, budget="10h")
    assert scan.resolved == Resolved(search="full", limit_sources=None, answers=6 * 10 * 50)
    assert not swap_of(scan).adaptive
    assert swap_of(scan).budget_note == "Budget 10h: full search, all source images, at most 3,000 answers."


def test_a_budget_buys_an_adaptive_search_then_fewer_sources(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a known speed: 10 answers a second."""
    monkeypatch.setattr("spuraudit.runs.patch_sweep._answers_per_second", lambda *_: 10.0)
    one = prepared(data, search="adaptive")
    row = next(rows[0] for rows in swap_of(one).pairing.sources_of.values())
    cost = swap_of(one).most_questions(row)
    # 4 targets for 49 cells, 4 more for 25, 2 more for 13, and the unperturbed image under each of the 10
    assert cost == 4 * 49 + 4 * 25 + 2 * 13 + 10
    # Fifty targets are wanted, the classes have ten images: what is counted is what can be asked.
    assert swap_of(prepared(data, search="adaptive", patch_targets=50)).most_questions(row) == cost
    assert swap_of(prepared(data, patch_targets=50)).most_questions(row) == 10 * 50
    everything = prepared(data, budget="300s").resolved
    assert everything == Resolved(search="full", limit_sources=None, answers=3000)
    adaptive = prepared(data, budget="299s").resolved
    assert adaptive == Resolved(search="adaptive", limit_sources=None, answers=6 * cost)
    scan = prepared(data, budget="100s")
    assert scan.resolved == Resolved(search="adaptive", limit_sources=3, answers=3 * cost)
    assert [len(rows) for rows in swap_of(scan).pairing.sources_of.values()] == [1, 1, 1]
    with pytest.raises(UsageError, match="--budget 10s is too small: one source image takes up to 332 answers"):
        prepared(data, budget="10s")


def test_a_measured_budget_is_kept_by_a_resumed_run(data: Path, tmp_path: Path) -> None:
    """Another speed would pay for something else: what the first call found is part of the plan."""
    scan = prepared(data, budget="10h")
    begun = resolve(scan, Resolved(search="adaptive", limit_sources=3, answers=996))
    first = execute(begun, tmp_path / "run")
    plan = Plan.model_validate_json((tmp_path / "run" / "plan.json").read_bytes())
    assert plan.resolved == begun.resolved
    assert plan.as_asked == scan.plan.as_asked
    (tmp_path / "run" / "scan.json").unlink()
    parts = sorted((tmp_path / "run" / "observations").iterdir())
    parts[-1].unlink()
    again = execute(scan, tmp_path / "run")
    assert again.run.resumed_parts == len(parts) - 1
    assert again.run.plan_sha256 == first.run.plan_sha256
    assert again.measurements == first.measurements
    (audit,) = [audit for audit in again.audits if audit.status == "run"]
    assert [note for note in audit.notes if note.startswith("Budget")] == [begun.resolved.describe("10h")]
    assert read_record(tmp_path / "run") == again


def test_the_speed_is_measured_on_the_sweep_itself(data: Path) -> None:
    scan = prepared(data, budget="1h")
    assert scan.resolved is not None
    slow = prepared(data, network=Slow(), budget="20s")
    assert slow.resolved is not None
    assert slow.resolved.answers < 3000


class Slow(toys.Reader):
    """Takes a fiftieth of a second per image, where there are many."""

    def __init__(self) -> None:
        super().__init__(toys.TAG)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 28, 28) -> (B, classes)."""
        import time

        time.sleep(0.02 * (len(x) > 8) * len(x))
        return super().forward(x)


def test_reduced_precision_is_checked_and_recorded(data: Path, tmp_path: Path) -> None:
    model = toys.as_model(toys.Reader(toys.TAG))
    model = replace(model, record=model.record.model_copy(update={"precision": "bf16"}))
    done = toys.scan(model, data, tmp_path, **PATCH)
    told = {notice.code: notice.text for notice in done.record.warnings}
    assert told["SPA005"] == "Precision bf16: 12 of 12 images are answered as in fp32."
    (audit,) = [audit for audit in done.record.audits if audit.status == "run"]
    (note,) = [note for note in audit.notes if note.startswith("Precision bf16")]
    assert "on one source image and 8 targets: the same lowest cell, 43; largest difference of a certainty 0.0" in note
    assert all("precision=bf16" in m.definition for m in done.record.measurements)
    assert {f.feature for f in done.record.findings} == {"cell 43"}


class Narrow(toys.Reader):
    """Has memory for five images."""

    def __init__(self) -> None:
        super().__init__(toys.TAG)
        self.largest = 0

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 28, 28) -> (B, classes)."""
        if len(x) > 5:
            raise torch.OutOfMemoryError("five images are the limit")
        self.largest = max(self.largest, len(x))
        return super().forward(x)


class Listener:
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def begin(self, what: str, total: int, unit: str) -> None: ...
    def advance(self, amount: int) -> None: ...
    def end(self, finished: bool) -> None: ...
    def say(self, text: str) -> None:
        self.said.append(text)


def test_a_scan_survives_running_out_of_memory(data: Path, tmp_path: Path) -> None:
    """Both kinds of questions: the numbers are those of a scan with enough memory."""
    settings = {**PATCH, "audits": ("noise", "patch_swap"), "trials": 2}
    enough = toys.scan(toys.Reader(toys.TAG), data, tmp_path / "enough", **settings)
    narrow = Narrow()
    listener = Listener()
    scan = prepared(data, network=narrow, **settings)
    record = execute(scan, tmp_path / "narrow", progress=listener)
    assert 2 <= narrow.largest <= 5
    assert any(said.startswith("Batch size lowered from 32 to ") for said in listener.said)
    ours = {(m.metric, str(m.scope)): m.value for m in record.measurements}
    theirs = {(m.metric, str(m.scope)): m.value for m in enough.record.measurements}
    assert ours == pytest.approx(theirs, abs=1e-6)


def test_the_record_says_how_passes_were_computed(data: Path, tmp_path: Path) -> None:
    done = toys.scan(toys.Reader(toys.TAG), data, tmp_path, **PATCH)
    (audit,) = [audit for audit in done.record.audits if audit.status == "run"]
    assert audit.notes[1].startswith("Evaluation: linear head")
    assert audit.notes[-1] == "Without dropout, the lowest cell is another one in 0 of 6 sweeps of single images."
    assert {m.value for m in done.record.measurements if m.metric == "patch_argmin_agreement"} == {1.0}
