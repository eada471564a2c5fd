"""open_clip:ARCH,PRETRAINED -> a draft of a zero-shot classifier.

PRETRAINED is a tag of open_clip (weights from the local cache, or fetched when the user allows it) or a file with a
state dict of open_clip. The text tower makes the classifier and is then let go.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import open_clip
from open_clip.convert import convert_state_dict
from open_clip.model import convert_to_custom_text_state_dict, resize_pos_embed
from open_clip.transform import PreprocessCfg, merge_preprocess_dict

from spuraudit.errors import ModelError, UsageError, did_you_mean
from spuraudit.models.checkpoint import SUFFIXES, read_checkpoint
from spuraudit.models.hub import Repo, cached, download, offline, way_out, why_not
from spuraudit.models.preprocess import resolve
from spuraudit.models.request import AskedSize, Draft, asked_size
from spuraudit.models.text_cache import text_head
from spuraudit.models.weights import WeightsMismatchError, digest, fit
from spuraudit.models.zero_shot import ZeroShot, prompts_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from spuraudit.models.request import Request
    from spuraudit.models.text_cache import Tokenizer
    from spuraudit.models.weights import Mismatch

PREFIX = "open_clip:"
_QUICK = "-quickgelu"
#: Entries of OpenAI's own archives that are no weights.
_FACTS = ("input_resolution", "context_length", "vocab_size")
#: open_clip's way to resize -> ours. It cuts or pads to the input size right after, so the crop is everything.
_CROP_MODES = {"shortest": "center", "squash": "squash", "longest": "border"}
_PREPROCESS = ("mean", "std", "interpolation", "resize_mode")


@dataclass(frozen=True)
class Clip:
    """An architecture of open_clip, settled. preprocess: what a tag says. notes: what settling decided."""

    arch: str
    config: Mapping[str, Any]
    preprocess: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = field(default=())


def draft_from_open_clip(name: str, request: Request) -> Draft:
    """The zero-shot classifier of `ARCH,TAG` or `ARCH,FILE`. Raises ModelError, UsageError, ConfigError."""
    arch, comma, pretrained = name.partition(",")
    arch = arch.replace("/", "-")  # ViT-B/32, as the paper writes it
    config = config_of(arch)
    if not comma or not pretrained:
        raise ModelError(
            f"'{PREFIX}{name}' names no weights.",
            f"Write {PREFIX}{arch},TAG or {PREFIX}{arch},FILE. {_known_tags(arch)}",
        )
    if request.arch is not None:
        raise UsageError(f"{PREFIX}{name} names its architecture; --arch has no effect.", "Leave --arch out.")
    if tag_config(arch, pretrained):
        return _draft_of_tag(arch, pretrained, config, request)
    path = Path(pretrained)
    if not path.exists() and not path.suffix.lower().endswith(SUFFIXES) and path.name == pretrained:
        raise ModelError(
            f"open_clip has no weights {pretrained!r} for {arch!r}, and there is no such file.", _known_tags(arch)
        )
    checkpoint = read_checkpoint(path, trust_code=request.trust_code)
    identity = {
        "name": path.name.removesuffix(".tar").rsplit(".", 1)[0],
        "source": "open_clip",
        "file": path.name,
        "sha256": checkpoint.sha256,
        "size_bytes": checkpoint.size_bytes,
        "arch_origin": "name",
    }
    clip = _of_file(arch, config, checkpoint.notes)
    return draft_of_settled(clip, checkpoint.tensors, request, identity)


def draft_of_clip(arch: str, tensors: Mapping[str, Tensor], request: Request, identity: Mapping[str, Any]) -> Draft:
    """The zero-shot classifier of a state dict of open_clip that lay in some file.

    arch: open_clip's name, with or without 'open_clip:' in front. identity: fields of `ModelRecord` but `arch`,
    `kwargs` and `text_head`, which are filled here; without a 'sha256' that of the weights is taken.
    Raises ModelError, UsageError, ConfigError.
    """
    arch = arch.removeprefix(PREFIX)
    return draft_of_settled(_of_file(arch, config_of(arch), ()), tensors, request, identity)


def config_of(arch: str) -> dict[str, Any]:
    """open_clip's own description of an architecture. Raises ModelError with the nearest names."""
    config: dict[str, Any] | None = open_clip.get_model_config(arch) if arch in open_clip.list_models() else None
    if config is None:
        raise ModelError(
            f"open_clip has no architecture {arch!r}.",
            did_you_mean(arch, open_clip.list_models()) or "Names are those of open_clip.list_models().",
        )
    return config


def tag_config(arch: str, tag: str) -> dict[str, Any]:
    """Where published weights lie and how their images are prepared; empty where there is no such tag."""
    return dict(open_clip.get_pretrained_cfg(arch, tag))


def _known_tags(arch: str) -> str:
    tags = open_clip.list_pretrained_tags_by_model(arch)
    return f"Tags of {arch}: {', '.join(tags)}." if tags else f"{arch} has no tags: give a file."


def _twin(arch: str) -> str | None:
    """The same architecture with QuickGELU, where open_clip lists one."""
    return f"{arch}{_QUICK}" if f"{arch}{_QUICK}" in open_clip.list_models() else None


def _of_file(arch: str, config: Mapping[str, Any], notes: tuple[str, ...]) -> Clip:
    """As typed: weights do not tell which activation they were trained with."""
    if not config.get("quick_gelu") and (twin := _twin(arch)):
        notes += (f"QuickGELU: off; OpenAI's own weights need {twin}.",)
    return Clip(arch, config, notes=notes)


def _draft_of_tag(arch: str, tag: str, config: Mapping[str, Any], request: Request) -> Draft:
    published = tag_config(arch, tag)
    notes: list[str] = []
    path = _weights(f"{PREFIX}{arch},{tag}", arch, published, request.allow_download, notes)
    identity = {"source": "open_clip", "arch_origin": "name"}
    if published.get("quick_gelu") and not config.get("quick_gelu"):
        named, arch = arch, _twin(arch) or arch
        config = {**config, "quick_gelu": True}
        notes.append(f"QuickGELU: on, which {named} leaves off: the weights '{tag}' were trained with it.")
        identity["arch_origin"] = "name; QuickGELU as the weights were trained"
    identity["name"] = f"{arch}.{tag}"
    clip = Clip(arch, config, published, tuple(notes))
    return draft_of_settled(clip, read_checkpoint(path, trust_code=request.trust_code).tensors, request, identity)


def _weights(spec: str, arch: str, published: Mapping[str, Any], allowed: bool, notes: list[str]) -> Path:
    """The file of a tag: from the hub's local cache, else fetched where that is allowed."""
    place, _, file = str(published.get("hf_hub") or "").rpartition("/")
    alternative = f"give a file: {PREFIX}{arch},/path/to/weights"
    if not place:
        raise ModelError(f"The weights of '{spec}' do not lie on the hub.", f"Fetch them, and {alternative}.")
    repo = Repo(place)
    # As open_clip looks for them: the safe form first, under its own name where the entry names no file.
    safe = f"{Path(file).stem}.safetensors"
    files = (safe, file) if file else ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
    for one in files:
        if (found := cached(repo, one)) is not None:
            return found
    if not allowed or offline():
        raise ModelError(
            f"The weights of '{spec}' are not in the local cache, and {why_not()}. They would come from {repo.page} "
            f"({' or '.join(files)}).",
            way_out(alternative),
        )
    fetched = download(repo, files, notes)
    if fetched is None:
        raise ModelError(f"{repo.page} holds none of {', '.join(files)}.", alternative.capitalize() + ".")
    return fetched


def draft_of_settled(clip: Clip, tensors: Mapping[str, Tensor], request: Request, identity: Mapping[str, Any]) -> Draft:
    """The draft of settled weights: everything that can be refused is refused before the long computation."""
    if request.kwargs:
        raise UsageError(
            f"{PREFIX}{clip.arch} fixes its constructor; --model-kwargs has no effect.",
            "Leave it out; the input size is given with --img-size.",
        )
    prompts = prompts_of(request)
    size = asked_size(request)
    values, origins = _preprocessing(clip, size)
    preprocess = resolve(values, cfg_origin="open_clip", overrides=request.overrides)
    notes: list[str] = []
    tokenizer = _tokenizer(clip, request.allow_download)
    config = _with_text_config(clip, request.allow_download, notes)
    model, resampled = _network(clip.arch, config, tensors, size, str(identity.get("file") or clip.arch))
    sha256 = identity.get("sha256") or digest(model)
    if getattr(model, "logit_bias", None) is not None:
        notes.append("Trained with a sigmoid per caption; here the softmax over the class names is read.")
    visual, scale = model.visual, float(model.logit_scale.detach().exp())
    del model.visual
    head = text_head(model, clip.arch, clip.config, tokenizer, prompts, request)
    stated = {"quick_gelu": bool(clip.config.get("quick_gelu"))}
    complete = {
        **identity,
        "sha256": sha256,
        "arch": f"{PREFIX}{clip.arch}",
        "kwargs": stated,
        "text_head": prompts.record(),
    }
    return Draft(
        ZeroShot(visual, head, scale),
        preprocess,
        complete,
        (*clip.notes, *notes, *resampled, *origins, *prompts.notes()),
    )


def _preprocessing(clip: Clip, size: AskedSize | None) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A timm-like cfg of open_clip's evaluation transform, and what a reader must know of it.

    For a file: what all of the architecture's published weights agree on, else open_clip's defaults.
    """
    said, notes = clip.preprocess, []
    if said is None:
        tags = [tag_config(clip.arch, tag) for tag in open_clip.list_pretrained_tags_by_model(clip.arch)]
        different = {str([tag[name] for name in _PREPROCESS]) for tag in tags}
        said = tags[0] if len(different) == 1 else {}
        if len(different) > 1:
            notes.append(
                f"Published weights of {clip.arch} do not agree on how images are prepared; open_clip's defaults are "
                "used. --mean, --std, --interpolation and --crop-mode say otherwise."
            )
    merged = merge_preprocess_dict(PreprocessCfg(), dict(said))
    if merged["resize_mode"] == "longest":
        notes.append("open_clip pads with black; here the border has the mean colour.")
    height, width = size.size if size is not None else _native_size(clip.config)
    values = {
        "mean": merged["mean"],
        "std": merged["std"],
        "interpolation": "bicubic" if merged["interpolation"] == "random" else merged["interpolation"],
        "crop_pct": 1.0,
        "crop_mode": _CROP_MODES[merged["resize_mode"]],
        "input_size": (3, height, width),
    }
    return values, tuple(notes)


def _native_size(config: Mapping[str, Any]) -> tuple[int, int]:
    size = config["vision_cfg"].get("image_size", 224)
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _tokenizer(clip: Clip, allowed: bool) -> Tokenizer:
    """open_clip's tokenizer of an architecture. Raises ModelError where its files would have to be fetched."""
    source = clip.config["text_cfg"].get("hf_tokenizer_name")
    if not source:
        simple: Tokenizer = open_clip.get_tokenizer(clip.arch)
        return simple
    fetching = allowed and not offline()
    try:
        fetched: Tokenizer = open_clip.get_tokenizer(clip.arch, local_files_only=not fetching)
    except Exception as error:  # transformers, hub and disk raise unrelated kinds
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        if fetching or Path(source).is_dir():
            raise ModelError(
                f"The tokenizer {source!r} of {clip.arch} cannot be read: {first[:200]}", "Check the connection."
            ) from error
        raise ModelError(
            f"The tokenizer of {clip.arch} is not in the local cache, and {why_not()}. Its files "
            f"(tokenizer_config.json, tokenizer.json or the vocabulary) would come from {Repo(source).page}.",
            way_out(f"fetch them beforehand (hf download {source}), or name an architecture with CLIP's own tokenizer"),
        ) from error
    return fetched


def _with_text_config(clip: Clip, allowed: bool, notes: list[str]) -> dict[str, Any]:
    """The description, with a text tower of transformers read from a local folder: its shape is in a hub config."""
    config = {**clip.config, "text_cfg": dict(clip.config["text_cfg"]), "vision_cfg": dict(clip.config["vision_cfg"])}
    source = config["text_cfg"].get("hf_model_name")
    if not source or Path(source).is_dir():
        return config
    repo = Repo(source)
    found = cached(repo, "config.json")
    if found is None:
        if not allowed or offline():
            raise ModelError(
                f"The text tower of {clip.arch} is described by config.json of {repo.page}, which is not in the local "
                f"cache, and {why_not()}.",
                way_out(f"fetch it beforehand (hf download {source} config.json)"),
            )
        found = download(repo, ("config.json",), notes)
    if found is None:
        raise ModelError(f"{repo.page} holds no config.json.", "Name another architecture.")
    config["text_cfg"]["hf_model_name"] = str(found.parent)
    return config


def build(arch: str, config: Mapping[str, Any]) -> nn.Module:
    """The network with random weights, by the class that open_clip's factory would take; nothing is fetched."""
    rest = {key: value for key, value in config.items() if key != "custom_text"}
    rest["text_cfg"] = {**config["text_cfg"], "hf_model_pretrained": False}
    rest["vision_cfg"] = {**config["vision_cfg"], "timm_model_pretrained": False}
    custom = bool(config.get("custom_text")) or "hf_model_name" in config["text_cfg"]
    kind = open_clip.CLIP
    if custom:
        kind = open_clip.CoCa if "multimodal_cfg" in config else open_clip.CustomTextCLIP
    try:
        network: nn.Module = kind(**rest)
    except Exception as error:  # timm, transformers and torch raise unrelated kinds
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ModelError(
            f"open_clip's {arch!r} cannot be built: {first[:200]}", "Check --img-size and the installed versions."
        ) from error
    return network


def _network(
    arch: str, config: dict[str, Any], tensors: Mapping[str, Tensor], size: AskedSize | None, file: str
) -> tuple[Any, tuple[str, ...]]:
    """open_clip's model with the weights, at the asked size."""
    timm_tower = "timm_model_name" in config["vision_cfg"]
    if size is not None and not timm_tower:
        is_resnet = isinstance(config["vision_cfg"].get("layers"), list)  # its attention pooling knows one side
        config["vision_cfg"]["image_size"] = max(size.size) if is_resnet else size.size
    model: Any = build(arch, config)
    state = _in_this_form(model, tensors)
    notes: tuple[str, ...] = ()
    if size is not None and not timm_tower:
        table = state.get("visual.positional_embedding")
        resize_pos_embed(state, model)
        if table is not state.get("visual.positional_embedding"):
            notes = (f"Position tables were resampled to {size.size[0]}x{size.size[1]} ({size.origin}).",)
    try:
        fitted, fused = fit(lambda: model, state, f"{PREFIX}{arch}", file)
    except WeightsMismatchError as error:
        other_size = _only_image_positions(error.mismatch) and not timm_tower
        if size is not None and other_size:
            native = "x".join(map(str, _native_size(config_of(arch))))
            raise ModelError(
                f"{arch} cannot take {size.size[0]}x{size.size[1]} pixels: its attention pooling has a table for "
                f"its own size, {native}.",
                "Leave --img-size out.",
            ) from error
        if not other_size:
            error.hint = f"The weights are another model's: name its architecture, {PREFIX}ARCH,FILE."
        else:
            error.hint = "Only position tables differ: they are for another input size. Give it with --img-size."
        raise
    model = fitted
    if fused:
        notes += ("The file holds the re-parameterised (deployment) form; the network was fused before loading.",)
    if size is not None and timm_tower:
        model.visual.set_input_size(size.size)
    return model, notes


def _only_image_positions(mismatch: Mismatch) -> bool:
    names = [*mismatch.missing, *mismatch.unexpected, *(name for name, _, _ in mismatch.shapes)]
    return all(name.startswith("visual.") and name.endswith("positional_embedding") for name in names)


def _in_this_form(model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dicts of other tools and of older versions, under the names of this one; open_clip's own conversions."""
    state = {name: tensor for name, tensor in tensors.items() if name not in _FACTS}
    state = dict(convert_state_dict(model, state))
    if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    state.pop("text.transformer.embeddings.position_ids", None)  # stored until transformers 4.31
    for name in ("logit_scale", "logit_bias"):
        own = getattr(model, name, None)
        if own is not None and name in state and state[name].numel() == 1:
            state[name] = state[name].reshape(own.shape)  # a number, or a list of one
    if getattr(model, "logit_bias", None) is None:
        state.pop("logit_bias", None)  # the same for all classes: no softmax depends on it
    return state
