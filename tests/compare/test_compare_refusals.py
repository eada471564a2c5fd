"""Runs that did not ask the same are refused, each with what differs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import toys

from spuraudit.compare import compare_runs
from spuraudit.compare.models import preprocessing, same_model
from spuraudit.errors import RunError
from spuraudit.record.folder import read_record, sha256_of, to_json, write_bytes
from spuraudit.record.observations import read_parts, write_part

if TYPE_CHECKING:
    from pathlib import Path

QUICK: dict[str, Any] = {"audits": ("noise",), "trials": 2, "allow_chance": True}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    toys.draw(folder / "data", toys.Toy(test=6, train=4, tag=True))
    scan(folder, "base")
    return folder


def scan(root: Path, name: str, data: Path | None = None, **settings: Any) -> Path:
    toys.scan(toys.Reader(toys.OBJECT, guess=0), data or root / "data", root / name, **{**QUICK, **settings})
    return root / name


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"split": "train"}, "their split differs: test in"),
        ({"limit": 9}, "their number of images differs: 18 in"),
        ({"seed": 1}, "their seed differs: 0 in"),
        ({"sigmas": (0.3,)}, r"their sigma of noise differs: \[0.25\] in"),
        ({"trials": 3}, "their trials of noise differs: 2 in"),
        ({"clamp": False}, "their clamp of noise differs: True in"),
        ({"audits": ("noise", "region_swap")}, "their audit region_swap differs: not run in"),
        ({"answers": "mapped"}, "their definition differs: clean;"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_other_settings(root: Path, settings: dict[str, Any], said: str) -> None:
    other = scan(root, "-".join(settings), **settings)
    with pytest.raises(RunError, match=f"cannot be compared, {said}") as caught:
        compare_runs(root / "base", other)
    assert "Scan both models with the same" in (caught.value.hint or "")


def test_other_data(root: Path) -> None:
    other = scan(root, "other", toys.draw(root / "data2", toys.Toy(test=6, train=5, tag=True)))
    with pytest.raises(RunError, match="their data differs: toy"):
        compare_runs(root / "base", other)


def test_an_unfinished_run(root: Path) -> None:
    shutil.copytree(root / "base", root / "half")
    (root / "half/scan.json").unlink()
    with pytest.raises(RunError, match="this scan is unfinished"):
        compare_runs(root / "base", root / "half")
    with pytest.raises(RunError, match="no run here"):
        compare_runs(root / "nowhere", root / "base")


def changed(root: Path, name: str, rows: Any, *, told: bool) -> Path:
    """A copy of the base run with other rows; `told`: the record knows their hash."""
    folder = root / name
    shutil.copytree(root / "base", folder)
    (part,) = sorted((folder / "observations").iterdir())
    write_part(part, rows(read_parts([part]).to_pylist()))
    if told:
        record = read_record(folder)
        parts = [one.model_copy(update={"sha256": sha256_of(part)}) for one in record.observations]
        write_bytes(folder / "scan.json", to_json(record.model_copy(update={"observations": parts})))
    return folder


def test_a_part_that_is_not_the_records(root: Path) -> None:
    other = changed(root, "foreign", lambda rows: rows[:-1], told=False)
    with pytest.raises(RunError, match="not the part that the record was made of"):
        compare_runs(root / "base", other)
    (part,) = (other / "observations").iterdir()
    part.unlink()
    with pytest.raises(RunError, match="missing; the record lists it"):
        compare_runs(root / "base", other)


@pytest.mark.parametrize(
    ("name", "rows", "said"),
    [
        (
            "images",
            lambda rows: [r for r in rows if r["image"] != "red/test-000"],
            "1 images were asked by one of them",
        ),
        ("questions", lambda rows: rows[:-1], "asked other questions under 'noise"),
        ("twice", lambda rows: [*rows, rows[-1]], "hold an answer twice under"),
        (
            "label",
            lambda rows: [{**r, "label": 2 if r["image"] == "red/test-001" else r["label"]} for r in rows],
            "label",
        ),
        ("answer", lambda rows: [{**r, "predicted": 1} for r in rows], "the observations give clean_accuracy 0.333333"),
    ],
)
def test_rows_that_do_not_fit(root: Path, name: str, rows: Any, said: str) -> None:
    with pytest.raises(RunError, match=said):
        compare_runs(root / "base", changed(root, name, rows, told=True))


def test_classes_that_count_other_outputs_are_the_same_data(root: Path) -> None:
    """A new head numbers its outputs anew; images, labels and masks must still be the same."""
    toy = toys.Toy(test=6, train=4, tag=True)
    data = toys.draw(root / "renumbered", toy)
    content: Any = toys.description(toy)
    for place, one in enumerate(content["classes"]):
        one["outputs"] = [(place + 1) % 3]
    toys.write_yaml(data, content)
    compared = compare_runs(root / "base", scan(root, "rotated", data))
    assert compared.notes == [
        "The classes count other outputs of the two models, so the fingerprints of the data differ; images, labels, "
        "groups and the areas of all masks are the same."
    ]


def test_other_masks_are_noticed_where_fingerprints_cannot_tell(root: Path) -> None:
    toy = toys.Toy(test=6, train=4, tag=True)
    data = toys.draw(root / "masked", toy)
    content: Any = toys.description(toy)
    for place, one in enumerate(content["classes"]):
        one["outputs"] = [(place + 1) % 3]
    toys.write_yaml(data, content)
    toys.save(data / "masks/object/red/test-002.png", (toys.cell_area(25).numpy() * 255).astype("uint8"))
    with pytest.raises(RunError, match="masks differ under 'noise"):
        compare_runs(root / "base", scan(root, "masked-run", data))


def test_a_patch_swap_that_had_nothing_to_ask_is_said(root: Path) -> None:
    wanted = {"audits": ("noise", "patch_swap"), "passes": 3, "patch_targets": 2, "patch_sources": 2}
    first = scan(root, "patches", **wanted)
    content = json.loads((scan(root, "silent", **wanted) / "scan.json").read_bytes())
    for audit in content["audits"]:
        if audit["name"] == "patch_swap":
            audit.update(status="skipped", reason="No image is classified right.", params={})
    content["definitions"] = {k: v for k, v in content["definitions"].items() if not k.startswith("patch_swap/")}
    content["measurements"] = [m for m in content["measurements"] if not m["metric"].startswith("patch_")]
    content["findings"] = content["curves"] = []
    (root / "silent/scan.json").write_text(json.dumps(content))
    compared = compare_runs(first, root / "silent")
    assert compared.notes == ["patch_swap ran before only: No image is classified right."]
    assert compared.of("clean_accuracy", {}) is not None


def edited(root: Path, name: str, change: Any) -> Path:
    """A copy of the base run whose record says something else."""
    folder = root / name
    shutil.copytree(root / "base", folder)
    content = json.loads((folder / "scan.json").read_bytes())
    change(content)
    (folder / "scan.json").write_text(json.dumps(content))
    return folder


def test_numbers_of_another_definition_are_not_paired(root: Path) -> None:
    """The lists of definitions are the same."""

    def exchange(content: Any) -> None:
        one = next(m for m in content["measurements"] if m["metric"] == "clean_accuracy" and not m["scope"])
        one["definition"] = next(name for name in content["definitions"] if name != one["definition"])

    with pytest.raises(RunError, match=r"their definition of clean_accuracy \(all images\) differs: clean;"):
        compare_runs(root / "base", edited(root, "redefined", exchange))


def test_other_preprocessing_is_said(root: Path) -> None:
    def shown(sha: str) -> Any:
        def change(content: Any) -> None:
            content["model"]["sha256"] = sha
            content["model"]["preprocess"].update(mean=[0.9, 0.9, 0.9], origin={"mean": "--mean"})
            content["model"]["preprocess"]["geometry"]["crop_pct"] = 0.5

        return change

    def hashed(content: Any) -> None:
        content["model"]["sha256"] = "a" * 64

    base = edited(root, "hashed", hashed)
    mean = json.loads((base / "scan.json").read_bytes())["model"]["preprocess"]
    differs = (
        f"crop_pct {mean['geometry']['crop_pct']} and 0.5; mean {', '.join(map(str, mean['mean']))} and 0.9, 0.9, 0.9"
    )
    another = compare_runs(base, edited(root, "shown", shown("b" * 64)))
    assert another.notes == [
        f"The models were given another preprocessing each ({differs}). One that does not fit its model makes it weak, "
        "and then changes are not the model's."
    ]
    same = compare_runs(base, edited(root, "shown-same", shown("a" * 64)))
    assert same.notes == [f"Both runs are of the same model file, and its preprocessing differs ({differs})."]
    assert (another.preprocessing, same.preprocessing, same.same_model) == (differs, differs, False)


@pytest.mark.parametrize(
    ("name", "value", "same"),
    [
        ("name", "renamed.pt", True),
        ("arch", "another", False),
        ("precision", "bf16", False),
        ("text_head", {"class_names": "a", "templates": "b", "prompts": 1, "sha256": "c"}, False),
        ("sha256", "b" * 64, False),
        ("sha256", None, False),
    ],
)
def test_one_model_is_known_by_all_that_its_answers_depend_on(root: Path, name: str, value: Any, same: bool) -> None:
    record = read_record(root / "base")
    one, other = (
        record.model_copy(update={"model": record.model.model_copy(update=update)})
        for update in ({"sha256": "a" * 64}, {"sha256": "a" * 64, name: value})
    )
    assert same_model((one, other)) is same
    assert preprocessing((one, other)) is None


def test_comparing_needs_no_torch(root: Path) -> None:
    code = (
        "import sys\n"
        "for name in ('torch', 'torchvision', 'timm', 'open_clip'):\n"
        "    sys.modules[name] = None\n"
        "from pathlib import Path\n"
        "from spuraudit.compare import compare_runs\n"
        "print(len(compare_runs(Path(sys.argv[1]), Path(sys.argv[1])).changes) > 5)\n"
    )
    run = [sys.executable, "-c", code, str(root / "base")]
    assert subprocess.run(run, check=True, capture_output=True, text=True).stdout.strip() == "True"
