"""The page of a scan of 1,000 classes and 5,000 features, alone and among 42 models, and the page of these models.

    python benchmarks/report.py [--classes 1000] [--features 5] [--models 42] [--no-browser] [--folder DIR]

Run folders are drawn with numpy: numbers per class and per feature, pairs of a region swap, and 20 findings with three
images of four panels each, as heavy as photos. Every page is made in a process of its own; the table shows its CPU and
wall-clock seconds, its peak memory, its size, and what headless Chromium needs to load it (medians of three visits,
network off): CPU seconds of the page's main thread (script, style, layout, parsing), of which layout, and wall-clock
seconds. Limits, of CPU seconds, so that what else the machine does counts little: 10 s, 10 MB, 2 s.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from spuraudit.record import compared
from spuraudit.record.folder import read_record, sha256_of, to_json, write_bytes
from spuraudit.record.geometry import Geometry, Preprocess
from spuraudit.record.scan import (
    AuditRecord,
    ClassRecord,
    DataRecord,
    Environment,
    Exhibit,
    FeatureRecord,
    Finding,
    Measurement,
    ModelRecord,
    ObservationPart,
    Panel,
    RunInfo,
    ScanRecord,
    ToolRecord,
)
from spuraudit.record.units import lowest
from spuraudit.record.zoo import ZooModel, ZooRecord

IMAGES = 65
DROP, NOISE, SWAP, CLEAN = "feature-drop/drawn", "noise/drawn", "region-swap/drawn", "clean/drawn"
DROPS = ("feature_clean_accuracy", "feature_noised_accuracy", "feature_drop", "control_drop", "feature_drop_excess")
SECONDS, BYTES, LOAD = 10.0, 10_000_000, 2.0


def number(metric: str, definition: str, value: float, n: int, **scope: str | float) -> Measurement:
    """A proportion or difference with an interval of plus or minus five points, kept within what can be."""
    value = min(1.0, max(lowest(metric), value))
    ci = (max(lowest(metric), value - 0.05), min(1.0, value + 0.05))
    return Measurement(
        metric=metric, definition=definition, scope=scope, value=value, n=n, ci=ci, ci_method="bootstrap"
    )


def measurements(draws: np.random.Generator, names: list[str], features: int) -> list[Measurement]:
    """Overall numbers at four levels of noise; per class; per feature of a class; ten donor classes per class."""
    out = [number("clean_accuracy", CLEAN, 0.8, IMAGES * len(names))]
    for sigma in (0.1, 0.25, 0.5, 1.0):
        for metric, value in (("core_accuracy", 0.75), ("spurious_accuracy", 0.75 - 0.4 * sigma), ("rcs", 0.5 * sigma)):
            out.append(number(metric, NOISE, value, IMAGES * len(names), sigma=sigma))
    out.append(number("swap_gap", SWAP, 0.2, IMAGES * len(names), feature="background"))
    for index, name in enumerate(names):
        scope = {"class": name}
        out.append(number("clean_accuracy", CLEAN, float(draws.uniform(0.6, 1)), IMAGES, **scope))
        out += [
            number(metric, NOISE, float(draws.uniform(0, 0.9)), IMAGES, **scope, sigma=0.25)
            for metric in ("core_accuracy", "spurious_accuracy", "rcs", "core_drop", "spurious_drop")
        ]
        out += [
            number(metric, SWAP, float(draws.uniform(0, 0.9)), IMAGES, **scope, feature="background")
            for metric in ("swap_same_accuracy", "swap_other_accuracy", "swap_gap", "swap_pull")
        ]
        for step in range(1, 11):
            pair = {**scope, "feature": "background", "donor_class": names[(index + step) % len(names)]}
            out.append(number("swap_gap", SWAP, float(draws.uniform(-0.1, 0.9)), 7, **pair))
        for feature in range(features):
            named = {**scope, "feature": f"feature {feature:02d} of {name}"}
            out += [number(metric, DROP, float(draws.normal(0.05, 0.05)), IMAGES, **named) for metric in DROPS]
    return out


def findings(draws: np.random.Generator, names: list[str], features: int) -> list[Finding]:
    """A finding per feature of a class; the largest drops are suspected."""
    made = []
    for name in names:
        for feature in range(features):
            drop = float(draws.normal(0.03, 0.06))
            made.append(
                Finding(
                    id="",
                    fingerprint=f"{name}/{feature}",
                    audit="feature_drop",
                    suspected=drop > 0.14,
                    class_name=name,
                    feature=f"feature {feature:02d} of {name}",
                    role="spurious",
                    effect=drop,
                    effect_ci=(drop - 0.1, drop + 0.1),
                    n=IMAGES,
                    p=0.001 if drop > 0.14 else 0.4,
                    q=0.01 if drop > 0.14 else 0.6,
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
    made.sort(key=lambda finding: (not finding.suspected, -finding.effect_ci[0]))
    return [finding.model_copy(update={"id": f"F{rank:04d}"}) for rank, finding in enumerate(made, 1)]


def photo(draws: np.random.Generator, grain: float) -> bytes:
    """224 x 224 WebP, as the exhibits of a run: smooth patches of colour, with noise of standard deviation `grain`."""
    coarse = Image.fromarray(draws.integers(0, 255, (14, 14, 3), dtype=np.uint8)).resize((224, 224))
    fine = np.asarray(coarse, np.float32) + draws.normal(0, 6 + 255 * grain, (224, 224, 3))
    buffer = io.BytesIO()
    Image.fromarray(fine.clip(0, 255).astype(np.uint8)).save(buffer, "WEBP", quality=80)
    return buffer.getvalue()


def with_exhibits(run: Path, found: list[Finding], draws: np.random.Generator) -> list[Finding]:
    """Three images for each of the first 20 findings: the image, the region, noise on it, noise elsewhere."""
    shown = []
    for finding in found[:20]:
        exhibits = []
        for image in range(3):
            panels = []
            for kind, grain in (("image", 0.0), ("region", 0.0), ("noised", 0.25), ("control", 0.25)):
                file = f"exhibits/{finding.id}-{image}-{kind}.webp"
                write_bytes(run / file, photo(draws, grain))
                panels.append(
                    Panel.model_validate(
                        {"kind": kind, "file": file, "width": 224, "height": 224, "alt": kind, "caption": kind}
                    )
                )
            exhibits.append(Exhibit(image=f"{image:05d}.jpg", class_name=finding.class_name, panels=panels))
        shown.append(finding.model_copy(update={"exhibits": exhibits}))
    return [*shown, *found[20:]]


def record(names: list[str], made: list[Measurement], found: list[Finding]) -> ScanRecord:
    """The numbers as a record."""
    total = IMAGES * len(names)
    audits = ("noise", "feature_drop", "region_swap")
    return ScanRecord(
        tool=ToolRecord(version="0"),
        run=RunInfo(
            id="0" * 16,
            plan_sha256="0" * 64,
            started="2026-01-01T00:00:00Z",
            seconds=1,
            resumed_parts=0,
            argv=[],
            seed=0,
        ),
        model=ModelRecord(
            name="drawn.pt",
            source="file",
            arch="resnet50",
            arch_origin="name",
            parameters=25_557_032,
            num_classes=len(names),
            preprocess=Preprocess(
                geometry=Geometry(height=224, width=224, crop_pct=0.875), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
            ),
        ),
        data=DataRecord(
            name="drawn",
            source="drawn",
            layout="salient1m",
            fingerprint="0" * 64,
            images=total,
            available=total,
            classes=[ClassRecord(index=i, name=name, outputs=[i], images=IMAGES) for i, name in enumerate(names)],
            features=[FeatureRecord(name="object", role="core", masks=total)],
        ),
        audits=[AuditRecord(name=name, status="run", images=total, passes=total) for name in audits],
        definitions=dict.fromkeys((DROP, NOISE, SWAP, CLEAN), "drawn"),
        measurements=made,
        findings=found,
        environment=Environment(python="3", platform="any", device="cpu", packages={}),
        observations=[ObservationPart(file="observations/part-00000.parquet", sha256="0" * 64, rows=total)],
    )


def draw(folder: Path, classes: int, features: int, models: int) -> None:
    """folder/run, and folder/zoo with `models` runs of the same features and other numbers."""
    names = [f"class {index:04d}" for index in range(classes)]
    draws = np.random.default_rng(0)
    found = findings(draws, names, features)
    scan = record(names, measurements(draws, names, features), with_exhibits(folder / "run", found, draws))
    write_bytes(folder / "run/scan.json", to_json(scan))
    content = scan.model_copy(update={"findings": found}).model_dump(mode="json", by_alias=True)
    for index in range(1, models + 1):
        run = folder / f"zoo/models/m{index:02d}"
        write_bytes(run / "scan.json", another(content, index))
        compared.write_compared(run, read_record(run))
    entries = [
        ZooModel(
            id=f"m{index:02d}",
            name=f"model {index:02d}",
            group=f"group {index % 5}",
            status="evaluated",
            run=f"models/m{index:02d}",
            record_sha256=sha256_of(folder / f"zoo/models/m{index:02d}/scan.json"),
            compared_sha256=sha256_of(folder / f"zoo/models/m{index:02d}" / compared.FILE),
        )
        for index in range(1, models + 1)
    ]
    zoo = ZooRecord(
        tool=ToolRecord(version="0"),
        zoo="drawn.yaml",
        data="drawn",
        data_fingerprint="0" * 64,
        started="2026-01-01T00:00:00Z",
        seconds=1,
        argv=[],
        environment=Environment(python="3", platform="any", device="cpu", packages={}),
        models=entries,
    )
    write_bytes(folder / "zoo/zoo.json", to_json(zoo))


def another(content: dict[str, Any], index: int) -> bytes:
    """The record of another model: drops change places among the features, overall figures differ a little."""
    tested = content["findings"]
    moved = tested[index * 7 % len(tested) :] + tested[: index * 7 % len(tested)]
    own = ("id", "fingerprint", "class_name", "feature")
    swapped = [{**other, **{key: item[key] for key in own}} for item, other in zip(tested, moved, strict=True)]
    numbers = [
        {**item, "value": item["value"] - 0.001 * index} if set(item["scope"]) <= {"sigma"} else item
        for item in content["measurements"]
    ]
    run = {**content["run"], "id": f"{index:016x}"}
    return json.dumps({**content, "run": run, "findings": swapped, "measurements": numbers}).encode()


def render_one(kind: str, folder: Path) -> None:
    """In a process of its own: make a page, print seconds and peak memory as JSON."""
    from spuraudit.report import render
    from spuraudit.report.zoo_page import render_zoo

    wall, cpu = time.perf_counter(), time.process_time()
    if kind == "zoo":
        page = render_zoo(folder / "zoo")
    else:
        page = render(folder / "run", against=folder / "zoo" if kind == "scan among zoo" else None)
    took = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    (folder / f"{kind}.html").write_text(page, encoding="utf-8")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({**took, "peak": peak, "bytes": len(page.encode())}))


def opening(file: Path) -> tuple[float, float, float] | None:
    """What Chromium needs to load a page: CPU seconds of its main thread, of layout, wall-clock seconds; else None."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    if path is None:
        return None
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        seen = []
        for _ in range(3):
            page = browser.new_page(viewport={"width": 1280, "height": 900}, offline=True)
            tools = page.context.new_cdp_session(page)
            tools.send("Performance.enable", {"timeDomain": "threadTicks"})
            page.goto(file.as_uri(), timeout=300_000)
            found = {item["name"]: item["value"] for item in tools.send("Performance.getMetrics")["metrics"]}
            wall = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd") / 1000
            seen.append((found["ThreadTime"], found["LayoutDuration"], wall))
            page.close()
        browser.close()
    busy, layout, wall = (statistics.median(column) for column in zip(*seen, strict=True))
    return busy, layout, wall


def main() -> None:
    """Draw, render, open, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--classes", type=int, default=1000)
    options.add_argument("--features", type=int, default=5, help="per class")
    options.add_argument("--models", type=int, default=42)
    options.add_argument("--no-browser", action="store_true")
    options.add_argument("--render", help=argparse.SUPPRESS)
    options.add_argument("--folder", type=Path, help="keep the run folders and pages here, and use those already there")
    given = options.parse_args()
    if given.render:
        render_one(given.render, given.folder)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = (given.folder or Path(scratch)).resolve()
        if not (folder / "zoo/zoo.json").is_file():
            draw(folder, given.classes, given.features, given.models)
        print(f"{given.classes} classes, {given.classes * given.features} features, {given.models} models")
        print(f"{'page':16} {'CPU s':>7} {'wall s':>7} {'peak MB':>8} {'MB':>6}  loading: CPU s, layout, wall")
        for kind in ("scan", "scan among zoo", "zoo"):
            command = [sys.executable, __file__, "--render", kind, "--folder", str(folder)]
            done = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            loading = None if given.no_browser else opening(folder / f"{kind}.html")
            shown = "-" if loading is None else " ".join(f"{seconds:7.2f}" for seconds in loading)
            fits = done["cpu"] < SECONDS and done["bytes"] <= BYTES and (loading is None or loading[0] < LOAD)
            print(
                f"{kind:16} {done['cpu']:7.2f} {done['wall']:7.2f} {done['peak']:8.0f} {done['bytes'] / 1e6:6.2f} "
                f"{shown:>24}  {'' if fits else 'beyond the limits'}"
            )


if __name__ == "__main__":
    main()
