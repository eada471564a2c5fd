"""MODEL -> Model: what the user typed becomes a network with everything needed to ask it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from spuraudit.errors import ModelError, UsageError, did_you_mean
from spuraudit.models.device import resolve_device
from spuraudit.models.from_code import draft_from_code, looks_like_code
from spuraudit.models.from_file import draft_from_file
from spuraudit.models.from_folder import draft_from_folder, draft_from_hub
from spuraudit.models.from_open_clip import draft_from_open_clip
from spuraudit.models.from_timm import draft_from_timm
from spuraudit.models.from_zoo import draft_from_zoo
from spuraudit.models.heads import AsClassifier, WatchSigmoids, as_classifier
from spuraudit.models.layout import lay_channels_last
from spuraudit.models.model import Model
from spuraudit.models.precision import Precision, resolve_precision
from spuraudit.models.preprocess import NO_OVERRIDES, PreprocessOverrides
from spuraudit.models.request import Request
from spuraudit.record.scan import ModelRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from spuraudit.models.checkpoint import Value
    from spuraudit.models.request import Draft, Source

    Choose = Callable[[list[Model]], Model]

#: Word before the colon of a spec -> who makes the draft, and what stands behind the colon.
SOURCES: dict[str, tuple[Source, str]] = {
    "timm": (draft_from_timm, "NAME"),
    "hf-hub": (draft_from_hub, "ORG/NAME"),
    "local-dir": (draft_from_folder, "FOLDER"),
    "open_clip": (draft_from_open_clip, "ARCH,TAG"),
    "zoo": (draft_from_zoo, "ENTRY"),
}


@dataclass(frozen=True)
class _Place:
    """Where the network runs, with which numbers, and what its outputs mean."""

    device: torch.device
    precision: Precision
    head: str | None


def load(
    spec: str,
    *,
    arch: str | None = None,
    kwargs: Mapping[str, Value] | None = None,
    overrides: PreprocessOverrides = NO_OVERRIDES,
    device: str = "auto",
    precision: str = "fp32",
    allow_download: bool = False,
    trust_code: bool = False,
    class_names: tuple[str, ...] | None = None,
    templates: str | None = None,
    data_names: tuple[str, ...] | None = None,
    head: str | None = None,
    choose: Choose | None = None,
    say: Callable[[str], None] | None = None,
) -> Model:
    """Load a classifier.

    spec: a checkpoint file (.pt, .pth, .ckpt, .tar, .bin, .safetensors), 'timm:NAME', 'hf-hub:ORG/NAME',
    'local-dir:FOLDER', 'open_clip:ARCH,TAG', 'open_clip:ARCH,FILE', 'zoo:ENTRY' or 'MODULE:FUNCTION'. Published weights
    are taken from the local cache, or fetched only with allow_download. arch: the architecture of a file whose weights
    fit several. kwargs: arguments of the constructor. device: 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'. precision: of
    matrix products and convolutions, 'fp32', 'bf16' or 'fp16' (the weights stay float32). trust_code: run the user's
    function, and what a pickled checkpoint asks for. class_names, templates: of a zero-shot classifier
    (`models.zero_shot`); data_names: of the data's classes, where none are given. head: 'sigmoid' where every output
    is a label of its own. choose: picks among models of the same weights where several architectures fit them; without
    it that is an error. say: told of what takes long.
    Returns the network in eval mode, without gradients, after one pass over a test image has shown that it answers.
    Raises ModelError for everything wrong with the checkpoint, UsageError for impossible options.
    """
    target = resolve_device(device)
    if head not in (None, "softmax", "sigmoid"):
        raise UsageError(f"There is no head {head!r}.", "Use softmax or sigmoid.")
    place = _Place(target, resolve_precision(precision, target), head)
    given = dict(kwargs or {})
    if overrides.img_size is not None and "img_size" in given:
        raise UsageError("The input size is given twice: --img-size and --model-kwargs img_size.", "Leave one out.")
    request = Request(
        arch,
        given,
        overrides,
        allow_download,
        trust_code,
        class_names,
        templates,
        data_names,
        target,
        say or (lambda _: None),
    )
    source, name = source_of(spec)
    draft = source(name, request)
    if draft.undecided is None:
        return _finish(draft, place)
    if choose is None:
        raise draft.undecided
    others = (source(name, replace(request, arch=rival)) for rival in draft.rivals)
    return choose([_finish(one, place) for one in (draft, *others)])


def source_of(spec: str) -> tuple[Source, str]:
    """Who makes the model of a spec, and from what."""
    word, separator, name = spec.partition(":")
    if separator and word in SOURCES:
        return SOURCES[word][0], name
    if looks_like_code(spec) and not Path(spec).exists():
        return draft_from_code, spec
    if separator and re.fullmatch(r"[a-z][a-z_-]+", word) and not Path(spec).exists():
        known = ", ".join(f"{word}:{example}" for word, (_, example) in SOURCES.items())
        hint = did_you_mean(word, SOURCES) or f"Give a checkpoint file, or one of {known}."
        raise ModelError(f"{spec}: models from {word + ':'!r} are not known.", hint)
    return draft_from_file, spec


def _finish(draft: Draft, place: _Place) -> Model:
    """Eval mode, no gradients, on the device; then ask once, so that a network that cannot answer stops here."""
    network = draft.network.eval().requires_grad_(False).float().to(place.device)
    record = ModelRecord(
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        num_classes=0,
        preprocess=draft.preprocess,
        precision=place.precision,
        notes=list(draft.notes),
        **{"head": place.head or "softmax", **draft.identity},
    )
    model = Model(network=network, record=record, device=place.device)
    geometry = record.preprocess.geometry
    # All grey values: an even grey could be all zeros after normalisation.
    shape = (1, 3, geometry.height, geometry.width)
    ramp = torch.linspace(0, 1, math.prod(shape), device=place.device).reshape(shape)
    model, logits = _first_answer(model, ramp)
    lay_channels_last(model, ramp, logits)
    return replace(model, record=model.record.model_copy(update={"num_classes": int(logits.shape[1])}))


def _first_answer(model: Model, ramp: Tensor) -> tuple[Model, Tensor]:
    """The model, its network wrapped where it does not answer with logits, and those of one image: (1, outputs)."""
    record, geometry = model.record, model.record.preprocess.geometry
    try:
        with model.computing(), WatchSigmoids() as watch:
            answer = model.network(model.normalise(ramp))
        network = as_classifier(model.network, answer, record.head, watch.results)
        if isinstance(network, AsClassifier):
            noted = record.model_copy(update={"notes": [*record.notes, *network.notes]})
            model = replace(model, network=network, record=noted)
            logits = model.logits(ramp)
        else:
            logits = answer.float()
    except (RuntimeError, AssertionError, ValueError, TypeError, AttributeError, LookupError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(
            f"{record.name} ({record.arch}) does not answer an image of {geometry.height}x{geometry.width} pixels: "
            f"{first[:200]}",
            "Check --img-size and --model-kwargs.",
        ) from error
    if not bool(torch.isfinite(logits).all()):
        raise ModelError(
            f"{record.name} ({record.arch}) answers a test image with NaN or infinity.",
            "float16 ends at 65,504, which the activations exceed: use --precision bf16 or fp32."
            if record.precision == "fp16"
            else "The weights are finite, so the activations overflow: check --model-kwargs and the checkpoint.",
        )
    return model, logits
