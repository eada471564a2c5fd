"""Which outputs of a model are which class of the dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch

from spuraudit.errors import DataError, ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

AnswerSpace = Literal["all", "mapped"]
#: softmax: the outputs share one certainty; sigmoid: every output is a label of its own.
Head = Literal["softmax", "sigmoid"]
#: A label of a sigmoid head is given from this probability on.
GIVEN_FROM = 0.5


class Answers(NamedTuple):
    """What the model says about B images, in the dataset's K classes."""

    #: (B,) int64: the class the strongest output belongs to, -1 where it belongs to none; of a sigmoid head also where
    #: the strongest output is below 0.5, since then no label is given.
    predicted: Tensor
    #: (B,) int64: the strongest output.
    output: Tensor
    #: (B, K) float32: softmax probability of each class, summed over its outputs; of a sigmoid head the probability of
    #: the class's strongest output.
    probabilities: Tensor
    #: (B, K) bool: classes given as labels, each by itself; None for a softmax head, which gives one answer.
    given: Tensor | None = None


@dataclass(frozen=True)
class ClassMap:
    """outputs[k]: model outputs that count as class k of the dataset, disjoint, each below num_outputs.

    answers 'all': the model may answer with any of its outputs, and an answer outside the map is wrong;
    'mapped': argmax and softmax run over the mapped outputs alone, so the model is forced to choose among the
    dataset's classes. head 'sigmoid': every output is a label of its own, with the probability sigmoid(logit); the
    answer is the strongest output where that reaches 0.5, so that a model that says yes to everything is not right
    for it. Build it with `class_map`, which checks.
    """

    outputs: tuple[tuple[int, ...], ...]
    num_outputs: int
    answers: AnswerSpace
    head: Head = "softmax"

    @property
    def is_identity(self) -> bool:
        """Whether output k is class k and there are no others."""
        return self.outputs == tuple((index,) for index in range(self.num_outputs))

    def answer(self, logits: Tensor) -> Answers:
        """(B, num_outputs) -> predicted class, strongest output, class probabilities; each row by itself.

        Raises ModelError where a logit is NaN or infinite.
        """
        logits = self._checked(logits)
        # Probabilities near 1 round to the same number where logits still differ.
        return self._answers(logits.argmax(dim=1), self._activated(logits))

    def decide(self, probabilities: Tensor) -> Answers:
        """The same from probabilities of the outputs (B, num_outputs), such as means over passes."""
        return self._answers(probabilities.argmax(dim=1), probabilities)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Softmax (or sigmoids) of the outputs that may be answered: (B, num_outputs) twice. Errors as of `answer`."""
        return self._activated(self._checked(logits))

    def entropy(self, probabilities: Tensor) -> Tensor:
        """Of the outputs' distribution, in nats: (B, num_outputs) -> (B,); of a sigmoid head summed over its labels."""
        entropy = -(probabilities * probabilities.clamp_min(1e-30).log()).sum(dim=1)
        if self.head == "softmax":
            return entropy
        others = 1 - probabilities
        return entropy - (others * others.clamp_min(1e-30).log()).sum(dim=1)

    def _activated(self, logits: Tensor) -> Tensor:
        if self.head == "softmax":
            return logits.softmax(dim=1)
        # Sigmoids as a softmax of (0, logit): torch's own rounds the last few numbers of a tensor otherwise than the
        # rest on a CPU, so that a row's bits would depend on its batch.
        return torch.stack([torch.zeros_like(logits), logits], dim=-1).softmax(dim=-1)[..., 1].contiguous()

    def _answers(self, output: Tensor, probabilities: Tensor) -> Answers:
        predicted = self._owner(probabilities)[output]
        classes = self.class_probabilities(probabilities)
        if self.head == "softmax":
            return Answers(predicted, output, classes)
        strongest = probabilities.gather(1, output[:, None])[:, 0]
        return Answers(predicted.where(strongest >= GIVEN_FROM, -1), output, classes, classes >= GIVEN_FROM)

    def _checked(self, logits: Tensor) -> Tensor:
        if logits.ndim != 2 or logits.shape[1] != self.num_outputs:
            raise ModelError(f"The class map is for {self.num_outputs} outputs; the model gave {tuple(logits.shape)}.")
        logits = logits.float()
        # A sum is finite only where all its terms are, and costs one pass where isfinite costs two.
        if not torch.isfinite(logits.sum()):
            bad = int((~torch.isfinite(logits)).any(dim=1).sum())
            if bad:
                raise ModelError(
                    f"The model answered {bad} of {len(logits)} images with NaN or infinite logits.",
                    "The activations overflow: check the preprocessing (--mean, --std) and the checkpoint.",
                )
        return logits.masked_fill(self._owner(logits) < 0, -torch.inf) if self.answers == "mapped" else logits

    def _owner(self, like: Tensor) -> Tensor:
        """(num_outputs,) the class each output belongs to, -1 for none."""
        owner = torch.full((self.num_outputs,), -1, dtype=torch.int64)
        for index, outputs in enumerate(self.outputs):
            owner[list(outputs)] = index
        return owner.to(like.device)

    def class_probabilities(self, probabilities: Tensor) -> Tensor:
        """Of the classes, summed over their outputs (sigmoid head: the largest): (..., num_outputs) -> (..., K)."""
        if self.is_identity:
            return probabilities
        # Classes own different numbers of outputs: missing ones point at an extra column of zeros. The sum runs along
        # a row, so a row's bits do not depend on the batch.
        longest = max(len(outputs) for outputs in self.outputs)
        padded = [[*outputs, *[self.num_outputs] * (longest - len(outputs))] for outputs in self.outputs]
        index = torch.tensor(padded, device=probabilities.device)
        wide = torch.nn.functional.pad(probabilities, (0, 1))
        own = wide[..., index]
        return own.sum(dim=-1) if self.head == "softmax" else own.amax(dim=-1)


def class_map(
    outputs: Sequence[tuple[int, ...] | None],
    names: Sequence[str],
    num_outputs: int,
    answers: AnswerSpace,
    head: Head = "softmax",
) -> ClassMap:
    """The map of a dataset onto a model.

    outputs: of each class, or None for every class where output k is class k. names: of the classes, for messages.
    Raises DataError where classes and outputs do not fit: wrong count, a class without outputs, an output out of
    range or claimed twice.
    """
    if not names or len(outputs) != len(names):
        raise DataError(f"The dataset has {len(names)} class names and {len(outputs)} entries of outputs.")
    unmapped = [name for name, own in zip(names, outputs, strict=True) if own is None]
    if len(unmapped) == len(names):
        if len(names) != num_outputs:
            raise _wrong_count(len(names), num_outputs)
        return ClassMap(tuple((index,) for index in range(num_outputs)), num_outputs, answers, head)
    if unmapped:
        raise DataError(
            f"{len(unmapped)} of {len(names)} classes name no model outputs: {', '.join(unmapped[:5])}.",
            "Give `outputs:` for every class, or for none.",
        )
    owners: dict[int, str] = {}
    for name, own in zip(names, outputs, strict=True):
        if not own:
            raise DataError(f"The class {name!r} has an empty list of model outputs.", "Name at least one.")
        for output in own:
            if not 0 <= output < num_outputs:
                raise DataError(
                    f"The class {name!r} names the model output {output}; the model has {num_outputs} "
                    f"(0 to {num_outputs - 1}).",
                    "Correct `outputs:` in dataset.yaml, or audit a model with these outputs.",
                )
            if output in owners:
                raise DataError(
                    f"The model output {output} is claimed by {owners[output]!r} and again by {name!r}.",
                    "An output may belong to one class only.",
                )
            owners[output] = name
    return ClassMap(tuple(tuple(own) for own in outputs if own is not None), num_outputs, answers, head)


def _wrong_count(classes: int, num_outputs: int) -> DataError:
    of_data = "1 class" if classes == 1 else f"{classes} classes"
    of_model = "1 output" if num_outputs == 1 else f"{num_outputs} outputs"
    example = min(323, num_outputs - 1)
    return DataError(
        f"Wrong class count: the dataset has {of_data}, the model has {of_model}.",
        f"Say which model outputs each class is: `outputs: [{example}]` (a list of numbers from 0) under every class "
        "in dataset.yaml, or a file given with --class-map.",
    )
