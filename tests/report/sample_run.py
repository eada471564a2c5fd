"""Run folders as `scan` would leave them, with drawn exhibits: the input of every test of the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sample_drawings import composite, digit, invert, noised, region, scene, webp

from spuraudit.record.folder import read_record, to_json, write_bytes
from spuraudit.record.geometry import Geometry, Preprocess
from spuraudit.record.scan import (
    AuditRecord,
    Cell,
    ClassRecord,
    DataRecord,
    Environment,
    Exclusion,
    Exhibit,
    FeatureRecord,
    Finding,
    Measurement,
    ModelRecord,
    Notice,
    ObservationPart,
    Panel,
    PatchCurve,
    RunInfo,
    ScanRecord,
    ToolRecord,
)
from spuraudit.record.verdict import GateResult, Rule, Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

SIGMAS = (0.1, 0.25, 0.5, 1.0)
HOSTILE = "</script><img src=x onerror=alert(1)>"
NOISE = "noise/pixels01;sigma=0.25;clamp;mask=soft;dilation=61;trials=5;mean=classes"
DROP = "feature-drop/pixels01;sigma=0.25;clamp;mask=soft;control=equal-energy;trials=5"
SWAP = "region-swap/background;fill=inpaint;donors=train;trials=2"
PATCH = "patch-swap/grid=7x7;targets=50;passes=100;dropout=own"
CLEAN = "clean/top1;mean=classes"


def definitions() -> dict[str, str]:
    return {
        CLEAN: "Top-1 accuracy on unchanged images, mean over classes.",
        NOISE: "Accuracy with Gaussian noise in one region, added to [0, 1] pixels and clamped before normalisation.",
        DROP: "Clean accuracy minus accuracy with the feature noised, against equal noise energy elsewhere.",
        SWAP: "Accuracy with the background of a same-class donor minus that of another class's donor.",
        PATCH: "Mean softmax probability of the source's class, one grid cell replaced by a target's.",
    }


def number(
    metric: str,
    value: float | None,
    n: int,
    definition: str = NOISE,
    *,
    width: float | None = None,
    flags: list[str] | None = None,
    reason: str | None = None,
    **scope: Any,
) -> Measurement:
    """A measurement with a plausible interval."""
    low, high = (
        (-1.0, 1.0) if metric == "rcs" or "drop" in metric or "gap" in metric or "pull" in metric else (0.0, 1.0)
    )
    half = width if width is not None else (0.98 / max(n, 1) ** 0.5)
    ci = None if value is None else (round(max(low, value - half), 4), round(min(high, value + half), 4))
    return Measurement(
        metric=metric,
        definition=definition,
        scope=scope,
        value=None if value is None else round(value, 4),
        reason=reason,
        n=n,
        ci=ci,
        ci_method="wilson" if low == 0.0 else "bootstrap/class",
        flags=flags or [],
    )


def rcs(core: float, spurious: float) -> float | None:
    mean = (core + spurious) / 2
    return None if mean in (0, 1) else (core - spurious) / (2 * min(mean, 1 - mean))


def noise_measurements(
    clean: dict[str, float], core: dict[str, float], spurious: dict[str, float], n: dict[str, int]
) -> list[Measurement]:
    """What the noise audit writes, for the sigmas of SIGMAS; the given figures are those of sigma 0.25."""
    total = sum(n.values())

    def mean(values: dict[str, float]) -> float:
        return sum(values.values()) / len(values)

    def over_images(values: dict[str, float]) -> float:
        return sum(values[name] * n[name] for name in values) / total

    out = [
        number("clean_accuracy", mean(clean), total, CLEAN),
        number("clean_accuracy_images", over_images(clean), total, CLEAN),
        *(number("clean_accuracy", clean[name], n[name], CLEAN, **{"class": name}) for name in clean),
    ]
    for sigma in SIGMAS:
        fade = (sigma / 0.25) ** 0.6
        seen = {name: clean[name] - (clean[name] - core[name]) * fade for name in clean}
        seen = {name: max(0.02, value) for name, value in seen.items()}
        lost = {name: max(0.01, clean[name] - (clean[name] - spurious[name]) * fade) for name in clean}
        c, s = mean(seen), mean(lost)
        out += [
            number("core_accuracy", c, total, sigma=sigma),
            number("spurious_accuracy", s, total, sigma=sigma),
            number("core_drop", mean(clean) - c, total, sigma=sigma),
            number("spurious_drop", mean(clean) - s, total, sigma=sigma),
            number("rcs", rcs(c, s), total, width=0.05, sigma=sigma),
            number("core_accuracy_images", over_images(seen), total, sigma=sigma),
            number("spurious_accuracy_images", over_images(lost), total, sigma=sigma),
            number("rcs_images", rcs(over_images(seen), over_images(lost)), total, width=0.05, sigma=sigma),
        ]
        for name in clean:
            scope = {"class": name, "sigma": sigma}
            flags = ["saturated"] if lost[name] <= 0.01 else []
            out += [
                number("core_accuracy", seen[name], n[name], **scope),
                number("spurious_accuracy", lost[name], n[name], **scope),
                number("rcs", rcs(seen[name], lost[name]), n[name], width=0.08, flags=flags, **scope),
            ]
    return out


def swap_measurements(same: dict[str, float], other: dict[str, float], n: dict[str, int]) -> list[Measurement]:
    """What region swap writes for the feature background."""
    total, scope = sum(n.values()), {"feature": "background"}
    s, o = sum(same.values()) / len(same), sum(other.values()) / len(other)
    out = [
        number("swap_same_accuracy", s, total, SWAP, **scope),
        number("swap_other_accuracy", o, total, SWAP, **scope),
        number("swap_gap", s - o, total, SWAP, **scope),
        number("swap_pull", (s - o) * 0.95, total, SWAP, **scope),
    ]
    for name in same:
        inner = {**scope, "class": name}
        gap = same[name] - other[name]
        out += [
            number("swap_same_accuracy", same[name], n[name], SWAP, **inner),
            number("swap_other_accuracy", other[name], n[name], SWAP, **inner),
            number("swap_gap", gap, n[name], SWAP, **inner),
            number("swap_pull", gap * 0.95, n[name], SWAP, **inner),
        ]
        for shift, donor in enumerate(donor for donor in same if donor != name):
            change = 0.9 + min(0.05, 0.1 / len(same)) * shift
            pair = {**inner, "donor_class": donor}
            out += [
                number("swap_other_accuracy", same[name] - gap * change, n[name], SWAP, **pair),
                number("swap_gap", gap * change, n[name], SWAP, **pair),
                number("swap_pull", gap * change * 0.95, n[name], SWAP, **pair),
            ]
    return out


def patch_measurements(source: str, target: str, worst: int, lowest: float, rows: int = 7) -> list[Measurement]:
    """One sweep over rows x rows cells; cell `worst` (1-based) brings the certainty down to `lowest`."""
    draws = np.random.default_rng(worst)
    pair = {"class": source, "target_class": target}
    out = [number("patch_certainty_unperturbed", 0.974, 12, PATCH, width=0.01, **pair)]
    for cell in range(1, rows * rows + 1):
        row, column = (cell - 1) // rows + 1, (cell - 1) % rows + 1
        middle = max(0.0, 1 - abs(row - rows / 2) / 3 - abs(column - rows / 2) / 3)
        value = lowest if cell == worst else 0.972 - 0.13 * middle * draws.random()
        place = {"cell": cell, "row": row, "column": column, "rows": rows, "columns": rows}
        out.append(number("patch_certainty", value, 12, PATCH, width=0.03, **pair, **place))
        out.append(number("patch_drop", 0.974 - value, 12, PATCH, width=0.05, **pair, **place))
        share = 0.98 if cell == worst else 0.0
        out.append(number("patch_consistency", share, 12, PATCH, width=0.02, **pair, **place))
    return out


def patch_curves(
    source: str, target: str, worst: int, lowest: float, *, images: int = 4, rows: int = 7, adaptive: bool = False
) -> list[PatchCurve]:
    """Curves of single source images. The last one's lowest cell is another without dropout.

    An adaptive search leaves most cells after few targets; its last image keeps two gaps and stays unsettled.
    """
    cells = rows * rows
    out = []
    for index in range(images):
        draws = np.random.default_rng(1000 * worst + index)
        middle = np.array(
            [max(0.0, 1 - abs(c // rows - rows // 2) / 3 - abs(c % rows - rows // 2) / 3) for c in range(cells)]
        )
        certainty = 0.965 - 0.01 * index - 0.25 * middle * draws.random(cells)
        certainty[worst - 1] = lowest + 0.03 * index
        plain = np.clip(certainty + draws.normal(0.015, 0.015, cells), 0, 1)
        last = index == images - 1
        plain_argmin = worst % cells + 1 if last else worst
        plain[plain_argmin - 1] = max(0.0, float(certainty.min()) - 0.05)
        targets = np.full(cells, 50)
        values: list[float | None] = [round(float(value), 4) for value in certainty]
        plain_values: list[float | None] = [round(float(value), 4) for value in plain]
        if adaptive:
            targets = np.where(certainty > np.sort(certainty)[6], 6, 25)
            targets[worst - 1] = 50
        if adaptive and last:
            for gap in (20, 21):
                values[gap], plain_values[gap], targets[gap] = None, None, 0
        out.append(
            PatchCurve(
                image=f"{source}/{index:04d}.png",
                class_name=source,
                target_class=target,
                rows=rows,
                columns=rows,
                unperturbed=round(0.974 - 0.01 * index, 4),
                plain_unperturbed=round(0.988 - 0.01 * index, 4),
                certainty=values,
                plain_certainty=plain_values,
                targets=[int(number) for number in targets],
                argmin=worst,
                plain_argmin=plain_argmin,
                settled=(not last) if adaptive else None,
            )
        )
    return out


def own_numbers(source: str, target: str, drop: float, agreement: float, n: int = 12) -> list[Measurement]:
    """What patch swap measures over single source images of a pair."""
    pair = {"class": source, "target_class": target}
    return [
        number("patch_argmin_drop", drop, n, PATCH, width=0.04, **pair),
        number("patch_mean_absolute_change", 0.043, n, PATCH, width=0.01, **pair),
        number("patch_argmin_agreement", agreement, n, PATCH, width=0.1, **pair),
    ]


def save(run: Path, kind: str, picture: Image.Image, name: str, alt: str, caption: str, size: int = 224) -> Panel:
    """Write one exhibit and return its panel."""
    drawn = picture.resize((size, size))
    write_bytes(run / "exhibits" / f"{name}.webp", webp(drawn))
    return Panel(kind=kind, file=f"exhibits/{name}.webp", width=size, height=size, alt=alt, caption=caption)  # type: ignore[arg-type]


def swap_exhibit(run: Path, name: str, index: int) -> Exhibit:
    home, away = ("land", "water") if name == "landbird" else ("water", "land")
    picture, mask = scene(home, index)
    key = f"swap-{name}-{index}"
    drawn = {
        "same": save(
            run,
            "same",
            composite(picture, mask, home, 50 + index),
            f"{key}-c",
            f"The bird on other {home}.",
            f"same class: 96 % {name}",
        ),
        "other": save(
            run,
            "other",
            composite(picture, mask, away, 70 + index),
            f"{key}-d",
            f"The bird on {away}.",
            f"other class: 21 % {name}",
        ),
    }
    lenders = {"same": name, "other": f"{away}bird"}
    return Exhibit(
        image=f"{name}/{index:04d}.jpg",
        class_name=name,
        panels=[
            save(run, "image", picture, f"{key}-a", f"A {name} on {home}.", f"clean: 98 % {name}"),
            save(
                run,
                "region",
                region(picture, invert(mask)),
                f"{key}-b",
                "Everything but the bird.",
                "region: background",
            ),
            *(
                panel.model_copy(update={"donor": f"{lenders[kind]}/0100.jpg", "donor_class": lenders[kind]})
                for kind, panel in drawn.items()
            ),
        ],
    )


def swap_exhibits(run: Path, name: str, first: int) -> list[Exhibit]:
    """Three images on which the region mattered, and one on which it did not."""
    made = [swap_exhibit(run, name, first + step) for step in range(4)]
    return [*made[:3], made[3].model_copy(update={"role": "counterexample"})]


def drop_exhibit(run: Path, name: str, feature: str, index: int) -> Exhibit:
    picture, mask = scene("water", 200 + index)
    key = f"drop-{name}-{feature}-{index}".replace(" ", "-")
    return Exhibit(
        image=f"{name}/{index:04d}.jpg",
        class_name=name,
        panels=[
            save(run, "image", picture, f"{key}-a", f"A {name}.", f"clean: 91 % {name}"),
            save(
                run, "region", region(picture, invert(mask)), f"{key}-b", f"Where {feature} is.", f"region: {feature}"
            ),
            save(
                run,
                "noised",
                noised(picture, invert(mask), 0.25, index),
                f"{key}-c",
                f"{feature} noised.",
                f"noised: 38 % {name}",
                112,
            ),
            save(
                run,
                "control",
                noised(picture, mask, 0.25, index),
                f"{key}-d",
                "Equal noise elsewhere.",
                f"control: 88 % {name}",
                112,
            ),
        ],
    )


def patch_exhibit(run: Path, name: str, index: int) -> Exhibit:
    key = f"patch-{name}-{index}"
    return Exhibit(
        image=f"{name}/{index}.png",
        class_name=name,
        panels=[
            save(
                run,
                "image",
                digit(index, index % 4),
                f"{key}-a",
                f"A drawn {name} with a square.",
                f"clean: 99 % {name}",
                112,
            ),
            save(
                run,
                "swapped",
                digit(index, None),
                f"{key}-b",
                "The square is gone.",
                f"swapped: 11 % {name}",
                112,
            ),
        ],
    )


def finding(number: int, audit: str, name: str, feature: str, **fields: Any) -> Finding:
    base: dict[str, Any] = {
        "id": f"F{number:03d}",
        "fingerprint": f"{number:064x}",
        "audit": audit,
        "class_name": name,
        "feature": feature,
        "role": "background" if feature == "background" else "spurious",
        "suspected": True,
        "p": 0.0001,
        "q": 0.0004,
        "n": 320,
    }
    return Finding(**{**base, **fields})


def record(
    *, classes: dict[str, int], measurements: list[Measurement], findings: list[Finding], **fields: Any
) -> ScanRecord:
    """A record around the given numbers."""
    geometry = Geometry(height=224, width=224, crop_pct=0.875, interpolation="bicubic")
    total = sum(classes.values())
    base: dict[str, Any] = {
        "tool": ToolRecord(version="0.1.0"),
        "run": RunInfo(
            id="9f2c41d07ab35e68",
            plan_sha256="9f2c41d07ab35e68" * 4,
            started="2026-11-22T07:00:00Z",
            seconds=412.6,
            resumed_parts=0,
            argv=["scan", "birds.pt", "--data", "mini_waterbirds", "--sigma", "0.1", "--sigma", "0.25"],
            seed=0,
        ),
        "model": ModelRecord(
            name="birds.pt",
            source="file",
            file="birds.pt",
            sha256="a87a6e20892a" + "0" * 52,
            size_bytes=14_214_848,
            arch="mobilenetv2_100",
            arch_origin="checkpoint",
            kwargs={"drop_rate": 0.2},
            parameters=2_226_434,
            num_classes=len(classes),
            preprocess=Preprocess(
                geometry=geometry,
                mean=(0.485, 0.456, 0.406),
                std=(0.229, 0.224, 0.225),
                origin={"mean": "timm", "std": "timm", "crop_pct": "--crop-pct"},
            ),
        ),
        "data": DataRecord(
            name="drawn birds",
            source="mini_waterbirds",
            layout="waterbirds",
            fingerprint="5d8e" * 16,
            split="test",
            donor_split="train",
            images=total,
            available=total + 40,
            classes=[
                ClassRecord(index=index, name=name, outputs=[index], images=images)
                for index, (name, images) in enumerate(classes.items())
            ],
            features=[
                FeatureRecord(name="object", role="core", masks=total),
                *(FeatureRecord(name=name, role="spurious", masks=70) for name in fields.pop("features", [])),
            ],
        ),
        "audits": [
            AuditRecord(
                name="noise", status="run", params={"sigma": list(SIGMAS), "trials": 5}, images=total, passes=total * 41
            )
        ],
        "definitions": definitions(),
        "measurements": measurements,
        "findings": findings,
        "environment": Environment(
            python="3.11.9",
            platform="Linux x86_64",
            device="cpu",
            packages={"torch": "2.9.0", "timm": "1.0.31", "numpy": "2.3.1", "spuraudit": "0.1.0"},
        ),
        "observations": [ObservationPart(file="observations/part-00000.parquet", sha256="c0" * 32, rows=total * 41)],
    }
    return ScanRecord(**{**base, **fields})


def save_run(run: Path, scan: ScanRecord, verdict: Verdict | None = None) -> Path:
    write_bytes(run / "scan.json", to_json(scan))
    if verdict is not None:
        write_bytes(run / "verdict.json", to_json(verdict))
    return run


def verdict(*outcomes: str) -> Verdict:
    """A verdict with one gate per outcome."""
    texts = {
        "pass": "rcs is 0.263 (95 % 0.213 to 0.313) on 640 images: at least 0.2.",
        "fail": "swap_gap is 0.550 (95 % 0.511 to 0.589) on 640 images: above the limit of 0.1.",
        "not evaluated": "worst_group_accuracy has 31 images behind it; the rule asks for 50.",
    }
    rules = {
        "pass": Rule(id="rcs-floor", metric="rcs", scope={"sigma": 0.25}, op=">=", limit=0.2, bound="ci_low"),
        "fail": Rule(id="background-gap", metric="swap_gap", scope={"feature": "background"}, op="<=", limit=0.1),
        "not evaluated": Rule(id="worst-group", metric="worst_group_accuracy", op=">=", limit=0.6),
    }
    values = {
        "pass": (0.263, (0.213, 0.313), 640),
        "fail": (0.55, (0.511, 0.589), 640),
        "not evaluated": (None, None, 31),
    }
    gates = [
        GateResult(
            rule=rules[name],
            outcome=name,  # type: ignore[arg-type]
            text=texts[name],
            matched=1,
            value=values[name][0],
            ci=values[name][1],
            n=values[name][2],
            scope=rules[name].scope,
        )
        for name in outcomes
    ]
    overall = next((name for name in ("not evaluated", "fail") if name in outcomes), "pass")
    return Verdict(run_id="9f2c41d07ab35e68", outcome=overall, gates=gates)  # type: ignore[arg-type]


def bird_audits(total: int) -> list[AuditRecord]:
    return [
        AuditRecord(
            name="noise", status="run", params={"sigma": list(SIGMAS), "trials": 5}, images=total, passes=total * 41
        ),
        AuditRecord(
            name="feature_drop", status="run", params={"sigma": 0.25, "trials": 5}, images=total, passes=total * 10
        ),
        AuditRecord(
            name="region_swap",
            status="run",
            params={"donors": 2},
            images=total,
            passes=total * 4,
            notes=["Donors come from the train split."],
        ),
        AuditRecord(
            name="patch_swap",
            status="run",
            params={"targets": 50, "passes": 100, "rows": 7},
            images=24,
            passes=117_600,
            notes=["The network has no dropout: dropout of rate 0.2 was injected before the classifier."],
        ),
    ]


def birds_run(run: Path, judged: Verdict | None = None) -> Path:
    """Two classes, all audits: noise sees nothing, region swap sees the background."""
    n = {"landbird": 320, "waterbird": 320}
    clean = {"landbird": 0.72, "waterbird": 0.646}
    noise = noise_measurements(
        clean, {"landbird": 0.755, "waterbird": 0.707}, {"landbird": 0.57, "waterbird": 0.508}, n
    )
    groups = {
        "landbird on land": 0.988,
        "landbird on water": 0.452,
        "waterbird on land": 0.304,
        "waterbird on water": 0.988,
    }
    noise += [number("clean_accuracy", value, 160, CLEAN, group=name) for name, value in groups.items()]
    noise.append(number("worst_group_accuracy", 0.304, 160, CLEAN))
    same, other = {"landbird": 0.975, "waterbird": 0.98}, {"landbird": 0.515, "waterbird": 0.345}
    findings = [
        finding(
            index + 1,
            "region_swap",
            name,
            "background",
            effect=round(same[name] - other[name], 4),
            effect_ci=(round(same[name] - other[name] - 0.05, 4), round(same[name] - other[name] + 0.05, 4)),
            numbers={
                "clean": clean[name],
                "same": same[name],
                "other": other[name],
                "gap": same[name] - other[name],
                "pull": 0.44,
            },
            exhibits=swap_exhibits(run, name, index * 4),
        )
        for index, name in enumerate(("waterbird", "landbird"))
    ]
    findings.append(
        finding(
            3,
            "feature_drop",
            "waterbird",
            "reed belt",
            effect=0.231,
            effect_ci=(0.11, 0.35),
            n=65,
            q=0.012,
            p=0.004,
            numbers={
                "clean": 0.877,
                "noised": 0.6,
                "drop": 0.277,
                "control": 0.831,
                "control_drop": 0.046,
                "p_clean": 0.001,
            },
            exhibits=[drop_exhibit(run, "waterbird", "reed belt", 1)],
            flags=["Only 65 images carry this feature; the interval is wide."],
        )
    )
    findings.append(
        finding(
            4,
            "patch_swap",
            "landbird",
            "cell 46",
            role="unnamed",
            target_class="waterbird",
            effect=0.36,
            effect_ci=(0.21, 0.5),
            n=12,
            q=0.03,
            p=0.01,
            numbers={
                "unperturbed": 0.974,
                "swapped": 0.61,
                "drop": 0.36,
                "consistency": 0.83,
                "plain_drop": 0.37,
            },
            cell=Cell(number=46, row=7, column=4, rows=7, columns=7),
        )
    )
    findings.append(
        finding(
            5,
            "feature_drop",
            "landbird",
            "branch",
            suspected=False,
            effect=0.012,
            effect_ci=(-0.05, 0.07),
            n=80,
            p=0.6,
            q=0.71,
            numbers={
                "clean": 0.8,
                "noised": 0.775,
                "drop": 0.025,
                "control": 0.787,
                "control_drop": 0.013,
                "p_clean": 0.4,
            },
        )
    )
    measurements = noise + swap_measurements(same, other, n)
    measurements += patch_measurements("landbird", "waterbird", 46, 0.61) + patch_measurements(
        "waterbird", "landbird", 4, 0.83
    )
    measurements += own_numbers("landbird", "waterbird", 0.38, 11 / 12) + own_numbers("waterbird", "landbird", 0.16, 1)
    curves = patch_curves("landbird", "waterbird", 46, 0.6) + patch_curves("waterbird", "landbird", 4, 0.82, images=3)
    scan = record(
        classes=n,
        measurements=measurements,
        findings=findings,
        audits=bird_audits(640),
        curves=curves,
        features=["reed belt", "branch"],
        exclusions=[
            Exclusion(reason="image cannot be decoded", n=3, examples=["waterbird/0009.jpg", "landbird/0113.jpg"])
        ],
        warnings=[Notice(code="SPA014", text="The crop cuts off 12 % of the core mask's area on average.")],
    )
    return save_run(run, scan, judged)


def digits_run(run: Path, targets: int = 2) -> Path:
    """Ten classes, no masks: only patch swap ran; every class has its decoy cell."""
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    corners = (1, 7, 49, 43)
    measurements = [
        number("clean_accuracy", 0.99, 500, CLEAN),
        number("clean_accuracy_images", 0.99, 500, CLEAN),
        *(number("clean_accuracy", 0.98, 50, CLEAN, **{"class": name}) for name in names),
    ]
    findings: list[Finding] = []
    for index, name in enumerate(names):
        cell = corners[index % 4]
        for step in range(1, targets + 1):
            target = names[(index + step) % 10]
            lowest = 0.12 + 0.01 * index
            measurements += patch_measurements(name, target, cell, lowest)
            findings.append(
                finding(
                    len(findings) + 1,
                    "patch_swap",
                    name,
                    f"cell {cell}",
                    role="unnamed",
                    target_class=target,
                    effect=round(0.974 - lowest, 3),
                    effect_ci=(round(0.90 - lowest, 3), 0.974),
                    n=12,
                    numbers={
                        "unperturbed": 0.974,
                        "swapped": lowest,
                        "drop": round(0.974 - lowest, 3),
                        "consistency": 1.0,
                        "plain_drop": 0.85,
                    },
                    cell=Cell(number=cell, row=(cell - 1) // 7 + 1, column=(cell - 1) % 7 + 1, rows=7, columns=7),
                    exhibits=[patch_exhibit(run, name, index)] if step == 1 else [],
                )
            )
    skipped = "The dataset has no masks; this audit needs a core mask per image."
    scan = record(
        classes=dict.fromkeys(names, 50),
        measurements=measurements,
        findings=findings,
        audits=[
            AuditRecord(name="noise", status="skipped", reason=skipped),
            AuditRecord(name="feature_drop", status="skipped", reason=skipped),
            AuditRecord(name="region_swap", status="skipped", reason=skipped),
            AuditRecord(
                name="patch_swap", status="run", params={"targets": 50, "passes": 100}, images=120, passes=1_200_000
            ),
        ],
    )
    return save_run(run, scan)


def adaptive_run(run: Path, targets: int = 2) -> Path:
    """The digits again, each pair with the curves of four source images of an adaptive search."""
    scan = read_record(digits_run(run, targets))
    pairs = [
        (str(item.scope["class"]), str(item.scope["target_class"]), int(item.scope["cell"]), item.value or 0.0)
        for item in scan.measurements
        if item.metric == "patch_certainty" and (item.value or 1.0) < 0.5
    ]
    curves = [
        curve
        for source, target, cell, lowest in pairs
        for curve in patch_curves(source, target, cell, lowest, adaptive=True)
    ]
    audits = [
        audit.model_copy(update={"params": {**audit.params, "search": "adaptive"}})
        if audit.name == "patch_swap"
        else audit
        for audit in scan.audits
    ]
    return save_run(run, scan.model_copy(update={"curves": curves, "audits": audits}))


def healthy_run(run: Path, judged: Verdict | None = None) -> Path:
    """Nothing found: one noise audit, one feature tested and cleared."""
    n = {"landbird": 200, "waterbird": 80}
    flat = {"landbird": 0.93, "waterbird": 0.91}
    cleared = finding(
        1,
        "feature_drop",
        "landbird",
        "branch",
        suspected=False,
        effect=0.002,
        effect_ci=(-0.03, 0.04),
        n=200,
        p=0.9,
        q=0.9,
        numbers={"clean": 0.93, "noised": 0.92, "drop": 0.01, "control": 0.922, "control_drop": 0.008, "p_clean": 0.8},
    )
    audits = [
        AuditRecord(name="noise", status="run", images=280, passes=4000),
        AuditRecord(name="feature_drop", status="run", images=200, passes=2000),
        AuditRecord(name="region_swap", status="skipped", reason="Switched off with --audits."),
    ]
    core, spurious = {"landbird": 0.92, "waterbird": 0.9}, {"landbird": 0.01, "waterbird": 0.02}
    scan = record(
        classes=n, measurements=noise_measurements(flat, core, spurious, n), findings=[cleared], audits=audits
    )
    return save_run(run, scan, judged)


def hostile_run(run: Path) -> Path:
    """Names that try to leave every context they are written into."""
    names = [HOSTILE, 'carpenter\'s "kit" & co', "a|b`c`<b>*d*"]
    n = dict.fromkeys(names, 60)
    half = dict.fromkeys(names, 0.5)
    measurements = noise_measurements(dict.fromkeys(names, 0.9), dict.fromkeys(names, 0.8), half, n)
    measurements += swap_measurements(dict.fromkeys(names, 0.9), half, n)
    measurements += patch_measurements(names[0], names[1], 9, 0.3)
    curves = [
        curve.model_copy(update={"image": HOSTILE}) for curve in patch_curves(names[0], names[1], 9, 0.3, adaptive=True)
    ]
    found = finding(
        1,
        "feature_drop",
        HOSTILE,
        HOSTILE,
        effect=0.4,
        effect_ci=(0.3, 0.5),
        n=60,
        numbers={"clean": 0.9, "noised": 0.4, "drop": 0.5, "control": 0.8, "control_drop": 0.1, "p_clean": 0.001},
        flags=[HOSTILE],
        exhibits=[drop_exhibit(run, "waterbird", "water", 3)],
    )
    panels = [panel.model_copy(update={"alt": HOSTILE, "caption": HOSTILE}) for panel in found.exhibits[0].panels]
    found = found.model_copy(
        update={"exhibits": [found.exhibits[0].model_copy(update={"image": HOSTILE, "panels": panels})]}
    )
    scan = record(
        classes=n,
        measurements=measurements,
        findings=[found],
        curves=curves,
        exclusions=[Exclusion(reason=HOSTILE, n=1, examples=[HOSTILE])],
        warnings=[Notice(code="SPA001", text=HOSTILE)],
    )
    scan = scan.model_copy(update={"model": scan.model.model_copy(update={"name": HOSTILE})})
    return save_run(run, scan)


def thousand_run(run: Path, classes: int = 1000, features: int = 5) -> Path:
    """As large as Salient ImageNet: 1,000 classes, 5,000 tested features."""
    draws = np.random.default_rng(7)
    names = [f"class {index:04d}" for index in range(classes)]
    n = dict.fromkeys(names, 65)
    clean = {name: float(draws.uniform(0.6, 1.0)) for name in names}
    core = {name: value * float(draws.uniform(0.8, 1.0)) for name, value in clean.items()}
    spurious = {name: value * float(draws.uniform(0.2, 0.9)) for name, value in clean.items()}
    findings: list[Finding] = []
    for index, name in enumerate(names):
        for feature in range(features):
            drop = float(draws.normal(0.02, 0.06))
            suspected = drop > 0.14
            findings.append(
                finding(
                    0,
                    "feature_drop",
                    name,
                    f"feature {index * features + feature}",
                    suspected=suspected,
                    effect=round(drop, 4),
                    effect_ci=(round(drop - 0.1, 4), round(drop + 0.1, 4)),
                    n=65,
                    q=0.01 if suspected else 0.4,
                    numbers={
                        "clean": 0.9,
                        "noised": 0.9 - drop,
                        "drop": drop,
                        "control": 0.9,
                        "control_drop": 0.0,
                        "p_clean": 0.2,
                    },
                )
            )
    findings.sort(key=lambda item: (not item.suspected, -item.effect_ci[0]))
    findings = [item.model_copy(update={"id": f"F{rank:03d}"}) for rank, item in enumerate(findings, 1)]
    pictures = drop_exhibit(run, "waterbird", "water", 5)
    findings[:40] = [item.model_copy(update={"exhibits": [pictures]}) for item in findings[:40]]
    measurements = noise_measurements(clean, core, spurious, n)
    measurements = [item for item in measurements if item.scope.get("sigma", 0.25) == 0.25]
    return save_run(run, record(classes=n, measurements=measurements, findings=findings))
