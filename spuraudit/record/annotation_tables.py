"""The CSV files of `spuraudit annotate`, read strictly: every complaint names file and line.

Rows and columns count cells of the layer from 1, as everywhere; neurons are channels of the layer, counted from 0 as in
torch. UTF-8, commas, one header line.
"""

from __future__ import annotations

import csv
import io
import math
import re
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from spuraudit.errors import DataError, did_you_mean
from spuraudit.record.folder import write_bytes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

Answer = Literal["yes", "no", "maybe"]
ANSWERS: tuple[Answer, ...] = get_args(Answer)
ANSWERS_FILE, NEURONS_FILE, PATCHES_FILE = "annotations.csv", "neurons.csv", "patches.csv"
_ANSWER_COLUMNS = ("image", "verdict")
_NEURON_COLUMNS = ("neuron", "image", "row", "column", "verdict")
_PATCH_COLUMNS = ("neuron", "image", "row", "column", "activation")


class Place(NamedTuple):
    """A cell of an image: row and column from 1. Several neurons may be most active at the same one."""

    image: str
    row: int
    column: int


class Patch(NamedTuple):
    """One of the places where a neuron is most active."""

    neuron: int
    place: Place
    activation: float


class NeuronAnswer(NamedTuple):
    """An answer about a neuron's patch; about the neuron as a whole where `place` is None."""

    neuron: int
    place: Place | None
    answer: Answer


class _Row(NamedTuple):
    line: int
    cells: dict[str, str]


def write_answers(file: Path, answers: Mapping[str, Answer]) -> None:
    """image,verdict in the order given."""
    _write(file, _ANSWER_COLUMNS, answers.items())


def read_answers(
    file: Path, known: Collection[str] | None = None, before: Mapping[str, Answer] | None = None
) -> dict[str, Answer]:
    """Answers by image id, in file order.

    known: the images asked about, where that is known. before: answers of other files, none of which may be repeated.
    Raises DataError naming the line: a wrong header, an unknown answer or image, an image answered twice.
    """
    lines: dict[str, int] = {}
    answers: dict[str, Answer] = {}
    for line, cells in _rows(file, _ANSWER_COLUMNS):
        image = cells["image"]
        if not image:
            raise _wrong(file, line, "no image.", "Every row names an image of the dataset.")
        if image in lines or image in (before or {}):
            where = f"on line {lines[image]}" if image in lines else "in another file of the folder"
            raise _wrong(file, line, f"image {image!r} was answered already, {where}.", "Keep one of the rows.")
        if known is not None and image not in known:
            hint = did_you_mean(image, known) if len(known) <= 5000 else ""
            raise _wrong(file, line, f"image {image!r} was not asked about.", hint or "Is it another folder's file?")
        lines[image] = line
        answers[image] = _answer(file, line, cells["verdict"])
    return answers


def write_patches(file: Path, patches: Iterable[Patch]) -> None:
    """neuron,image,row,column,activation."""
    _write(file, _PATCH_COLUMNS, ((p.neuron, *p.place, f"{p.activation:.6g}") for p in patches))


def read_patches(file: Path) -> list[Patch]:
    """What `write_patches` wrote. Raises DataError naming the line."""
    found = []
    for line, cells in _rows(file, _PATCH_COLUMNS):
        try:
            activation = float(cells["activation"])
        except ValueError:
            activation = math.nan
        if not math.isfinite(activation):
            raise _wrong(file, line, f"activation {cells['activation']!r} is not a number.", "Restore the file.")
        found.append(Patch(_whole(file, line, cells, "neuron", 0), _place(file, line, cells), activation))
    return found


def write_neuron_answers(file: Path, answers: Iterable[NeuronAnswer]) -> None:
    """neuron,image,row,column,verdict; the place stays empty for an answer about a neuron as a whole."""
    _write(file, _NEURON_COLUMNS, ((a.neuron, *(a.place or ("", "", "")), a.answer) for a in answers))


def read_neuron_answers(file: Path) -> list[NeuronAnswer]:
    """Answers in file order. Raises DataError naming the line, also where one patch of a neuron is answered twice."""
    found: list[NeuronAnswer] = []
    lines: dict[tuple[int, Place | None], int] = {}
    for line, cells in _rows(file, _NEURON_COLUMNS):
        neuron = _whole(file, line, cells, "neuron", 0)
        whole = not (cells["image"] or cells["row"] or cells["column"])
        place = None if whole else _place(file, line, cells)
        if (neuron, place) in lines:
            first = lines[neuron, place]
            raise _wrong(file, line, f"the patch of neuron {neuron} stands on line {first} too.", "Keep one row.")
        lines[neuron, place] = line
        found.append(NeuronAnswer(neuron, place, _answer(file, line, cells["verdict"])))
    return found


def part_files(folder: Path, name: str) -> list[Path]:
    """annotations.csv and annotations-2.csv, annotations-3.csv of a page that was split, those that are there."""
    stem, _, suffix = name.partition(".")
    parts = [file for file in folder.glob(f"{stem}-*.{suffix}") if re.fullmatch(rf"{stem}-\d+", file.stem)]
    first = folder / name
    return ([first] if first.is_file() else []) + sorted(parts, key=lambda file: int(file.stem.rpartition("-")[2]))


def _write(file: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_bytes(file, text.getvalue().encode())


def _rows(file: Path, columns: Sequence[str]) -> Iterator[_Row]:
    needed = f"Its first line must be {','.join(columns)}."
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(
            f"{file}: cannot be read ({error.strerror}).", "Name the file that the page exported."
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 text (byte {error.start}).", "Save the table as UTF-8 CSV.") from error
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        header = next(reader, None)
        if header is None:
            raise DataError(f"{file}: empty.", needed)
        if [cell.strip() for cell in header] != list(columns):
            raise _wrong(file, 1, f"the columns are {', '.join(header)}.", needed)
        end = reader.line_num
        for cells in reader:
            line, end = end + 1, reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(columns):
                hint = "Put an image id that holds a comma in double quotes."
                raise _wrong(file, line, f"{len(cells)} cells, the header has {len(columns)}.", hint)
            yield _Row(line, dict(zip(columns, cells, strict=True)))
    except csv.Error as error:
        raise _wrong(file, reader.line_num, f"not readable as CSV ({error}).", "Save it as plain CSV.") from error


def _answer(file: Path, line: int, text: str) -> Answer:
    for answer in ANSWERS:
        if text.strip().lower() == answer:
            return answer
    raise _wrong(file, line, f"verdict {text!r}; expected {', '.join(ANSWERS)}.", "Mend the row.")


def _place(file: Path, line: int, cells: Mapping[str, str]) -> Place:
    if not cells["image"]:
        raise _wrong(file, line, "no image.", "Every patch names its image.")
    return Place(cells["image"], _whole(file, line, cells, "row", 1), _whole(file, line, cells, "column", 1))


def _whole(file: Path, line: int, cells: Mapping[str, str], column: str, least: int) -> int:
    text = cells[column].strip()
    if not (text.isascii() and text.isdecimal()) or int(text) < least:
        raise _wrong(file, line, f"{column} {text!r}; expected a whole number from {least}.", "Mend the row.")
    return int(text)


def _wrong(file: Path, line: int, problem: str, hint: str) -> DataError:
    return DataError(f"{file}, line {line}: {problem}", hint)
