"""One pair of a patch swap, T MC-dropout passes per image: the paper's loop, baal's cache, ours, and the limit.

    python benchmarks/patch_swap.py [--network resnet18] [--passes 100] [--turns 3] [--threads 2] [--device cpu]

Per network, in turns within one process: `limit`, the images through the network once without dropout; `ours`, all T
passes; `naive`, the paper's loop: the dropout layers switched on, T whole passes, of which a few are timed and the rest
extrapolated, in PyTorch's default layout (spuraudit lays convolutions channels-last); `baal`, whose MCCachingModule
remembers the inputs of layers (pip install --no-deps baal structlog torchmetrics lightning-utilities; left out where it
is missing). Random weights: the time does not depend on them. Ratios are medians over the turns; the largest difference
of a probability and the lowest cell compare ours with whole passes under the same masks.
"""

from __future__ import annotations

import argparse
import copy
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import open_clip
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spuraudit.audits.patch_search import Halving
from spuraudit.models.dropout_plan import DropoutPlan
from spuraudit.models.layout import lay_channels_last
from spuraudit.models.mc_dropout import Draw, answers_of_passes, draw_masks, mc_logits, prepare
from spuraudit.models.model import Model
from spuraudit.models.paper_cnn import PaperCNN
from spuraudit.perturb.exchange import grid, paste_cell
from spuraudit.record.geometry import Geometry, Preprocess
from spuraudit.record.scan import ModelRecord

#: Passes that are compared number by number with whole passes, and passes of the paper's loop that are timed.
COMPARED, TIMED = 10, 5


class Clip(nn.Module):
    """An image tower with a zero-shot head: cosines with the classes' text embeddings, here drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = open_clip.create_model("ViT-B-32", pretrained=None).visual
        self.head = Cosines()

    def get_classifier(self) -> nn.Module:
        """Dropout goes before it: on the image embedding, before it is normalised."""
        return self.head

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 224, 224) -> (B, 1000)."""
        return self.head(self.tower(x))


class Cosines(nn.Module):
    """100 times the cosine of an embedding with 1000 drawn ones."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(F.normalize(torch.randn(1000, 512), dim=1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 512) -> (B, 1000)."""
        return 100 * F.normalize(x, dim=1) @ self.weight.t()


class DeepDropout(nn.Module):
    """A resnet18 that drops channels before its last stage."""

    def __init__(self) -> None:
        super().__init__()
        self.body = timm.create_model("resnet18")

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 224, 224) -> (B, 1000)."""
        body = self.body
        x = body.maxpool(body.act1(body.bn1(body.conv1(x))))
        return self.suffix(F.dropout2d(body.layer3(body.layer2(body.layer1(x))), 0.2, self.training))

    def suffix(self, x: Tensor) -> Tensor:
        """What comes after the dropout: (B, 256, 14, 14) -> (B, 1000)."""
        return self.body.fc(self.body.global_pool(self.body.layer4(x)))


@dataclass(frozen=True)
class Case:
    """side: input in pixels. suffix: everything after the first dropout, with a random input for n images."""

    build: Callable[[], nn.Module]
    side: int = 224
    suffix: Callable[[nn.Module, int], Callable[[], Tensor]] | None = None


def _vgg_suffix(network: nn.Module, n: int) -> Callable[[], Tensor]:
    features = torch.rand(n, 4096, 1, 1)
    return lambda: network.head.fc(F.relu(network.pre_logits.fc2(features)).flatten(1))


def _deep_suffix(network: nn.Module, n: int) -> Callable[[], Tensor]:
    features = torch.rand(n, 256, 14, 14)
    return lambda: network.suffix(features)


def _timm(name: str) -> Callable[[], nn.Module]:
    return lambda: timm.create_model(name, drop_rate=0.5)


CASES = {
    "paper_cnn": Case(PaperCNN, 28),
    "paper_cnn pooled": Case(lambda: PaperCNN(pool=True), 28),
    "resnet18": Case(_timm("resnet18")),
    "mobilenetv2_100": Case(_timm("mobilenetv2_100")),
    "efficientnet_b0": Case(_timm("efficientnet_b0")),
    "vit_tiny_patch16_224": Case(_timm("vit_tiny_patch16_224")),
    "CLIP ViT-B-32": Case(Clip),
    "vgg11": Case(_timm("vgg11"), suffix=_vgg_suffix),
    "resnet18, dropout before layer4": Case(DeepDropout, suffix=_deep_suffix),
}


class Turn(NamedTuple):
    """Seconds for all images, all passes."""

    limit: float
    ours: float
    naive: float
    baal: float | None
    suffix: float | None


def as_model(network: nn.Module, side: int, device: torch.device) -> Model:
    """The network with ImageNet's normalisation."""
    geometry = Geometry(height=side, width=side, crop_pct=1.0)
    record = ModelRecord(
        name="benchmark",
        source="file",
        arch="benchmark",
        arch_origin="--arch",
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        num_classes=10,
        preprocess=Preprocess(geometry=geometry, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    )
    return Model(network.to(device).eval().requires_grad_(False), record, device)


def pair(side: int, images: int, device: torch.device) -> Tensor:
    """The unperturbed source, then its cells exchanged one by one: (images, 3, side, side)."""
    source, target = torch.rand(2, 3, side, side)
    shown = source.repeat(images, 1, 1, 1)
    for image, cell in zip(shown[1:], grid(side, side, side // 7).cells, strict=False):
        paste_cell(image, target, cell)
    return shown.to(device)


def timed(run: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call, the device's work included."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def paper_loop(model: Model, pixels: Tensor, passes: int) -> Tensor:
    """What a researcher writes: dropout on, everything else in eval mode, pass after pass; mean probabilities."""
    network = model.network
    hook = None
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.train()
    network.training = True  # for functional dropout; the modules below keep their mode
    if isinstance(network, Clip):
        hook = network.head.register_forward_pre_hook(lambda _, args: (F.dropout(args[0], 0.5, training=True),))
    try:
        total = torch.zeros(())
        for _ in range(passes):
            total = total + network(model.normalise(pixels)).softmax(dim=1)
        return total / passes
    finally:
        network.eval()
        if hook is not None:
            hook.remove()


def baal_passes(model: Model, pixels: Tensor, passes: int) -> Callable[[], Tensor] | str:
    """All passes through baal's cache, or why not."""
    try:
        from baal.bayesian.caching_utils import MCCachingModule
        from baal.bayesian.dropout import MCDropoutModule
        from baal.modelwrapper import ModelWrapper, TrainingArgs
    except ImportError:
        return "not installed"
    arguments = TrainingArgs(use_cuda=model.device.type == "cuda", replicate_in_memory=False)
    inputs = model.normalise(pixels)

    def run(count: int = passes) -> Tensor:
        network = MCCachingModule(MCDropoutModule(copy.deepcopy(model.network).eval())).eval()
        with torch.inference_mode():
            logits: Tensor = ModelWrapper(network, arguments).predict_on_batch(inputs, iterations=count)
        return logits

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            few = run(3)
    except Exception as error:  # whatever happens in somebody's layers is the result
        return f"fails: {type(error).__name__}"
    return run if float((few - few[..., :1]).abs().max()) > 0 else "silent: all passes are equal"


def turn(
    case: Case, model: Model, default: Model, plan: DropoutPlan, pixels: Tensor, passes: int, baal: object
) -> Turn:
    """Every way once, one after the other. default: the network in PyTorch's default layout."""
    images, device = len(pixels), model.device
    suffix = case.suffix(model.network, passes * images) if case.suffix else None
    with torch.inference_mode():
        return Turn(
            limit=timed(lambda: model.logits(pixels), device),
            ours=timed(lambda: list(answers_of_passes(model, plan, pixels, [Draw(1, images)], passes)), device),
            naive=timed(lambda: paper_loop(default, pixels, TIMED), device) * passes / TIMED,
            baal=timed(baal, device) if callable(baal) else None,
            suffix=timed(suffix, device) if suffix else None,
        )


def compare(model: Model, default: Model, plan: DropoutPlan, pixels: Tensor) -> tuple[float, bool]:
    """Largest difference of a probability from the loop under the same masks; whether the lowest cell is the same."""
    naive = mc_logits(default, replace(plan, evaluation="whole passes"), pixels, draw_masks(plan, 1, COMPARED))
    _, *chunks = answers_of_passes(model, plan, pixels, [Draw(1, len(pixels))], COMPARED)
    ours = torch.cat(chunks).softmax(dim=2)
    expected = naive.softmax(dim=2)
    label = int(expected.mean(dim=0)[0].argmax())
    lowest = [int(found.mean(dim=0)[1:, label].argmin()) for found in (ours, expected)]
    return float((ours - expected).abs().max()), lowest[0] == lowest[1]


def row(name: str, chosen: argparse.Namespace) -> str:
    """A row of the table."""
    case, device = CASES[name], torch.device(chosen.device)
    torch.manual_seed(0)
    images = 50 if case.side == 28 else chosen.batch
    default = as_model(case.build(), case.side, device)
    model = replace(default, network=copy.deepcopy(default.network))
    pixels = pair(case.side, images, device)
    lay_channels_last(model, pixels[:1], model.logits(pixels[:1]))
    plan = prepare(model, pixels[:2])
    difference, same = compare(model, default, plan, pixels)
    baal = baal_passes(default, pixels, chosen.passes)
    turns = [turn(case, model, default, plan, pixels, chosen.passes, baal) for _ in range(chosen.turns)]

    def median(of: Callable[[Turn], float]) -> float:
        return statistics.median(of(one) for one in turns)

    floor = (
        f"{median(lambda t: t.ours / (t.limit + (t.suffix or 0))):.2f} of prefix + T x suffix"
        if case.suffix
        else f"{median(lambda t: t.ours / t.limit):.2f}"
    )
    spread = f"{min(t.naive / t.ours for t in turns):.0f} to {max(t.naive / t.ours for t in turns):.0f}"
    baals = f"{median(lambda t: t.naive / (t.baal or 1)):.1f}" if callable(baal) else str(baal)
    full, adaptive = 49 * 50, Halving(49, 50).most_swaps()
    return (
        f"| {name} | {plan.evaluation} | {images} | {median(lambda t: t.naive / images) * 1000:.0f} "
        f"| {median(lambda t: t.ours / images) * 1000:.2f} "
        f"| **{median(lambda t: t.naive / t.ours):.0f}** ({spread}) | {floor} | {baals} "
        f"| {median(lambda t: t.naive / t.ours) * full / adaptive:.0f} | {difference:.0e} | {'yes' if same else 'NO'} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", action="append", choices=CASES, help="repeatable; default: all")
    parser.add_argument("--passes", type=int, default=100)
    parser.add_argument("--batch", type=int, default=16, help="images of a 224-pixel pair per batch (28 pixels: 50)")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    print(
        f"torch {torch.__version__}, timm {timm.__version__}, {platform.processor() or platform.machine()}, "
        f"{chosen.device}, {chosen.threads} threads, T = {chosen.passes}, {chosen.turns} turns",
        "",
        "| network | evaluation | images | naive, ms per image | ours, ms per image | naive / ours | ours / limit "
        "| naive / baal | naive / adaptive, at least | max difference | same cell |",
        "|---" * 11 + "|",
        sep="\n",
        flush=True,
    )
    for name in chosen.network or CASES:
        print(row(name, chosen), flush=True)


if __name__ == "__main__":
    main()
