"""MC dropout over families of networks: what it promises of any network, checked on small ones of each kind.

The promise: dropout is found or injected; answers that share work equal whole passes of an independent twin under the
same masks; the network, its tensors and everybody's random state are left as found.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from model_networks import as_model
from open_clip.transformer import VisionTransformer
from oracles.mc_dropout import naive_passes
from timm.models.vgg import VGG
from timm.models.volo import VOLO
from torch import Tensor, nn
from torchvision.models import mobilenet_v3_small

from spuraudit.models.dropout_plan import DropoutPlan
from spuraudit.models.mc_dropout import Draw, answers_of_passes, draw_masks, mc_logits, prepare
from spuraudit.models.model import Model

PASSES, CLASSES = 3, 10


def in_whole_passes(plan: DropoutPlan) -> DropoutPlan:
    """The same dropout, with every pass a pass of the whole network."""
    return replace(plan, evaluation="whole passes")


def shares_work(plan: DropoutPlan) -> bool:
    """Whether what lies before the first dropout runs once per image."""
    return plan.evaluation != "whole passes"


@dataclass(frozen=True)
class Family:
    """A small network and where it drops.

    places: one per dropout site, as `naive_passes` takes them: a dropout module, or the layer that reads the dropped
    values. injected: whether the dropout is ours. skipped: calls that see no images. shared: whether passes share work.
    twin: rewrites a copy of the network so that functional dropout inside it has modules to replace.
    """

    build: Callable[[], nn.Module]
    places: tuple[str, ...]
    injected: bool = False
    side: int = 64
    skipped: int = 0
    shared: bool = True
    twin: Callable[[nn.Module], nn.Module] = field(default=lambda network: network)


def timm_net(name: str, **kwargs: object) -> Callable[[], nn.Module]:
    return lambda: timm.create_model(name, num_classes=CLASSES, **kwargs)


class Cosine(nn.Module):
    """Zero-shot classification: 100 times the cosine between an image embedding and each class's text embedding."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("texts", F.normalize(torch.randn(CLASSES, width), dim=1))

    def forward(self, x: Tensor) -> Tensor:
        return 100 * F.normalize(x, dim=1) @ self.texts.T


class ZeroShot(nn.Module):
    """An image tower and a zero-shot head; the head takes the embedding before it is normalised."""

    def __init__(self, visual: nn.Module, width: int) -> None:
        super().__init__()
        self.visual = visual
        self.head = Cosine(width)

    def get_classifier(self) -> nn.Module:
        return self.head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.visual(x))


def open_clip_tower() -> nn.Module:
    tower = VisionTransformer(image_size=64, patch_size=32, width=48, layers=2, heads=3, mlp_ratio=2.0, output_dim=40)
    return ZeroShot(tower, 40)


def timm_clip_tower() -> nn.Module:
    tower = timm.create_model(
        "vit_base_patch32_clip_224", img_size=64, depth=2, embed_dim=48, num_heads=3, num_classes=40
    )
    return ZeroShot(tower, 40)


def narrow_vgg() -> nn.Module:
    return VGG([8, "M", 16, "M", 16, "M", 16, "M", 32, "M"], num_classes=CLASSES, mlp_ratio=0.25, drop_rate=0.5)


def small_volo() -> nn.Module:
    widths = {"layers": [1, 1, 1, 1], "embed_dims": (24, 48, 48, 48), "num_heads": (2, 3, 3, 3)}
    return VOLO(img_size=64, num_classes=CLASSES, **widths)


def torchvision_mobilenet() -> nn.Module:
    return mobilenet_v3_small(num_classes=CLASSES)


DENSE = {"block_config": (2, 2, 2, 2)}


def dense_twin(network: nn.Module) -> nn.Module:
    """DenseNet's layers drop what their second convolution gives, by a function call."""
    for module in network.modules():
        if hasattr(module, "conv2"):
            module.conv2 = nn.Sequential(module.conv2, nn.Dropout(module.drop_rate))
    return network


DENSE_PLACES = tuple(
    f"features.denseblock{block}.denselayer{layer}.conv2.1" for block in (1, 2, 3, 4) for layer in (1, 2)
)
SWIN = {"img_size": 64, "window_size": 4, "embed_dim": 24, "depths": (1, 1, 1, 1)}
SMALL_VIT = {"img_size": 64, "depth": 2}
TWO_HEADS = ("head", "head_dist")

FAMILIES = {
    # a dropout module in the head
    "vgg, two sites": Family(narrow_vgg, ("pre_logits.drop", "head.drop")),
    "rexnet, by default": Family(timm_net("rexnet_100"), ("head.drop",)),
    "regnet": Family(timm_net("regnetx_002", drop_rate=0.3), ("head.drop",)),
    "convnext": Family(timm_net("test_convnext", drop_rate=0.3), ("head.drop",)),
    "nfnet": Family(timm_net("test_nfnet", drop_rate=0.3), ("head.drop",)),
    "vit": Family(timm_net("test_vit", img_size=64, drop_rate=0.25), ("head_drop",)),
    "mobilevit": Family(timm_net("mobilevit_xxs", drop_rate=0.3), ("head.drop",)),
    "torchvision's mobilenet": Family(torchvision_mobilenet, ("classifier.2",)),
    # a dropout call in the head: no module of it exists
    "resnet": Family(timm_net("resnet10t", drop_rate=0.3), ("fc",)),
    "mobilenetv2": Family(timm_net("mobilenetv2_035", drop_rate=0.3), ("classifier",)),
    "mobilenetv3": Family(timm_net("mobilenetv3_small_050", drop_rate=0.3), ("classifier",)),
    "efficientnet": Family(timm_net("test_efficientnet", drop_rate=0.3), ("classifier",)),
    "ghostnet, by default": Family(timm_net("ghostnet_050"), ("classifier",)),
    "fasternet": Family(timm_net("fasternet_t0", drop_rate=0.3), ("classifier",)),
    "dpn, 1x1 convolution": Family(timm_net("dpn48b", drop_rate=0.3), ("classifier",)),
    # none of its own
    "vit, injected": Family(timm_net("vit_tiny_patch16_224", **SMALL_VIT), ("head",), True),
    "mixer, injected": Family(timm_net("mixer_s32_224", img_size=64), ("head",), True),
    "swin, injected": Family(timm_net("swin_tiny_patch4_window7_224", **SWIN), ("head.fc",), True),
    "eva, injected": Family(timm_net("eva02_tiny_patch14_224", img_size=56, depth=2), ("head",), True, 56),
    "xcit, injected": Family(timm_net("xcit_nano_12_p16_224", **SMALL_VIT), ("head",), True),
    "cait, injected": Family(timm_net("cait_xxs24_224", **SMALL_VIT), ("head",), True),
    "resnetv2, injected before a 1x1 convolution": Family(timm_net("resnetv2_18"), ("head.fc",), True),
    # several heads, averaged: each of them is the first dropout that its tensor meets
    "deit, two heads": Family(timm_net("deit_tiny_distilled_patch16_224", **SMALL_VIT), TWO_HEADS, True),
    "levit, two heads": Family(timm_net("levit_128s", img_size=64), TWO_HEADS, True),
    "swiftformer, two heads": Family(timm_net("swiftformer_xs"), TWO_HEADS, True),
    "efficientformer, two heads": Family(
        timm_net("efficientformer_l1", depths=(1, 1, 1, 1), embed_dims=(16, 24, 32, 48)), TWO_HEADS, True, 224
    ),
    "efficientvim, four heads": Family(timm_net("efficientvim_m1"), tuple(f"heads.{i}" for i in range(4)), True),
    "crossvit, two branches": Family(
        timm_net("crossvit_tiny_240", depth=((1, 1, 0),)), ("head.0", "head.1"), True, 240
    ),
    # VOLO's second head is no classifier of get_classifier(); its answer does not grow with the passes
    "volo, an auxiliary head": Family(small_volo, ("head",), True, shared=False),
    # dropout that sees no images, in the network of a position bias
    "vit_relpos": Family(timm_net("vit_relpos_small_patch16_224", **SMALL_VIT), ("head",), True, skipped=2),
    "vit_relpos, small test network": Family(timm_net("test_vit_relpos", img_size=64), ("head",), True, skipped=9),
    "swinv2_cr": Family(
        timm_net("swinv2_cr_tiny_224", img_size=64, embed_dim=24, depths=(1, 1, 1, 1)), ("head.fc",), True, skipped=4
    ),
    # inside residual branches or concatenations: passes of the whole network
    "vit, body": Family(
        timm_net("test_vit", img_size=64, depth=1, proj_drop_rate=0.2),
        ("blocks.0.attn.proj_drop", "blocks.0.mlp.drop1", "blocks.0.mlp.drop2"),
        shared=False,
    ),
    "cpubone, by default": Family(
        timm_net("cpubone_nano"),
        tuple(f"stages.{block}.total.0.1.main.4" for block in ("2.1", "3.1", "3.2")),
        shared=False,
    ),
    "densenet, body": Family(
        timm_net("densenet121", proj_drop_rate=0.2, **DENSE), DENSE_PLACES, shared=False, twin=dense_twin
    ),
    # CLIP's image towers
    "clip, timm's tower": Family(timm_clip_tower, ("head",), True),
    "clip, open_clip's tower": Family(open_clip_tower, ("head",), True),
}


def lively(network: nn.Module, side: int) -> nn.Module:
    """Random weights with the manners of trained ones, in eval mode.

    Fresh networks often answer almost the same for any image, with logits of 1e-5, and no comparison of probabilities
    could fail: residual scales that start near 0 are set to 1, batch norm takes its statistics from images, and the
    classifiers are scaled to logits of a standard deviation of 2.
    """
    images = torch.rand(8, 3, side, side, generator=torch.Generator().manual_seed(3)) * 2 - 1
    for name, parameter in network.named_parameters():
        vector = parameter.numel() == max(parameter.shape, default=1)
        if vector and not name.endswith("bias") and float(parameter.detach().abs().max()) < 1e-2:
            nn.init.ones_(parameter)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        for head in classifiers(network):
            nn.init.normal_(head.weight, std=0.02)
        network.train()(images)
        scale = 2 / network.eval()(images).std()
        for head in classifiers(network):
            for parameter in head.parameters():
                parameter.mul_(scale)
    return network


def classifiers(network: nn.Module) -> Iterator[nn.Module]:
    """The last layers, linear or 1x1 convolutions; none of a zero-shot head."""
    found = network.get_classifier() if hasattr(network, "get_classifier") else network.classifier[-1]
    for head in found if isinstance(found, tuple | list | nn.ModuleList) else (found,):
        yield from (layer for layer in head.modules() if isinstance(layer, nn.Linear | nn.Conv2d))


@pytest.fixture(scope="module", params=list(FAMILIES))
def family(request: pytest.FixtureRequest) -> Family:
    return FAMILIES[request.param]


@pytest.fixture(scope="module")
def model(family: Family) -> Model:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return as_model(lively(family.build(), family.side), family.side)


@pytest.fixture
def pixels(family: Family) -> Tensor:
    return torch.rand(3, 3, family.side, family.side, generator=torch.Generator().manual_seed(1))


def state_of(network: nn.Module) -> tuple[dict[str, Tensor], list[tuple[object, ...]]]:
    """Everything that must not change: every tensor; per module flags, hooks and rates; gradients."""
    tensors = {name: tensor.clone() for name, tensor in [*network.named_parameters(), *network.named_buffers()]}
    rest: list[tuple[object, ...]] = [
        (
            name,
            type(module),
            module.training,
            tuple(getattr(module, rate, None) for rate in ("p", "drop_rate", "drop_prob", "fused_attn", "momentum")),
            *(tuple(hooks) for key, hooks in vars(module).items() if key.endswith("_hooks")),
        )
        for name, module in network.named_modules()
    ]
    rest += [(name, p.requires_grad, p.grad is None) for name, p in network.named_parameters()]
    return tensors, rest


def assert_as_found(before: tuple[dict[str, Tensor], list[tuple[object, ...]]], network: nn.Module) -> None:
    tensors, rest = state_of(network)
    assert rest == before[1]
    assert tensors.keys() == before[0].keys()
    assert all(torch.equal(tensors[name], before[0][name]) for name in tensors)


def random_states() -> tuple[list[int], object, str]:
    return torch.get_rng_state().tolist(), random.getstate(), repr(np.random.get_state())


def largest_difference(a: Tensor, b: Tensor) -> float:
    """Of two probabilities; logits (T, B, C)."""
    return float((a.softmax(dim=2) - b.softmax(dim=2)).abs().max())


def test_shared_answers_equal_whole_passes_and_nothing_is_touched(family: Family, model: Model, pixels: Tensor) -> None:
    plain = model.logits(pixels).softmax(dim=1)
    twin = family.twin(copy.deepcopy(model.network))
    before, randomness = state_of(model.network), random_states()

    plan = prepare(model, pixels, rate=0.4)
    masks = draw_masks(plan, 77, PASSES)
    answers = mc_logits(model, plan, pixels, masks)
    one_by_one = mc_logits(model, in_whole_passes(plan), pixels, masks)
    draws = [Draw(77, 2), Draw(78, 1)]
    deterministic, *chunks = answers_of_passes(model, plan, pixels, draws, PASSES)

    assert_as_found(before, model.network)
    assert random_states() == randomness
    assert float((model.logits(pixels).softmax(dim=1) - plain).abs().max()) <= 1e-6

    assert plan.injected is family.injected
    assert plan.skipped == family.skipped
    assert len(plan.sites) == len(family.places)
    assert not family.injected or plan.where == family.places
    assert shares_work(plan) is family.shared

    expected = naive_passes(twin, model.normalise(pixels), list(family.places), list(masks))
    assert answers.shape == (PASSES, len(pixels), CLASSES)
    assert largest_difference(answers, expected) <= 1e-5
    assert largest_difference(one_by_one, expected) <= 1e-5

    # images 0 and 1 share the masks of key 77, image 2 has those of key 78
    of_other_key = mc_logits(model, in_whole_passes(plan), pixels[2:], draw_masks(plan, 78, PASSES))
    assert largest_difference(torch.cat(chunks), torch.cat([expected[:, :2], of_other_key], dim=1)) <= 1e-5
    assert float((deterministic[0].softmax(dim=1) - plain).abs().max()) <= 1e-5

    # The comparisons above could have failed: passes differ, images differ, and dropout is no small change.
    probabilities = answers.softmax(dim=2)
    assert float(probabilities.var(dim=0).max()) > 1e-5
    assert float((probabilities[:, 0] - probabilities[:, 1]).abs().max()) > 1e-3
    assert float((probabilities - plain).abs().max()) > 1e-3


def test_what_lies_before_the_dropout_runs_once(family: Family, model: Model, pixels: Tensor) -> None:
    plan = prepare(model, pixels)
    first = next(module for module in model.network.modules() if isinstance(module, nn.Conv2d | nn.Linear))
    seen: list[int] = []
    hook = first.register_forward_hook(lambda _module, args, _out: seen.append(len(args[0])))
    try:
        chunks = list(answers_of_passes(model, plan, pixels, [Draw(1, 2), Draw(2, 1)], PASSES))
    finally:
        hook.remove()
    assert sum(map(len, chunks)) == 1 + PASSES
    assert seen == [len(pixels)] * (1 if family.shared else 1 + PASSES)
