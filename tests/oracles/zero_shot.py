"""The zero-shot classifier of CLIP, one prompt and one class after the other (Radford et al. 2021, section 3.1.4)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def unit(vector: Sequence[float]) -> list[float]:
    """The vector divided by its Euclidean norm."""
    norm = math.sqrt(sum(value * value for value in vector))
    return [value / norm for value in vector]


def class_vector(
    clip: Any, tokenize: Callable[[list[str]], Tensor], name: str, templates: Sequence[str]
) -> list[float]:
    """Unit vector of the mean of unit vectors of the name in each template; each prompt alone, in the full context."""
    total: list[float] = []
    for template in templates:
        before, after = template.split("{}")
        with torch.no_grad():
            embedded = clip.encode_text(tokenize([before + name + after]))[0]
        vector = unit([float(value) for value in embedded])
        total = vector if not total else [a + b for a, b in zip(total, vector, strict=True)]
    return unit([value / len(templates) for value in total])


def logits(
    clip: Any,
    tokenize: Callable[[list[str]], Tensor],
    images: Tensor,
    names: Sequence[str],
    templates: Sequence[str],
) -> list[list[float]]:
    """exp(s) cos(f, w_k) for normalised images (B, 3, H, W): a list of K logits per image."""
    vectors = [class_vector(clip, tokenize, name, templates) for name in names]
    scale = math.exp(clip.logit_scale.item())
    answers = []
    for image in images:
        with torch.no_grad():
            features = unit([float(value) for value in clip.encode_image(image[None])[0]])
        answers.append([scale * sum(f * w for f, w in zip(features, vector, strict=True)) for vector in vectors])
    return answers
