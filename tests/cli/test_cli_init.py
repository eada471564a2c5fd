"""`spuraudit init`: the file it writes loads, and the run it was written from passes it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import toys

from spuraudit.cli.main import main
from spuraudit.cli.scan_options import settings
from spuraudit.gates import judge, load_config
from spuraudit.gates.suggest import suggest
from spuraudit.record.folder import read_record, to_json, write_bytes
from spuraudit.record.scan import AuditRecord, ClassRecord, FeatureRecord, Measurement, ScanRecord
from spuraudit.runs.plan import Plan

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "report"))
import sample_run

if TYPE_CHECKING:
    from collections.abc import Callable

TYPED = ["--split", "test", "--limit", "120", "--std", "1,1,1", "--precision", "fp32", "--answers", "all"]
AUDITS = ["--audits", "noise,region_swap", "--sigma", "0.4", "--sigma", "0.3", "--trials", "2", "--swap-trials", "2"]

ODD = "a\n- {id: b, metric: rcs, min: 0}\u2028 # <b>'\"\\ \x07"


def written(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[str, str]:
    """(stdout, stderr) of a successful `init`."""
    capsys.readouterr()
    assert main(["init", *map(str, arguments)]) == 0
    streams = capsys.readouterr()
    return streams.out, streams.err


def with_measurements(run: Path, *changed: Measurement) -> ScanRecord:
    """The record of a run, those measurements in the place of the ones with their metric and scope."""
    record = read_record(run)
    new = {(one.metric, tuple(one.scope.items())): one for one in changed}
    kept = [new.get((one.metric, tuple(one.scope.items())), one) for one in record.measurements]
    record = record.model_copy(update={"measurements": kept})
    write_bytes(run / "scan.json", to_json(record))
    return record


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> ScanRecord:
    """Two classes, all audits: drawn once."""
    return read_record(sample_run.birds_run(tmp_path_factory.mktemp("birds")))


@pytest.fixture
def birds(drawn: ScanRecord, tmp_path: Path) -> Path:
    """A run folder of that record alone."""
    write_bytes(tmp_path / "run" / "scan.json", to_json(drawn))
    return tmp_path / "run"


def of_scope(record: ScanRecord, metric: str, **scope: object) -> Measurement:
    return next(one for one in record.measurements if one.metric == metric and one.scope == scope)


@pytest.mark.parametrize("make", [None, sample_run.healthy_run, sample_run.digits_run])
def test_the_run_passes_the_file_written_from_it(
    make: Callable[[Path], Path] | None, birds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = birds if make is None else make(tmp_path / "other")
    out, err = written(capsys, run, "-o", tmp_path / "gates.yaml")
    assert out == f"{tmp_path / 'gates.yaml'}\n"
    assert f"spuraudit gate {run} --config {tmp_path / 'gates.yaml'}" in err
    assert main(["gate", str(run), "--config", str(tmp_path / "gates.yaml")]) == 0


def test_limits_are_the_worse_ends_of_the_intervals_less_a_margin(drawn: ScanRecord) -> None:
    gates = {one.rule.id: one for one in suggest(drawn).gates}
    assert of_scope(drawn, "rcs", sigma=0.25).ci == (0.213, 0.313)
    assert gates["rcs-floor"].rule.model_dump(exclude_defaults=True) == {
        "id": "rcs-floor",
        "metric": "rcs",
        "scope": {"sigma": 0.25},
        "op": ">=",
        "limit": 0.18,  # 0.213 less a quarter of the width 0.1, rounded down
        "bound": "ci_low",
    }
    gap = gates["swap-gap-background"]
    assert (gap.rule.op, gap.rule.limit, gap.rule.bound) == ("<=", 0.61, "ci_high")
    assert "95 % interval 50.9 to 58.6 points, n = 640" in gap.measured
    assert "keeps it from getting worse" in gap.remark
    worst = gates["worst-class-floor"]
    assert "the worst of 2: core_accuracy[class=waterbird" in worst.measured


def test_a_worse_model_fails_a_gate_of_the_better_one(
    birds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    healthy = sample_run.healthy_run(tmp_path / "healthy")
    written(capsys, healthy, "-o", tmp_path / "gates.yaml")
    assert main(["gate", str(birds), "--config", str(tmp_path / "gates.yaml")]) == 1


def test_what_cannot_be_judged_gets_a_comment_and_no_gate(
    birds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = birds
    record = read_record(run)
    with_measurements(
        run,
        of_scope(record, "rcs", sigma=0.25).model_copy(update={"flags": ["saturated"], "value": 1.0, "ci": (0.2, 1.0)}),
        of_scope(record, "worst_group_accuracy").model_copy(update={"n": 12}),
        of_scope(record, "core_accuracy", sigma=0.25).model_copy(update={"ci": None}),
        of_scope(record, "clean_accuracy").model_copy(update={"value": None, "ci": None, "reason": "no image"}),
        of_scope(record, "swap_gap", feature="background").model_copy(update={"ci": (0.2, 0.995)}),
    )
    written(capsys, run, "-o", tmp_path / "gates.yaml")
    config, text = load_config(tmp_path / "gates.yaml"), (tmp_path / "gates.yaml").read_text()
    assert [rule.id for rule in config.gates] == ["worst-class-floor"]
    said = " ".join(line.strip().removeprefix("#").strip() for line in text.splitlines())
    assert "rcs, sigma 0.25: 1.000 by arithmetic only" in said
    assert "worst_group_accuracy rests on n = 12 images; at least 50 are asked" in said
    assert "core_accuracy[sigma=0.25] has no interval in the record" in said
    assert "clean_accuracy is undefined: no image." in said
    assert "the limit is one that nothing can miss" in said
    assert main(["gate", str(run), "--config", str(tmp_path / "gates.yaml")]) == 0


def test_min_n_is_written_down_and_lets_more_in(
    birds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = birds
    written(capsys, run, "-o", tmp_path / "few.yaml", "--min-n", 10)
    rules = load_config(tmp_path / "few.yaml").gates
    assert {rule.min_n for rule in rules} == {10}
    assert "patch-drop" in {rule.id for rule in rules}
    assert judge(read_record(run), rules).outcome == "pass"


def test_a_run_without_any_judgeable_number_gets_no_gates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = sample_run.healthy_run(tmp_path / "run")
    record = read_record(run)
    small = [one.model_copy(update={"n": 3}) for one in record.measurements]
    write_bytes(run / "scan.json", to_json(record.model_copy(update={"measurements": small})))
    _, err = written(capsys, run, "-o", tmp_path / "gates.yaml")
    assert load_config(tmp_path / "gates.yaml").gates == ()
    assert "Write a gate: no number of this run could carry one" in err
    assert main(["gate", str(run), "--config", str(tmp_path / "gates.yaml")]) == 2


def test_core_features_get_no_ceiling_and_odd_names_stay_names(drawn: ScanRecord) -> None:
    names = ["object", ODD, "reed belt", *(f"f{number}" for number in range(9))]
    drops = [
        Measurement(
            metric="feature_drop_excess",
            definition="d",
            scope={"class": ODD, "feature": name},
            value=0.1,
            n=200,
            ci=(0.05, 0.3 + 0.01 * len(name)),
        )
        for name in names
    ]
    data = drawn.data.model_copy(
        update={
            "classes": [*drawn.data.classes, ClassRecord(index=2, name=ODD, outputs=[2], images=200)],
            "features": [
                *(one for one in drawn.data.features if one.name not in names[1:]),
                *(FeatureRecord(name=name, role="spurious", masks=200, classes=[ODD]) for name in names[1:]),
            ],
        }
    )
    record = drawn.model_copy(update={"measurements": [*drawn.measurements, *drops], "data": data})
    found = [one.rule for one in suggest(record).gates if one.rule.metric == "feature_drop_excess"]
    assert len(found) == 5
    assert {ODD, "reed belt"} <= {rule.scope["feature"] for rule in found}
    assert "object" not in {rule.scope["feature"] for rule in found}
    assert len({rule.id for rule in found}) == 5
    assert judge(record, found).outcome == "pass"


def test_hostile_names_cannot_leave_their_comment_or_value(
    birds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = birds
    record = read_record(run)
    renamed = [
        one.model_copy(
            update={"scope": {key: ODD if key in ("class", "feature") else value for key, value in one.scope.items()}}
        )
        for one in record.measurements
        if one.metric in ("rcs", "core_accuracy", "swap_gap")
    ]
    skipped = AuditRecord(name="patch_swap", status="skipped", reason=ODD)
    model = record.model.model_copy(update={"name": ODD, "file": ODD})
    images = sum(one.images for one in record.data.classes)
    classes = [ClassRecord(index=0, name=ODD, outputs=[0], images=images)]
    data = record.data.model_copy(update={"name": ODD, "source": ODD, "classes": classes})
    run_info = record.run.model_copy(update={"argv": []})
    changed = {
        "measurements": renamed,
        "audits": [*record.audits[:1], skipped],
        "model": model,
        "data": data,
        "run": run_info,
    }
    write_bytes(run / "scan.json", to_json(record.model_copy(update=changed)))
    written(capsys, run, "-o", tmp_path / "gates.yaml")
    config = load_config(tmp_path / "gates.yaml")
    assert [rule.id for rule in config.gates] == [
        "rcs-floor",
        "core-accuracy-floor",
        "worst-class-floor",
        "swap-gap-a-id-b-metric-rcs-min-0-b",
    ]
    assert config.gates[-1].scope == {"feature": ODD}
    assert Path(config.model or "") == tmp_path / ODD or config.model == ODD
    assert main(["gate", str(run), "--config", str(tmp_path / "gates.yaml")]) == 0


def test_an_existing_file_is_replaced_only_with_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("# mine\n")
    assert main(["init", "-o", str(file)]) == 2
    assert "--force" in capsys.readouterr().err
    assert file.read_text() == "# mine\n"
    written(capsys, "-o", file, "--force")
    assert "version: 1" in file.read_text()


def test_a_table_in_pyproject_that_is_no_longer_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.spuraudit]\nversion = 1\n")
    monkeypatch.chdir(tmp_path)
    _, err = written(capsys, "-o", "other.yaml")
    assert "takes the place" not in err
    _, err = written(capsys)
    assert "takes the place of [tool.spuraudit] in pyproject.toml" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "no run here"),
        (["-o", "gates.txt"], "a config file is YAML"),
        (["--min-n", "5"], "--min-n has no effect without RUN"),
    ],
)
def test_what_makes_no_sense_is_exit_2_and_writes_nothing(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", *arguments]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert list(tmp_path.iterdir()) == []


def test_the_template_loads_and_marks_three_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    out, err = written(capsys)
    assert out == ".spuraudit.yaml\n"
    assert "Edit 3 lines of .spuraudit.yaml" in err
    lines = Path(".spuraudit.yaml").read_text().splitlines()
    edits = [line for line in lines if "<- EDIT" in line and not line.startswith("#")]
    assert [line.split(":")[0].strip(" -{") for line in edits] == ["model", "data", "id"]
    config = load_config(Path(".spuraudit.yaml"))
    assert (config.model, config.data, len(config.gates)) == ("model.pt", "my_dataset", 1)
    uncommented = [
        line.replace("# ", "", 1) if line.lstrip(" ").startswith(("# - {", "# audits", "#   ")) else line
        for line in lines
    ]
    Path("all.yaml").write_text("\n".join(uncommented) + "\n")
    every = load_config(Path("all.yaml"))
    assert len(every.gates) == 3
    assert settings(every).sigmas == (0.25,)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with weights, data and a run of `spuraudit scan` with options that no config file can hold."""
    folder = tmp_path_factory.mktemp("project")
    toys.draw(folder / "photos" / "squares", toys.Toy(classes=2, test=70, train=4))
    weights = toys.save_cnn(folder / "models" / "cnn.pt", {"object": 1.0, "frame": 0.9}, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        asked = [str(weights), "--data", "photos/squares", *TYPED, *AUDITS, "--seed", "3", "-q", "-b32"]
        patch.setattr(sys, "argv", ["spuraudit", "scan", *asked, "-o", "runs/first"])
        assert main(sys.argv[1:]) == 0
    return folder


def test_the_file_and_the_options_it_names_scan_the_same_plan(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    _, err = written(capsys, "runs/first", "--force")
    text = Path(".spuraudit.yaml").read_text()
    assert "model: models/cnn.pt" in text
    assert "data: photos/squares" in text
    assert str(project) not in text
    assert "EDIT" not in text
    (step,) = [line.partition("spuraudit scan")[2].split() for line in err.splitlines() if "spuraudit scan" in line]
    assert step == ["--split", "test", "--limit", "120", "--std", "1,1,1", "--precision", "fp32"]
    assert main(["scan", *step, "-o", "runs/again", "-q"]) == 0  # judged by the file's gates
    plans = [Plan.model_validate_json(Path("runs", name, "plan.json").read_bytes()) for name in ("first", "again")]
    assert plans[0] == plans[1]


def test_paths_are_relative_to_the_file_wherever_it_is_written(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    file = project / "ci" / "gates.yaml"
    written(capsys, project / "runs" / "first", "-o", file)
    assert "model: ../models/cnn.pt" in file.read_text()
    config = load_config(file)
    assert Path(config.model or "").samefile(project / "models" / "cnn.pt")
    assert Path(config.data or "").samefile(project / "photos" / "squares")
    merged = settings(config)
    assert (merged.sigmas, merged.trials, merged.swap_trials, merged.seed) == ((0.3, 0.4), 2, 2, 3)
    assert merged.audits == ("noise", "region_swap")


def test_another_file_of_the_same_name_is_not_taken_for_the_model(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = project / "models" / "cnn.pt"
    (tmp_path / "cnn.pt").write_bytes(weights.read_bytes()[:-1] + b"x")
    run = tmp_path / "elsewhere" / "a" / "b" / "run"
    run.mkdir(parents=True)
    for name in ("scan.json", "plan.json"):
        (run / name).write_bytes((project / "runs" / "first" / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    _, err = written(capsys, run)
    text = Path(".spuraudit.yaml").read_text()
    assert "model: cnn.pt  # <- EDIT" in text
    assert "data: squares  # <- EDIT" in text
    assert "Edit 2 lines" in err
    load_config(Path(".spuraudit.yaml"))


def test_help_of_the_three_commands_loads_nothing_heavy_and_init_and_card_need_no_torch(
    birds: Path, tmp_path: Path
) -> None:
    heavy = (
        "torch",
        "torchvision",
        "timm",
        "open_clip",
        "plotly",
        "pyarrow",
        "scipy",
        "sklearn",
        "PIL",
        "numpy",
        "yaml",
    )
    code = (
        "import sys\n"
        "from spuraudit.cli.main import main\n"
        "print([main([name, '--help']) for name in ('init', 'doctor', 'card')])\n"
        f"print([name for name in {heavy!r} if name in sys.modules])\n"
        "for name in ('torch', 'torchvision', 'timm', 'open_clip', 'pytorch_grad_cam'): sys.modules[name] = None\n"
        f"print([main(['init', {str(birds)!r}]), main(['card', {str(birds)!r}, '-o', 'card.md'])])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    printed = [line for line in done.stdout.splitlines() if line.startswith("[")]
    assert printed == ["[0, 0, 0]", "[]", "[0, 0]"]
    for name in ("init", "doctor", "card"):
        assert f"Example: spuraudit {name}" in done.stdout
    assert done.stdout.count("Exit codes: 0") == 3
