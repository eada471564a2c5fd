"""A verdict is of the model and the data that the config names: another run is refused, and doubt is said."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from gate_records import measured, record

from spuraudit.cli.main import main
from spuraudit.errors import RunError
from spuraudit.gates.subject import check_data, check_model
from spuraudit.record.folder import read_verdict, to_json

if TYPE_CHECKING:
    from spuraudit.record.scan import ScanRecord


def run_of(argv: str = "scan", data: dict[str, Any] | None = None, **model: Any) -> ScanRecord:
    now = record(measured("rcs", 0.3))
    return now.model_copy(
        update={
            "run": now.run.model_copy(update={"argv": [argv]}),
            "model": now.model.model_copy(update=model),
            "data": now.data.model_copy(update=data or {}),
        }
    )


FILE = run_of(name="model", source="file", file="model.pt", arch="resnet50")
TIMM = run_of(name="resnet50.a1_in1k", source="timm", file=None, arch="resnet50.a1_in1k")
HUB = run_of(name="timm/resnet18.a1_in1k", source="hf-hub", file=None, arch="resnet18")
FOLDER = run_of(name="my_model", source="local-dir", file=None)
CLIP = run_of(name="ViT-B-32-quickgelu.openai", source="open_clip", file=None, arch="open_clip:ViT-B-32-quickgelu")
CLIP_FILE = run_of(name="clip", source="open_clip", file="clip.pt", arch="open_clip:ViT-B-32")
CODE = run_of(name="nets.py:make", source="code", file=None)
OF_ZOO = run_of("zoo", name="ResNet-50 (A1)", source="timm", file=None, arch="resnet50.tv_in1k")


@pytest.mark.parametrize(
    ("now", "spec"),
    [
        (FILE, "timm:resnet50"),
        (FILE, "other.pt"),
        (FILE, "models/other.pt"),
        (FILE, "hf-hub:timm/resnet18.a1_in1k"),
        (TIMM, "model.pt"),
        (TIMM, "timm:vit_base_patch16_224"),
        (TIMM, "nets:make"),
        (HUB, "hf-hub:timm/resnet50.a1_in1k"),
        (FOLDER, "local-dir:other"),
        (CLIP, "open_clip:ViT-B-32,laion400m_e32"),
        (CLIP_FILE, "open_clip:ViT-B-32,other.pt"),
        (CODE, "nets.py:other"),
        (OF_ZOO, "model.pt"),
    ],
)
def test_a_run_of_another_model(now: ScanRecord, spec: str) -> None:
    with pytest.raises(RunError, match=r"This run is of .*, and the config names the model") as caught:
        check_model(now, spec)
    assert "--model" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("now", "spec"),
    [
        (TIMM, "timm:resnet50.a1_in1k"),
        (HUB, "hf-hub:timm/resnet18.a1_in1k"),
        (HUB, "hf-hub:timm/resnet18.a1_in1k@main"),
        (CLIP, "open_clip:ViT-B-32,openai"),
    ],
)
def test_a_registered_name_is_checked_by_its_name(now: ScanRecord, spec: str) -> None:
    assert check_model(now, spec) == []


@pytest.mark.parametrize(
    ("now", "spec", "said"),
    [
        (FILE, "models/model.pt", "The model file was not checked: models/model.pt is not here, and only its name is"),
        (FILE, "zoo:resnet50", "The model was not checked: the config names zoo:resnet50, and the run is of model ("),
        (
            TIMM,
            "timm:resnet50",
            "The model was not checked: the config names timm:resnet50, and the run is of resnet50",
        ),
        (FOLDER, "local-dir:/elsewhere/my_model", "The model was not checked: local-dir:/elsewhere/my_model; only its"),
        (CLIP_FILE, "open_clip:ViT-B-32,models/clip.pt", "The model file was not checked: open_clip:"),
        (CLIP_FILE, "open_clip:ViT-B-32,clip.pt", "The model file was not checked: open_clip:ViT-B-32,clip.pt; only"),
        (CODE, "src/nets.py:make", "The model was not checked: src/nets.py:make; only its name is that of the run's"),
        (OF_ZOO, "timm:resnet50.a1_in1k", "The model was not checked: the config names timm:resnet50.a1_in1k, and"),
    ],
)
def test_what_the_record_cannot_tell_is_a_note(now: ScanRecord, spec: str, said: str) -> None:
    (note,) = check_model(now, spec)
    assert note.startswith(said)


def test_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    now = run_of(data={"name": "birds", "source": "photos", "layout": "manifest"})
    for spec in ("birds", "photos", "/mnt/elsewhere/photos", "../birds"):
        assert check_data(now, spec, {}) == [], spec
    with pytest.raises(RunError, match=r"This run is on birds \(photos\), and the config names the data imagenet\."):
        check_data(now, "imagenet", {})
    (note,) = check_data(now, "/mnt/other", {})
    assert note == "The data were not checked: the config names /mnt/other, and the run is on birds (photos)."
    assert check_data(now, "mine", {"mine": Path("/mnt/photos")}) == []
    assert len(check_data(now, "mine", {"mine": Path("/mnt/other")})) == 1
    named = run_of(data={"name": "salient1m", "source": "/x", "layout": "salient1m"})
    assert check_data(named, "salient1m", {}) == []


def test_the_name_in_a_dataset_yaml_decides(tmp_path: Path) -> None:
    now = run_of(data={"name": "birds", "source": "photos", "layout": "manifest"})
    for folder, name in (("photos", "fish"), ("moved", "birds")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "dataset.yaml").write_text(f"name: {name}\n")
    assert check_data(now, str(tmp_path / "moved"), {}) == []
    assert check_data(now, str(tmp_path / "moved" / "dataset.yaml"), {}) == []
    with pytest.raises(RunError, match="photos, which is 'fish'"):
        check_data(now, str(tmp_path / "photos"), {})
    (tmp_path / "photos" / "dataset.yaml").write_text("name: [")
    assert check_data(now, str(tmp_path / "photos"), {}) == []


def test_gate_holds_the_config_against_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    Path("run/scan.json").write_bytes(to_json(run_of(name="m", file="m.pt", data={"name": "birds"})))
    gates = "gates: [rcs >= 0.2]\n"
    for wrong in ("model: timm:resnet50", "model: models/other.pt", "data: imagenet"):
        Path(".spuraudit.yaml").write_text(f"{gates}{wrong}\n")
        assert main(["gate", "run", "--exit-zero"]) == 2, wrong
        assert main(["gate", "run", "--write-baseline", "b.json"]) == 2, wrong
        assert not Path("run/verdict.json").exists()
        assert "and the config names the" in capsys.readouterr().err.replace("\n", " ")
    Path(".spuraudit.yaml").write_text(f"{gates}model: models/m.pt\ndata: birds\n")
    assert main(["gate", "run"]) == 0
    verdict = read_verdict(Path("run"))
    assert verdict is not None
    assert [note.partition(":")[0] for note in verdict.notes] == ["The model file was not checked"]
    assert "The model file was not checked" in capsys.readouterr().out
    Path("models").mkdir()
    Path("models/m.pt").write_bytes(b"m")
    assert main(["gate", "run"]) == 0  # this record names no sha256
    verdict = read_verdict(Path("run"))
    assert verdict is not None
    assert "the run's record names no sha256" in verdict.notes[0]
