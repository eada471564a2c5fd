"""The losses of the fine-tuning methods, one image and one number at a time, with derivatives by differences."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
#: An array -> one number.
Scalar = Callable[[Floats], float]
#: An array -> a vector, such as the logits of an image.
Vector = Callable[[Floats], Floats]


def derivative(function: Scalar, at: Floats, step: float = 1e-5) -> Floats:
    """By central differences, one entry after the other."""
    result = np.zeros_like(at)
    for place in np.ndindex(*at.shape):
        ahead, behind = at.copy(), at.copy()
        ahead[place] += step
        behind[place] -= step
        result[place] = (function(ahead) - function(behind)) / (2 * step)
    return result


def log_probabilities(logits: Sequence[float]) -> list[float]:
    whole = sum(math.exp(value) for value in logits)
    return [math.log(math.exp(value) / whole) for value in logits]


def nll(logits: Sequence[float], label: int, outputs: Sequence[Sequence[int]], answers: str, head: str) -> float:
    """Of one image, in the classes that own these outputs."""
    if head == "sigmoid":
        total = 0.0
        for number, own in enumerate(outputs):
            given = max(1 / (1 + math.exp(-logits[output])) for output in own)
            total -= math.log(given if number == label else 1 - given)
        return total
    mapped = [output for own in outputs for output in own]
    counted = mapped if answers == "mapped" else range(len(logits))
    whole = sum(math.exp(logits[output]) for output in counted)
    return -math.log(sum(math.exp(logits[output]) for output in outputs[label]) / whole)


def energy(gradient: Floats, region: Floats) -> float:
    """Sum of (region o gradient)^2: gradient (C, H, W), region (H, W)."""
    total = 0.0
    for channel, row, column in np.ndindex(*gradient.shape):
        total += (region[row, column] * gradient[channel, row, column]) ** 2
    return total


def saliency(loss: Scalar, x: Floats, core: Floats) -> float:
    """CoRM, section 7: the squared norm of (1 - c) o grad_x loss."""
    return energy(derivative(loss, x), 1 - core)


def rrr(logits: Vector, x: Floats, region: Floats) -> float:
    """Ross et al. 2017, without the factor 1/2."""
    return energy(derivative(lambda image: sum(log_probabilities(list(logits(image)))), x), region)


def all_logits(logits: Vector, x: Floats, region: Floats) -> float:
    """Sum over the logits of the energy of each one's own gradient."""
    count = len(logits(x))
    return sum(energy(derivative(lambda image, k=k: float(logits(image)[k]), x), region) for k in range(count))


def grad_cam(score: Scalar, features: Floats, relu: bool) -> Floats:
    """Features (C, rows, columns) of one image, score of them -> (rows, columns); Selvaraju et al., equations 1, 2."""
    gradient = derivative(score, features)
    channels, rows, columns = features.shape
    heat = np.zeros((rows, columns))
    for channel in range(channels):
        alpha = sum(gradient[channel, row, column] for row, column in np.ndindex(rows, columns)) / (rows * columns)
        heat += alpha * features[channel]
    return np.maximum(heat, 0) if relu else heat


def element_map(score: Scalar, features: Floats, relu: bool) -> Floats:
    """Gradient times activation at each place, summed over channels."""
    gradient = derivative(score, features)
    heat = np.zeros(features.shape[1:])
    for channel, row, column in np.ndindex(*features.shape):
        heat[row, column] += gradient[channel, row, column] * features[channel, row, column]
    return np.maximum(heat, 0) if relu else heat


def map_loss(heat: Floats, region: Floats, norm: str) -> float:
    """Hagos et al., equation 2, as a mean over cells."""
    if norm == "max":
        heat = heat / (max(abs(value) for value in heat.flat) + 1e-6)
    if norm == "min-max":
        lowest, highest = min(heat.flat), max(heat.flat)
        heat = (heat - lowest) / (highest - lowest + 1e-6)
    terms = [(region[place] * heat[place]) ** 2 for place in np.ndindex(*heat.shape)]
    return float(sum(terms) / len(terms))


def on_cells(mask: Floats, rows: int, columns: int) -> Floats:
    """Each pixel is cut into rows x columns equal pieces; then every cell is a whole number of pieces."""
    height, width = mask.shape
    pieces = np.zeros((height * rows, width * columns))
    for row, column in np.ndindex(*pieces.shape):
        pieces[row, column] = mask[row // rows, column // columns]
    cells = np.zeros((rows, columns))
    for row, column in np.ndindex(rows, columns):
        cells[row, column] = pieces[row * height : (row + 1) * height, column * width : (column + 1) * width].mean()
    return cells


def crayon(current: Floats, original: Floats, by: str, inside: bool) -> float:
    """CRAYON, equation 1 (outside) or 2 (inside), of maps (rows, columns) as they come."""
    now = (current + 1e-10) / max(value + 1e-10 for value in current.flat)
    before = (original + 1e-10) / max(value + 1e-10 for value in original.flat)
    overlap = part = whole = 0.0
    for place in np.ndindex(*now.shape):
        share = before[place] if inside else 1 - before[place]
        overlap += now[place] * share
        part += share
        whole += now[place]
    return float(overlap / {"current": whole, "original": part, "none": 1.0}[by])
