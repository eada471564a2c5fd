"""Labels of a sigmoid head, restated with plain loops over the observations. Nothing of the package is used.

`rows` are dicts as they lie in the Parquet parts; `images` are the ids that count.
"""

from __future__ import annotations

from typing import Any

Rows = list[dict[str, Any]]


def share_given(rows: Rows, condition: str, image: str, label: int) -> float:
    """Share of the image's answers under the condition that give it the label."""
    answers = [row for row in rows if row["condition"] == condition and row["image"] == image]
    return sum(1 for row in answers if label in row["given"]) / len(answers)


def classes_of(rows: Rows) -> dict[str, int]:
    """Class of each image."""
    return {row["image"]: row["label"] for row in rows}


def recall(rows: Rows, condition: str, label: int, images: set[str]) -> float:
    """Mean over the images of the label's class."""
    of = classes_of(rows)
    shares = [share_given(rows, condition, image, label) for image in images if of[image] == label]
    return sum(shares) / len(shares)


def false_alarm(rows: Rows, condition: str, label: int, images: set[str]) -> float:
    """Mean over the images of all other classes."""
    of = classes_of(rows)
    shares = [share_given(rows, condition, image, label) for image in images if of[image] != label]
    return sum(shares) / len(shares)


def mean_recall(rows: Rows, condition: str, classes: int, images: set[str]) -> float:
    """Mean over the labels whose class has images."""
    of = classes_of(rows)
    there = [label for label in range(classes) if any(of[image] == label for image in images)]
    return sum(recall(rows, condition, label, images) for label in there) / len(there)


def mean_false_alarm(rows: Rows, condition: str, classes: int, images: set[str]) -> float:
    """Mean over all labels."""
    return sum(false_alarm(rows, condition, label, images) for label in range(classes)) / classes
