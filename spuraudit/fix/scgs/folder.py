"""Generated images on disk: looked at before they are trained on, and not made twice.

FOLDER/plan.json              what the images are made from and how; written first
FOLDER/images/NAME.png        the new image
FOLDER/keep/NAME.png          255 = kept from the source
FOLDER/core/NAME.png          255 = the object drawn in, where the generator knows it
FOLDER/index.jsonl            one line per image, written after its files

One process writes to a folder at a time.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from pydantic import ValidationError

from spuraudit.data.paths import inside
from spuraudit.errors import DataError, RunError
from spuraudit.fix.scgs.generate import Order
from spuraudit.perturb.draws import key_of
from spuraudit.record.base import Part
from spuraudit.record.folder import claim, remove_temporaries, sha256_of, write_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from spuraudit.fix.scgs.generate import Drawn, Scene

_INDEX = "index.jsonl"
_AGAIN = "Restore the files, or delete the folder to have its images made again."


class GeneratedImage(Part):
    """A line of the index. Files are relative to the folder; sha256: file -> hex digest of its bytes.

    source: id of the image it was made from. label, class_name: the class drawn in, which is the source's.
    """

    file: str
    source: str
    label: int
    class_name: str
    keep: str
    core: str | None
    seed: int
    facts: dict[str, str | int | float | bool | None]
    sha256: dict[str, str]

    @property
    def files(self) -> tuple[str, ...]:
        """Every file of the image."""
        return (self.file, self.keep) if self.core is None else (self.file, self.keep, self.core)

    @property
    def order(self) -> Order:
        """What was asked for."""
        return Order(self.source, self.label, self.class_name, self.seed)


@dataclass(frozen=True, eq=False)
class GeneratedFolder:
    """A folder of generated images; `open_folder` makes or continues one, `read_folder` reads one."""

    path: Path
    _rows: dict[Order, GeneratedImage] = field(default_factory=dict)

    @property
    def rows(self) -> tuple[GeneratedImage, ...]:
        """Every whole image, in the order in which they were made."""
        return tuple(self._rows.values())

    def obtain(self, order: Order, draw: Callable[[Order], tuple[Scene, Drawn]]) -> GeneratedImage:
        """The image of an order: the one that exists, else a new one, written whole before it is in the index.

        Raises DataError where `draw` answers another order, RunError where the disk is full or read-only.
        """
        if order in self._rows:
            return self._rows[order]
        scene, drawn = draw(order)
        if scene.order != order:
            raise DataError(f"{order.source}: another scene was drawn than asked for ({scene.order.source}).")
        row = self._write(scene, drawn)
        self._append(row)
        self._rows[order] = row
        return row

    def _write(self, scene: Scene, drawn: Drawn) -> GeneratedImage:
        order = scene.order
        # Ids may be paths or hold any character; a key names a file anywhere.
        key = key_of(order.seed, order.source, order.label, order.name)
        name = f"{order.label:04d}-{key:016x}.png"
        contents = {f"images/{name}": _png(drawn.pixels), f"keep/{name}": _png(np.where(scene.keep, 255, 0))}
        if drawn.core is not None:
            contents[f"core/{name}"] = _png(drawn.core)
        for file, content in contents.items():
            write_bytes(self.path / file, content)
        return GeneratedImage(
            file=f"images/{name}",
            source=order.source,
            label=order.label,
            class_name=order.name,
            keep=f"keep/{name}",
            core=None if drawn.core is None else f"core/{name}",
            seed=order.seed,
            facts=dict(drawn.facts),
            sha256={file: hashlib.sha256(content).hexdigest() for file, content in contents.items()},
        )

    def _append(self, row: GeneratedImage) -> None:
        line = json.dumps(row.model_dump(mode="json"), ensure_ascii=False, allow_nan=False) + "\n"
        file = self.path / _INDEX
        try:
            with file.open("ab") as index:
                index.write(line.encode())
                index.flush()
                os.fsync(index.fileno())
        except OSError as error:
            raise RunError(
                f"{file}: cannot be written ({error.strerror}).", "Free some space, or choose another folder."
            ) from error


def open_folder(path: Path, plan: Mapping[str, Any]) -> GeneratedFolder:
    """Make a folder for generated images, or continue one that was made for the same plan.

    plan: everything that decides what the images look like (data, errors, threshold, generator's settings), as JSON.
    What a killed process left half-written is dropped; whole images stay.
    Raises RunError for a folder of another plan or with other things in it, and where its index does not fit its files.
    """
    content = (json.dumps(plan, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()
    claim(
        path / "plan.json",
        content,
        RunError(f"{path}: holds images that were generated in another way.", "Choose another folder, or delete it."),
        RunError(f"{path}: holds other files and no generated images.", "Choose another folder."),
    )
    _drop_half_a_line(path / _INDEX)
    for name in ("", "images", "keep", "core"):
        remove_temporaries(path / name)
    return _read(path)


def read_folder(path: Path) -> GeneratedFolder:
    """A folder of generated images as it is. Raises RunError: none here, or an index that does not fit its files."""
    if not (path / "plan.json").is_file():
        raise RunError(f"{path}: no generated images here (no plan.json).", "Give a folder that SCGS wrote.")
    return _read(path)


def _drop_half_a_line(index: Path) -> None:
    if index.is_file():
        content = index.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            write_bytes(index, whole)


def _read(path: Path) -> GeneratedFolder:
    index = path / _INDEX
    folder = GeneratedFolder(path)
    if not index.is_file():
        return folder
    # What follows the last newline was never finished.
    lines = index.read_bytes().split(b"\n")[:-1]
    for number, line in enumerate(lines, start=1):
        row = _row(line, f"{index}, line {number}")
        if row.order in folder._rows:
            raise RunError(f"{index}, line {number}: the same image as an earlier line ({row.file}).", _AGAIN)
        _compare(path, row, f"{index}, line {number}")
        folder._rows[row.order] = row
    return folder


def _row(line: bytes, where: str) -> GeneratedImage:
    try:
        row = GeneratedImage.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(str(step) for step in first["loc"])
        raise RunError(f"{where}: not a generated image: {at + ': ' if at else ''}{first['msg']}.", _AGAIN) from error
    for file in row.files:
        try:
            inside(file, where)
        except DataError as error:
            raise RunError(error.message, _AGAIN) from error
    return row


def _compare(path: Path, row: GeneratedImage, where: str) -> None:
    for file in row.files:
        if not (path / file).is_file():
            raise RunError(f"{where}: {file} is missing.", _AGAIN)
        if sha256_of(path / file) != row.sha256.get(file):
            raise RunError(f"{where}: {file} is not the file that was written.", _AGAIN)


def _png(pixels: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()
