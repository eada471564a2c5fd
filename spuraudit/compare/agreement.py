"""Whether two runs asked the same of the same images: otherwise a change says nothing about the models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spuraudit.compare.models import preprocessing_note
from spuraudit.errors import RunError

if TYPE_CHECKING:
    from pathlib import Path

    from spuraudit.record.scan import AuditRecord, ScanRecord

_AGAIN = "Scan both models with the same --data, --split, --limit, --seed and audit options."
#: Audits whose questions depend on what the model answers, with the beginning of their definition ids: such a one may
#: have nothing to ask of one of two models. The others ask by masks and classes alone.
_BY_ANSWERS = {"patch_swap": "patch_swap/"}


def agree(records: tuple[ScanRecord, ScanRecord], folders: tuple[Path, Path]) -> list[str]:
    """Notes on what may differ: preprocessing, outputs of the classes, an audit that one of the runs had to skip.

    Raises RunError naming the first thing that must not differ.
    """
    one, other = (record.data for record in records)
    outputs = [[c.outputs for c in data.classes] for data in (one, other)]
    if one.fingerprint != other.fingerprint and outputs[0] == outputs[1]:
        _refuse(folders, "data", f"{one.name} {one.fingerprint[:12]}", f"{other.name} {other.fingerprint[:12]}")
    for what, first, second in (
        ("classes", [c.name for c in one.classes], [c.name for c in other.classes]),
        ("split", one.split, other.split),
        ("split of the donors", one.donor_split, other.donor_split),
        ("number of images", one.images, other.images),
        ("features", [f.model_dump() for f in one.features], [f.model_dump() for f in other.features]),
        ("seed", records[0].run.seed, records[1].run.seed),
    ):
        if first != second:
            _refuse(folders, what, first, second)
    notes, one_sided = _audits(records, folders)
    _definitions(records, folders, one_sided)
    _measured(records, folders)
    if (shown := preprocessing_note(records)) is not None:
        notes.insert(0, shown)
    if one.fingerprint != other.fingerprint:
        notes.append(
            "The classes count other outputs of the two models, so the fingerprints of the data differ; images, "
            "labels, groups and the areas of all masks are the same."
        )
    return notes


def _audits(records: tuple[ScanRecord, ScanRecord], folders: tuple[Path, Path]) -> tuple[list[str], set[str]]:
    """Notes, and the audits that one run had nothing to ask for."""
    sides = [{audit.name: audit for audit in record.audits} for record in records]
    notes, one_sided = [], set[str]()
    for name in sorted({*sides[0], *sides[1]}):
        pair = (sides[0].get(name), sides[1].get(name))
        ran = [audit is not None and audit.status == "run" for audit in pair]
        if ran[0] and ran[1]:
            _same_settings(pair, folders)
        elif ran[0] != ran[1]:
            silent = pair[1] if ran[0] else pair[0]
            if silent is None or name not in _BY_ANSWERS:
                _refuse(folders, f"audit {name}", *("run" if one else "not run" for one in ran))
            else:
                notes.append(f"{name} ran {'before' if ran[0] else 'after'} only: {silent.reason or 'skipped.'}")
            one_sided.add(name)
    return notes, one_sided


def _same_settings(pair: tuple[AuditRecord | None, AuditRecord | None], folders: tuple[Path, Path]) -> None:
    assert pair[0] is not None
    assert pair[1] is not None
    first, second = pair[0].params, pair[1].params
    for name in sorted({*first, *second}):
        if first.get(name) != second.get(name):
            _refuse(folders, f"{name} of {pair[0].name}", first.get(name), second.get(name))


def _definitions(records: tuple[ScanRecord, ScanRecord], folders: tuple[Path, Path], one_sided: set[str]) -> None:
    """Every definition of one run is one of the other's, but for audits that only one of them could run."""
    ignored = tuple(_BY_ANSWERS[name] for name in one_sided)
    sides = [{name for name in record.definitions if not (ignored and name.startswith(ignored))} for record in records]
    only = [sorted(sides[0] - sides[1]), sorted(sides[1] - sides[0])]
    if only[0] or only[1]:
        _refuse(folders, "definition", only[0][0] if only[0] else "none", only[1][0] if only[1] else "none")


def _measured(records: tuple[ScanRecord, ScanRecord], folders: tuple[Path, Path]) -> None:
    """Every two measurements that are paired are of one definition: equal lists of definitions do not say so."""
    first = {(one.metric, frozenset(one.scope.items())): one.definition for one in records[0].measurements}
    for other in records[1].measurements:
        definition = first.get((other.metric, frozenset(other.scope.items())), other.definition)
        if definition != other.definition:
            where = ", ".join(f"{key}={value}" for key, value in other.scope.items()) or "all images"
            _refuse(folders, f"definition of {other.metric} ({where})", definition, other.definition)


def _refuse(folders: tuple[Path, Path], what: str, first: object, second: object) -> None:
    raise RunError(
        f"These runs cannot be compared, their {what} differs: {first} in {folders[0]}, {second} in {folders[1]}.",
        _AGAIN,
    )
