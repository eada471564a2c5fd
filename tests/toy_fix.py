"""A fix of drawn images: three linear models, really scanned, and the record that stands over them.

The delivered model reads the frame more than the object. Plain training (the control) lowers that a little. The
method hardly reads the frame any more, but has learnt the tag: the shortcut that got worse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import toys
from torch import Tensor, nn

from spuraudit.compare import compare_runs
from spuraudit.record.fix import (
    Arms,
    Comparisons,
    FixData,
    FixRecord,
    LossMean,
    MethodRecord,
    SplitRecord,
    StartArm,
    TrainedArm,
    ValidationPoint,
    verdict_of,
)
from spuraudit.record.folder import sha256_of, to_json, write_bytes
from spuraudit.record.scan import ToolRecord

if TYPE_CHECKING:
    from pathlib import Path

    from spuraudit.record.scan import Scope

SETTINGS: dict[str, Any] = {
    "audits": ("noise", "feature_drop", "region_swap"),
    "trials": 2,
    "swap_trials": 3,
    "sigmas": (0.25,),
    "allow_chance": True,
}
SHARES = {
    "before": {"object": 1.0, "frame": 1.5},
    "control": {"object": 1.0, "frame": 1.15},
    "fixed": {"object": 1.0, "frame": 0.05, "tag": 1.3},
}
STEPS = 60


class Linear(nn.Module):
    """Likeness of object, frame and tag to each class's colour, by share; `disturbance` makes noise matter."""

    def __init__(self, shares: dict[str, float], classes: int = 3, disturbance: float = 0.02) -> None:
        super().__init__()
        drawn = torch.randn(classes, 3, toys.SIDE, toys.SIDE, generator=torch.Generator().manual_seed(7)) * disturbance
        wild = torch.zeros_like(drawn)
        for area in (toys.OBJECT, toys.FRAME, toys.TAG):
            wild[:, :, area] = drawn[:, :, area] - drawn[:, :, area].mean(dim=2, keepdim=True)
        self.classifier = nn.Linear(3 * toys.SIDE * toys.SIDE, classes, bias=False)
        with torch.no_grad():
            self.classifier.weight.copy_((toys.templates(classes, shares) + wild).flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 28, 28) -> (B, classes)."""
        logits: Tensor = self.classifier(x.flatten(1))
        return logits


def draw(folder: Path, test: int = 24) -> Path:
    """Every fourth image of a class has the frame of another; the tag says the class."""
    return toys.draw(folder, toys.Toy(test=test, train=8, tag=True, odd_every=4))


def scan_arms(root: Path, data: Path, arms: dict[str, dict[str, float]] | None = None) -> None:
    """A run folder per arm under `root`."""
    for name, shares in (arms or SHARES).items():
        toys.scan(toys.as_model(Linear(shares), name), data, root / name, **SETTINGS)


def write_fix(
    folder: Path,
    data: Path,
    *,
    arms: dict[str, dict[str, float]] | None = None,
    method: str = "swap",
    metric: str = "worst_group_accuracy",
    scope: Scope | None = None,
) -> FixRecord:
    """Scan the arms into `folder` and write fix.json. Without an arm `before` the start has a new head."""
    chosen = arms or SHARES
    scan_arms(folder, data, chosen)
    has_before = "before" in chosen
    credit = compare_runs(folder / "control", folder / "fixed")
    comparisons = Comparisons(
        fixed_before=compare_runs(folder / "before", folder / "fixed") if has_before else None,
        control_before=compare_runs(folder / "before", folder / "control") if has_before else None,
        credit=credit,
    )
    trained = {name: _trained(folder, name) for name in ("control", "fixed")}
    first = toys.as_model(Linear(chosen["control"]), "classifier").record
    record = FixRecord(
        tool=ToolRecord(version="0.1.0"),
        argv=["fix", "classifier.pt", "--data", "toy", "--method", method, "-o", "fixed.safetensors"],
        started="2026-01-02T03:04:05Z",
        seconds=61.5,
        method=MethodRecord(
            name=method,
            options={"p": 0.5, "regions": "background", "layers": [1, 2]},
            sources={"p": "measured on drawn shapes", "regions": "given"},
            paper="what the audit swaps, the fix swaps",
        ),
        training={"optimiser": "Adam", "learning_rate": 0.0005, "batch_size": 64, "frozen_batch_norm": True},
        start="model" if has_before else "new-head",
        model=first,
        data=FixData(
            name="toy",
            fingerprint=credit.data_fingerprint,
            train=SplitRecord(split="train", images=24),
            validation=SplitRecord(split=None, images=6),
            held_out=SplitRecord(split="test", images=credit.images),
            held_out_how="The test split; nothing was chosen on it.",
        ),
        seed=0,
        steps=STEPS,
        arms=Arms(
            before=StartArm(run="before", record_sha256=sha256_of(folder / "before/scan.json")) if has_before else None,
            control=trained["control"],
            fixed=trained["fixed"],
        ),
        comparisons=comparisons,
        verdict=verdict_of(credit, metric, scope or {}),
        environment=_environment(folder),
        notes=["The first value of the loss is 1.0986."],
    )
    write_bytes(folder / "fix.json", to_json(record))
    return record


def _environment(folder: Path) -> Any:
    from spuraudit.record.folder import read_record

    return read_record(folder / "fixed").environment


def _trained(folder: Path, name: str) -> TrainedArm:
    rate = 0.05 if name == "fixed" else 0.09
    steps = range(10, STEPS + 1, 10)
    extra = {"swapped": 0.7} if name == "fixed" else {}
    return TrainedArm(
        run=name,
        record_sha256=sha256_of(folder / name / "scan.json"),
        checkpoint=f"{name}.safetensors",
        checkpoint_sha256="0" * 64,
        seconds=12.5 if name == "fixed" else 10.0,
        cpu_seconds_per_step=0.021 if name == "fixed" else 0.018,
        losses=[
            LossMean(
                step=s, terms={"cross_entropy": 1.1 * (1 - rate) ** s, **{k: v * 0.97**s for k, v in extra.items()}}
            )
            for s in steps
        ],
        validation=[ValidationPoint(step=s, measures={"worst_group_accuracy": 1 - 0.98**s}) for s in steps],
        selected_step=STEPS - 10,
        stopped_early=None,
    )
