"""Folders of zoo runs as `spuraudit zoo` would leave them: the input of the tests of the zoo report."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import sample_run
import yaml

from spuraudit.record import compared
from spuraudit.record.folder import sha256_of, to_json, write_bytes
from spuraudit.record.scan import AuditRecord, Environment, Exclusion, FeatureRecord, Notice, ScanRecord, ToolRecord
from spuraudit.record.zoo import Published, ZooModel, ZooRecord
from spuraudit.resources import model_zoo_file

if TYPE_CHECKING:
    from pathlib import Path

    from spuraudit.record.scan import Finding, Measurement

SOURCE = "Singla, Moayeri, Feizi, “Core Risk Minimization using Salient ImageNet” (2022), appendix A, Table 2"
NOISE = (
    "noise/corm-2022;sigma=0.25;pixels=0..1;clamp=yes;mask=soft;dilation=square{width}@{size}x{size};"
    "spurious=complement;trials=1;mean=class;answers=all;precision={precision}"
)
CLEAN = "clean;images=with core masks;mean=class;answers=all;precision=fp32"
PAIRS = (
    ("monarch", "milkweed"),
    ("monarch", "fingers"),
    ("hummingbird", "feeder"),
    ("ski", "snow"),
    ("ski", "sky"),
    ("balance beam", "gym floor"),
    ("swing", "hands on the chain"),
    ("baseball", "glove"),
)
FAILED = "The weights are not in the cache. Fetch them with --allow-download."


@dataclass
class Model:
    """What a test says of one model; the rest of its record is made up around it."""

    id: str
    name: str
    group: str | None = None
    clean: float = 0.9
    core: float = 0.85
    spurious: float = 0.6
    published: Published | None = None
    failed: str | None = None
    rcs: float | str | None = "computed"
    flags: list[str] = field(default_factory=list)
    size: int = 224
    precision: str = "fp32"
    n: int = 5000
    drops: dict[tuple[str, str], float] = field(default_factory=dict)
    gap: float | None = None
    notices: list[Notice] = field(default_factory=list)


def definition(model: Model) -> str:
    width = 2 * round(30 * model.size / 224) + 1
    return NOISE.format(width=width, size=model.size, precision=model.precision)


def numbers(model: Model) -> list[Measurement]:
    """Figures over all images, feature drops and, where asked, the gap of region swap."""
    width, noise = 0.98 / model.n**0.5, definition(model)
    value = sample_run.rcs(model.core, model.spurious) if model.rcs == "computed" else model.rcs
    out = [
        sample_run.number("clean_accuracy", model.clean, model.n, CLEAN, width=width),
        sample_run.number("core_accuracy", model.core, model.n, noise, width=width, sigma=0.25),
        sample_run.number("spurious_accuracy", model.spurious, model.n, noise, width=width, sigma=0.25),
        sample_run.number(
            "rcs",
            value if value is None else float(value),
            model.n,
            noise,
            width=2.5 * width,
            flags=model.flags,
            reason="core and spurious accuracy are both 0: RCS is 0/0" if value is None else None,
            sigma=0.25,
        ),
    ]
    for (name, feature), drop in model.drops.items():
        scope = {"class": name, "feature": feature}
        out.append(sample_run.number("feature_drop", drop, 65, sample_run.DROP, **scope))
    if model.gap is not None:
        for metric, share in (
            ("swap_same_accuracy", 0.9),
            ("swap_other_accuracy", 0.9 - model.gap),
            ("swap_gap", model.gap),
        ):
            out.append(sample_run.number(metric, share, model.n, sample_run.SWAP, width=width, feature="background"))
    return out


def findings(model: Model) -> list[Finding]:
    """A drop above 0.1 is a suspect."""
    return [
        sample_run.finding(
            rank,
            "feature_drop",
            name,
            feature,
            suspected=drop > 0.1,
            effect=round(drop - 0.01, 4),
            effect_ci=(round(drop - 0.09, 4), round(drop + 0.07, 4)),
            n=65,
            q=0.004 if drop > 0.1 else 0.4,
            numbers={
                "clean": 0.9,
                "noised": 0.9 - drop,
                "drop": drop,
                "control": 0.89,
                "control_drop": 0.01,
                "p_clean": 0.1,
            },
        )
        for rank, ((name, feature), drop) in enumerate(model.drops.items(), 1)
    ]


def record(model: Model) -> ScanRecord:
    names = list(dict.fromkeys(name for name, _ in model.drops)) or ["landbird", "waterbird"]
    features = [
        FeatureRecord(name="object", role="core", masks=model.n),
        *(FeatureRecord(name=name, role="spurious", masks=65) for name in dict.fromkeys(f for _, f in model.drops)),
    ]
    drops = AuditRecord(name="feature_drop", status="run", images=200, passes=400)
    swap = AuditRecord(name="region_swap", status="run", images=model.n, passes=model.n * 4)
    if not model.drops:
        drops = AuditRecord(name="feature_drop", status="skipped", reason="No feature is annotated.")
    if model.gap is None:
        swap = AuditRecord(name="region_swap", status="skipped", reason="Switched off with --audits.")
    made = sample_run.record(
        classes=dict.fromkeys(names, -(-model.n // len(names))),
        measurements=numbers(model),
        findings=findings(model),
        audits=[AuditRecord(name="noise", status="run", images=model.n, passes=model.n * 3), drops, swap],
        definitions={
            CLEAN: "Accuracy on the images as they are.",
            definition(model): "Core accuracy: accuracy with noise around the object. Spurious: with noise on it.",
            sample_run.DROP: "Clean accuracy minus accuracy with the feature noised.",
            sample_run.SWAP: "Accuracy with a same-class donor minus that of another class's donor.",
        },
        exclusions=[Exclusion(reason="image cannot be decoded", n=len(model.id), examples=["a.jpg"])],
        warnings=model.notices,
    )
    preprocess = made.model.preprocess
    geometry = preprocess.geometry.model_copy(update={"height": model.size, "width": model.size})
    return made.model_copy(
        update={
            "model": made.model.model_copy(
                update={
                    "name": model.name,
                    "precision": model.precision,
                    "preprocess": preprocess.model_copy(update={"geometry": geometry}),
                }
            ),
            "data": made.data.model_copy(update={"features": features}),
        }
    )


def save_zoo(folder: Path, models: list[Model], **fields: Any) -> Path:
    """Run folders of the models that did not fail, then zoo.json."""
    entries = []
    for model in models:
        run, sha, reduced = f"models/{model.id}", None, None
        if model.failed is None:
            made = record(model)
            sample_run.save_run(folder / run, made)
            compared.write_compared(folder / run, made)
            sha, reduced = sha256_of(folder / run / "scan.json"), sha256_of(folder / run / compared.FILE)
        entries.append(
            ZooModel(
                id=model.id,
                name=model.name,
                group=model.group,
                spec=f"timm:{model.id}",
                licence="Apache-2.0",
                published=model.published,
                status="evaluated" if model.failed is None else "failed",
                reason=model.failed,
                run=run if model.failed is None else None,
                record_sha256=sha,
                compared_sha256=reduced,
            )
        )
    base: dict[str, Any] = {
        "tool": ToolRecord(version="0.1.0"),
        "zoo": "model_zoo.yaml",
        "source": SOURCE,
        "data": "drawn birds",
        "data_fingerprint": "5d8e" * 16,
        "started": "2026-11-22T07:00:00Z",
        "seconds": 8123.4,
        "argv": ["zoo", "model_zoo.yaml", "--data", "mini_birds"],
        "environment": Environment(
            python="3.11.9", platform="Linux x86_64", device="cpu", packages={"torch": "2.9.0", "timm": "1.0.31"}
        ),
        "models": entries,
    }
    write_bytes(folder / "zoo.json", to_json(ZooRecord(**{**base, **fields})))
    return folder


def paper_models(pairs: tuple[tuple[str, str], ...] = PAIRS) -> list[Model]:
    """The 42 entries of model_zoo.yaml, measured a little off their published figures; two failed."""
    draws = np.random.default_rng(11)
    out = []
    for index, entry in enumerate(yaml.safe_load(model_zoo_file().read_text(encoding="utf-8"))["models"]):
        printed = {key: value / 100 for key, value in entry["published"].items()}
        shift = draws.normal(0, 0.012, 3)
        drops = {
            pair: round(float(np.clip(draws.normal(0.3 - 0.045 * place, 0.07), -0.05, 0.8)), 4)
            for place, pair in enumerate(pairs)
        }
        drops[pairs[0]] = round(0.25 + 0.005 * index, 4)
        drops[pairs[-1]] = 0.31 if index == 4 else 0.02
        out.append(
            Model(
                entry["id"],
                entry["name"],
                entry["group"],
                clean=round(printed["clean"] + shift[0], 4),
                core=round(printed["core"] + shift[1], 4),
                spurious=round(printed["spurious"] + shift[2], 4),
                published=Published(**printed),
                failed=FAILED if index in (13, 40) else None,
                size=299 if "Inception" in entry["name"] else 224,
                drops=drops,
                gap=round(float(np.clip(draws.normal(0.12, 0.05), 0, 1)), 4),
            )
        )
    return out


def paper_zoo(folder: Path) -> Path:
    return save_zoo(folder, paper_models())


def plain_zoo(folder: Path) -> Path:
    """Three models without groups, published figures or features; two share their clean accuracy."""
    return save_zoo(
        folder,
        [
            Model("a", "alpha", clean=0.9, core=0.8, spurious=0.5),
            Model("b", "beta", clean=0.9, core=0.85, spurious=0.82),
            Model("c", "gamma", clean=0.7, core=0.86, spurious=0.2),
        ],
        source=None,
    )


def single_zoo(folder: Path) -> Path:
    return save_zoo(folder, [Model("only", "the only one", "ViTs", gap=0.2)])


def awkward_zoo(folder: Path) -> Path:
    """Undefined and saturated RCS, another precision, another input size, a notice."""
    notice = Notice(code="SPA014", text="The crop cuts off 12 % of the core mask's area.")
    return save_zoo(
        folder,
        [
            Model("usual", "usual", "ConvNets"),
            Model("large", "large", "ConvNets", size=320),
            Model("half", "half", "ConvNets", precision="bf16", core=0.7),
            Model("dead", "dead", "ViTs", clean=0.01, core=0.0, spurious=0.0, rcs=None),
            Model("edge", "edge", "ViTs", core=1.0, spurious=0.7, flags=["saturated"], notices=[notice]),
        ],
    )


def hostile_zoo(folder: Path) -> Path:
    """Names that try to leave every context they are written into."""
    bad = sample_run.HOSTILE
    pairs = {(bad, bad): 0.4, ('carpenter\'s "kit" & co', "a|b`c`<b>*d*"): 0.02}
    notice = Notice(code="SPA001", text=bad)
    models = [
        Model(
            f"m{index}",
            f"{index} {bad}",
            bad if index else '"><script>alert(2)</script>',
            core=0.8 - 0.1 * index,
            published=Published(clean=0.9, core=0.82, spurious=0.6, rcs=0.2),
            drops=dict(pairs),
            gap=0.1,
            notices=[notice],
        )
        for index in range(3)
    ]
    models.append(Model("lost", bad, bad, failed=bad))
    return save_zoo(folder, models, zoo=bad, source=bad, data=bad, argv=["zoo", bad])
