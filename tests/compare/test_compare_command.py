"""`spuraudit compare`, as the command line calls it, on models whose answers are known by hand."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import toy_fix
import toys

from spuraudit.cli.main import main
from spuraudit.cli.schema import check_file

if TYPE_CHECKING:
    from pathlib import Path

QUICK: dict[str, Any] = {"audits": ("noise", "region_swap"), "trials": 2, "swap_trials": 2, "allow_chance": True}
AREAS = {"frame": toys.FRAME, "object": toys.OBJECT, "tag": toys.TAG}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three models that read one area each; 5 of 20 images of a class have another class's frame."""
    folder = tmp_path_factory.mktemp("command")
    toy_fix.draw(folder / "data", test=20)
    for name in AREAS:
        scan(folder, name)
    return folder


def scan(root: Path, name: str, folder: str = "", **settings: Any) -> None:
    model = toys.as_model(toys.Reader(AREAS[name], guess=0), f"{name}-reader")
    record = model.record.model_copy(update={"sha256": name.encode().hex().ljust(64, "0")})
    toys.scan(dataclasses.replace(model, record=record), root / "data", root / (folder or name), **QUICK, **settings)


def run(root: Path, a: str, b: str, *more: str) -> int:
    return main(["compare", str(root / a), str(root / b), *more])


def test_the_table_the_verdict_and_nothing_else(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(root.rglob("*"))
    assert run(root, "frame", "object") == 0
    said = capsys.readouterr()
    lines = said.out.replace("\u202f", " ").splitlines()
    assert lines[0].startswith("A  frame-reader, sha256 6672616d6500, run ")
    assert lines[1].startswith("B  object-reader, sha256 6f626a656374, run ")
    (clean,) = [line.split() for line in lines if line.strip().startswith("Clean accuracy")]
    assert clean[2:8] == ["75.0", "%", "100.0", "%", "+25.0", "points"]
    assert clean[-2:] == ["60", "better"]
    assert sum("background of" in line and "Repaired" in line for line in lines) == 3
    (last,) = said.err.replace("\u202f", " ").splitlines()
    assert last.startswith("B (object-reader) relies less on background of ")
    assert "clean accuracy rose by 25.0 points (95 % interval " in last
    assert last.endswith(", 60 images).")
    assert sorted(root.rglob("*")) == before


def test_every_form_by_its_suffix(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [tmp_path / f"changes.{suffix}" for suffix in ("html", "md", "csv", "json")]
    assert run(root, "frame", "object", "--format", "json", *(w for f in files for w in ("-o", str(f)))) == 0
    said = capsys.readouterr()
    assert said.out.encode() == files[3].read_bytes()
    assert check_file(files[3], "comparison").startswith("spuraudit/comparison")
    assert said.err.endswith(f"Written: {', '.join(map(str, files))}\n")
    assert files[0].read_text("utf-8").startswith("<!doctype html>")
    assert "## object-reader against frame-reader" in files[1].read_text("utf-8")
    with files[2].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    (clean,) = [r for r in rows if r["metric"] == "clean_accuracy" and not (r["class"] or r["group"])]
    assert (clean["a"], clean["b"], clean["change"], clean["n"]) == ("0.75", "1.0", "0.25", "60")
    assert clean["direction"] == "better"
    assert float(clean["p"]) == pytest.approx(2 / 2**15)  # fifteen images that all turn right
    (red,) = [r for r in rows if r["metric"] == "clean_accuracy" and r["class"] == "red"]
    assert (red["change"], red["n"]) == ("0.25", "20")
    assert float(red["p"]) == pytest.approx(2 / 2**5)
    repaired = [r["class"] for r in rows if r["kind"] == "shortcut" and r["state"] == "repaired"]
    assert sorted(repaired) == ["blue", "green", "red"]


def test_swapped_arguments_mirror_every_change(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A command that compared a run with itself, or lost the order, would not."""
    sides = []
    for pair in (("frame", "tag"), ("tag", "frame")):
        assert run(root, *pair, "--format", "json") == 0
        said = capsys.readouterr()
        sides.append((json.loads(said.out), said.err))
    (there, said_there), (back, said_back) = sides
    assert [there["before"], there["after"]] == [back["after"], back["before"]]
    moved = 0
    for one in there["changes"]:
        (other,) = [c for c in back["changes"] if (c["metric"], c["scope"]) == (one["metric"], one["scope"])]
        assert (one["before"], one["after"]) == (other["after"], other["before"])
        if one["change"] is None:
            assert other["change"] is None
            continue
        assert other["change"] == pytest.approx(-one["change"])
        if one["metric"] != "rcs":
            assert other["ci"] == pytest.approx([-one["ci"][1], -one["ci"][0]], abs=0.03)
        moved += one["change"] != 0
    assert moved > 10
    for said, less, more in ((said_there, "background", "tag"), (said_back, "tag", "background")):
        assert f"relies less on {less} of" in said
        assert f"but more on {more} of" in said
    assert "accuracy rose by 25.0" in said_there.replace("\u202f", " ")
    assert "accuracy fell by 25.0" in said_back.replace("\u202f", " ")


def test_a_run_against_itself_is_refused_unless_it_is_meant(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(root / "frame", tmp_path / "elsewhere")
    for other in ("frame", str(copy)):
        assert run(root, "frame", other, "--fail-on", "worse", "-o", str(tmp_path / "x.html")) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert "are the same scan (run " in said
        assert "--allow-same" in said
        assert not (tmp_path / "x.html").exists()
    assert run(root, "frame", str(copy), "--allow-same", "-o", str(tmp_path / "x.html")) == 0
    assert "this can only show whether it repeats itself" in capsys.readouterr().out
    assert "A and B are the same scan of the same model" in (tmp_path / "x.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("pair", "wanted", "code", "said"),
    [
        (("frame", "object"), ("accuracy",), 0, "PASS --fail-on accuracy: Clean accuracy: +25.0"),
        (("object", "frame"), ("accuracy",), 1, "FAIL --fail-on accuracy: Clean accuracy: −25.0"),
        (("object", "frame"), ("worse-shortcut",), 1, "3 worse shortcuts: background of"),
        # Twenty images of each class: too few to say that nothing grew.
        (("frame", "object"), ("worse-shortcut",), 2, "6 of 6 shortcuts rest on fewer than 50 images, such as"),
        (("object", "tag"), ("swap-gap",), 1, "Swap gap of tag: +"),
        (("object", "frame"), ("rcs",), 1, "FAIL --fail-on rcs: RCS (σ 0.25): −"),
        # Five images in each group of odd frames: too few to say that no group fell.
        (("frame", "object"), ("worst-group",), 2, "rests on 5 images; at least 50 are asked for"),
        (("object", "frame"), ("accuracy", "worst-group"), 2, "FAIL --fail-on accuracy"),
        (("object", "frame"), ("worse",), 2, "NOT EVALUATED --fail-on worst-group"),
    ],
)
def test_fail_on(
    root: Path,
    capsys: pytest.CaptureFixture[str],
    pair: tuple[str, str],
    wanted: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    assert run(root, *pair, *(word for name in wanted for word in ("--fail-on", name))) == code
    assert said in capsys.readouterr().err.replace("\u202f", " ").replace("\u00a0", " ")


def test_all_that_could_be_worse_where_groups_are_small(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = ("--fail-on", "worse", "--min-n", "5")
    assert run(root, "frame", "object", *wanted) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines()[:-1]] == [
        f"PASS --fail-on {name}" for name in ("accuracy", "worst-group", "rcs", "swap-gap", "worse-shortcut")
    ]
    assert run(root, "object", "frame", *wanted) == 1


@pytest.mark.parametrize(
    ("condition", "min_n", "code", "said"),
    [
        ("worse-shortcut", 20, 0, "PASS --fail-on worse-shortcut: None of 6 shortcuts is worse."),
        ("worse-shortcut", 21, 2, "6 of 6 shortcuts rest on fewer than 21 images, such as"),
        # The background of three classes was suspected before, so it cannot be new.
        ("new-shortcut", 20, 0, "PASS --fail-on new-shortcut: None of 6 shortcuts is new."),
        ("new-shortcut", 21, 2, "3 of 6 shortcuts rest on fewer than 21 images, such as tag of"),
    ],
)
def test_shortcuts_on_too_few_images_cannot_pass(
    root: Path, capsys: pytest.CaptureFixture[str], condition: str, min_n: int, code: int, said: str
) -> None:
    assert run(root, "frame", "object", "--fail-on", condition, "--min-n", str(min_n)) == code
    assert said in capsys.readouterr().err.replace("\u202f", " ").replace("\u00a0", " ")


def test_what_neither_run_measured_cannot_pass(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("frame", "object"):
        file = shutil.copytree(root / name, root / f"{name}-clean") / "scan.json"
        content = json.loads(file.read_bytes())
        content["measurements"] = [m for m in content["measurements"] if m["metric"] == "clean_accuracy"]
        content["findings"] = []
        file.write_text(json.dumps(content))
    for wanted in ("rcs", "swap-gap", "worst-group", "worse-shortcut", "new-shortcut"):
        assert run(root, "frame-clean", "object-clean", "--fail-on", wanted) == 2
        assert f"NOT EVALUATED --fail-on {wanted}: Neither run" in capsys.readouterr().err
    assert run(root, "frame-clean", "object-clean", "--fail-on", "worse") == 0


def test_runs_that_cannot_be_compared_end_with_the_way_out(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan(root, "object", "other-seed", seed=1)
    assert run(root, "frame", "other-seed", "-o", str(tmp_path / "x.md")) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "These runs cannot be compared, their seed differs: 0 in " in said
    assert "Scan both models with the same --data" in said
    assert not (tmp_path / "x.md").exists()
    assert run(root, "frame", "nowhere") == 2
    assert "no run here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--fail-on", "acuracy"), "Did you mean 'accuracy'?"),
        (("--format", "jsn"), "Did you mean 'json'?"),
        (("-o", "a.md", "-o", "b.pdf"), "no report can be written as '.pdf'"),
    ],
)
def test_bad_options_stop_before_anything_is_read(
    options: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["compare", "nowhere", "nothing", *options]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert list(tmp_path.iterdir()) == []


def test_comparing_needs_no_torch_and_declaring_nothing_heavy(root: Path, tmp_path: Path) -> None:
    code = (
        "import sys, spuraudit.cli.compare\n"
        "print([n for n in ('jinja2', 'torch', 'pydantic', 'pyarrow', 'numpy', 'rich.table') if n in sys.modules])\n"
        "for name in ('torch', 'torchvision', 'timm', 'open_clip'):\n"
        "    sys.modules[name] = None\n"
        "from spuraudit.cli.main import main\n"
        "sys.exit(main(['compare', *sys.argv[1:], '-q']))\n"
    )
    page = tmp_path / "page.html"
    command = [sys.executable, "-c", code, str(root / "frame"), str(root / "object"), "-o", str(page)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
    assert page.stat().st_size > 50_000
