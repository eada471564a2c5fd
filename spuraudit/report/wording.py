"""The plain sentences of a report: what a finding says, where a cell lies, what an audit is called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spuraudit.report.formats import percent, plain, points

if TYPE_CHECKING:
    from spuraudit.record.scan import Cell, Finding

AUDITS = {
    "noise": "Noise audit",
    "feature_drop": "Feature drop",
    "region_swap": "Region swap",
    "patch_swap": "Patch swap",
}

PANELS = {
    "image": "Image",
    "region": "Region",
    "noised": "Region noised",
    "control": "Control",
    "same": "Swapped, same class",
    "other": "Swapped, other class",
    "swapped": "Cell swapped",
}


def place(cell: Cell) -> str:
    """Where a cell lies in the picture: 'lower left', 'centre', 'upper middle'."""
    vertical = _third(cell.row, cell.rows, "upper", "", "lower")
    horizontal = _third(cell.column, cell.columns, "left", "", "right")
    if not vertical and not horizontal:
        return "centre"
    return f"{vertical or 'middle'} {horizontal or 'middle'}"


def _third(index: int, total: int, first: str, middle: str, last: str) -> str:
    share = (index - 0.5) / total
    return first if share < 1 / 3 else middle if share <= 2 / 3 else last


def feature_name(finding: Finding) -> str:
    """'background', 'reed belt', or 'unnamed region, lower left (cell 43)', no-break before the number."""
    if finding.cell is None:
        return finding.feature
    return f"unnamed region, {place(finding.cell)} (cell\u00a0{finding.cell.number})"


def heading(finding: Finding) -> str:
    """The feature as a card's title: names stay as they are written, our own words begin with a capital."""
    name = feature_name(finding)
    return name[0].upper() + name[1:] if finding.cell or finding.role == "background" else name


def class_and_feature(finding: Finding) -> str:
    """For lists: 'background of “waterbird”'."""
    return f"{feature_name(finding)} of “{finding.class_name}”"


def sentence(finding: Finding) -> str:
    """What was done and what came of it, for a reader without statistics."""
    return {"feature_drop": _drop, "region_swap": _swap, "patch_swap": _patch}[finding.audit](finding)


def _region(finding: Finding) -> str:
    return "the background" if finding.feature == "background" else f"the feature “{finding.feature}”"


def _drop(finding: Finding) -> str:
    numbers = finding.numbers
    control = numbers.get("control_drop")
    tail = (
        f"; the same amount of noise elsewhere in the same images changes it by {points(-control)}"
        if control is not None
        else ""
    )
    return (
        f"With noise on {_region(finding)}, the share of “{finding.class_name}” images named correctly goes from "
        f"{percent(numbers.get('clean'))} to {percent(numbers.get('noised'))}{tail}."
    )


def _swap(finding: Finding) -> str:
    numbers, name = finding.numbers, finding.class_name
    pull = numbers.get("pull")
    tail = f" {_pulled(pull)}" if pull is not None and pull > 0 else ""
    return (
        f"With {_region(finding)} taken from images of another class instead of the same class, the share of “{name}” "
        f"images named correctly goes from {percent(numbers.get('same'))} to {percent(numbers.get('other'))}.{tail}"
    )


def _pulled(pull: float) -> str:
    return f"The share given the donor's class rises by {points(pull)}."


def _patch(finding: Finding) -> str:
    numbers, name = finding.numbers, finding.class_name
    where = f"the {place(finding.cell)} cell" if finding.cell else "one cell"
    target = f" of “{finding.target_class}”" if finding.target_class else " of another class"
    before, after = plain(numbers.get("unperturbed"), 2), plain(numbers.get("swapped"), 2)
    return (
        f"With {where} of “{name}” images replaced by the same cell{target} images, the model's certainty in "
        f"“{name}” goes from {before} to {after}."
    )


def short(finding: Finding) -> str:
    """One clause for the verdict: how strong the strongest finding is."""
    if finding.audit == "patch_swap":
        return f"{class_and_feature(finding)}: swapping it costs {plain(finding.effect, 2)} of certainty"
    if finding.audit == "region_swap":
        cost = points(finding.effect)
        return f"{class_and_feature(finding)}: swapping in that of another class costs {cost} of accuracy"
    return f"{class_and_feature(finding)}: noise on it costs {points(finding.effect)} more than noise elsewhere"


def effect(finding: Finding) -> str:
    """The effect in its unit: points of accuracy, or certainty."""
    return plain(finding.effect, 3) if finding.audit == "patch_swap" else points(finding.effect)


def effect_interval(finding: Finding) -> str:
    """The 95 % interval of the effect, in its unit."""
    low, high = finding.effect_ci
    if finding.audit == "patch_swap":
        return f"{plain(low, 3)} to {plain(high, 3)}"
    return f"{plain(low * 100, 1)} to {plain(high * 100, 1)}"
