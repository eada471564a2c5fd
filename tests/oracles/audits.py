"""What the audits conclude, restated with plain loops over the observations.

`rows` are dicts as they lie in the Parquet parts. Nothing of the package is used.
"""

from __future__ import annotations

from typing import Any

Rows = list[dict[str, Any]]
Scores = dict[str, float]


def mean(values: list[float]) -> float:
    """Arithmetic mean."""
    return sum(values) / len(values)


def labels(rows: Rows) -> dict[str, int]:
    """Label of each image."""
    return {row["image"]: row["label"] for row in rows}


def scores(rows: Rows, condition: str) -> Scores:
    """Share of right answers over the trials of each image that was asked under the condition."""
    answers: dict[str, list[float]] = {}
    for row in rows:
        if row["condition"] == condition:
            answers.setdefault(row["image"], []).append(1.0 if row["predicted"] == row["label"] else 0.0)
    return {image: mean(given) for image, given in answers.items()}


def over_classes(rows: Rows, of_images: Scores) -> float:
    """Mean over classes of the mean over their images."""
    known = labels(rows)
    by_class: dict[int, list[float]] = {}
    for image, score in of_images.items():
        by_class.setdefault(known[image], []).append(score)
    return mean([mean(members) for members in by_class.values()])


def over_images(of_images: Scores) -> float:
    """Mean over images."""
    return mean(list(of_images.values()))


def of_class(rows: Rows, of_images: Scores, label: int) -> Scores:
    """The scores of one class."""
    known = labels(rows)
    return {image: score for image, score in of_images.items() if known[image] == label}


def rcs(core: float, spurious: float) -> float:
    """Relative core sensitivity as the CoRM paper writes it."""
    a = (core + spurious) / 2
    return (core - spurious) / (2 * min(a, 1 - a))


def feature_drop(rows: Rows, label: int, feature: str, sigma: str) -> tuple[float, float, float]:
    """Drop, control drop and excess of one (class, feature); the last two on images whose energies agree to 5 %."""
    clean = scores(rows, "clean")
    noised = of_class(rows, scores(rows, f"feature:{feature}@{sigma}"), label)
    control = of_class(rows, scores(rows, f"control:{feature}@{sigma}"), label)
    drop = mean([clean[image] - noised[image] for image in noised])
    energies: dict[tuple[str, str], float] = {}
    for row in rows:
        kind, _, rest = row["condition"].partition(":")
        if rest == f"{feature}@{sigma}":
            energies[kind, row["image"]] = energies.get((kind, row["image"]), 0.0) + row["energy"]
    compared = [
        image
        for image in noised
        if abs(energies["control", image] - energies["feature", image]) <= 0.05 * energies["feature", image]
    ]
    control_drop = mean([clean[image] - control[image] for image in compared])
    excess = mean([control[image] - noised[image] for image in compared])
    return drop, control_drop, excess


def swap_gap(rows: Rows, feature: str, label: int | None = None) -> float:
    """Accuracy with same-class donors minus accuracy with other-class donors."""
    same, other = scores(rows, f"swap.same:{feature}"), scores(rows, f"swap.other:{feature}")
    if label is not None:
        return over_images(of_class(rows, same, label)) - over_images(of_class(rows, other, label))
    return over_classes(rows, same) - over_classes(rows, other)


def swap_pull(rows: Rows, feature: str, label: int | None = None) -> float:
    """Share answered with the other donor's class, minus how often same-class donors give that answer."""
    usual: dict[str, list[int]] = {}
    for row in rows:
        if row["condition"] == f"swap.same:{feature}":
            usual.setdefault(row["image"], []).append(row["predicted"])
    pulls: dict[str, list[float]] = {}
    for row in rows:
        if row["condition"] == f"swap.other:{feature}":
            answered = 1.0 if row["predicted"] == row["donor_label"] else 0.0
            often = mean([1.0 if answer == row["donor_label"] else 0.0 for answer in usual[row["image"]]])
            pulls.setdefault(row["image"], []).append(answered - often)
    of_images = {image: mean(values) for image, values in pulls.items()}
    if label is not None:
        return over_images(of_class(rows, of_images, label))
    return over_classes(rows, of_images)


def pair_gap(rows: Rows, feature: str, label: int, donor_label: int) -> float:
    """Gap of the images of a class that met a donor of this other class: all same-class trials against those."""
    same = scores(rows, f"swap.same:{feature}")
    met = [
        row
        for row in rows
        if row["condition"] == f"swap.other:{feature}" and (row["label"], row["donor_label"]) == (label, donor_label)
    ]
    other = scores(met, f"swap.other:{feature}")
    return mean([same[image] - other[image] for image in other])


def patch_curve(rows: Rows, label: int, cells: int) -> list[float]:
    """Mean certainty unperturbed (index 0) and with each cell exchanged: over targets, then over right sources."""
    right = {image for image, score in scores(rows, "clean").items() if score == 1.0}
    certainties: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if row["condition"].startswith("patch:") and row["label"] == label and row["image"] in right:
            certainties.setdefault((row["condition"], row["image"]), []).append(row["p_true"])
    curve = []
    for cell in range(cells + 1):
        of_sources = [mean(values) for (condition, _), values in certainties.items() if condition == f"patch:{cell}"]
        curve.append(mean(of_sources))
    return curve


def benjamini_hochberg(p_values: list[float]) -> list[float]:
    """q of each p: the smallest level at which the step-up procedure would still reject it."""
    ordered = sorted(p_values)
    m = len(ordered)
    return [min(1.0, *(ordered[j] * m / (j + 1) for j in range(m) if ordered[j] >= p)) for p in p_values]
