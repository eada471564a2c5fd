"""`spuraudit doctor`: what it finds on machines that have, lack or break things."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import toys

from spuraudit.cli.main import main

SECRET = "hf_abcDEF0123456789"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of its own, and an empty working folder in it that no configuration reaches."""
    home = tmp_path / "home"
    (home / "project" / ".git").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN_PATH", "TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "SPURAUDIT_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(home / "project")
    return home


class Answer:
    """The lines of one call, by topic and name."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> None:
        capsys.readouterr()
        assert main(["doctor", "--format", "json", *arguments]) == code
        streams = capsys.readouterr()
        self.text, self.err = streams.out, streams.err
        self.content: dict[str, Any] = json.loads(streams.out)
        self.lines = {(one["topic"], one["name"]): one for one in self.content["checks"]}

    def of(self, topic: str, name: str) -> tuple[str, str]:
        """(status, what was found)."""
        one = self.lines[topic, name]
        assert one["status"] == "ok" or one["hint"], "every line that is not ok has a way out"
        return one["status"], one["found"]


def quick(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Answer:
    return Answer(capsys, "--no-dry-run", *arguments, code=code)


def fresh(code: str) -> str:
    """The output of code in a fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_dry_run_scans_two_images(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = Answer(capsys, "--device", "cpu")
    status, found = answer.of("dry run", "two images")
    assert status == "ok"
    assert found.startswith("2 images on cpu, ")
    assert answer.content["ready"] is True
    assert answer.err.startswith("READY: a scan can run here")
    assert [path.name for path in (home / "project").iterdir()] == [".git"]


def test_a_dry_run_that_fails_is_exit_2(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = Answer(capsys, "--device", "cuda:77", code=2)
    assert answer.of("dry run", "two images")[1].startswith("failed: The device 'cuda:77' is not available")
    assert answer.content["ready"] is False
    assert "NOT READY: no scan can run here (two images)" in answer.err


def test_versions_are_those_of_the_installed_packages(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = quick(capsys)
    for name in ("torch", "torchvision", "timm", "plotly", "open_clip_torch"):
        assert answer.of("versions", name) == ("ok", metadata.version(name))
    assert answer.of("versions", "python")[1].startswith(".".join(map(str, sys.version_info[:3])))


def test_a_missing_extra_is_named_and_does_not_block(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without(monkeypatch, "ray", "diffusers")
    answer = quick(capsys)
    assert answer.of("versions", "ray") == ("missing", "not installed; only the extra ray needs it")
    assert answer.lines["versions", "ray"]["hint"] == "pip install 'spuraudit[ray]'"
    assert answer.lines["versions", "diffusers"]["hint"] == "pip install 'spuraudit[scgs]'"


def test_a_missing_requirement_blocks_and_is_listed_though_not_asked_for(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without(monkeypatch, "timm", "scipy")
    answer = quick(capsys, code=2)
    assert answer.of("versions", "timm") == ("missing", "not installed")
    assert answer.lines["versions", "scipy"]["hint"].startswith("pip install 'scipy")
    assert "no scan can run here (timm, scipy)" in answer.err


def test_a_package_that_is_too_old_is_a_warning(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "1.0.1" if name == "timm" else real(name))
    status, found = quick(capsys).of("versions", "timm")
    assert (status, found) == ("warning", "1.0.1, but >=1.0.15 is needed")


def without(monkeypatch: pytest.MonkeyPatch, *absent: str) -> None:
    """As on a machine that lacks these distributions."""
    real = metadata.version

    def version(name: str) -> str:
        if name in absent:
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)


def test_extras_are_read_from_an_installed_wheels_metadata_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from spuraudit.runs import packages

    from_tree = packages.declared()
    lines = ["Metadata-Version: 2.1", "Name: spuraudit", "Version: 0.1.0"]
    lines += [f"Requires-Dist: {one}" for one in from_tree[""]]
    for extra in (*from_tree, "dev"):
        if extra:
            lines.append(f"Provides-Extra: {extra}")
            lines += [f"Requires-Dist: {one}; extra == '{extra}'" for one in from_tree.get(extra, [])]
    (tmp_path / "spuraudit-0.1.0.dist-info").mkdir()
    (tmp_path / "spuraudit-0.1.0.dist-info" / "METADATA").write_text("\n".join(lines) + "\n\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(packages, "_TREE", tmp_path / "pyproject.toml")
    installed = packages.declared()
    assert set(installed) == set(from_tree) == {"", "ray", "scgs"}
    for extra, listed in from_tree.items():
        assert [(one.name, one.specifier) for one in installed[extra]] == [(one.name, one.specifier) for one in listed]


def test_without_torch_it_still_answers(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "for name in ('torch', 'torchvision', 'timm', 'open_clip'): sys.modules[name] = None\n"
        "from spuraudit.cli.main import main\n"
        "print(main(['doctor', '--format', 'json']))"
    )
    out = fresh(code)
    content = json.loads(out[: out.rindex("}") + 1])
    assert out.splitlines()[-1] == "2"
    blocked = {one["name"]: one["found"] for one in content["checks"] if one["blocks"]}
    assert set(blocked) == {"torch", "two images"}
    assert blocked["torch"].startswith("cannot be imported (")
    assert any(one["topic"] == "data" and one["name"] == "salient1m" for one in content["checks"])


def test_packages_are_not_imported_to_find_their_versions() -> None:
    heavy = (
        "torch",
        "torchvision",
        "timm",
        "open_clip",
        "transformers",
        "ray",
        "plotly",
        "diffusers",
        "huggingface_hub",
    )
    code = (
        "import sys\n"
        "from spuraudit.runs.doctor import caches, disk, versions\n"
        "from spuraudit.runs.packages import packages\n"
        "versions(), packages(), caches()\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    assert fresh(code) == "[]\n"


CACHES = [
    {},
    {"XDG_CACHE_HOME": "/tmp/cache"},
    {"HF_HOME": "/tmp/hf", "TORCH_HOME": "/tmp/torch"},
    {"HF_HOME": "/tmp/hf", "HF_HUB_CACHE": "/tmp/hub"},
    {"HF_HOME": "~/hf", "TORCH_HOME": "~/t", "HF_HUB_OFFLINE": "ON"},
    {"TRANSFORMERS_OFFLINE": "1"},
]


def test_caches_are_where_the_libraries_look(home: Path) -> None:
    from spuraudit.runs.doctor import caches, hub_folder, torch_folder

    code = (
        "import importlib, json, os, sys\n"
        "import torch.hub, huggingface_hub.constants as constants\n"
        f"for variables in {CACHES!r}:\n"
        "    os.environ.update(variables)\n"
        "    importlib.reload(constants)\n"
        "    print(json.dumps([constants.HF_HUB_CACHE, torch.hub.get_dir(), constants.HF_HUB_OFFLINE]))\n"
        "    for name in variables: del os.environ[name]\n"
    )
    expected = [json.loads(line) for line in fresh(code).splitlines()]
    assert len(expected) == len(CACHES)
    for variables, (hub, torch_dir, offline) in zip(CACHES, expected, strict=True):
        with pytest.MonkeyPatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            assert (str(hub_folder()), str(torch_folder())) == (hub, f"{torch_dir}/checkpoints")
            assert ("forbidden" in caches()[0].found) == offline


def test_weights_that_are_here_are_counted_and_offline_is_said(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = quick(capsys)
    assert answer.of("weights", "Hugging Face cache") == ("missing", "~/.cache/huggingface/hub: nothing is there")
    model = home / ".cache" / "huggingface" / "hub" / "models--timm--resnet18"
    (model / "blobs").mkdir(parents=True)
    (model / "blobs" / "abc").write_bytes(b"x" * 2500)
    (model / "snapshots").mkdir()
    (model / "snapshots" / "model.safetensors").symlink_to(model / "blobs" / "abc")
    (home / "t" / "hub" / "checkpoints").mkdir(parents=True)
    (home / "t" / "hub" / "checkpoints" / "a.pth").write_bytes(b"x" * 10)
    monkeypatch.setenv("TORCH_HOME", str(home / "t"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    answer = quick(capsys)
    assert answer.of("weights", "Hugging Face cache") == ("ok", "~/.cache/huggingface/hub: 1 model, 2.5 kB")
    assert answer.of("weights", "torch cache") == ("ok", "~/t/hub/checkpoints: 1 file, 10 bytes")
    assert answer.of("weights", "offline") == ("ok", "downloads are forbidden (HF_HUB_OFFLINE)")


@pytest.mark.parametrize("place", ["variable", "file"])
def test_neither_the_token_nor_the_home_folder_is_shown(
    place: str, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if place == "variable":
        monkeypatch.setenv("HF_TOKEN", SECRET)
    else:
        (home / ".cache" / "huggingface").mkdir(parents=True)
        (home / ".cache" / "huggingface" / "token").write_text(SECRET)
    monkeypatch.setenv("SPURAUDIT_DATA", f"{home}/sets")
    monkeypatch.setenv("SPURAUDIT_ZOO", f"https://me:{SECRET}@host/zoo.yaml")
    answer = quick(capsys)
    assert answer.of("weights", "hub token") == ("ok", "set")
    assert answer.of("data", "SPURAUDIT_DATA") == ("warning", "~/sets: no such folder")
    assert answer.of("config", "SPURAUDIT_ZOO")[1] == "https://host/zoo.yaml (environment)"
    assert main(["doctor", "--no-dry-run"]) == 0
    streams = capsys.readouterr()
    for text in (answer.text, answer.err, streams.out, streams.err):
        assert SECRET not in text
        assert str(home) not in text


def test_a_folder_whose_name_begins_like_the_home_folder_keeps_it(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SPURAUDIT_DATA", f"{home}stead/sets")
    assert quick(capsys).of("data", "SPURAUDIT_DATA")[1] == f"{home}stead/sets: no such folder"


CONFIG = """\
model: missing.pt
data: squares
locations: {fast: nowhere}
audits: {noise: {sigma: 0.5}, region_swap: }
seed: 4
gates: ["rcs >= 0.1"]
"""


def test_settings_say_where_they_come_from(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toys.draw(home / "project" / "squares", toys.Toy(classes=2, test=2, train=1))
    (home / "project" / ".spuraudit.yaml").write_text(CONFIG)
    answer = quick(capsys)
    assert answer.of("config", "file") == ("ok", "~/project/.spuraudit.yaml")
    assert answer.of("config", "gates") == ("ok", "1: rcs >= 0.1")
    assert answer.of("config", "seed")[1] == "4 (from .spuraudit.yaml)"
    assert answer.of("config", "sigmas")[1] == "0.5 (from .spuraudit.yaml)"
    assert answer.of("config", "audits")[1] == "noise, region_swap (from .spuraudit.yaml)"
    assert answer.of("config", "trials")[1] == "5 (default)"
    assert answer.of("config", "model")[0] == "missing"
    assert answer.of("data", "location fast") == ("warning", "~/project/nowhere: no such folder")
    assert answer.of("data", "data of .spuraudit.yaml")[1] == "~/project/squares: 6 images, 2 classes, 1 features"


def test_datasets_are_found_where_a_scan_finds_them(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quick(capsys).of("data", "waterbirds") == ("missing", "not found (SPURAUDIT_DATA is not set)")
    folder = home / "sets" / "waterbirds"
    folder.mkdir(parents=True)
    (folder / "metadata.csv").write_text("img_id,img_filename,y,split,place,place_filename\n")
    monkeypatch.setenv("SPURAUDIT_DATA", str(home / "sets"))
    assert quick(capsys).of("data", "waterbirds") == ("ok", "~/sets/waterbirds")


@pytest.mark.parametrize("text", ["gats: []\n", "audits: {noise: {sigma: -1}}\n", "audits: [nois]\n"])
def test_a_config_that_no_scan_could_read_blocks(text: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "project" / ".spuraudit.yaml").write_text(text)
    answer = quick(capsys, code=2)
    assert answer.lines["config", "file"]["blocks"] is True
    assert answer.of("config", "file")[0] == "missing"


def test_devices_and_disk(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import shutil

    import torch

    answer = quick(capsys)
    assert answer.of("devices", "CPU")[1].startswith(f"{os.cpu_count()} cores")
    if not torch.cuda.is_available():
        assert answer.of("devices", "CUDA")[0] in ("missing", "warning")
    free = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: free)
    assert quick(capsys).of("disk", "working folder") == ("warning", "~/project: 1 kB free")


def test_the_text_has_a_line_per_finding_and_the_ways_out(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--no-dry-run"]) == 0
    streams = capsys.readouterr()
    lines = streams.out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == [
        "Versions", "Devices", "Weights", "Configuration", "Datasets", "Disk"
    ]  # fmt: skip
    place = next(number for number, line in enumerate(lines) if line.startswith("  missing file "))
    assert "spuraudit init" in lines[place + 1]
    assert streams.err.splitlines()[-1].startswith("READY")
