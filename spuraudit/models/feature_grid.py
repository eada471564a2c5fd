"""The last spatial feature map of a network: found by what its layers do, not by a table of names.

Two probes. The first shows five images, one and four copies of it with another corner each, and keeps the layers whose
output changes most in the corner that was changed: that tells a grid from anything else with four axes, and rows from
columns and channels. The second asks which of them the logits still depend on. The last of those is the grid: in a
vision transformer that reads its class token, the input of the last attention and not the last block, whose patch
tokens nobody reads.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from math import isqrt
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from spuraudit.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from spuraudit.models.model import Model

Layout = Literal["NCHW", "NHWC", "tokens"]
#: Class tokens and registers in front of the patches; the largest of timm has 16 registers and a class token.
_MOST_PREFIX_TOKENS = 17
#: With many tokens to leave out, almost any number of them could hold a grid: it has to be clear.
_SHARE_OF_MANY_PREFIX_TOKENS = 0.8
_CORNERS = 4


@dataclass(frozen=True)
class FeatureGrid:
    """A layer and how its output is read as rows x columns cells of `channels` features.

    layer: dotted name of the module. layout: of its output; "tokens" is (B, prefix + rows * columns, channels), row by
    row after `prefix` tokens that belong to no place. Holds for one size of the input.
    """

    layer: str
    rows: int
    columns: int
    channels: int
    layout: Layout
    prefix: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """The layer's output for one image."""
        if self.layout == "NCHW":
            return self.channels, self.rows, self.columns
        if self.layout == "NHWC":
            return self.rows, self.columns, self.channels
        return self.prefix + self.rows * self.columns, self.channels

    def read(self, output: Tensor) -> Tensor:
        """The layer's output -> (B, channels, rows, columns), a view of it.

        Raises ModelError for an output of another shape.
        """
        if tuple(output.shape[1:]) != self.shape:
            raise ModelError(
                f"{self.layer!r} gave {tuple(output.shape[1:])} per image; its grid was found as {self.shape}.",
                "A grid holds for one size of the input: find it again for this size.",
            )
        if self.layout == "NCHW":
            return output
        if self.layout == "tokens":
            output = output[:, self.prefix :].reshape(-1, self.rows, self.columns, self.channels)
        return output.permute(0, 3, 1, 2)

    def describe(self) -> str:
        """For people: '7x7 of 512 channels at layer4 (NCHW)'."""
        prefix = f", {self.prefix} in front" if self.prefix else ""
        return f"{self.rows}x{self.columns} of {self.channels} channels at {self.layer} ({self.layout}{prefix})"


def feature_grid(model: Model, size: tuple[int, int] | None = None) -> FeatureGrid:
    """The last layer whose output is a grid of at least 2x2 cells that the logits depend on.

    size: (height, width) of the pixels; the model's own input size where it is left out. Of layers that hold the same
    values the outermost is named; layers that run more than once per pass, and linear projections where anything else
    will do, are passed over. The network is left as found.
    Raises ModelError where no layer gives such a grid, which is also the case where all maps have a single row, column
    or cell.
    """
    geometry = model.record.preprocess.geometry
    height, width = size or (geometry.height, geometry.width)
    images = _probe_images(height, width).to(model.device)
    grids = _grids(model, images)
    read = _grids_that_matter(model, grids, images[:2])
    maps = [grid for grid in read if not isinstance(model.network.get_submodule(grid.layer), nn.Linear)]
    if not read:
        raise ModelError(
            f"No layer of {model.record.name} gives a grid of at least 2x2 cells that its logits depend on, "
            f"at an input of {height}x{width} pixels.",
            "Use a larger input if the network takes one; a network without a spatial feature map has no such grid.",
        )
    return (maps or read)[-1]


def activations(model: Model, grid: FeatureGrid, pixels: Tensor) -> Tensor:
    """The grid's features of images, in one pass: (B, 3, H, W) in [0, 1] -> (B, channels, rows, columns) float32.

    Raises ModelError where the pixels have another size than the grid was found for.
    """
    kept: list[Tensor] = []

    def keep(output: Tensor) -> None:
        # A copy: what follows may write into the layer's output.
        kept.append(grid.read(output).float().clone(memory_format=torch.contiguous_format))

    with _watching(model.network, {grid.layer: keep}), model.computing():
        model.network(model.normalise(pixels))
    return kept[0]


@contextmanager
def with_gradients(model: Model) -> Iterator[None]:
    """While open, passes can be differentiated by their input, in float32; parameters collect no gradients."""
    trained = [parameter for parameter in model.network.parameters() if parameter.requires_grad]
    cudnn = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    try:
        for parameter in trained:
            parameter.requires_grad_(False)
        with torch.inference_mode(False), torch.enable_grad(), torch.autocast(model.device.type, enabled=False), cudnn:
            yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


def _probe_images(height: int, width: int) -> Tensor:
    """(5, 3, H, W): smooth random colours with a grain, and copies with another picture in one corner each."""
    generator = torch.Generator().manual_seed(20)
    coarse = torch.rand(2, 3, 7, 7, generator=generator)
    smooth = nn.functional.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)
    grain = torch.rand(2, 3, height, width, generator=generator)
    first, other = (0.7 * smooth + 0.3 * grain).unbind()
    images = first.repeat(1 + _CORNERS, 1, 1, 1)
    high, wide = height // 2, width // 2
    for corner, image in enumerate(images[1:]):
        rows = slice(-high, None) if corner >= 2 else slice(high)
        columns = slice(-wide, None) if corner % 2 else slice(wide)
        image[:, rows, columns] = other[:, rows, columns]
    return images


class _Reading(NamedTuple):
    layout: Layout
    rows: int
    columns: int
    prefix: int = 0


class _Found(NamedTuple):
    """A grid that a layer's output could be. share: how well it keeps to the corners; proven: it finds all four."""

    grid: FeatureGrid
    share: float
    proven: bool


def _grids(model: Model, images: Tensor) -> list[FeatureGrid]:
    """Layers whose output is a grid by its shape and by what changes in it, in the order in which they finish.

    A layer that mixes places so much that not all corners are found still counts where it has as many rows and columns
    as a layer that keeps them apart, or half as many: the next stage of a pyramid.
    """
    size = images.shape[2], images.shape[3]
    found: dict[str, list[_Found]] = {}

    def look(name: str) -> Callable[[Tensor], None]:
        def see(output: Tensor) -> None:
            # Which of several calls a hook means later would be a guess.
            found[name] = [] if name in found else list(_read_as_grids(name, output, len(images), size))

        return see

    names = [
        name
        for name, module in model.network.named_modules()
        if name and not isinstance(module, nn.Identity | _DropoutNd)  # these repeat what came before
    ]
    with _watching(model.network, {name: look(name) for name in names}):
        model.logits(images)
    sure = {(it.grid.rows, it.grid.columns) for of_layer in found.values() for it in of_layer if it.proven}
    sure |= {((rows + 1) // 2, (columns + 1) // 2) for rows, columns in sure}
    likely = [[it for it in of_layer if (it.grid.rows, it.grid.columns) in sure] for of_layer in found.values()]
    return [max(of_layer, key=lambda it: (it.proven, it.share)).grid for of_layer in likely if of_layer]


def _read_as_grids(name: str, output: Tensor, images: int, size: tuple[int, int]) -> Iterator[_Found]:
    """Every reading that the shape of a layer's output allows."""
    if output.ndim not in (3, 4) or output.shape[0] != images or not output.is_floating_point():
        return
    for layout, rows, columns, prefix in _readings(tuple(output.shape), size):
        channels = output.shape[1] if layout == "NCHW" else output.shape[-1]
        grid = FeatureGrid(name, rows, columns, channels, layout, prefix)
        cells = grid.read(output).float()
        change = cells[1:] - cells[:1]
        # What changes alike everywhere is a matter of global attention and normalisation, and says nothing of places.
        share, all_four = _corners_found((change - change.mean(dim=(2, 3), keepdim=True)).abs().mean(dim=1))
        if prefix <= 1 or share > _SHARE_OF_MANY_PREFIX_TOKENS:
            yield _Found(grid, share, all_four)


def _readings(shape: tuple[int, ...], size: tuple[int, int]) -> Iterator[_Reading]:
    """What an output of this shape could be, by its proportions."""
    if len(shape) == 4:
        if _fits(shape[2], shape[3], size):
            yield _Reading("NCHW", shape[2], shape[3])
        if _fits(shape[1], shape[2], size):
            yield _Reading("NHWC", shape[1], shape[2])
    else:
        yield from _token_readings(shape[1], size)


@lru_cache(maxsize=256)
def _token_readings(tokens: int, size: tuple[int, int]) -> tuple[_Reading, ...]:
    """Grids of the input's own proportions; where there is none, those of about these proportions.

    With 15 tokens left out, 14x14 tokens would pass for 13x14.
    """
    readings = []
    for prefix in range(min(_MOST_PREFIX_TOKENS, tokens) + 1):
        cells = tokens - prefix
        for small in range(2, isqrt(cells) + 1):
            if cells % small == 0:
                shapes = {(small, cells // small), (cells // small, small)}
                readings += [_Reading("tokens", r, c, prefix) for r, c in sorted(shapes) if _fits(r, c, size)]
    exact = [reading for reading in readings if reading.rows * size[1] == reading.columns * size[0]]
    return tuple(exact or readings)


def _fits(rows: int, columns: int, size: tuple[int, int]) -> bool:
    """Whether one stride leads from the input's size to at least 2x2 cells, up to a cell lost or won at the border."""
    height, width = size
    if not (2 <= rows <= height and 2 <= columns <= width):
        return False
    return max(height / (rows + 1), width / (columns + 1)) < min(height / (rows - 1), width / (columns - 1))


def _corners_found(change: Tensor) -> tuple[float, bool]:
    """(4, rows, columns) change of each cell per changed corner -> how well it keeps to the corners, and if to all.

    For any two corners, the product of what each of their images changes in its own should exceed the product
    crosswise: that leaves aside how strong an image is and how lively a cell. The share is that of the former in both,
    averaged over the pairs, 0.5 where nothing is known.
    """
    high, wide = change.shape[1] // 2, change.shape[2] // 2
    quarters = [
        change[:, rows, columns].mean(dim=(1, 2))
        for rows in (slice(high), slice(-high, None))
        for columns in (slice(wide), slice(-wide, None))
    ]
    table = torch.stack(quarters).cpu().double()  # (corner, image)
    first, second = torch.triu_indices(_CORNERS, _CORNERS, offset=1)
    own = table[first, first] * table[second, second]
    crossed = table[first, second] * table[second, first]
    shares = (own / (own + crossed)).nan_to_num(nan=0.5)  # nothing changes, or a value is not finite
    return float(shares.mean()), bool((shares > 0.5).all())


def _grids_that_matter(model: Model, grids: list[FeatureGrid], images: Tensor) -> list[FeatureGrid]:
    """Those with a gradient of the largest logit at the cells themselves, in their order."""
    matters: set[str] = set()

    def look(grid: FeatureGrid) -> Callable[[Tensor], None]:
        def see(gradient: Tensor) -> None:
            if bool((grid.read(gradient) != 0).any()):
                matters.add(grid.layer)

        def hook(output: Tensor) -> None:
            if output.requires_grad:
                output.register_hook(see)  # type: ignore[no-untyped-call]

        return hook

    with with_gradients(model), _watching(model.network, {grid.layer: look(grid) for grid in grids}):
        inputs = model.normalise(images).requires_grad_()
        largest = model.network(inputs).amax(dim=1).sum()
        if largest.requires_grad:
            torch.autograd.grad(largest, inputs, allow_unused=True)
    return [grid for grid in grids if grid.layer in matters]


@contextmanager
def _watching(network: nn.Module, watchers: Mapping[str, Callable[[Tensor], None]]) -> Iterator[None]:
    """While open, each watcher sees the outputs of its module that are tensors."""
    handles = []

    def hook_of(watch: Callable[[Tensor], None]) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                watch(output)

        return hook

    try:
        for name, watch in watchers.items():
            handles.append(network.get_submodule(name).register_forward_hook(hook_of(watch)))
        yield
    finally:
        for handle in handles:
            handle.remove()
