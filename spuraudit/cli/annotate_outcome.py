"""What `spuraudit annotate` writes, and the lines it prints about it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from spuraudit.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from spuraudit.data.dataset import Dataset
    from spuraudit.record.annotation_tables import Answer
    from spuraudit.record.annotations import About, Derived
    from spuraudit.runs.annotating import Explained


class DerivedAnswers(NamedTuple):
    """Answers from masks by image id, and how they were made."""

    answers: dict[str, Answer]
    yes: float
    no: float
    without_mask: int


def derived_answers(made: Explained, yes: float | None, no: float | None) -> DerivedAnswers:
    """Answers by the share of each map's highlight on the core.

    Raises UsageError for thresholds in disorder, DataError without any core mask.
    """
    from spuraudit.errors import DataError
    from spuraudit.record.relevance import NO_UP_TO, YES_FROM, derive

    yes, no = YES_FROM if yes is None else yes, NO_UP_TO if no is None else no
    found = derive(made.maps, made.cores, yes=yes, no=no)
    images = [image.id for image in made.about.images]
    answers = {image: answer for image, answer in zip(images, found, strict=True) if answer is not None}
    if not answers:
        raise DataError(
            f"{made.about.data.name}: none of {len(images)} images has a core mask, so that nothing can be derived.",
            "Leave --from-masks out and answer on the page, or add masks.",
        )
    return DerivedAnswers(answers, yes, no, len(images) - len(answers))


def write(made: Explained, folder: Path, derived: DerivedAnswers | None) -> list[str]:
    """Everything into the folder, about.json last; what to tell the user.

    Raises RunError where the folder holds other maps, or answers that people gave and derived ones would replace.
    """
    from spuraudit.record.annotation_tables import ANSWERS_FILE, PATCHES_FILE, write_patches
    from spuraudit.record.annotations import settled, write_folder
    from spuraudit.report.annotate_page import write_maps_pages, write_neurons_pages

    about, maps, before = settled(folder, made.about, made.maps)
    lines: list[str] = []
    if derived is not None:
        stored = _store(derived, folder, before)
        about = about.model_copy(update={"derived": stored})
        lines.append(f"{folder / ANSWERS_FILE}: {counted(derived.answers)} from masks, not from people")
        if derived.without_mask:
            lines.append(f"{derived.without_mask} images without a core mask got no answer.")
    elif before is not None:
        about = about.model_copy(update={"derived": before.derived})
    pages = write_maps_pages(folder, about, made.maps, made.pictures)
    if about.neurons is not None:
        write_patches(folder / PATCHES_FILE, made.patches)
        pages += write_neurons_pages(folder, about, made.patches, made.pictures)
    elif before is not None:  # patches that an earlier call wrote are still there
        about = about.model_copy(update={"neurons": before.neurons, "patches_each": before.patches_each})
    write_folder(folder, about, maps)
    return [*lines, *(f"Page: {page}" for page in pages)]


def _store(derived: DerivedAnswers, folder: Path, before: About | None) -> Derived:
    """Write derived answers; how they were made, for about.json."""
    from spuraudit.record.annotation_tables import ANSWERS_FILE, write_answers
    from spuraudit.record.annotations import Derived, file_sha256, is_derived

    file = folder / ANSWERS_FILE
    if file.is_file() and not (before is not None and is_derived(folder, before)):
        raise RunError(f"{file}: answers are there already.", "Move them away, or choose another folder with -o.")
    write_answers(file, derived.answers)
    return Derived(yes=derived.yes, no=derived.no, without_mask=derived.without_mask, sha256=file_sha256(file))


def import_crayon_lists(dataset: Dataset, split: str | None, files: Sequence[Path], folder: Path) -> list[str]:
    """Write published lists as a folder; what to tell the user, the first and last image above all."""
    from spuraudit.record.annotation_tables import ANSWERS_FILE, NEURONS_FILE, write_answers, write_neuron_answers
    from spuraudit.record.annotations import settled, write_folder
    from spuraudit.runs.annotating import import_lists

    about, lists = import_lists(dataset, split, files)
    settled(folder, about, lists.maps)
    for name in (ANSWERS_FILE, NEURONS_FILE):
        if (folder / name).is_file():
            raise RunError(f"{folder / name}: answers are there already.", "Choose another folder with -o.")
    lines = []
    if lists.answers is not None:
        write_answers(folder / ANSWERS_FILE, lists.answers)
        lines.append(f"{folder / ANSWERS_FILE}: {counted(lists.answers)}")
    if lists.neurons is not None:
        write_neuron_answers(folder / NEURONS_FILE, lists.neurons)
        kept = sum(answer.answer == "yes" for answer in lists.neurons)
        lines.append(f"{folder / NEURONS_FILE}: {len(lists.neurons)} neurons, {kept} of them relevant")
    if lists.maps is not None:
        count, rows, columns = lists.maps.shape
        lines.append(f"{count} maps of {rows}x{columns} cells")
    write_folder(folder, about, lists.maps)
    if lists.answers is not None or lists.maps is not None:
        first, last = about.images[0].id, about.images[-1].id
        lines.append(f"The lists name no image; they go by position. First: {first}. Last: {last}.")
        lines.append("If these are not the authors' first and last training image, delete the folder: nothing fits.")
    return lines


def counted(answers: Mapping[str, Answer]) -> str:
    """'12 yes, 3 no, 1 maybe'."""
    from spuraudit.record.annotation_tables import ANSWERS

    counts = Counter(answers.values())
    return ", ".join(f"{counts[answer]} {answer}" for answer in ANSWERS)
