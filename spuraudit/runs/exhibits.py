"""Pictures that back the findings: the image, the region, and what the model was shown, with its answers."""

from __future__ import annotations

import io
from hashlib import sha256
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

import numpy as np
from PIL import Image

from spuraudit.audits.base import CLEAN, Question
from spuraudit.record.folder import write_bytes
from spuraudit.record.scan import Exhibit, Panel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from spuraudit.audits.base import Exhibiting
    from spuraudit.audits.rows import Rows
    from spuraudit.audits.sample import Sample
    from spuraudit.data.dataset import ImageRow
    from spuraudit.record.scan import Finding
    from spuraudit.runs.loader import Loader

Kind = Literal["image", "region", "noised", "control", "same", "other", "swapped"]
Role = Literal["example", "counterexample"]

MAX_FINDINGS = 20
#: Cleared findings get pictures too where nothing is suspected: a report without any picture convinces nobody.
MIN_FINDINGS = 3
IMAGES_EACH = 3
NARROW = "\u202f"  # no-break, between a number and its unit
SIDE = 224
_HARMFUL = ("noised", "other", "swapped")
_CONTROLS = ("control", "same")
_TITLES = {
    "image": "as it is",
    "region": "the region",
    "noised": "region noised",
    "control": "as much noise elsewhere",
    "same": "region from the same class",
    "other": "region from {}",
    "swapped": "patch from {}",
}


def draw_exhibits(
    findings: Sequence[Finding], audits: Mapping[str, Exhibiting], rows: Rows, loader: Loader, run: Path
) -> list[Finding]:
    """The findings with exhibits on the first: images where the region mattered most, and one that stays right.

    Only suspected findings have such a counterexample, and only where there is one.
    """
    suspected = sum(finding.suspected for finding in findings)
    count = min(len(findings), MAX_FINDINGS, max(suspected, MIN_FINDINGS))
    shown = [_with_exhibits(finding, audits[finding.audit], rows, loader, run) for finding in findings[:count]]
    return shown + list(findings[count:])


def _with_exhibits(finding: Finding, audit: Exhibiting, rows: Rows, loader: Loader, run: Path) -> Finding:
    names = dict(enumerate(loader.class_names))
    chosen = _chosen(finding, _effects(finding, audit, rows, names))
    panels = [audit.panels(finding, effect.row) for effect, _ in chosen]
    wanted = [
        (effect.row, [q.donor for _, q in asked if q.donor]) for (effect, _), asked in zip(chosen, panels, strict=True)
    ]
    exhibits = []
    for loaded, asked, (_, role) in zip(loader.load(wanted), panels, chosen, strict=True):
        sample = loaded.sample
        made = [
            _panel(run, "image", _to_image(sample.pixels), _caption("image", CLEAN_QUESTION, sample, rows, names)),
            _panel(run, "region", _overlay(sample.pixels, audit.region(sample, finding)), finding.feature),
        ]
        for kind, question in asked:
            pixels = audit.show(sample, [question], loaded.donors).pixels[0]
            caption = _caption(kind, question, sample, rows, names)
            panel = _panel(run, cast("Kind", kind), _to_image(pixels), caption)
            lender = {"donor": question.donor, "donor_class": names.get(question.donor_label)}
            made.append(panel.model_copy(update=lender) if question.donor else panel)
        exhibits.append(Exhibit(image=sample.row.id, class_name=finding.class_name, panels=made, role=role))
    return finding.model_copy(update={"exhibits": exhibits})


CLEAN_QUESTION = Question(CLEAN)


class _Effect(NamedTuple):
    """What touching the region did to one image: probability lost, and whether both answers were right."""

    row: ImageRow
    lost: float
    held: bool


def _effects(finding: Finding, audit: Exhibiting, rows: Rows, names: dict[int, str]) -> list[_Effect]:
    """Images of the finding's class, those that lost most against the control (or the clean image) first."""
    found = []
    for row in rows.images:
        if names[row.label] != finding.class_name:
            continue
        panels = audit.panels(finding, row)
        touched = [question for kind, question in panels if kind in _HARMFUL]
        controls = [question for kind, question in panels if kind in _CONTROLS]
        before = rows.answer(row, controls[0] if controls else CLEAN_QUESTION)
        after = rows.answer(row, touched[0]) if touched else None
        if before is not None and after is not None:
            held = before.predicted == after.predicted == row.label
            found.append(_Effect(row, before.p_true - after.p_true, held))
    return sorted(found, key=lambda effect: (-effect.lost, effect.row.id))


def _chosen(finding: Finding, effects: list[_Effect]) -> list[tuple[_Effect, Role]]:
    """The strongest effects; of a suspected finding also, of the images that stay right, the one moved least."""
    examples, others = effects[:IMAGES_EACH], effects[IMAGES_EACH:]
    chosen: list[tuple[_Effect, Role]] = [(effect, "example") for effect in examples]
    held = [effect for effect in others if effect.held]
    if finding.suspected and held:
        least = min(held, key=lambda effect: (abs(effect.lost), effect.row.id))
        chosen.append((least, "counterexample"))
    return chosen


def _caption(kind: str, question: Question, sample: Sample, rows: Rows, names: dict[int, str]) -> str:
    answer = rows.answer(sample.row, question)
    title = _title(kind, names.get(question.donor_label))
    if answer is None:
        return title
    own = f"{title}: {100 * answer.p_true:.0f}{NARROW}% {names[sample.row.label]}"
    if answer.predicted == sample.row.label:
        return own
    said = names.get(answer.predicted, f"output {answer.output}")
    return f"{own}, answered {said}"


def _title(kind: str, donor_class: str | None) -> str:
    return _TITLES[kind].format(donor_class or "another class")


def _panel(run: Path, kind: Kind, image: Image.Image, caption: str) -> Panel:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=80, method=4)
    content = buffer.getvalue()
    file = f"exhibits/{sha256(content).hexdigest()[:16]}.webp"
    write_bytes(run / file, content)
    alt = f"{_TITLES[kind]}: {caption}" if kind == "region" else caption
    return Panel(kind=kind, file=file, width=image.width, height=image.height, alt=alt, caption=caption)


def _to_array(pixels: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = pixels.clamp(0, 1).permute(1, 2, 0).cpu().numpy()
    return array


def _to_image(pixels: Tensor) -> Image.Image:
    return _enlarged(Image.fromarray((_to_array(pixels) * 255).round().astype(np.uint8)))


def _enlarged(image: Image.Image) -> Image.Image:
    """Small inputs are enlarged by a whole factor, without smoothing: the pixels are what the model sees."""
    factor = SIDE // max(image.size)
    if factor <= 1:
        return image if max(image.size) <= SIDE else image.resize(_bounded(image.size), Image.Resampling.LANCZOS)
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def _bounded(size: tuple[int, int]) -> tuple[int, int]:
    scale = SIDE / max(size)
    return round(size[0] * scale), round(size[1] * scale)


def _overlay(pixels: Tensor, region: Tensor) -> Image.Image:
    """The image in grey with the region in colour: dark blue over green to yellow with the mask's strength."""
    image = _to_array(pixels)
    grey = image.mean(axis=2, keepdims=True).repeat(3, axis=2)
    strength = region.cpu().numpy()[..., None]
    # Five stops of viridis, linear between: readable for every kind of colour vision and in print.
    stops = np.array([[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]]) / 255
    level = strength[..., 0] * (len(stops) - 1)
    low = np.clip(level.astype(int), 0, len(stops) - 2)
    colour = stops[low] + (stops[low + 1] - stops[low]) * (level - low)[..., None]
    opacity = 0.65 * strength
    mixed = grey * (1 - opacity) + colour * opacity
    return _enlarged(Image.fromarray((mixed.clip(0, 1) * 255).round().astype(np.uint8)))
