"""The pages that ask: is the highlight on the object, is the patch? One file each, complete without a network.

Pictures are stored once and drawn by reference, maps as small grey pictures that mask them: a page of 500 images stays
near 8 MB. What would make it larger than `PAGE_BYTES` goes to a further page.
"""

from __future__ import annotations

import io
from base64 import b64encode
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from markupsafe import Markup
from PIL import Image

from spuraudit.record.annotation_tables import ANSWERS_FILE, NEURONS_FILE
from spuraudit.record.folder import write_bytes
from spuraudit.report.embed import policy, script_json
from spuraudit.report.formats import many
from spuraudit.report.pictures import media_type
from spuraudit.report.templating import environment, source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from spuraudit.record.annotation_tables import Patch, Place
    from spuraudit.record.annotations import About

MAPS_PAGE, NEURONS_PAGE = "annotate.html", "neurons.html"
PAGE_BYTES = 20_000_000
#: What the markup of one item takes.
_ITEM_BYTES = 1_500
#: Longest side of a map as a picture: browsers smooth it from there on.
_MAP_SIDE = 56
#: A patch is three cells wide, at least a quarter of the image: less cannot be recognised.
_PATCH_CELLS, _PATCH_LEAST = 3, 0.25


class Box(NamedTuple):
    """Part of a picture, in pixels of the model's input."""

    x: float
    y: float
    width: float
    height: float

    @property
    def view(self) -> str:
        """As an SVG viewBox."""
        return " ".join(f"{value:g}" for value in self)


@dataclass(frozen=True)
class Item:
    """One question. `photo` is the place of its picture among those of the page, `map` a data URI, `box` a patch."""

    image: str
    class_name: str
    photo: int
    map: str | None = None
    place: Place | None = None
    box: Box | None = None
    neurons: tuple[int, ...] = ()


@dataclass
class Sheet:
    """What one page holds; it grows while there is room."""

    items: list[Item] = field(default_factory=list)
    photos: dict[str, str] = field(default_factory=dict)
    size: int = 0

    def add(self, item: Item, photo: str) -> None:
        """Take an item and, unless it is there, its picture."""
        self.size += self.cost(item, photo)
        self.photos.setdefault(item.image, photo)
        self.items.append(item)

    def cost(self, item: Item, photo: str) -> int:
        """Bytes that an item would add."""
        own = _ITEM_BYTES + len(item.image) + len(item.class_name) + len(item.map or "") + 8 * len(item.neurons)
        return own + (0 if item.image in self.photos else len(photo))


def write_maps_pages(folder: Path, about: About, maps: NDArray[np.float32], pictures: Sequence[bytes]) -> list[Path]:
    """annotate.html, and annotate-2.html and so on where one would grow too large; their paths.

    maps: (n, rows, columns), at least 0; pictures: WebP, PNG or JPEG, both in the order of about.images.
    """
    items = (
        Item(image.id, image.class_name, 0, map=_uri(_grey(map_)))
        for image, map_ in zip(about.images, maps, strict=True)
    )
    return _write(folder, MAPS_PAGE, ANSWERS_FILE, about, _sheets(items, _photos(about, pictures)))


def write_neurons_pages(folder: Path, about: About, patches: Sequence[Patch], pictures: Sequence[bytes]) -> list[Path]:
    """neurons.html, split like annotate.html. A place that several neurons share is asked about once, and earlier."""
    sharing: dict[Place, list[int]] = defaultdict(list)
    for patch in patches:
        sharing[patch.place].append(patch.neuron)
    class_names = {image.id: image.class_name for image in about.images}
    items = (
        Item(place.image, class_names[place.image], 0, place=place, box=box_of(about, place), neurons=tuple(neurons))
        for place, neurons in sorted(sharing.items(), key=lambda found: (-len(found[1]), found[0]))
    )
    return _write(folder, NEURONS_PAGE, NEURONS_FILE, about, _sheets(items, _photos(about, pictures)))


def box_of(about: About, place: Place) -> Box:
    """The patch around a cell, moved inside the image where it would reach over the border."""
    width, height = _size(about)
    rows, columns = (about.layer.rows, about.layer.columns) if about.layer else (1, 1)
    x, wide = _span(place.column, columns, width)
    y, high = _span(place.row, rows, height)
    return Box(x, y, wide, high)


def _span(number: int, cells: int, size: int) -> tuple[float, float]:
    length = size * min(1.0, max(_PATCH_CELLS / cells, _PATCH_LEAST))
    start = (number - 0.5) * size / cells - length / 2
    return round(min(max(start, 0), size - length), 2), round(length, 2)


def _size(about: About) -> tuple[int, int]:
    """(width, height) of what the model is shown; drawings only need its proportions where no model is known."""
    if about.model is None:
        return 224, 224
    geometry = about.model.preprocess.geometry
    return geometry.width, geometry.height


def _photos(about: About, pictures: Sequence[bytes]) -> dict[str, str]:
    return {image.id: _uri(picture) for image, picture in zip(about.images, pictures, strict=True)}


def _sheets(items: Iterator[Item], photos: dict[str, str], most: int = PAGE_BYTES) -> list[Sheet]:
    sheets = [Sheet()]
    for item in items:
        photo = photos[item.image]
        if sheets[-1].items and sheets[-1].size + sheets[-1].cost(item, photo) > most:
            sheets.append(Sheet())
        sheets[-1].add(item, photo)
    return sheets


def _write(folder: Path, page: str, answers: str, about: About, sheets: list[Sheet]) -> list[Path]:
    written = []
    for number, sheet in enumerate(sheets, start=1):
        file = folder / _part(page, number)
        content = render_sheet(about, sheet, _part(answers, number), f"{number} of {len(sheets)}")
        write_bytes(file, content.encode())
        written.append(file)
    return written


def _part(name: str, number: int) -> str:
    stem, _, suffix = name.rpartition(".")
    return name if number == 1 else f"{stem}-{number}.{suffix}"


def render_sheet(about: About, sheet: Sheet, answers: str, part: str = "1 of 1") -> str:
    """One page as HTML text. answers: name of the file that it exports. Same folder, same bytes."""
    of_neurons = any(item.place is not None for item in sheet.items)
    number = {image: index for index, image in enumerate(sheet.photos)}
    width, height = _size(about)
    scripts = [source("script/report.js"), source("script/annotate.js")]
    made = environment()
    style = made.get_template("style/report.css.j2").render() + source("style/annotate.css")
    return made.get_template("annotate.html.j2").render(
        about=about,
        of_neurons=of_neurons,
        title=_title(about, of_neurons),
        asks="Is the red rectangle mainly on" if of_neurons else "Is the strong highlight mainly on",
        part=None if part == "1 of 1" else part,
        answers=answers,
        items=sheet.items,
        photos=list(sheet.photos.values()),
        number=number,
        width=width,
        height=height,
        whole=Box(0, 0, width, height).view,
        tiny=max(width, height) <= 2 * _MAP_SIDE,
        count=many(len(sheet.items), "patch", "patches") if of_neurons else many(len(sheet.items), "image"),
        data=script_json(_data(about, sheet, answers, of_neurons)),
        csp=policy(scripts),
        style=Markup(style),
        scripts=[Markup(script) for script in scripts],
    )


def _title(about: About, of_neurons: bool) -> str:
    model = about.model.name if about.model is not None else "the original model"
    return f"What the neurons of {model} see" if of_neurons else f"Where {model} looks"


def _data(about: About, sheet: Sheet, answers: str, of_neurons: bool) -> dict[str, object]:
    """What the script needs: names and places, never markup."""
    items: list[object] = [
        {"image": item.image, "row": item.place.row, "column": item.place.column, "neurons": item.neurons}
        if item.place is not None
        else {"image": item.image}
        for item in sheet.items
    ]
    return {"id": about.id, "kind": "neurons" if of_neurons else "maps", "file": answers, "items": items}


def _uri(content: bytes) -> str:
    return f"data:{media_type(content) or 'image/png'};base64,{b64encode(content).decode()}"


def _grey(map_: NDArray[np.float32]) -> bytes:
    """A map divided by its maximum, as a small grey PNG, enlarged bilinearly; white: the strongest highlight."""
    largest = float(map_.max())
    scaled = map_ / largest if largest > 0 else np.zeros_like(map_)
    image = Image.fromarray(scaled.astype(np.float32))
    factor = max(1, _MAP_SIDE // max(image.size))
    image = image.resize((image.width * factor, image.height * factor), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    Image.fromarray((np.asarray(image).clip(0, 1) * 255).round().astype(np.uint8)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
