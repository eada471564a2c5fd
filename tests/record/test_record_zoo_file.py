"""Zoo files: what they may say, where an error stands, and how files, presets and the shipped file go together."""

from __future__ import annotations

from pathlib import Path

import pytest

from spuraudit.errors import ConfigError, UsageError
from spuraudit.record.zoo import Published
from spuraudit.record.zoo_file import load_zoo

FULL = """\
version: 1
source: {authors: A. Author, year: 2024, title: A Paper, arxiv: "2401.00001", table: Table 3}
presets:
  small: {specs: [timm, hf-hub], preprocess: {img_size: 96, mean: 0.5}}
models:
- id: first
  name: The first
  group: Ours
  spec: weights/first.pt
  arch: resnet18
  kwargs: {num_classes: 7, drop_rate: 0.1}
  preprocess: {mean: [0.4, 0.5, 0.6], std: 0.2, interpolation: bicubic, crop_pct: 1, img_size: [192, 160]}
  class_map: maps/first.csv
  licence: MIT
  note: a note
  get: ask
  published: {clean: 90, core: 84.5, spurious: 57.6, rcs: -46.4}
- {id: second, spec: "timm:resnet18.tv_in1k", preprocess: {crop_pct: 0.9}, alternatives: ["timm:resnet18.a1_in1k"]}
- {id: third, spec: "open_clip:RN50,openai", group: Theirs, classnames: names.txt, templates: simple}
- {id: fourth, group: Ours, adapter: {kind: dino, arch: vits8, backbone: b.pth, head: h.pth}}
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "zoo.yaml"
    file.write_text(text)
    return file


def test_every_key_arrives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPURAUDIT_ZOO_FILES", raising=False)
    zoo = load_zoo(write(tmp_path, FULL))
    assert zoo.source == "A. Author (2024), A Paper, arXiv:2401.00001, Table 3"
    first, second, third, fourth = zoo.entries
    assert (first.id, first.name, first.group, first.licence, first.note, first.get) == (
        "first", "The first", "Ours", "MIT", "a note", "ask",
    )  # fmt: skip
    assert (first.spec, first.arch, first.kwargs) == (
        "weights/first.pt", "resnet18", {"num_classes": 7, "drop_rate": 0.1},
    )  # fmt: skip
    assert first.preprocess == {
        "mean": (0.4, 0.5, 0.6), "std": (0.2,), "interpolation": "bicubic", "crop_pct": 1, "img_size": (192, 160),
    }  # fmt: skip
    assert first.class_map == tmp_path / "maps" / "first.csv"
    assert first.published == Published(clean=0.9, core=0.845, spurious=0.576, rcs=-0.464)
    assert (first.line, second.line, fourth.line) == (6, 18, 20)
    assert first.folders == (tmp_path,)
    assert first.shown_spec == "first.pt"
    assert (second.name, second.group, second.published) == ("second", None, None)
    assert second.alternatives == ("timm:resnet18.a1_in1k",)
    assert second.shown_spec == "timm:resnet18.tv_in1k"
    assert (third.classnames, third.templates) == ("names.txt", "simple")
    assert fourth.adapter is not None
    assert (fourth.adapter.kind, fourth.adapter.arch) == ("dino", "vits8")
    assert list(fourth.adapter.files.items()) == [("backbone", "b.pth"), ("head", "h.pth")]
    assert fourth.shown_spec == "zoo:fourth"


@pytest.mark.parametrize(
    ("spec", "shown"),
    [
        ("/home/me/weights/net.pt", "net.pt"),
        ("local-dir:/home/me/vit", "local-dir:vit"),
        ("hf-hub:timm/vit", "hf-hub:timm/vit"),
        ("nets/mine.py:build", "mine.py:build"),
    ],
)
def test_a_shown_spec_tells_nothing_of_the_machine(tmp_path: Path, spec: str, shown: str) -> None:
    (entry,) = load_zoo(write(tmp_path, f"version: 1\nmodels:\n- {{id: a, spec: '{spec}'}}\n")).entries
    assert entry.shown_spec == shown


def test_groups_and_ids_are_selected_in_the_files_order(tmp_path: Path) -> None:
    zoo = load_zoo(write(tmp_path, FULL))
    ids = lambda *found: [entry.id for entry in zoo.select(*found)]  # noqa: E731
    assert ids() == ["first", "second", "third", "fourth"]
    assert ids(["Ours"]) == ["first", "fourth"]
    assert ids(["Ours"], ["third"]) == ["first", "third", "fourth"]
    assert ids([], ["fourth", "second"]) == ["second", "fourth"]
    with pytest.raises(UsageError, match=r"zoo\.yaml has no group 'Their'") as error:
        zoo.select(["Their"])
    assert error.value.hint == "Did you mean 'Theirs'?"
    with pytest.raises(UsageError, match="no model 'fist'") as error:
        zoo.select([], ["fist"])
    assert "'first'" in str(error.value.hint)
    with pytest.raises(UsageError) as error:
        zoo.select(["ViTs"])
    assert error.value.hint == "It has Ours, Theirs."


def test_files_are_looked_for_where_asked_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPURAUDIT_ZOO_FILES", str(tmp_path / "everywhere"))
    file = write(tmp_path, FULL)
    assert load_zoo(file).entries[0].folders == (tmp_path / "everywhere", tmp_path)
    given = load_zoo(file, files=tmp_path / "given").entries[0].folders
    assert given == (tmp_path / "given", tmp_path / "everywhere", tmp_path)


def test_a_preset_is_for_the_specs_it_names(tmp_path: Path) -> None:
    file = write(tmp_path, FULL)
    first, second, third, _ = load_zoo(file, preset="small").entries
    assert second.preprocess == {"crop_pct": 0.9, "img_size": (96, 96), "mean": (0.5,)}
    assert first.preprocess["img_size"] == (192, 160)
    assert third.preprocess == {}
    assert load_zoo(file, preset="own") == load_zoo(file)
    with pytest.raises(UsageError, match="no preset 'smal'") as error:
        load_zoo(file, preset="smal")
    assert error.value.hint == "Did you mean 'small'?"


def test_extending_the_shipped_file_adds_and_replaces(tmp_path: Path) -> None:
    shipped = load_zoo()
    models = "- {id: new, spec: new.pt}\n- {id: resnet50, spec: 'timm:resnet50.a1_in1k'}\n"
    zoo = load_zoo(write(tmp_path, f"version: 1\nextends: default\nmodels:\n{models}"))
    assert [entry.id for entry in zoo.entries] == [*(entry.id for entry in shipped.entries), "new"]
    assert (zoo.file.name, zoo.source) == ("zoo.yaml", shipped.source)
    changed = zoo.entry("resnet50")
    assert (changed.spec, changed.published, changed.zoo) == ("timm:resnet50.a1_in1k", None, zoo.file)
    assert zoo.entry("vgg19") == shipped.entry("vgg19")
    authors = load_zoo(zoo.file, preset="si-authors")
    assert authors.entry("resnet50").preprocess["crop_pct"] == 0.875
    alone = load_zoo(write(tmp_path, "version: 1\nextends: default\n"))
    assert alone.entries == shipped.entries


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("version: 1", "version: 2", 1, "version: expected 1, found 2"),
        ("  licence: MIT", "  license: MIT", 14, "models[0].license: unknown key. Did you mean 'licence'?"),
        ("crop_pct: 1,", "crop: 1,", 12, "models[0].preprocess.crop: unknown key"),
        ("id: second", "id: First", 18, "models[1].id: the id 'First' is already used in line 6"),
        ("id: second", "id: ../up", 18, "'../up' cannot name a folder"),
        ("id: second", "id: nul.x", 18, "'nul.x' cannot name a folder"),
        ("id: second, ", "", 18, "models[1].id: required, but missing"),
        ("clean: 90", "clean: 190", 17, "published.clean: Input should be less than or equal to 100, found 190"),
        ("clean: 90", "clean: yes", 17, "models[0].published.clean: expected a number, found true"),
        ("rcs: -46.4", "rcs: -146.4", 17, "models[0].published.rcs"),
        ("mean: [0.4, 0.5, 0.6]", "mean: [0.4, 0.5]", 12, "one number or three (R, G, B), found 2"),
        ("mean: [0.4, 0.5, 0.6]", "mean: [104, 117, 123]", 12, "models[0].preprocess.mean"),
        ("std: 0.2", "std: 0", 12, "models[0].preprocess.std"),
        ("bicubic", "cubic", 12, "models[0].preprocess.interpolation: expected 'nearest', 'bilinear'"),
        ("[192, 160]", "[192, 160, 3]", 12, "a side, or height and width, in pixels; found 3 numbers"),
        ("drop_rate: 0.1", "drop_rate: [0.1]", 11, "models[0].kwargs: drop_rate must be text, a number"),
        ("num_classes: 7", "img_size: 7", 6, "the input size is given twice"),
        ("arch: vits8", "arch: vits9", 20, "arch of dino must be one of vits8, vits16, resnet50; found 'vits9'"),
        ("kind: dino", "kind: dinov2", 20, "models[3].adapter.kind: expected 'dino', 'mocov3' or 'simclr'"),
        (", head: h.pth", "", 20, "dino comes as backbone and head; found backbone"),
        ("backbone: b.pth", "spec: b.pth", 20, "models[3].adapter.spec: unknown key"),
        ("  spec: weights/first.pt\n", "", 6, "exactly one of `spec` and `adapter`"),
        ("id: fourth,", "id: fourth, spec: x.pt,", 20, "exactly one of `spec` and `adapter`"),
        ("id: fourth,", "id: fourth, arch: x,", 20, "`arch` and `kwargs` go with a spec"),
        ("timm:resnet18.tv_in1k", "zoo:first", 18, "the spec 'zoo:first' is not a model"),
        ("specs: [timm, hf-hub], ", "", 4, "presets.small.specs: required, but missing"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, old: str, new: str, line: int, message: str) -> None:
    assert FULL.count(old) == 1
    file = write(tmp_path, FULL.replace(old, new))
    with pytest.raises(ConfigError) as error:
        load_zoo(file)
    assert f"{file}, line {line}: " in error.value.message
    assert message in error.value.message


def test_a_file_without_models_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="names no models"):
        load_zoo(write(tmp_path, "version: 1\n"))
    with pytest.raises(ConfigError, match="cannot be read"):
        load_zoo(tmp_path / "absent.yaml")


def test_unknown_groups_are_the_users(tmp_path: Path) -> None:
    (entry,) = load_zoo(write(tmp_path, "version: 1\nmodels:\n- {id: a, spec: a.pt, group: Whatever}\n")).entries
    assert entry.group == "Whatever"
