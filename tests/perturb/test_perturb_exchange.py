"""Grid, patch swap, region swap and painting out, against pixel-by-pixel restatements."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.exchange import cell_number, composite, replacements
from torch import Tensor

from spuraudit.perturb.exchange import grid, paint_out, paste_cell, swap_region


def image(seed: int, height: int = 9, width: int = 7) -> Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))


# Grid and patches


def test_cell_43_is_the_bottom_left_of_7_by_7() -> None:
    found = grid(28, 28, 4)
    assert (found.rows, found.columns, len(found.cells)) == (7, 7, 49)
    assert found.cells[42] == (43, 7, 1, 24, 0, 28, 4)
    assert found.cells[0] == (1, 1, 1, 0, 0, 4, 4)
    assert found.cells[6] == (7, 1, 7, 0, 24, 4, 28)
    assert found.cells[48] == (49, 7, 7, 24, 24, 28, 28)


def test_last_cells_are_smaller() -> None:
    found = grid(10, 7, 4)
    assert (found.rows, found.columns) == (3, 2)
    assert found.cells[-1] == (6, 3, 2, 8, 4, 10, 7)
    assert [(cell.bottom - cell.top, cell.right - cell.left) for cell in found.cells] == [
        (4, 4),
        (4, 3),
        (4, 4),
        (4, 3),
        (2, 4),
        (2, 3),
    ]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 12))
def test_every_pixel_lies_in_its_cell(height: int, width: int, patch: int) -> None:
    numbers = np.zeros((height, width), dtype=int)
    for cell in grid(height, width, patch).cells:
        inside = numbers[cell.top : cell.bottom, cell.left : cell.right]
        assert (inside == 0).all()
        inside[:] = cell.number
    expected = [[cell_number(row, column, patch, width) for column in range(width)] for row in range(height)]
    assert numbers.tolist() == expected


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 6), st.data())
def test_swap_touches_its_cell_alone(height: int, width: int, patch: int, data: st.DataObject) -> None:
    cells = grid(height, width, patch).cells
    cell = data.draw(st.sampled_from(cells))
    source, target = image(1, height, width), image(2, height, width)
    before, found = target.clone(), source.clone()
    paste_cell(found, target, cell)
    for row in range(height):
        for column in range(width):
            taken = target if cell_number(row, column, patch, width) == cell.number else source
            assert torch.equal(found[:, row, column], taken[:, row, column])
    assert torch.equal(target, before)


def test_swapping_every_cell_gives_the_target() -> None:
    source, target = image(3), image(4)
    for cell in grid(9, 7, 2).cells:
        paste_cell(source, target, cell)
    assert torch.equal(source, target)


# Regions


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31))
def test_swap_region_equals_the_formula(seed: int) -> None:
    x, donor = image(seed), image(seed + 1)
    region = torch.rand(9, 7, generator=torch.Generator().manual_seed(seed + 2))
    region[region < 0.2], region[region > 0.8] = 0, 1
    found = swap_region(x, region, donor)
    np.testing.assert_allclose(found.numpy(), composite(x.numpy(), region.numpy(), donor.numpy()), atol=1e-6)
    assert torch.equal(found[:, region == 0], x[:, region == 0])
    assert torch.equal(found[:, region == 1], donor[:, region == 1])
    assert 0 <= float(found.min()) <= float(found.max()) <= 1


def test_swap_region_of_a_batch_of_donors() -> None:
    x, region = image(1), image(2)[0]
    donors = torch.stack([image(3), image(4)])
    found = swap_region(x, region, donors)
    assert found.shape == (2, 3, 9, 7)
    for one, donor in zip(found, donors, strict=True):
        torch.testing.assert_close(one, swap_region(x, region, donor))
    regions = torch.stack([region, 1 - region])
    torch.testing.assert_close(swap_region(x, regions, donors)[1], swap_region(x, 1 - region, donors[1]))


# Painting out


def blob(rng: np.random.Generator, height: int, width: int) -> Tensor:
    """A mask of a few rectangles; never the whole image."""
    mask = np.zeros((height, width), dtype=np.float32)
    for _ in range(rng.integers(1, 4)):
        top, left = rng.integers(height), rng.integers(width)
        mask[top : top + rng.integers(1, 6), left : left + rng.integers(1, 6)] = rng.uniform(0.2, 1)
    mask[rng.integers(height), rng.integers(width)] = 0
    return torch.from_numpy(mask)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32))
def test_object_pixels_become_their_mirror_image(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = int(rng.integers(2, 12)), int(rng.integers(2, 12))
    x, mask = image(seed % 1000, height, width), blob(rng, height, width)
    found = paint_out(x, mask)
    inside = (mask > 0.1).numpy()
    for row, column in np.ndindex(height, width):
        colour = found[:, row, column]
        if inside[row, column]:
            places = replacements(inside, (row, column))
            assert any(torch.equal(colour, x[:, place[0], place[1]]) for place in places)
        else:
            assert torch.equal(colour, x[:, row, column])


def test_mirrored_by_hand() -> None:
    # A vertical bar, columns 3 and 4 of 9: column 3 mirrors at 2 to 1, column 4 at 5 to 6.
    x = torch.arange(9.0).expand(3, 2, 9) / 10
    mask = torch.zeros(2, 9)
    mask[:, 3:5] = 1
    expected = torch.tensor([0, 1, 2, 1, 6, 5, 6, 7, 8.0]) / 10
    assert torch.equal(paint_out(x, mask), expected.expand(3, 2, 9))
    # At the image's border there is nothing beyond pixel 2: the mirror of column 0 at 3 is 6, of column 2 at 3 is 4.
    mask = torch.zeros(2, 9)
    mask[:, :3] = 1
    expected = torch.tensor([6, 5, 4, 3, 4, 5, 6, 7, 8.0]) / 10
    assert torch.equal(paint_out(x, mask), expected.expand(3, 2, 9))
    # Where the mirror falls off the image (columns 0 to 4 at 6: 12 .. 8) the border pixel serves.
    mask = torch.zeros(2, 9)
    mask[:, :6] = 1
    expected = torch.tensor([6, 6, 6, 6, 8, 7, 6, 7, 8.0]) / 10
    assert torch.equal(paint_out(x, mask), expected.expand(3, 2, 9))


def test_a_red_object_leaves_no_red() -> None:
    height, width = 40, 50
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    background = torch.zeros(3, height, width)
    background[1, :, :25], background[2, :, 25:] = 1, 1
    disc = ((rows - 18) ** 2 + (columns - 22) ** 2 <= 12**2).float()
    red = torch.tensor([1.0, 0, 0]).view(3, 1, 1)
    found = paint_out(background * (1 - disc) + red * disc, disc)
    assert float(found[0].max()) == 0
    assert torch.equal(found[:, disc == 0], background[:, disc == 0])
    assert torch.equal(found.sum(0), torch.ones(height, width))
    # Each side continues its own surroundings.
    assert bool((found[1, :, :20] == 1).all())
    assert bool((found[2, :, 30:] == 1).all())


def test_the_objects_own_colours_do_not_matter() -> None:
    mask = blob(np.random.default_rng(3), 9, 7)
    x, other = image(5), image(6)
    mixed = torch.where(mask > 0.1, other, x)
    assert torch.equal(paint_out(mixed, mask), paint_out(x, mask))


def test_soft_rims_are_painted_and_traces_are_not() -> None:
    mask = torch.zeros(9, 7)
    mask[4, 3], mask[4, 2], mask[0, 0] = 1.0, 0.15, 0.05
    x = image(7)
    changed = (paint_out(x, mask) != x).any(0)
    assert changed.nonzero().tolist() == [[4, 2], [4, 3]]


def test_no_object_and_nothing_but_object() -> None:
    x = image(8)
    same = paint_out(x, torch.zeros(9, 7))
    assert torch.equal(same, x)
    same[0, 0, 0] = -1
    assert x[0, 0, 0] != -1
    flat = paint_out(x, torch.ones(9, 7))
    torch.testing.assert_close(flat, x.mean((1, 2), keepdim=True).expand_as(x))


@pytest.mark.parametrize("pixel", [(0, 0), (0, 6), (8, 0), (8, 6), (4, 3)])
def test_one_surrounding_pixel_fills_everything(pixel: tuple[int, int]) -> None:
    mask = torch.ones(9, 7)
    mask[pixel] = 0
    x = image(9)
    assert torch.equal(paint_out(x, mask), x[:, pixel[0], pixel[1]].view(3, 1, 1).expand_as(x))
