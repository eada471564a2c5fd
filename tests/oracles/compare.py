"""What changed between two runs, restated with plain loops over the rows of both.

`before` and `after` are dicts as they lie in the Parquet parts. Nothing of the package is used.
"""

from __future__ import annotations

import random
from itertools import product
from typing import Any

Rows = list[dict[str, Any]]
Values = dict[str, float]


def by_question(rows: Rows) -> dict[tuple[str, str, int, str | None], dict[str, Any]]:
    """Rows by (image, condition, trial, donor)."""
    return {(row["image"], row["condition"], row["trial"], row["donor"]): row for row in rows}


def paired_scores(before: Rows, after: Rows, condition: str) -> dict[str, tuple[float, float]]:
    """Per image the share of right answers in both runs, over the questions that both were asked."""
    one, other = by_question(before), by_question(after)
    found: dict[str, list[tuple[float, float]]] = {}
    for key, row in one.items():
        if key[1] == condition and key in other:
            pair = tuple(1.0 if r["predicted"] == r["label"] else 0.0 for r in (row, other[key]))
            found.setdefault(key[0], []).append((pair[0], pair[1]))
    return {image: (mean([p[0] for p in pairs]), mean([p[1] for p in pairs])) for image, pairs in found.items()}


def mean(values: list[float]) -> float:
    """Arithmetic mean."""
    return sum(values) / len(values)


def labels(rows: Rows) -> dict[str, int]:
    """Label of each image."""
    return {row["image"]: row["label"] for row in rows}


def class_mean(values: Values, of: dict[str, int]) -> float:
    """Mean over classes of the mean over images."""
    classes: dict[int, list[float]] = {}
    for image, value in values.items():
        classes.setdefault(of[image], []).append(value)
    return mean([mean(members) for members in classes.values()])


def steps(pairs: dict[str, tuple[float, float]]) -> Values:
    """After minus before per image."""
    return {image: pair[1] - pair[0] for image, pair in pairs.items()}


def pull(rows: Rows, feature: str) -> Values:
    """Per image: how often the other donor's class is answered, minus how often under same-class donors."""
    same: dict[str, list[int]] = {}
    for row in rows:
        if row["condition"] == f"swap.same:{feature}":
            same.setdefault(row["image"], []).append(row["predicted"])
    found: dict[str, list[float]] = {}
    for row in rows:
        if row["condition"] == f"swap.other:{feature}":
            usual = same[row["image"]].count(row["donor_label"]) / len(same[row["image"]])
            found.setdefault(row["image"], []).append((row["predicted"] == row["donor_label"]) - usual)
    return {image: mean(values) for image, values in found.items()}


def interval(values: Values, of: dict[str, int], draws: int, seed: int) -> tuple[float, float]:
    """Percentile interval of the class mean: n - 1 of n images of each class are drawn, with replacement."""
    rng = random.Random(seed)
    classes: dict[int, list[float]] = {}
    for image, value in sorted(values.items()):
        classes.setdefault(of[image], []).append(value)
    means = sorted(
        mean([mean(rng.choices(members, k=len(members) - 1)) for members in classes.values()]) for _ in range(draws)
    )
    return means[int(0.025 * draws)], means[int(0.975 * draws) - 1]


def sign_flip(values: Values, of: dict[str, int]) -> float:
    """Share of all sign choices whose class mean is as far from 0 as the one observed."""
    moved = {image: value for image, value in values.items() if value}
    sizes = {label: sum(of[image] == label for image in values) for label in of.values()}
    weighted = [value / sizes[of[image]] for image, value in moved.items()]
    observed = abs(sum(weighted))
    sums = [
        sum(s * w for s, w in zip(signs, weighted, strict=True)) for signs in product((-1, 1), repeat=len(weighted))
    ]
    return mean([float(abs(total) >= observed - 1e-9) for total in sums])


def worst(groups: dict[str, list[tuple[float, float]]], side: int) -> tuple[str, float]:
    """Name and mean of the lowest group of a run, the first by name among equals."""
    means = {name: mean([pair[side] for pair in pairs]) for name, pairs in sorted(groups.items())}
    name = min(means, key=lambda key: means[key])
    return name, means[name]


def q_values(p: list[float]) -> list[float]:
    """Benjamini-Hochberg: the smallest p(j) m / j among the p at least as large."""
    m = len(p)
    rank = sorted(range(m), key=lambda i: p[i])
    found = [0.0] * m
    for place, i in enumerate(rank):
        found[i] = min(1.0, *(p[rank[j]] * m / (j + 1) for j in range(place, m)))
    return found
