"""The hub: its cache, what would be fetched, fetching when allowed, and never a request otherwise."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from hub_server import COMMIT, serving
from model_networks import build
from safetensors.torch import save_file
from timm.models import save_for_hf

from spuraudit.errors import ModelError, UsageError
from spuraudit.models import PreprocessOverrides, load
from spuraudit.models.hub import Fetch, Repo, cached, parse_repo, size_text, would_fetch

REPO = "some-org/a-net"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "hub"


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any attempt to reach another machine, or this one, fails the test."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def save(folder: Path, outputs: int = 7, card: str | None = "mit") -> Path:
    """A folder as timm pushes it."""
    save_for_hf(build("test_resnet", num_classes=outputs), str(folder), safe_serialization=True)
    if card:
        (folder / "README.md").write_text(f"---\ntags:\n- image-classification\nlicense: {card}\n---\n# A net\n")
    return folder


def put_in_cache(hub: Path, source: Path, repo: str = REPO, ref: str = "main", commit: str = COMMIT) -> Path:
    """A snapshot as huggingface_hub lays it out: blobs, and links to them."""
    root = hub / f"models--{repo.replace('/', '--')}"
    snapshot = root / "snapshots" / commit
    for folder in (snapshot, root / "refs", root / "blobs"):
        folder.mkdir(parents=True, exist_ok=True)
    (root / "refs" / ref).write_text(commit)
    for path in source.iterdir():
        blob = root / "blobs" / f"{commit[:8]}-{path.name}.blob"
        shutil.copy(path, blob)
        (snapshot / path.name).symlink_to(blob)
    return snapshot


@pytest.fixture
def served(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, list[str]]]:
    """A running hub: the folder of its repositories, and what was asked of it."""
    asked: list[str] = []
    (tmp_path / "served").mkdir()
    with serving(tmp_path / "served", asked) as address:
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
        monkeypatch.setattr(
            huggingface_hub.constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            address + "/{repo_id}/resolve/{revision}/{filename}",
        )
        yield tmp_path / "served", asked


@pytest.mark.usefixtures("no_network")
def test_a_repository_in_the_cache(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = save(tmp_path / "net")
    put_in_cache(hub, source)
    model = load(f"hf-hub:{REPO}", device="cpu")
    record = model.record
    assert (record.source, record.name, record.file) == ("hf-hub", REPO, "model.safetensors")
    assert (record.arch, record.num_classes) == ("test_resnet", 7)
    assert record.size_bytes == (source / "model.safetensors").stat().st_size
    assert f"From huggingface.co/{REPO}, commit {COMMIT}; licence: mit." in record.notes
    assert str(tmp_path) not in record.model_dump_json()
    assert would_fetch(f"hf-hub:{REPO}") == []
    folder = load(f"local-dir:{source}", device="cpu")
    assert folder.record.sha256 == record.sha256
    pixels = torch.rand(2, 3, 160, 160)
    assert torch.equal(folder.logits(pixels), model.logits(pixels))
    # what is there is used although the hub may not be asked, and nobody asks for newer files
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert load(f"hf-hub:{REPO}", device="cpu", allow_download=True).record.sha256 == record.sha256


@pytest.mark.usefixtures("no_network")
def test_a_revision_is_that_revision(hub: Path, tmp_path: Path) -> None:
    put_in_cache(hub, save(tmp_path / "new"))
    put_in_cache(hub, save(tmp_path / "old", outputs=4), ref="v1", commit="f" * 40)
    assert load(f"hf-hub:{REPO}", device="cpu").record.num_classes == 7
    for revision in ("v1", "f" * 40):
        record = load(f"hf-hub:{REPO}@{revision}", device="cpu").record
        assert (record.num_classes, record.name) == (4, REPO)
        assert any(f"{REPO}@{revision}, commit {'f' * 40}" in note for note in record.notes)
    with pytest.raises(ModelError, match="not whole in the local cache") as caught:
        load(f"hf-hub:{REPO}@v2", device="cpu")
    assert f"huggingface.co/{REPO}@v2" in caught.value.message


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("variable", [None, "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_nothing_is_asked_of_the_hub_without_permission(
    variable: str | None, hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable:
        monkeypatch.setenv(variable, "1")
    with pytest.raises(ModelError) as caught:
        load(f"hf-hub:{REPO}", device="cpu", allow_download=variable is not None)
    message = caught.value.message
    assert (f"{variable} is set" if variable else "nothing is downloaded without being asked to") in message
    assert f"huggingface.co/{REPO} (licence: unknown until asked)" in message
    assert "config.json or open_clip_config.json (size unknown until asked); preprocessor_config.json" in message
    assert (f"--allow-download without {variable}" if variable else "--allow-download, or") in caught.value.hint
    assert not hub.exists()


@pytest.mark.usefixtures("no_network")
def test_a_cached_config_tells_the_size_of_the_weights(hub: Path, tmp_path: Path) -> None:
    source = save(tmp_path / "net", card="cc-by-nc-4.0")
    size = (source / "model.safetensors").stat().st_size
    (source / "model.safetensors").unlink()
    put_in_cache(hub, source)
    (lacking,) = would_fetch(f"hf-hub:{REPO}")
    assert lacking.where == f"huggingface.co/{REPO}"
    assert lacking.licence == "cc-by-nc-4.0"
    assert lacking.what.startswith("model.safetensors or ")
    # the file also holds BatchNorm's statistics and a header
    assert lacking.bytes == 4 * lacking.parameters
    assert 0.9 * size < lacking.bytes < size
    with pytest.raises(
        ModelError,
        match=r"licence: cc-by-nc-4\.0\).*: model\.safetensors or pytorch_model\.bin \(about 1\.\d+ MB: 0\.4 M",
    ):
        load(f"hf-hub:{REPO}", device="cpu")


@pytest.mark.usefixtures("no_network")
def test_a_missing_shard_is_named(hub: Path, tmp_path: Path) -> None:
    source = save(tmp_path / "net")
    (source / "model.safetensors").unlink()
    table = {"fc.weight": "model-00001-of-00002.safetensors", "fc.bias": "model-00002-of-00002.safetensors"}
    (source / "model.safetensors.index.json").write_text(json.dumps({"weight_map": table}))
    save_file({"fc.weight": torch.zeros(7, 96)}, source / "model-00001-of-00002.safetensors")
    put_in_cache(hub, source)
    assert [one.what for one in would_fetch(f"hf-hub:{REPO}")] == ["model-00002-of-00002.safetensors"]


@pytest.mark.usefixtures("no_network")
def test_a_processor_that_was_never_asked_for_is_missing(hub: Path, tmp_path: Path) -> None:
    source = tmp_path / "net"
    source.mkdir()
    (source / "config.json").write_text(json.dumps({"model_type": "vit", "architectures": ["ViT"]}))
    save_file({"classifier.weight": torch.zeros(2, 4)}, source / "model.safetensors")
    snapshot = put_in_cache(hub, source)
    assert [one.what for one in would_fetch(f"hf-hub:{REPO}")] == ["preprocessor_config.json"]
    with pytest.raises(ModelError, match=r"would come: preprocessor_config\.json \(size unknown"):
        load(f"hf-hub:{REPO}", device="cpu")
    # as huggingface_hub writes down that a repository holds no such file
    absent = snapshot.parent.parent / ".no_exist" / COMMIT / "preprocessor_config.json"
    absent.parent.mkdir(parents=True)
    absent.touch()
    assert would_fetch(f"hf-hub:{REPO}") == []


def test_allowed_downloads_are_told(served: tuple[Path, list[str]], hub: Path) -> None:
    folder, asked = served
    source = save(folder / REPO)
    with pytest.raises(ModelError, match="nothing is downloaded"):
        load(f"hf-hub:{REPO}", device="cpu")
    assert asked == []
    model = load(f"hf-hub:{REPO}", device="cpu", allow_download=True)
    assert model.record.num_classes == 7
    notes = "\n".join(model.record.notes)
    size = (source / "model.safetensors").stat().st_size
    assert f"/{REPO}/resolve/main/model.safetensors ({size:,} bytes)." in notes
    assert "config.json" in notes
    assert "licence: mit" in notes
    assert sum(line.startswith("GET") for line in asked) >= 3
    # from now on nothing is asked
    asked.clear()
    again = load(f"hf-hub:{REPO}", device="cpu", allow_download=True)
    assert asked == []
    assert again.record.sha256 == model.record.sha256
    assert not any(note.startswith("Fetched") for note in again.record.notes)


def test_only_what_is_missing_is_fetched(served: tuple[Path, list[str]], hub: Path) -> None:
    folder, _ = served
    source = save(folder / REPO)
    weights = (source / "model.safetensors").rename(folder / "aside")
    with pytest.raises(ModelError, match=r"holds none of model\.safetensors"):
        load(f"hf-hub:{REPO}", device="cpu", allow_download=True)
    weights.rename(source / "model.safetensors")
    record = load(f"hf-hub:{REPO}", device="cpu", allow_download=True).record
    fetched = [note for note in record.notes if note.startswith("Fetched")]
    assert len(fetched) == 1
    assert "model.safetensors" in fetched[0]


def test_a_hub_that_says_no(served: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, asked = served
    with pytest.raises(ModelError, match=r"could not be fetched from 127\.0\.0\.1:\d+/some-org/a-net") as caught:
        load(f"hf-hub:{REPO}", device="cpu", allow_download=True)
    assert "Check the name" in caught.value.hint
    (folder / REPO).mkdir(parents=True)
    with pytest.raises(ModelError, match=r"holds neither config\.json nor open_clip_config\.json"):
        load(f"hf-hub:{REPO}", device="cpu", allow_download=True)
    save(folder / "org" / "classifier")
    asked.clear()
    with pytest.raises(UsageError, match="--templates had no effect"):
        load("hf-hub:org/classifier", device="cpu", allow_download=True, templates="openai")
    assert not any("safetensors" in line for line in asked)


def test_published_weights_of_timm_over_the_hub(served: tuple[Path, list[str]], hub: Path) -> None:
    repo = served[0] / "timm" / "test_vit.r160_in1k"
    repo.mkdir(parents=True)
    save_file(build("test_vit", num_classes=1000).state_dict(), repo / "model.safetensors")
    record = load("timm:test_vit", device="cpu", allow_download=True).record
    (note,) = record.notes
    assert "/timm/test_vit.r160_in1k/resolve/main/model.safetensors (" in note
    assert cached(Repo("timm/test_vit.r160_in1k"), "model.safetensors") is not None
    assert load("timm:test_vit", device="cpu").record.notes == []


@pytest.mark.usefixtures("no_network", "hub")
def test_what_timm_would_fetch() -> None:
    (fetch,) = would_fetch("timm:resnet50")
    assert fetch == Fetch(
        "weights of resnet50", "huggingface.co/timm/resnet50.a1_in1k", 102_228_128, "apache-2.0", 25_557_032
    )
    assert fetch.size == "about 102 MB: 25.6 M parameters in float32"
    (other,) = would_fetch("timm:legacy_seresnet18")
    assert other.where.endswith("seresnet18-4bb0ce65.pth")
    with pytest.raises(ModelError, match="Unknown architecture 'resnet555'"):
        would_fetch("timm:resnet555")
    assert would_fetch("some/file.pt") == []
    assert would_fetch("timm:paper_cnn") == []


@pytest.mark.usefixtures("no_network", "hub")
def test_what_a_zoo_entry_would_fetch(tmp_path: Path) -> None:
    zoo = tmp_path / "mine.yaml"
    zoo.write_text(
        "version: 1\nmodels:\n- {id: published, spec: 'timm:resnet50'}\n"
        "- {id: clip, spec: 'open_clip:ViT-B-32,openai'}\n"
        "- {id: own, spec: own.pt, get: Ask me.}\n"
        "- {id: adapted, adapter: {kind: simclr, arch: resnet50_1x, file: simclr.pth}, get: Convert it.}\n"
    )
    assert would_fetch(f"zoo:{zoo}#published") == would_fetch("timm:resnet50")
    assert would_fetch(f"zoo:{zoo}#clip") == would_fetch("open_clip:ViT-B-32,openai")
    assert [one.where for one in would_fetch("zoo:resnet18")] == ["huggingface.co/timm/resnet18.tv_in1k"]
    for id, file, get in (("own", "own.pt", "Ask me."), ("adapted", "simclr.pth", "Convert it.")):
        with pytest.raises(ModelError, match=f"needs {file}, which is not there") as caught:
            would_fetch(f"zoo:{zoo}#{id}")
        assert get in str(caught.value.hint)
        (tmp_path / file).touch()
        assert would_fetch(f"zoo:{zoo}#{id}") == []
    with pytest.raises(UsageError, match="has no model 'publishd'"):
        would_fetch(f"zoo:{zoo}#publishd")


@pytest.mark.usefixtures("no_network")
def test_what_open_clip_would_fetch(hub: Path, tmp_path: Path) -> None:
    (fetch,) = would_fetch("open_clip:ViT-B/32,openai")
    place = "timm/vit_base_patch32_clip_224.openai"
    assert (fetch.where, fetch.licence) == (f"huggingface.co/{place}", None)
    assert fetch.size == "about 605 MB: 151.3 M parameters in float32"
    source = tmp_path / "weights"
    source.mkdir()
    (source / "open_clip_model.safetensors").write_bytes(b"weights")
    put_in_cache(hub, source, place)
    assert would_fetch("open_clip:ViT-B-32,openai") == []
    # the shape of a text tower of transformers lies on the hub as well
    lacking = would_fetch("open_clip:roberta-ViT-B-32,laion2b_s12b_b32k")
    assert [(one.what.partition(" of ")[0], one.bytes) for one in lacking] == [
        ("weights", None),
        ("text tower", None),
        ("tokenizer", None),
    ]
    assert would_fetch("open_clip:ViT-B-32,some/file.pt") == []
    with pytest.raises(ModelError, match="no architecture 'ViT-B-33'"):
        would_fetch("open_clip:ViT-B-33,openai")


@pytest.mark.usefixtures("no_network", "hub")
@pytest.mark.parametrize("name", ["", "a/b/c", "org/na me", "-x", "org/name.git"])
def test_names_that_are_no_repository(name: str) -> None:
    with pytest.raises(ModelError, match="names no repository") as caught:
        load(f"hf-hub:{name}", device="cpu")
    assert "hf-hub:" in caught.value.hint


def test_names_and_sizes() -> None:
    assert parse_repo("timm/x@v1") == Repo("timm/x", "v1")
    assert parse_repo("gpt2") == Repo("gpt2")
    assert [size_text(count) for count in (12, 1234, 999_600_000, 3_400_000_000)] == [
        "12 bytes",
        "1.23 kB",
        "1000 MB",
        "3.4 GB",
    ]
    assert Fetch("x", "y").size == "size unknown until asked"
    assert Fetch("x", "y", 2_000).size == "2 kB"


@pytest.mark.usefixtures("no_network")
def test_given_mean_and_std_make_up_for_a_processor(hub: Path, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    conversion = pytest.importorskip("spuraudit.models.conversion")
    from transformers import ViTConfig, ViTForImageClassification

    assert conversion.from_transformers
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
    source = tmp_path / "net"
    ViTForImageClassification(ViTConfig(**sizes, image_size=32, patch_size=8, num_labels=5)).save_pretrained(source)
    put_in_cache(hub, source)
    grey = PreprocessOverrides(mean=(0.5,), std=(0.5,))
    record = load(f"hf-hub:{REPO}", device="cpu", overrides=grey).record
    assert record.num_classes == 5
    assert record.preprocess.geometry.height == 32
