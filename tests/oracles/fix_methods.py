"""What the methods on explanations add to a step's cross-entropy, with sums written out; neurons judged by masks."""

from __future__ import annotations

from collections.abc import Sequence

from oracles.fix_losses import Floats, crayon


def mean_of_marked(values: Sequence[float], marked: Sequence[bool]) -> float:
    """Over the images of a step that have a region; 0 where none has."""
    total, count = 0.0, 0
    for value, has in zip(values, marked, strict=True):
        if has:
            total += value
            count += 1
    return total / count if count else 0.0


def attention(
    current: Sequence[Floats],
    original: Sequence[Floats],
    answers: Sequence[str | None],
    *,
    alpha: float,
    beta: float,
    counts: tuple[int, int, int],
    by: str = "current",
) -> float:
    """Equation 4 beside a mean over the batch: counts = images, relevant ones and irrelevant ones in training.

    The paper: sum over all images of CE + alpha'/|R| sum over R + beta'/|I| sum over I; over N, with alpha' = N alpha.
    """
    images, relevant, irrelevant = counts
    total = 0.0
    for now, before, answer in zip(current, original, answers, strict=True):
        if answer == "yes":
            total += alpha * images / relevant * crayon(now, before, by, inside=False)
        if answer == "no":
            total += beta * images / irrelevant * crayon(now, before, by, inside=True)
    return total / len(answers)


def relevant(features: Floats, cores: Floats, top: int) -> list[bool]:
    """Features (n, channels, rows, columns), cores (n, rows, columns) -> which neurons stay."""
    kept = []
    for channel in range(features.shape[1]):
        seen = []
        for image in range(len(features)):
            total = inside = peak = 0.0
            for row in range(features.shape[2]):
                for column in range(features.shape[3]):
                    value = max(0.0, float(features[image, channel, row, column]))
                    total += value
                    inside += value * float(cores[image, row, column])
                    peak = max(peak, value)
            seen.append((peak, inside / total if total else None))
        votes = 0
        for peak, share in sorted(seen, key=lambda one: -one[0])[:top]:
            if peak > 0 and share is not None:
                votes += 1 if share >= 0.5 else -1 if share <= 0.3 else 0
        kept.append(votes >= 0)
    return kept
