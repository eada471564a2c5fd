"""`spuraudit fix` as a stranger runs it: files, SIGKILL, refusals, several methods, gates."""

from __future__ import annotations

import html
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import spec_files
import timm
import torch
import toys
from safetensors import safe_open
from safetensors.torch import load_file

from spuraudit.cli.main import main
from spuraudit.record.fix import read_fix
from spuraudit.record.fix_trials import read_trials
from spuraudit.record.folder import read_record, sha256_of

if TYPE_CHECKING:
    from collections.abc import Iterator

ARCH = "test_resnet"
HERE = ("--device", "cpu", "--workers", "1", "-q")
QUICK = ("--trials", "1", "--swap-trials", "1", "--allow-chance", *HERE)
#: Unlike the architecture's own in every value.
PIXELS = ("--mean", "0.4,0.5,0.6", "--std", "0.3", "--img-size", "64", "--crop-pct", "0.9")
PIXELS += ("--interpolation", "bicubic", "--crop-mode", "squash")
TIMM = ("fix", "timm.pt", "--arch", ARCH, *PIXELS, "--data", "data", "--method", "swap", "-O", "share=0.4", *QUICK)
TIMM += ("--epochs", "1", "--lr", "1e-3", "--train-batch", "8", "--seed", "3", "--run", "timm_fix")
CNN = ("fix", "cnn.pt", "--data", "data", *QUICK, "--train-batch", "8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Data and checkpoints, as the working directory."""
    folder = tmp_path_factory.mktemp("fix")
    # Half of the frames are those of another class, and the network believes the frame.
    toys.draw(folder / "data", toys.Toy(train=16, test=40, odd_every=2))
    toys.save_cnn(folder / "cnn.pt", {"object": 1.0, "frame": 1.5})
    torch.save(spec_files.known(ARCH).state_dict(), folder / "timm.pt")
    before = Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


@pytest.fixture(scope="module")
def fixed(folder: Path) -> Path:
    """A timm network, fixed."""
    before = (folder / "timm.pt").read_bytes()
    assert main([*TIMM, "-o", "out/fixed.safetensors"]) == 0
    assert (folder / "timm.pt").read_bytes() == before
    return folder / "out" / "fixed.safetensors"


def metadata(file: Path) -> dict[str, Any]:
    """Of a safetensors file, what is JSON decoded."""
    with safe_open(str(file), framework="pt") as opened:
        texts = dict(opened.metadata())
    return {name: json.loads(text) if text[:1] in '{["' else text for name, text in texts.items()}


def error_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The message of a command that is refused."""
    capsys.readouterr()
    assert main(list(arguments)) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "Traceback" not in said
    return said


# -- what a fix leaves -------------------------------------------------------------------------------------------------


def test_the_fixed_file_is_a_timm_checkpoint(folder: Path, fixed: Path) -> None:
    network = timm.create_model(ARCH, num_classes=3, checkpoint_path=str(fixed))
    weights = load_file(fixed)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in network.state_dict().items())
    assert network.load_state_dict(weights, strict=True)
    delivered = torch.load(folder / "timm.pt", weights_only=True)
    control = load_file(folder / "timm_fix" / "control.safetensors")
    for other in (delivered, control):
        assert weights.keys() == other.keys()
        assert any(not torch.equal(weights[name], other[name]) for name in weights)
    # Batch-norm statistics are frozen.
    assert all(torch.equal(weights[name], delivered[name]) for name in weights if "running" in name)


def test_what_the_file_says_of_itself(folder: Path, fixed: Path) -> None:
    said = metadata(fixed)
    assert said["arch"] == ARCH
    assert said["args"] == {
        "num_classes": 3,
        "mean": [0.4, 0.5, 0.6],
        "std": [0.3, 0.3, 0.3],
        "img_size": [64, 64],
        "crop_pct": 0.9,
        "crop_mode": "squash",
        "interpolation": "bicubic",
    }
    origin = said["provenance"]
    assert (origin["method"], origin["arm"], origin["seed"], origin["start"]) == ("swap", "fixed", 3, "model")
    assert origin["options"] == {"share": 0.4, "bare": 0.0, "region": "auto"}
    assert origin["from"]["file"] == "timm.pt"
    assert origin["from"]["sha256"] == sha256_of(folder / "timm.pt")
    assert (origin["training"]["epochs"], origin["training"]["lr"]) == (1, 1e-3)
    assert str(folder) not in fixed.read_bytes()[:20000].decode("utf-8", "replace")


def test_the_record_and_the_page(folder: Path, fixed: Path) -> None:
    run = folder / "timm_fix"
    record = read_fix(run)
    assert (run / record.arms.fixed.checkpoint).read_bytes() == fixed.read_bytes()
    assert record.arms.fixed.checkpoint_sha256 == sha256_of(fixed)
    assert (record.method.name, record.method.sources["share"], record.seed) == ("swap", "given", 3)
    assert record.model.sha256 == sha256_of(folder / "timm.pt")
    assert (record.data.train.images, record.data.held_out.split, record.data.held_out.images) == (48, "test", 120)
    assert record.data.held_out_how == "The dataset's own split, test."
    assert read_record(run / "fixed").model.sha256 == sha256_of(fixed)
    page = html.unescape((run / "report.html").read_text())
    linked = re.findall(r'href="([^"#:]+\.html)"', page)
    assert len(linked) == 3
    assert all((run / name).is_file() for name in linked)
    assert "The dataset's own split, test." in page
    assert str(folder) not in page + (run / "fix.json").read_text()


def test_a_scan_of_the_file_needs_no_options(folder: Path, fixed: Path) -> None:
    assert main(["scan", str(fixed), "--data", "data", *QUICK, "--seed", "3", "-o", "again"]) == 0
    again, first = read_record(folder / "again"), read_record(folder / "timm_fix" / "fixed")
    delivered = read_record(folder / "timm_fix" / "before")
    assert again.model.preprocess.geometry == delivered.model.preprocess.geometry
    assert (again.model.preprocess.mean, again.model.preprocess.std) == ((0.4, 0.5, 0.6), (0.3, 0.3, 0.3))
    assert again.measurements == first.measurements
    assert [part.sha256 for part in again.observations] == [part.sha256 for part in first.observations]


def test_the_same_for_torch(folder: Path, fixed: Path) -> None:
    stamp = (folder / "timm_fix" / "training" / "fixed" / "state.pt").stat().st_mtime_ns
    assert main([*TIMM, "-o", "out/fixed.pt"]) == 0
    # The same command again trains nothing.
    assert (folder / "timm_fix" / "training" / "fixed" / "state.pt").stat().st_mtime_ns == stamp
    content = torch.load(folder / "out" / "fixed.pt", weights_only=True)
    weights = load_file(fixed)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in content["state_dict"].items())
    network = timm.create_model(ARCH, num_classes=3, checkpoint_path=str(folder / "out" / "fixed.pt"))
    assert all(torch.equal(tensor, weights[name]) for name, tensor in network.state_dict().items())
    said = metadata(fixed)
    assert content["args"] == said["args"]
    assert json.loads(content["provenance"]) == said["provenance"]
    assert main(["scan", "out/fixed.pt", "--data", "data", *QUICK, "--seed", "3", "-o", "from_pt"]) == 0
    first = read_record(folder / "timm_fix" / "fixed")
    assert read_record(folder / "from_pt").measurements == first.measurements


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--method", "swap", "-o", "cnn.pt"), "-o cnn.pt is the model itself"),
        (("--method", "swap", "-o", "../" + "{here}/cnn.pt"), "is the model itself"),
        (("--method", "swap", "-o", "link.pt"), "-o link.pt is the model itself"),
        (("--method", "swap", "-o", "fixed.onnx"), ".safetensors, .pt, .pth"),
        (("--method", "swap", "-o", "saved.pt"), "saved.pt is a folder"),
        ((), "Missing --method NAME. Methods"),
        (("--method", "swop"), "Did you mean 'swap'?"),
        (("--method", "swap,swap"), "name each method once"),
        (("--method", "swap", "-O", "shar=1"), "swap has no option 'shar'. Did you mean 'share'?"),
        (("--method", "swap", "-O", "share=2"), "swap: share: Input should be less than or equal to 1"),
        (("--method", "swap", "-O", "share"), "expected KEY=VALUE"),
        (("--method", "swap,erm", "-O", "share=0.1"), "-O share: of which method?"),
        (("--method", "swap,erm", "-O", "swop.share=0.1"), "Did you mean 'swap'?"),
        (("--method", "swap,erm", "--budget", "soon"), "such as 90s, 10m or 2h"),
        (("--method", "swap", "--budget", "10m"), "--budget is for several methods"),
        (("--method", "swap", "--start", "head"), "Use model, new-head, scratch"),
        (("--method", "swap", "--set", "lrr=1"), "Did you mean 'lr'?"),
        (("--method", "swap", "--set", "optimizer=Adm"), "Did you mean 'Adam'"),
        (("--method", "swap", "--set", "patience=2"), "patience needs a measure"),
        (("--method", "swap", "--lr", "1", "--set", "lr=2"), "lr is given twice"),
        (("--method", "swap", "--epochs", "1", "--set", "steps=2"), "Both epochs and steps"),
        (("--method", "swap", "--set", "batch_size=2"), "batch_size is given twice: as --train-batch and --set"),
        (("--method", "swap", "-O", "share=1", "-O", "share=0.1"), "share has a value already"),
        (("--method", "swap", "-O", "bare=1"), "swap: bare is for features and cells"),
        (("--method", "swap", "--set", "schedule=none", "--set", "schedule_args.gamma=0.5"), "There is no schedule"),
        (("--method", "swap", "--lr", "1e-3", "--set", "optimizer_args.lr=1"), "and as optimizer_args.lr=1"),
        (("--method", "swap", "--set", "precision=fp16"), "Use --set precision=bf16"),
        (("--method", "corm", "-O", "part=0.5"), "corm: part has no effect with weight=0"),
        (
            ("--method", "corm", "-O", "weight=1", "-O", "derivative=difference", "--set", "precision=bf16"),
            "derivative=difference needs precision=fp32",
        ),
        (("--method", "swap", "--select", "best"), "select"),
        (("--method", "swap", "--split", "train"), "training train, held-out train"),
        (("--method", "swap", "--batch-size", "auto"), "--batch-size auto is for scans"),
        (("--method", "swap", "--from-run", "nowhere"), "--from-run nowhere does not exist"),
        (("--method", "swap", "--from-run", "saved.pt"), "saved.pt: no"),
        (("--method", "erm,dfr", "--from-run", "found"), "--from-run has no effect on erm, dfr"),
        (("--method", "swap", "--annotations", "found"), "--annotations has no effect on swap"),
        (("--method", "crayon", "--annotations", "nowhere"), "--annotations nowhere does not exist"),
        (("--method", "swap", "--run", "data"), "data: not empty, and not a fix of spuraudit"),
        (("--explain", "swop"), "Did you mean 'swap'?"),
    ],
)
def test_refusals(folder: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], message: str) -> None:
    (folder / "saved.pt").mkdir(exist_ok=True)
    if not (folder / "link.pt").exists():
        (folder / "link.pt").symlink_to("cnn.pt")
    before = (folder / "cnn.pt").read_bytes()
    given = [option.format(here=folder.name) for option in options]
    run = [] if "--run" in given else ["--run", "refused"]
    assert message in error_of(capsys, *CNN, *run, *given)
    assert not (folder / "refused").exists()
    assert (folder / "cnn.pt").read_bytes() == before


def test_a_file_in_the_folder_of_a_model_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec_files.save_folders(folder, spec_files.known(ARCH))
    weights = folder / "saved" / "model.safetensors"
    before = weights.read_bytes()
    given = ("fix", "saved", "--data", "data", *QUICK, "--method", "erm", "-o", "saved/model.safetensors")
    assert "lies in the model's folder" in error_of(capsys, *given)
    assert weights.read_bytes() == before


def test_audits_that_cannot_run_are_refused_before_anything_is_trained(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toys.draw(folder / "bare", toys.Toy(train=4, test=4, masks=False))
    given = ("fix", "cnn.pt", "--data", "bare", *HERE, "--method", "erm", "--start", "new-head", "--audits", "noise")
    assert "The noise audit cannot run" in error_of(capsys, *given, "--run", "no_masks")
    assert not (folder / "no_masks").exists()


def test_what_a_method_lacks_and_what_would_work(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toys.draw(folder / "bare", toys.Toy(train=4, test=4, masks=False))
    said = error_of(capsys, "fix", "cnn.pt", "--data", "bare", *HERE, "--allow-chance", "--method", "corm")
    assert "corm cannot begin:" in said
    assert "These would work here: jtt, scgs." in said


# -- killed, diverged --------------------------------------------------------------------------------------------------

LONG = (*CNN, "--method", "swap", "--set", "steps=150", "--lr", "1e-3", "--limit", "24")


def measured(fix: Path) -> tuple[object, ...]:
    """What the record says, less time."""
    record = read_fix(fix)
    scans = [read_record(fix / name) for name in ("before", "control", "fixed")]
    losses = [arm.losses for arm in (record.arms.control, record.arms.fixed)]
    sides = (record.comparisons.fixed_before, record.comparisons.control_before, record.comparisons.credit)
    changes = [(side.changes, side.shortcuts) for side in sides if side is not None]
    assert len(changes) == 3
    return changes, losses, [(scan.measurements, scan.findings) for scan in scans]


@pytest.fixture(scope="module")
def uninterrupted(folder: Path) -> Path:
    assert main([*LONG, "--run", "whole", "-o", "whole.safetensors"]) == 0
    return folder / "whole"


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["control", "fixed"])
def test_killed_and_resumed_gives_the_same_bytes(
    folder: Path, uninterrupted: Path, arm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = folder / f"killed_{arm}"
    command = [*LONG, "--run", run.name, "-o", f"{run.name}.safetensors"]
    process = subprocess.Popen(
        [sys.executable, "-m", "spuraudit", *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    state = run / "training" / arm / "state.pt"
    deadline = time.monotonic() + 240
    while not state.is_file() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 0 < torch.load(state, weights_only=True)["step"] < 150
    assert not (run / f"{arm}.safetensors").exists()
    assert not (run / "fix.json").exists()
    assert main(command) == 0
    assert (run / "fixed.safetensors").read_bytes() == (uninterrupted / "fixed.safetensors").read_bytes()
    assert (folder / f"{run.name}.safetensors").read_bytes() == (folder / "whole.safetensors").read_bytes()
    assert measured(run) == measured(uninterrupted)
    # Another option is another plan.
    said = error_of(capsys, *command[:-2], "--seed", "1")
    assert f"{run.name}: holds a fix of another plan" in said
    assert said.count("Error") <= 1
    assert read_fix(run).seed == 0


def test_a_training_that_diverges_is_an_error(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [*CNN, "--method", "swap", "--lr", "1e30", "--run", "wild", "-o", "wild.pt"]
    said = error_of(capsys, *given)
    assert "control stopped at step" in said
    assert "finite" in said
    assert "last good" not in said
    assert "Lower the learning rate (lr)" in said
    assert not (folder / "wild" / "fix.json").exists()
    assert not (folder / "wild.pt").exists()


def test_the_last_good_weights_are_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # The rate is sound for one epoch of six steps, and absurd from then on.
    wild = ("--set", "schedule=StepLR", "--set", "schedule_args.step_size=6", "--set", "schedule_args.gamma=1e30")
    said = error_of(capsys, *CNN, "--method", "erm", "--lr", "1e-3", *wild, "--run", "later")
    good = Path("later/training/control/last_good.pt")
    assert f"The weights of the last good epoch are in {good}" in said
    weights = torch.load(folder / good, weights_only=True)
    assert all(bool(torch.isfinite(tensor).all()) for tensor in weights.values())
    assert not (folder / "later" / "fix.json").exists()


# -- several methods, gates --------------------------------------------------------------------------------------------

#: Plain training at this rate changes nothing; a last layer that is fitted anew repairs everything.
STILL = ("fix", "cnn.pt", "--data", "data", "--audits", "noise", "--trials", "1", "--allow-chance", *HERE)
STILL += ("--train-batch", "8", "--epochs", "1", "--lr", "1e-7")


@pytest.fixture(scope="module")
def several(folder: Path) -> Path:
    more = ("-O", "dfr.averages=2", "--rule", "clean_accuracy >= 0.8", "--run", "several")
    assert main([*STILL, "--method", "crayon-pruning,swap,dfr,erm", *more, "-o", "best.safetensors"]) == 0
    return folder / "several"


def test_the_recommended_model_is_written_and_judged(folder: Path, several: Path) -> None:
    trials = read_trials(several)
    assert trials.recommended == "dfr"
    assert (folder / "best.safetensors").read_bytes() == (several / "dfr" / "fixed.safetensors").read_bytes()
    assert read_fix(several / "dfr").method.options["averages"] == 2
    verdict = json.loads((several / "dfr" / "verdict.json").read_bytes())
    assert verdict["outcome"] == "pass"
    for method in ("swap", "dfr", "erm"):
        assert (several / method / "report.html").is_file()


def test_methods_that_could_not_begin_are_listed(several: Path) -> None:
    status = {trial.method: trial.status for trial in read_trials(several).trials}
    assert status == {"crayon-pruning": "skipped", "swap": "done", "dfr": "done", "erm": "done"}


@pytest.mark.parametrize(
    ("more", "code"),
    [((), 0), (("-o", "none.safetensors"), 2), (("--rule", "clean_accuracy >= 0.01"), 2)],
)
def test_where_nothing_is_recommended(
    folder: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], code: int
) -> None:
    assert main([*STILL, "--method", "swap,erm", "--run", "nothing", *more]) == code
    assert "No method gained worst group accuracy over the control for sure" in capsys.readouterr().err
    assert read_trials(folder / "nothing").recommended is None
    assert not (folder / "none.safetensors").exists()


@pytest.mark.parametrize(
    ("rule", "code", "outcome"),
    [
        ("clean_accuracy >= 0.8", 0, "pass"),
        ("clean_accuracy <= 0.5", 1, "fail"),
        ("swap_gap <= 0.9", 2, "not evaluated"),
    ],
)
def test_gates_judge_the_fixed_model(folder: Path, rule: str, code: int, outcome: str) -> None:
    # The delivered model and the control get the worst group wrong altogether.
    options = ("--method", "dfr", "-O", "averages=2", "--run", "gated")
    assert main([*STILL, *options, "--rule", rule]) == code
    assert json.loads((folder / "gated" / "verdict.json").read_bytes())["outcome"] == outcome
    worst = read_fix(folder / "gated").comparisons.credit.of("worst_group_accuracy", {})
    assert worst is not None
    assert (worst.before, worst.after) == (0.0, 1.0)


# -- explanations ------------------------------------------------------------------------------------------------------


def test_the_list_of_methods(capsys: pytest.CaptureFixture[str]) -> None:
    from spuraudit.fix.catalogue import METHODS

    assert main(["fix", "--explain", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == list(METHODS)
    assert all(METHODS[line.split()[0]].source in line for line in lines)


def test_every_setting_of_the_loop_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    from spuraudit.fix.settings import TrainingSettings

    assert main(["fix", "--explain", "training"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, value in TrainingSettings().model_dump().items():
        assert f"  {name}={'none' if value is None else value}" in lines


# -- regions of a scan -------------------------------------------------------------------------------------------------

FROM_RUN = ("fix", "tagged.pt", "--data", "tagged", "--config", "quick.yaml", *HERE, "--epochs", "1")


@pytest.fixture(scope="module")
def suspected(folder: Path) -> Path:
    """A scan of images without masks, which found the tag in cell 43."""
    toys.draw(folder / "tagged", toys.Toy(train=8, test=8, masks=False, tag=True))
    toys.save_cnn(folder / "tagged.pt", {"object": 1.0, "tag": 3.0})
    quick = {"audits": {"patch_swap": {"passes": 20, "targets": 8}}}
    (folder / "quick.yaml").write_text(json.dumps(quick))
    assert main(["scan", "tagged.pt", "--data", "tagged", "--config", "quick.yaml", *HERE, "-o", "found"]) == 0
    found = read_record(folder / "found").findings
    cells = {(f.class_name, f.cell.number) for f in found if f.suspected and f.cell is not None}
    assert cells == {(name, toys.TAG_CELL) for name in toys.NAMES[:3]}
    return folder / "found"


def test_what_a_scan_suspects_is_unlearnt(folder: Path, suspected: Path) -> None:
    more = ("--method", "swap", "-O", "share=1", "--lr", "0.03", "--train-batch", "8")
    more += ("--epochs", "8", "--from-run", "found", "--run", "unlearnt")
    assert main([*FROM_RUN[:-2], *more]) == 0
    shortcuts = read_fix(folder / "unlearnt").comparisons.fixed_before
    assert shortcuts is not None
    of_tag = [s for s in shortcuts.shortcuts if s.cell is not None and s.cell.number == toys.TAG_CELL]
    assert len(of_tag) == 6
    # Of a pair that the fixed model was not asked again nothing is known but the two numbers.
    assert {s.state for s in of_tag if s.ci is not None} == {"repaired"}
    assert all(s.before is not None and s.after is not None and s.after < 0.2 < 0.7 < s.before for s in of_tag)
    # The provenance names the scan.
    plan = json.loads((folder / "unlearnt" / "plan.json").read_bytes())
    assert plan["from_run_sha256"] == sha256_of(suspected / "scan.json")


def test_without_masks_and_without_a_scan_nothing_can_be_swapped(
    folder: Path, suspected: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "swap cannot begin: " in error_of(capsys, *FROM_RUN, "--method", "swap", "--run", "blind")


@pytest.mark.parametrize("method", ["swap", "rrr", "gradcam-rrr"])
def test_a_region_of_masks_beside_a_scan(
    folder: Path, suspected: Path, capsys: pytest.CaptureFixture[str], method: str
) -> None:
    given = [*FROM_RUN, "--method", method, "-O", "region=background", "--from-run", "found", "--run", "unread"]
    assert "region=background is taken from masks, so that --from-run found would not be read" in error_of(
        capsys, *given
    )
    assert not (folder / "unread").exists()


def test_a_scan_of_other_classes(folder: Path, suspected: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toys.draw(folder / "others", toys.Toy(train=4, test=4, masks=False, tag=True))
    content = toys.description(toys.Toy(masks=False))
    content["classes"] = [{"name": name, "outputs": [k]} for k, name in enumerate(("fox", "owl", "elk"))]
    toys.write_yaml(folder / "others", content)
    renamed = dict(zip(toys.NAMES, ("fox", "owl", "elk"), strict=False))
    rows = [(file, renamed[name], *rest) for file, name, *rest in toys.read_list(folder / "others")]
    toys.write_list(folder / "others", rows)
    given = ["fix", "tagged.pt", "--data", "others", *HERE, "--method", "swap", "--from-run", "found"]
    assert "suspects no feature or region of a class of toy" in error_of(capsys, *given, "--run", "alien")
    assert not (folder / "alien").exists()


def test_an_unfinished_scan(folder: Path, suspected: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "began").mkdir()
    (folder / "began" / "plan.json").write_bytes((suspected / "plan.json").read_bytes())
    given = [*FROM_RUN, "--method", "swap", "--from-run", "began", "--run", "early"]
    assert "began: this scan is unfinished" in error_of(capsys, *given)
    assert not (folder / "early").exists()


# -- networks of the user's own ----------------------------------------------------------------------------------------


def test_a_function_that_builds_the_network(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(spec_files.known(ARCH).state_dict(), folder / "bare.pt")
    spec_files.write(folder / "nets_of_fix.py", spec_files.NETS)
    monkeypatch.syspath_prepend(str(folder))
    given = ["fix", "nets_of_fix.py:build", "--data", "data", *HERE, "--allow-chance", "--img-size", "64"]
    given += [
        "--audits",
        "noise",
        "--trials",
        "1",
        "--limit",
        "24",
        "--method",
        "swap",
        "--epochs",
        "1",
        "--run",
        "own",
    ]
    assert "--trust-code" in error_of(capsys, *given)
    assert main([*given, "--trust-code", "-o", "own.pt"]) == 0
    content = torch.load(folder / "own.pt", weights_only=True)
    fresh = spec_files.known(ARCH)
    fresh.load_state_dict(content["state_dict"], strict=True)
    assert read_record(folder / "own" / "fixed").model.sha256 == sha256_of(folder / "own" / "fixed.safetensors")
    assert read_fix(folder / "own").model.source == "code"
