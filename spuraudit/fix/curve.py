"""What a training showed on its way, epoch by epoch."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import Tensor

#: Fewer images than these say nothing about a collapse.
_ENOUGH = 50
#: No training is a ruin before this share of its steps: methods that change the images need some to take hold.
_EARLY = 0.25


@dataclass
class Epoch:
    """Sums over the steps of an epoch; `step`: the one it ended with, 0 while it is open.

    right, seen, answered: per class of the dataset, of the training images as they were shown.
    """

    classes: int
    step: int = 0
    steps: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    right: list[int] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    validation: float | None = None
    #: Whether images are drawn equally often: else training accuracy says little.
    even: bool = True

    def __post_init__(self) -> None:
        self.right = self.right or [0] * self.classes
        self.seen = self.seen or [0] * self.classes
        self.answered = self.answered or [0] * self.classes

    def count(self, predicted: Tensor, labels: Tensor) -> None:
        """Answers to some images: (B,) int64 each, in the dataset's classes, on the CPU."""
        for counts, of in ((self.right, labels[predicted == labels]), (self.seen, labels), (self.answered, predicted)):
            for label, number in enumerate(torch.bincount(of, minlength=self.classes).tolist()):
                counts[label] += number

    def add(self, terms: dict[str, float], seconds: float, cpu: float) -> None:
        """One step."""
        self.steps += 1
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.seconds += seconds
        self.cpu_seconds += cpu

    @property
    def terms(self) -> dict[str, float]:
        """Means over the steps."""
        return {name: value / self.steps for name, value in self.sums.items()} if self.steps else {}

    @property
    def accuracy(self) -> float:
        """Mean over classes, on the training images as they were shown."""
        of_class = [right / seen for right, seen in zip(self.right, self.seen, strict=True) if seen]
        return sum(of_class) / len(of_class) if of_class else 0.0

    @property
    def one_answer(self) -> bool:
        """Whether all images got the same."""
        return max(self.answered) == sum(self.seen)

    @property
    def collapse(self) -> str | None:
        """Why this epoch looks like a ruin; None where it does not, or where too little was seen to tell.

        By the training images as they were shown: where a method takes the shortcut out of them, a model that reads
        nothing else is at chance at first, too.
        """
        present = sum(seen > 0 for seen in self.seen)
        images = sum(self.seen)
        if present < 2 or images < _ENOUGH:
            return None
        if self.one_answer:
            return f"all {images} images of the last epoch got one answer, class {self.answered.index(images)}"
        if not self.even:
            return None
        chance = 1 / present
        noise = 2 * (chance * (1 - chance) / images) ** 0.5
        if self.accuracy <= chance + noise:
            return f"training accuracy is at chance ({self.accuracy:.3f} of {present} classes)"
        return None

    def line(self, name: str, total: int) -> str:
        """For people: 'control, step 38 of 114: loss 0.211, accuracy 0.92, worst_group .61'."""
        terms = ", ".join(f"{term} {value:.4g}" for term, value in self.terms.items())
        validation = "" if self.validation is None else f", validation {self.validation:.3f}"
        return f"{name}, step {self.step} of {total}: {terms}, training accuracy {self.accuracy:.3f}{validation}"


@dataclass
class Curve:
    """The epochs of a training, the best of them by validation, and what was noticed."""

    classes: int
    even: bool = True
    epochs: list[Epoch] = field(default_factory=list)
    best: int | None = None
    notes: list[str] = field(default_factory=list)
    stopped: str | None = None

    @property
    def open(self) -> Epoch:
        """The epoch that is being trained."""
        if not self.epochs or self.epochs[-1].step:
            self.epochs.append(Epoch(self.classes, even=self.even))
        return self.epochs[-1]

    def close(self, step: int, validation: float | None) -> bool:
        """End the open epoch; whether it is the best so far."""
        epoch = self.open
        epoch.step, epoch.validation = step, validation
        before = None if self.best is None else self.epochs[self.best].validation
        if validation is not None and math.isnan(validation):
            epoch.validation = validation = None  # a measure that says nothing chooses nothing
        better = validation is not None and (before is None or validation > before)
        if better:
            self.best = len(self.epochs) - 1
        return better

    def ruin(self, planned: int, *, delivered: bool) -> str | None:
        """Why the training has ended in a ruin by now; None where it has not. The last epoch is still open.

        Two epochs in a row that look like one, after a quarter of the `planned` steps, or a last one with one answer
        throughout; of a model that knew the classes (`delivered`), or that was above chance in an earlier epoch: a new
        head may begin at chance.
        """
        last = [epoch.collapse for epoch in self.epochs[-2:]]
        twice = len(last) == 2 and None not in last and self.steps >= _EARLY * planned
        at_the_end = last[-1] is not None and self.epochs[-1].one_answer and self.steps >= planned
        alive = delivered or any(epoch.collapse is None for epoch in self.epochs[:-1])
        return last[-1] if alive and (twice or at_the_end) else None

    @property
    def epochs_since_best(self) -> int:
        """Epochs after the best one."""
        return 0 if self.best is None else len(self.epochs) - 1 - self.best

    @property
    def seconds(self) -> float:
        """Of all steps, without decoding ahead of them and without validation."""
        return sum(epoch.seconds for epoch in self.epochs)

    @property
    def cpu_seconds(self) -> float:
        """Of all threads, over all steps."""
        return sum(epoch.cpu_seconds for epoch in self.epochs)

    @property
    def steps(self) -> int:
        """Carried out."""
        return sum(epoch.steps for epoch in self.epochs)

    def dump(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def of(cls, content: dict[str, Any]) -> Curve:
        """What `dump` gave."""
        return cls(**{**content, "epochs": [Epoch(**epoch) for epoch in content["epochs"]]})
