"""Keyed draws: a number depends on its key alone, and a key on every part of what it is for."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from spuraudit.perturb.draws import key_of, normal, rng_of

part = st.text(max_size=12) | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False)
parts = st.lists(part, max_size=5)


def typed(values: list[object]) -> list[tuple[str, str]]:
    return [(type(value).__name__, repr(value)) for value in values]


@given(parts, parts)
def test_equal_keys_exactly_for_equal_parts(one: list, other: list) -> None:
    assert (key_of(*one) == key_of(*other)) == (typed(one) == typed(other))


@given(st.lists(part, min_size=1, max_size=5), st.data())
def test_any_part_changes_the_key(values: list, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(values) - 1))
    new = data.draw(part.filter(lambda value: typed([value]) != typed([values[place]])))
    assert key_of(*values[:place], new, *values[place + 1 :]) != key_of(*values)


def test_types_and_borders_matter() -> None:
    keys = [
        key_of(1),
        key_of("1"),
        key_of(1.0),
        key_of("1.0"),
        key_of(11),
        key_of(1, 1),
        key_of("ab"),
        key_of("a", "b"),
    ]
    keys += [key_of(), key_of(""), key_of("", ""), key_of("b", "a"), key_of("a\x1fstr:b"), key_of("a\x1f", "b")]
    assert len(set(keys)) == len(keys)


def test_numpy_numbers_are_numbers() -> None:
    assert key_of(np.int64(7), np.float64(0.25), np.int32(-3), np.str_("a")) == key_of(7, 0.25, -3, "a")


def test_keys_are_the_same_on_every_machine() -> None:
    # A change here changes every number of every audit.
    assert key_of(0) == 7163381271710615482
    assert key_of(0, "img.jpg", "noise.core@0.25", 3) == 8494531869539026688
    assert key_of(1.5, "ü") == 11553067843250091988


def test_key_is_the_digest_of_the_typed_parts() -> None:
    text = "int:0\x1fstr:a.jpg\x1fstr:noise.core@0.25\x1fint:2"
    digest = blake2b(text.encode("utf-8"), digest_size=8).digest()
    assert key_of(0, "a.jpg", "noise.core@0.25", 2) == sum(byte << 8 * place for place, byte in enumerate(digest))


def test_noise_is_the_same_on_every_machine() -> None:
    # Vector instructions differ in the last bits.
    first = normal([key_of(0, "img.jpg", "noise.core@0.25", 0)], (3, 8, 8)).flatten()[:6]
    expected = torch.tensor([0.4025, 0.9503, -0.4911, 0.1158, -0.2247, -0.8696])
    torch.testing.assert_close(first, expected, atol=2e-4, rtol=0)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=8),
    st.sampled_from([(1,), (3, 2, 2), (3, 5, 7), (3, 16, 16)]),
    st.randoms(use_true_random=False),
)
def test_a_draw_depends_on_its_key_alone(keys: list[int], shape: tuple[int, ...], random: object) -> None:
    batch = normal(keys, shape)
    assert batch.shape == (len(keys), *shape)
    assert batch.dtype == torch.float32
    order = list(range(len(keys)))
    random.shuffle(order)  # type: ignore[attr-defined]
    assert torch.equal(normal([keys[i] for i in order], shape), batch[order])
    for row, key in zip(batch, keys, strict=True):
        assert torch.equal(normal([key], shape)[0], row)


def test_draws_leave_torchs_own_stream_alone() -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    normal([1, 2], (3, 8, 8))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_standard_normal_and_independent() -> None:
    noise = normal([key_of("moments", i) for i in range(12)], (3, 64, 64))
    flat = noise.flatten(1)
    # 147,456 values: standard errors .0026 and .0018.
    assert abs(float(flat.mean())) < 0.011
    assert abs(float(flat.std()) - 1) < 0.008
    assert kstest(flat[0].numpy(), "norm").pvalue > 0.001
    between = np.corrcoef(flat.numpy()) - np.eye(12)
    # 12,288 values each: standard error .009.
    assert np.abs(between).max() < 0.04


def test_different_keys_different_noise() -> None:
    noise = normal([key_of(0, image, "noise.core@0.25", trial) for image in "abcd" for trial in range(5)], (3, 4, 4))
    assert len({row.numpy().tobytes() for row in noise}) == 20


def test_no_key_no_noise() -> None:
    assert normal([], (3, 4, 4)).shape == (0, 3, 4, 4)


def test_choices_are_keyed() -> None:
    first = rng_of(0, "a", "donors").permutation(50)
    assert np.array_equal(first, rng_of(0, "a", "donors").permutation(50))
    assert not np.array_equal(first, rng_of(0, "b", "donors").permutation(50))
    assert not np.array_equal(first, rng_of(1, "a", "donors").permutation(50))


@pytest.mark.parametrize("key", [0, 2**32 - 1, 2**63, 2**64 - 1])
def test_every_key_is_a_seed(key: int) -> None:
    assert bool(torch.isfinite(normal([key], (3, 4, 4))).all())
