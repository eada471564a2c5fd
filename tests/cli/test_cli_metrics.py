"""A gate on a number that no scan measures is refused before the scan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import toys

from spuraudit.cli.main import main
from spuraudit.record.metrics import EXAMPLES, METRICS

if TYPE_CHECKING:
    from collections.abc import Callable

FIX = ["--method", "swap", "--run", "run"]


@pytest.fixture(autouse=True)
def _data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    toys.draw(Path("data"), toys.Toy(test=6, tag=True))


def test_the_known_metrics_are_those_that_scans_measure() -> None:
    settings = {"trials": 1, "swap_trials": 1, "allow_chance": True}
    audits = ("noise", "feature_drop", "region_swap", "patch_swap")
    sweep = {"search": "adaptive", "patch_targets": 4, "patch_sources": 2, "passes": 2}
    plain = toys.as_model(toys.Mixture())
    labels = replace(plain, record=plain.record.model_copy(update={"head": "sigmoid"}))
    scans = (
        toys.scan(plain, Path("data"), Path("plain"), audits=audits, **settings, **sweep),
        toys.scan(labels, Path("data"), Path("labels"), audits=("noise",), **settings),
    )
    assert {one.metric for scan in scans for one in scan.record.measurements} == METRICS
    assert METRICS.issuperset(EXAMPLES)


def _by_rule() -> list[str]:
    return ["--rule", "rcs >= 0.1", "--rule", "cor_accuracy[class=*] >= 0.5"]


def _by_config() -> list[str]:
    Path("gates.yaml").write_text("gates:\n  - rcs >= 0.1\n  - {metric: cor_accuracy, min: 0.5}\n")
    return ["--config", "gates.yaml"]


@pytest.mark.parametrize("command", [["scan", "-o", "run"], ["fix", *FIX]])
@pytest.mark.parametrize(
    ("given", "where"),
    [(_by_rule, "--rule 'cor_accuracy[class=*] >= 0.5': no scan"), (_by_config, "gates.yaml, line 3: no scan")],
)
def test_an_unknown_metric_is_refused_before_a_scan(
    command: list[str], given: Callable[[], list[str]], where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    toys.save_cnn(Path("model.pt"), {"object": 1.0})
    assert main([command[0], "model.pt", "--data", "data", *command[1:], *given()]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"{where} measures 'cor_accuracy'. Did you mean 'core_accuracy'" in said
    assert not Path("run").exists()


def test_where_nothing_is_near_some_metrics_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    toys.save_cnn(Path("model.pt"), {"object": 1.0})
    assert main(["scan", "model.pt", "--data", "data", "-o", "run", "--rule", "zzz >= 0.5"]) == 2
    assert f"Metrics are, for example, {', '.join(EXAMPLES)}." in " ".join(capsys.readouterr().err.split())
