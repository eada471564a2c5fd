"""open_clip:ARCH,WEIGHTS on small architectures with random weights, saved to disk and read back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import open_clip
import open_clip.factory
import open_clip.pretrained
import pytest
import torch
from oracles import zero_shot as oracle
from oracles.mc_dropout import naive_passes
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from spuraudit.data.geometry import place
from spuraudit.errors import ConfigError, ModelError, UsageError
from spuraudit.models import Model, PreprocessOverrides, load
from spuraudit.models.feature_grid import feature_grid
from spuraudit.models.from_open_clip import draft_of_clip
from spuraudit.models.mc_dropout import draw_masks, mc_logits, prepare
from spuraudit.models.request import Request
from spuraudit.models.weights import digest
from spuraudit.models.zero_shot import prompts_of, read_class_names, read_templates, refuse_text_options

NAMES = ("tabby cat", "crane bird", "construction crane", "a {} in {0.real} braces")
VISION = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
TEXT = {"width": 32, "heads": 2, "layers": 2}
TINY: dict[str, Any] = {"embed_dim": 16, "vision_cfg": VISION, "text_cfg": TEXT}
#: Tests write under these names; every form of network that open_clip builds without fetching anything.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "tiny-clip": TINY,
    "tiny-clip-quickgelu": {**TINY, "quick_gelu": True},
    "tiny-custom": {**TINY, "custom_text": True, "init_logit_bias": -10},
    "tiny-two-way": {**TINY, "custom_text": True, "text_cfg": {**TEXT, "no_causal_mask": True, "pool_type": "last"}},
    "tiny-resnet": {**TINY, "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8}},
    "tiny-timm": {
        **TINY,
        "custom_text": True,
        "vision_cfg": {"timm_model_name": "test_vit", "timm_pool": "token", "timm_proj": "linear", "image_size": 160},
    },
    "tiny-coca": {
        **TINY,
        "custom_text": True,
        "multimodal_cfg": {"width": 16, "layers": 1, "heads": 1, "context_length": 20, "vocab_size": 49408},
        "vision_cfg": {**VISION, "attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
        "text_cfg": {**TEXT, "context_length": 20, "embed_cls": True, "output_tokens": True},
    },
    "tiny-hub-words": {**TINY, "text_cfg": {**TEXT, "hf_tokenizer_name": "spuraudit-tests/words"}},
    "tiny-hub-tower": {**TINY, "text_cfg": {"hf_model_name": "spuraudit-tests/tower", "hf_tokenizer_name": ""}},
}


@pytest.fixture(autouse=True, scope="module")
def _registered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("architectures")
    for name, config in ARCHITECTURES.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)
    yield
    open_clip.factory._MODEL_CONFIG_PATHS.remove(folder)
    for name in ARCHITECTURES:
        del open_clip.factory._MODEL_CONFIGS[name]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Text heads and the hub's files, in a folder of the test."""
    monkeypatch.setenv("SPURAUDIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return tmp_path / "cache" / "text_heads"


def build(arch: str, seed: int = 0) -> Any:
    """open_clip's own network, with weights large enough for texts and images to differ."""
    torch.manual_seed(seed)
    clip = open_clip.create_model(arch, pretrained=None, load_weights=False).eval()
    with torch.no_grad():
        for parameter in clip.parameters():
            if parameter.ndim > 1:
                parameter.nan_to_num_(0, 0, 0).clamp_(-2, 2).mul_(2)  # CoCa's decoder starts with what lay in memory
    return clip


def save(path: Path, clip: Any) -> Path:
    if path.suffix == ".safetensors":
        save_file({name: tensor.contiguous() for name, tensor in clip.state_dict().items()}, path)
    else:
        torch.save({"epoch": 3, "name": "mine", "state_dict": clip.state_dict()}, path)
    return path


def pixels(side: int, images: int = 3) -> Tensor:
    return torch.rand(images, 3, side, side, generator=torch.Generator().manual_seed(5))


def expected(clip: Any, arch: str, model: Model, images: Tensor, names: tuple[str, ...], templates: str) -> Tensor:
    words = read_templates(templates)[1]
    tokenize = open_clip.get_tokenizer(arch)
    return torch.tensor(oracle.logits(clip, tokenize, model.normalise(images), names, words))


def agree(model: Model, images: Tensor, wanted: Tensor) -> bool:
    """To 1e-5 of the scale, the largest possible logit; and classes differ by much more than that."""
    scale = float(model.network.head.weight.norm(dim=1).max())
    assert float((wanted.amax(dim=1) - wanted.amin(dim=1)).min()) > 0.003 * scale
    return bool(((model.logits(images) - wanted).abs() <= 1e-5 * scale).all())


@pytest.mark.parametrize(
    ("arch", "suffix", "side"),
    [
        ("tiny-clip", ".pt", 32),
        ("tiny-clip-quickgelu", ".safetensors", 32),
        ("tiny-custom", ".bin", 32),
        ("tiny-two-way", ".pt", 32),
        ("tiny-resnet", ".pt", 64),
        ("tiny-timm", ".safetensors", 160),
        ("tiny-coca", ".pt", 32),
    ],
)
def test_logits_are_the_papers(arch: str, suffix: str, side: int, tmp_path: Path) -> None:
    clip = build(arch)
    path = save(tmp_path / f"weights{suffix}", clip)
    model = load(f"open_clip:{arch},{path}", class_names=NAMES, templates="eight", device="cpu")
    wanted = expected(clip, arch, model, pixels(side), NAMES, "eight")
    assert agree(model, pixels(side), wanted)
    record = model.record
    assert (record.name, record.source, record.arch, record.arch_origin) == (
        "weights",
        "open_clip",
        f"open_clip:{arch}",
        "name",
    )
    assert (record.file, record.size_bytes, record.num_classes) == (path.name, path.stat().st_size, len(NAMES))
    assert record.parameters == sum(parameter.numel() for parameter in clip.visual.parameters())
    assert record.text_head is not None
    assert (record.text_head.templates, record.text_head.prompts) == ("eight", 8)
    assert sum("does not say which" in note for note in record.notes) == 1
    assert str(tmp_path) not in record.model_dump_json()
    assert all(name.startswith("visual.") for name, _ in model.network.named_parameters())


def test_all_eighty_templates_and_imagenet(tmp_path: Path) -> None:
    clip = build("tiny-clip")
    path = save(tmp_path / "weights.pt", clip)
    some = load(f"open_clip:tiny-clip,{path}", class_names=NAMES[:3], device="cpu")
    assert some.record.text_head is not None
    assert some.record.text_head.prompts == 80
    assert agree(some, pixels(32), expected(clip, "tiny-clip", some, pixels(32), NAMES[:3], "openai"))
    every = load(f"open_clip:tiny-clip,{path}", templates="simple", device="cpu")
    names = read_class_names("imagenet")
    assert (names[134], names[517], every.record.num_classes) == ("crane bird", "construction crane", 1000)
    logits = every.logits(pixels(32))
    tokenize = open_clip.get_tokenizer("tiny-clip")
    vectors = torch.tensor(
        [oracle.class_vector(clip, tokenize, names[k], read_templates("simple")[1]) for k in (0, 134, 999)]
    )
    shown = clip.encode_image(every.normalise(pixels(32)), normalize=True)
    assert torch.allclose(logits[:, [0, 134, 999]], clip.logit_scale.exp() * shown @ vectors.T, atol=2e-4, rtol=0)
    assert any("'missile' and 'sunglasses' each name several classes" in note for note in every.record.notes)


@pytest.mark.slow
def test_a_real_architecture(tmp_path: Path) -> None:
    clip = build("RN50")
    path = save(tmp_path / "rn50.safetensors", clip)
    model = load(f"open_clip:RN50,{path}", class_names=NAMES[:2], templates="simple", device="cpu")
    assert agree(model, pixels(224, 1), expected(clip, "RN50", model, pixels(224, 1), NAMES[:2], "simple"))
    assert any(note == "QuickGELU: off; OpenAI's own weights need RN50-quickgelu." for note in model.record.notes)
    preprocess = model.record.preprocess
    assert preprocess.mean == open_clip.OPENAI_DATASET_MEAN
    assert preprocess.std == open_clip.OPENAI_DATASET_STD
    geometry = preprocess.geometry
    assert (geometry.height, geometry.crop_pct, geometry.crop_mode) == (224, 1.0, "center")
    assert geometry.interpolation == "bicubic"
    assert preprocess.origin["mean"] == "open_clip"


def test_quickgelu_is_the_architectures(tmp_path: Path) -> None:
    path = save(tmp_path / "weights.pt", build("tiny-clip"))
    plain, quick = (
        load(f"open_clip:{arch},{path}", class_names=NAMES, templates="simple", device="cpu")
        for arch in ("tiny-clip", "tiny-clip-quickgelu")
    )
    # Same file, other activation: other numbers in both towers.
    assert float((plain.logits(pixels(32)) - quick.logits(pixels(32))).abs().max()) > 0.01
    assert not torch.equal(plain.network.head.weight, quick.network.head.weight)
    assert (plain.record.kwargs, quick.record.kwargs) == ({"quick_gelu": False}, {"quick_gelu": True})
    assert any("OpenAI's own weights need tiny-clip-quickgelu" in note for note in plain.record.notes)
    assert not any("QuickGELU" in note for note in quick.record.notes)


def published(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arch: str, tag: str, clip: Any = None, **say: Any
) -> None:
    """A tag of open_clip's kind, and its file in the hub's local cache, where `clip` is given."""
    entry = open_clip.pretrained._pcfg(hf_hub=f"spuraudit-tests/{arch}/", **say)
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, arch, {tag: entry})
    if clip is not None:
        repo = tmp_path / "hub" / f"models--spuraudit-tests--{arch}"
        (repo / "refs").mkdir(parents=True)
        (repo / "refs" / "main").write_text("a" * 40)
        (repo / "snapshots" / ("a" * 40)).mkdir(parents=True)
        save(repo / "snapshots" / ("a" * 40) / "open_clip_model.safetensors", clip)


def test_a_tag_from_the_local_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clip = build("tiny-clip-quickgelu")
    say = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.2), "interpolation": "bilinear", "resize_mode": "squash"}
    published(monkeypatch, tmp_path, "tiny-clip", "openai", clip, quick_gelu=True, **say)
    model = load("open_clip:tiny-clip,openai", class_names=NAMES, templates="simple", device="cpu")
    # The weights were trained with QuickGELU: the twin is taken, and said.
    assert agree(model, pixels(32), expected(clip, "tiny-clip", model, pixels(32), NAMES, "simple"))
    record = model.record
    assert (record.name, record.arch) == ("tiny-clip-quickgelu.openai", "open_clip:tiny-clip-quickgelu")
    assert record.kwargs == {"quick_gelu": True}
    assert any("QuickGELU: on, which tiny-clip leaves off" in note for note in record.notes)
    assert record.sha256 == digest(clip)
    preprocess = record.preprocess
    assert (preprocess.mean, preprocess.std) == (say["mean"], say["std"])
    assert (preprocess.geometry.crop_mode, preprocess.geometry.interpolation) == ("squash", "bilinear")
    # A file of that architecture is prepared as all its published weights are.
    path = save(tmp_path / "mine.pt", clip)
    mine = load(f"open_clip:tiny-clip,{path}", class_names=NAMES, templates="simple", device="cpu")
    assert mine.record.preprocess == preprocess


@pytest.mark.parametrize("resize_mode", ["shortest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_images_are_prepared_as_open_clip_does(
    resize_mode: str, interpolation: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clip = build("tiny-clip")
    published(monkeypatch, tmp_path, "tiny-clip", "mine", clip, resize_mode=resize_mode, interpolation=interpolation)
    model = load("open_clip:tiny-clip,mine", class_names=NAMES, templates="simple", device="cpu")
    theirs = open_clip.image_transform(32, False, resize_mode=resize_mode, interpolation=interpolation)
    for size in ((97, 61), (50, 75), (32, 32)):
        noise = torch.randint(0, 256, (size[1], size[0], 3), generator=torch.Generator().manual_seed(1))
        image = Image.fromarray(noise.byte().numpy())
        placed = place(image, model.record.preprocess.geometry)
        ours = model.normalise(torch.from_numpy(np.array(placed)).permute(2, 0, 1)[None] / 255)
        assert torch.allclose(ours[0], theirs(image), atol=1e-6)


def test_a_file_whose_published_kin_do_not_agree(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tags = {
        "one": open_clip.pretrained._pcfg(hf_hub="spuraudit-tests/one/"),
        "two": open_clip.pretrained._slpcfg(hf_hub="spuraudit-tests/two/"),
    }
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny-clip", tags)
    path = save(tmp_path / "weights.pt", build("tiny-clip"))
    model = load(f"open_clip:tiny-clip,{path}", class_names=NAMES, templates="simple", device="cpu")
    assert model.record.preprocess.mean == open_clip.OPENAI_DATASET_MEAN
    assert any("do not agree on how images are prepared" in note for note in model.record.notes)


def test_nothing_is_fetched_without_being_asked_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not in the local cache, and nothing is downloaded") as caught:
        load("open_clip:ViT-B-32-quickgelu,openai", device="cpu")
    assert "timm/vit_base_patch32_clip_224.openai" in caught.value.message
    assert "--allow-download" in caught.value.hint
    assert "open_clip:ViT-B-32-quickgelu,/path/to/weights" in caught.value.hint
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE"):
        load("open_clip:ViT-B-32-quickgelu,openai", device="cpu", allow_download=True)
    path = save(tmp_path / "weights.pt", build("tiny-clip"))
    with pytest.raises(ModelError, match="tokenizer of tiny-hub-words") as caught:
        load(f"open_clip:tiny-hub-words,{path}", class_names=NAMES, device="cpu", allow_download=True)
    assert "tokenizer.json" in caught.value.message
    assert "spuraudit-tests/words" in caught.value.message
    assert "hf download spuraudit-tests/words" in caught.value.hint
    with pytest.raises(ModelError, match=r"config\.json of .*spuraudit-tests/tower"):
        load(f"open_clip:tiny-hub-tower,{path}", class_names=NAMES, device="cpu")


def save_words(folder: Path) -> str:
    """A tokenizer of transformers with a dozen words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "a", "of", "the", "photo", "bad", "art", "itap", ".", "cat", "dog"]
    of_words = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, "[UNK]"))
    of_words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=of_words, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    return str(folder)


def test_the_words_of_another_tokenizer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = {**TINY, "custom_text": True, "text_cfg": {**TEXT, "no_causal_mask": True, "pool_type": "first"}}
    config["text_cfg"] |= {"vocab_size": 40, "context_length": 16, "hf_tokenizer_name": save_words(tmp_path / "words")}
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny-words", config)
    clip = build("tiny-words")
    path = save(tmp_path / "weights.pt", clip)
    model = load(f"open_clip:tiny-words,{path}", class_names=("cat", "dog"), templates="simple", device="cpu")
    wanted = expected(clip, "tiny-words", model, pixels(32), ("cat", "dog"), "simple")
    assert torch.allclose(model.logits(pixels(32)), wanted, atol=2e-4)
    with pytest.raises(ModelError, match="'zebra' and 'quagga' are the same to the tokenizer"):
        load(f"open_clip:tiny-words,{path}", class_names=("zebra", "quagga"), device="cpu")


def test_a_text_tower_of_transformers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from transformers import RobertaConfig

    # Where huggingface_hub keeps what it fetched; open_clip reads the tower's shape from there.
    repo = tmp_path / "hub" / "models--spuraudit-tests--tower"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("b" * 40)
    shape = RobertaConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=80,
        pad_token_id=0,
        hidden_dropout_prob=0.0,
    )
    shape.save_pretrained(repo / "snapshots" / ("b" * 40))
    text = {"hf_model_name": "spuraudit-tests/tower", "hf_tokenizer_name": save_words(tmp_path / "words")}
    config = {**TINY, "text_cfg": {**text, "hf_pooler_type": "mean_pooler", "context_length": 16}}
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny-roberta", config)
    local = {**config, "text_cfg": {**config["text_cfg"], "hf_model_name": str(repo / "snapshots" / ("b" * 40))}}
    torch.manual_seed(0)
    clip = open_clip.CustomTextCLIP(**{**local, "text_cfg": {**local["text_cfg"], "hf_model_pretrained": False}}).eval()
    path = save(tmp_path / "weights.pt", clip)
    model = load(f"open_clip:tiny-roberta,{path}", class_names=("cat", "dog"), templates="simple", device="cpu")
    wanted = expected(clip, "tiny-roberta", model, pixels(32), ("cat", "dog"), "simple")
    assert torch.allclose(model.logits(pixels(32)), wanted, atol=2e-4)


def test_a_text_head_is_computed_once(cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = save(tmp_path / "weights.pt", build("tiny-clip"))
    spec = f"open_clip:tiny-clip,{path}"
    passes: list[int] = []
    whole = open_clip.CLIP.forward

    def counted(self: Any, image: Tensor | None = None, text: Tensor | None = None) -> Any:
        passes.append(0 if text is None else len(text))
        return whole(self, image, text)

    monkeypatch.setattr(open_clip.CLIP, "forward", counted)
    first = load(spec, class_names=NAMES, device="cpu")
    assert sum(passes) == 80 * len(NAMES)
    passes.clear()
    again = load(spec, class_names=NAMES, device="cpu")
    assert passes == []
    assert first.network.head.weight.numpy().tobytes() == again.network.head.weight.numpy().tobytes()
    (file,) = cache.glob("*.safetensors")

    # Whatever the numbers depend on has a file of its own.
    load(spec, class_names=NAMES[::-1], device="cpu")
    load(spec, class_names=NAMES, templates="simple", device="cpu")
    load(f"open_clip:tiny-clip-quickgelu,{path}", class_names=NAMES, device="cpu")
    other = save(tmp_path / "other.pt", build("tiny-clip", seed=1))
    load(f"open_clip:tiny-clip,{other}", class_names=NAMES, device="cpu")
    assert len(list(cache.iterdir())) == 5

    # A damaged file, cut short or with a changed number, is not believed.
    content = file.read_bytes()
    for damaged in (content[:-8], content[:-1] + bytes([content[-1] ^ 1]), b"", b"no such thing"):
        passes.clear()
        file.write_bytes(damaged)
        healed = load(spec, class_names=NAMES, device="cpu")
        assert sum(passes) == 80 * len(NAMES)
        assert torch.equal(healed.network.head.weight, first.network.head.weight)
        assert file.read_bytes() == content


def test_a_cache_that_cannot_be_written_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = save(tmp_path / "weights.pt", build("tiny-clip"))
    (tmp_path / "taken").write_text("a file where a folder should be")
    monkeypatch.setenv("SPURAUDIT_CACHE", str(tmp_path / "taken"))
    model = load(f"open_clip:tiny-clip,{path}", class_names=NAMES, templates="simple", device="cpu")
    monkeypatch.delenv("SPURAUDIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    other = load(f"open_clip:tiny-clip,{path}", class_names=NAMES, templates="simple", device="cpu")
    assert torch.equal(model.network.head.weight, other.network.head.weight)
    assert len(list((tmp_path / "xdg" / "spuraudit" / "text_heads").iterdir())) == 1


def test_the_order_of_class_names_orders_the_logits(tmp_path: Path) -> None:
    path = save(tmp_path / "weights.pt", build("tiny-clip"))
    spec = f"open_clip:tiny-clip,{path}"
    order = [2, 0, 3, 1]
    ours = load(spec, class_names=NAMES, templates="simple", device="cpu")
    shuffled = load(spec, class_names=tuple(NAMES[k] for k in order), templates="simple", device="cpu")
    assert torch.allclose(ours.logits(pixels(32))[:, order], shuffled.logits(pixels(32)), atol=1e-5)
    assert ours.record.text_head != shuffled.record.text_head


def test_input_size(tmp_path: Path) -> None:
    path = save(tmp_path / "weights.pt", build("tiny-clip"))
    other = PreprocessOverrides(img_size=(48, 40))
    model = load(f"open_clip:tiny-clip,{path}", class_names=NAMES, templates="simple", overrides=other, device="cpu")
    assert (model.record.preprocess.geometry.height, model.record.preprocess.geometry.width) == (48, 40)
    assert model.network.visual.positional_embedding.shape[0] == 1 + 6 * 5
    assert any("resampled to 48x40" in note for note in model.record.notes)
    # A file for another size than the architecture's: only with the size that it was made for.
    bigger = tmp_path / "bigger.pt"
    torch.save(build("tiny-clip").state_dict() | model.network.visual.state_dict(prefix="visual."), bigger)
    with pytest.raises(ModelError, match="positional_embedding") as caught:
        load(f"open_clip:tiny-clip,{bigger}", class_names=NAMES, device="cpu")
    assert "--img-size" in caught.value.hint
    same = load(f"open_clip:tiny-clip,{bigger}", class_names=NAMES, templates="simple", overrides=other, device="cpu")
    assert torch.equal(same.logits(torch.ones(1, 3, 48, 40)), model.logits(torch.ones(1, 3, 48, 40)))
    assert not any("resampled" in note for note in same.record.notes)
    resnet = save(tmp_path / "resnet.pt", build("tiny-resnet"))
    with pytest.raises(ModelError, match="its attention pooling has a table for its own size, 64x64"):
        load(f"open_clip:tiny-resnet,{resnet}", class_names=NAMES, overrides=other, device="cpu")
    trunk = save(tmp_path / "timm.pt", build("tiny-timm"))
    larger = PreprocessOverrides(img_size=192)
    timm = load(f"open_clip:tiny-timm,{trunk}", class_names=NAMES, overrides=larger, device="cpu")
    assert timm.logits(pixels(192)).shape == (3, len(NAMES))


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    path = save(tmp_path / "weights.pt", build("tiny-resnet"))
    with pytest.raises(ModelError, match=r"weights\.pt does not fit the architecture 'open_clip:tiny-clip'") as caught:
        load(f"open_clip:tiny-clip,{path}", class_names=NAMES, device="cpu")
    assert "open_clip:ARCH,FILE" in caught.value.hint
    broken = build("tiny-clip")
    torch.save(broken, tmp_path / "pickled.pt")
    with pytest.raises(ModelError, match="pickled code"):
        load(f"open_clip:tiny-clip,{tmp_path / 'pickled.pt'}", class_names=NAMES, device="cpu")
    with pytest.raises(ModelError, match="does not exist"):
        load(f"open_clip:tiny-clip,{tmp_path / 'absent.pt'}", class_names=NAMES, device="cpu")


def test_other_forms_of_a_state_dict(tmp_path: Path) -> None:
    clip = build("tiny-clip")
    wanted = load(f"open_clip:tiny-clip,{save(tmp_path / 'a.pt', clip)}", class_names=NAMES, device="cpu")
    state = clip.state_dict()
    # OpenAI's own entries beside the weights, a wrapped name, and a scale that is a list of one number.
    odd = {"input_resolution": torch.tensor(32), "context_length": torch.tensor(77), "vocab_size": torch.tensor(49408)}
    torch.save({f"module.{name}": tensor for name, tensor in (odd | state).items()}, tmp_path / "openai.pt")
    openai = load(f"open_clip:tiny-clip,{tmp_path / 'openai.pt'}", class_names=NAMES, device="cpu")
    assert torch.equal(openai.logits(pixels(32)), wanted.logits(pixels(32)))
    # The text tower at the top, as before towers of other kinds came; trained with a sigmoid loss.
    old = state | {"logit_scale": state["logit_scale"].reshape(1), "logit_bias": torch.tensor([-3.0])}
    torch.save(old, tmp_path / "old.pt")
    custom = load(f"open_clip:tiny-custom,{tmp_path / 'old.pt'}", class_names=NAMES, device="cpu")
    assert torch.allclose(custom.logits(pixels(32)), wanted.logits(pixels(32)), atol=1e-5)
    assert any("softmax over the class names" in note for note in custom.record.notes)
    assert not any("softmax over the class names" in note for note in wanted.record.notes)


def test_a_state_dict_that_lay_in_another_file() -> None:
    clip = build("tiny-clip-quickgelu")
    identity = {"name": "mine", "source": "file", "file": "mine.pt", "sha256": "0" * 64, "arch_origin": "checkpoint"}
    request = Request(class_names=NAMES, templates="simple")
    draft = draft_of_clip("open_clip:tiny-clip-quickgelu", clip.state_dict(), request, identity)
    assert draft.identity == {
        **identity,
        "arch": "open_clip:tiny-clip-quickgelu",
        "kwargs": {"quick_gelu": True},
        "text_head": prompts_of(request).record(),
    }
    assert draft.rivals == ()
    shown = clip.encode_image(pixels(32), normalize=True)
    wanted = (
        clip.logit_scale.exp()
        * shown
        @ open_clip.build_zero_shot_classifier(
            clip, open_clip.get_tokenizer("tiny-clip"), NAMES[:3], open_clip.SIMPLE_IMAGENET_TEMPLATES
        )
    )
    assert torch.allclose(draft.network.eval()(pixels(32))[:, :3], wanted, atol=1e-4)


def test_the_rest_of_the_tool_sees_a_network_like_any_other(tmp_path: Path) -> None:
    path = save(tmp_path / "weights.pt", build("tiny-clip"))
    model = load(f"open_clip:tiny-clip,{path}", class_names=NAMES, device="cpu")
    grid = feature_grid(model)
    assert grid.layer.startswith("visual.")
    assert (grid.rows, grid.columns) == (4, 4)
    plan = prepare(model, pixels(32), rate=0.5)
    assert (plan.injected, plan.where, plan.evaluation) == (True, ("head",), "linear head")
    masks = draw_masks(plan, 7, 4)
    wanted = naive_passes(model.network, model.normalise(pixels(32)), ["head"], list(masks))
    assert torch.allclose(mc_logits(model, plan, pixels(32), masks), wanted, atol=1e-5 * float(wanted.abs().max()))


def test_logits_keep_their_precision_where_the_tower_loses_it(tmp_path: Path) -> None:
    path = save(tmp_path / "weights.pt", build("tiny-clip"))
    spec = f"open_clip:tiny-clip,{path}"
    model = load(spec, class_names=NAMES, device="cpu", precision="bf16")
    logits = model.logits(pixels(32))
    full = load(spec, class_names=NAMES, device="cpu").logits(pixels(32))
    assert not torch.equal(logits, full)
    assert not torch.equal(logits, logits.bfloat16().float())
    assert float((logits - full).abs().max()) < 0.05 * float(full.abs().max())


@pytest.mark.parametrize(
    ("spec", "message", "hint"),
    [
        ("open_clip:ViT-B-33,openai", "no architecture 'ViT-B-33'", "ViT-B-32"),
        ("open_clip:ViT-B-32", "names no weights", "openai"),
        ("open_clip:ViT-B-32,", "names no weights", "laion2b_s34b_b79k"),
        ("open_clip:ViT-B/32,opnai", "no weights 'opnai' for 'ViT-B-32'", "openai"),
        ("open_clip:tiny-clip,openai", "no weights 'openai'", "tiny-clip has no tags: give a file"),
    ],
)
def test_specs_that_name_nothing(spec: str, message: str, hint: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        load(spec, device="cpu")
    assert hint in caught.value.hint


def test_options_without_effect(tmp_path: Path) -> None:
    path = save(tmp_path / "weights.pt", build("tiny-clip"))
    with pytest.raises(UsageError, match="--arch has no effect"):
        load(f"open_clip:tiny-clip,{path}", arch="tiny-clip", device="cpu")
    with pytest.raises(UsageError, match="--model-kwargs has no effect"):
        load(f"open_clip:tiny-clip,{path}", kwargs={"quick_gelu": True}, device="cpu")
    refuse_text_options(Request(arch="resnet18"))
    with pytest.raises(UsageError, match=r"^--classnames had no effect"):
        refuse_text_options(Request(class_names=NAMES))
    with pytest.raises(UsageError, match=r"^--classnames and --templates had no effect"):
        refuse_text_options(Request(class_names=NAMES, templates="simple"))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "at least two"),
        (("one",), "at least two"),
        (("cat", " "), "Class name 2 is blank"),
        (("cat", "d\x00g"), "Class name 2 is blank or not printable"),
        (("cat", "dog", "cat"), "Class name 3 repeats 'cat'"),
    ],
)
def test_class_names_of_a_program(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        prompts_of(Request(class_names=names))


def test_names_that_differ_by_case_alone(tmp_path: Path) -> None:
    path = save(tmp_path / "weights.pt", build("tiny-clip"))
    with pytest.raises(ModelError, match="'Turkey' and 'turkey' are the same to the tokenizer of tiny-clip"):
        load(f"open_clip:tiny-clip,{path}", class_names=("Turkey", "goose", "turkey"), device="cpu")
    long = "very " * 100
    with pytest.raises(ModelError, match="are the same to the tokenizer"):
        load(f"open_clip:tiny-clip,{path}", class_names=(long + "good", long + "bad"), device="cpu")


def test_files_of_class_names(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes("\ufeffcat\r\n crane bird \r\nnaïve {0}\r\n".encode())
    assert read_class_names(str(path)) == ("cat", "crane bird", "naïve {0}")
    path.write_text("cat\ndog", encoding="utf-8")
    assert read_class_names(str(path)) == ("cat", "dog")
    listed = tmp_path / "names.json"
    listed.write_text('["cat", "dog"]')
    assert read_class_names(str(listed)) == ("cat", "dog")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("a.txt", b"cat\n\ndog\n", r"a\.txt, line 2: the class name is blank"),
        ("a.txt", b"cat\ndog\n\n", r"a\.txt, line 3: the class name is blank"),
        ("a.txt", b"cat\ndog\n cat\n", r"a\.txt, line 3: the class name 'cat' is already at line 1"),
        ("a.txt", b"", r"a\.txt is empty"),
        ("a.txt", b"cat\n", r"a\.txt holds 1 class name; at least 2"),
        ("a.txt", b"cat\nd\x07g\n", r"a\.txt, line 2: the class name is not printable"),
        ("a.txt", b"cat\ndog\n\xff\xfe\n", r"a\.txt, line 3: not UTF-8"),
        ("a.json", b'["cat",\n "dog"', r"a\.json, line 2: not JSON"),
        ("a.json", b'{"cat": 1}', r"a\.json holds a dict"),
        ("a.json", b'["cat", 3]', r"a\.json, entry 2: 3 is not a text"),
        ("a.json", b'["cat", "cat"]', r"a\.json, entry 2: the class name 'cat' is already at entry 1"),
        ("a.json", b"[]", r"a\.json is empty"),
    ],
)
def test_files_of_class_names_that_are_none(file: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / file).write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_class_names(str(tmp_path / file))


def test_words_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--classnames imagnet: is no file") as caught:
        read_class_names("imagnet")
    assert caught.value.hint == "Did you mean 'imagenet'?"
    with pytest.raises(UsageError, match="is a folder"):
        read_class_names(str(tmp_path))
    with pytest.raises(UsageError, match="--templates opnai: is no file") as caught:
        read_templates("opnai")
    assert caught.value.hint == "Did you mean 'openai'?"


def test_templates(tmp_path: Path) -> None:
    assert [len(read_templates(word)[1]) for word in ("openai", "simple", "eight")] == [80, 7, 8]
    assert read_templates("eight")[1] == (*read_templates("simple")[1], "a photo of a {}.")
    assert all(template.count("{}") == 1 for template in read_templates("openai")[1])
    path = tmp_path / "mine.txt"
    path.write_text("a {}\nno {0} {} here\n")
    assert read_templates(str(path)) == ("mine.txt", ("a {}", "no {0} {} here"))
    prompts = prompts_of(Request(class_names=("cat", "{}"), templates=str(path)))
    assert prompts.texts == ["a cat", "no {0} cat here", "a {}", "no {0} {} here"]
    assert prompts.record().templates == "mine.txt"
    for content, message in (
        ("a {}\nnone\n", r"mine\.txt, line 2: .* exactly once; this one has it 0 times"),
        ("{} and {}\n", r"mine\.txt, line 1: .* has it 2 times"),
        ("a {}\na {}\n", r"mine\.txt, line 2: the template 'a {}' is already at line 1"),
        ("", r"mine\.txt is empty"),
    ):
        path.write_text(content)
        with pytest.raises(ConfigError, match=message):
            read_templates(str(path))
