"""Whom '*' means: the classes, groups and features that the data holds, whether or not they were measured.

An audit measures only what has the masks, donors and images that it needs, and writes nothing about the others. A gate
on every class must not pass because a class is absent, so what `record.data` holds is compared with what was measured.
Per family of metrics, every one of these is a member:

noise, labels      a class with audited images; a group
feature drop       (class, feature): a core feature with each of its classes; a spurious feature with those of its
                   classes that were not measured, where the data has more masks of it than the measured classes have
                   images behind them; `background` with every class, where the dataset annotates no spurious feature
region swap        the same of spurious features, and `background` with every class
patch swap         a class of which the record says that it was to be swept and was not: which classes are swept is a
                   choice of the scan

What else '*' may stand for (sigma, cell, donor_class, target_class) was chosen or drawn by the scan: there, what was
measured is all there is.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Literal

from spuraudit.gates.rules import WILDCARD

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from spuraudit.record.scan import FeatureRecord, Measurement, ScanRecord, Scope
    from spuraudit.record.verdict import Rule

ANY_FEATURE = "any feature"
"""In a missing member: a class of which no feature at all was measured."""
_BACKGROUND = "background"
_SHOWN = 5
_Family = Literal["feature", "swap", "patch", "plain"]
#: Of each family that has features: the metric whose n counts every image with a mask that was asked about.
_BASES: dict[_Family, str] = {"feature": "feature_clean_accuracy", "swap": "swap_gap"}


def missing(record: ScanRecord, rule: Rule, matched: Sequence[Measurement]) -> list[Scope]:
    """Members that '*' of `rule` means and that none of the `matched` measurements is about, in the data's order."""
    keys = [key for key in ("class", "feature", "group") if rule.scope.get(key) == WILDCARD]
    expected = [{key: scope[key] for key in keys} for scope in _expected(record, rule)] if keys else []
    measured = {_of(keys, one.scope) for one in matched}
    found = {_of(keys, scope): scope for scope in expected if _of(keys, scope) not in measured}
    return list(found.values())


def classes_left_out(record: ScanRecord, rule: Rule) -> list[str]:
    """Classes with audited images of which none is behind an overall number that `rule` limits.

    Nothing for a rule about classes, and where the record has no such number per class. Of a patch swap of every class:
    those that the scan did not choose.
    """
    if _family(rule.metric) == "patch" and rule.scope.get("class") == WILDCARD:
        swept = {one.scope.get("class") for one in record.measurements if one.metric == rule.metric}
        return [one.name for one in record.data.classes if one.images and one.name not in swept]
    if {"class", "group"} & set(rule.scope):
        return []
    metric = _per_class(rule.metric)
    scope: Scope = {**rule.scope, "class": WILDCARD}
    keys = {"class", "feature"} & set(scope)
    of_classes = [
        one
        for one in record.measurements
        if one.metric == metric
        and set(one.scope) & {"class", "feature", "donor_class", "target_class", "cell"} == keys
        and ("feature" not in rule.scope or rule.scope["feature"] in (WILDCARD, one.scope["feature"]))
    ]
    if not of_classes:
        return []
    counted = [one for one in of_classes if one.n]
    by_class = rule.model_copy(update={"metric": metric, "scope": scope})
    absent = dict.fromkeys(str(one["class"]) for one in missing(record, by_class, counted))
    measured = {str(one.scope["class"]) for one in counted}
    return [name for name in absent if name not in measured]


def named(members: Sequence[Scope]) -> str:
    """`crane, heron` or `crane with sky, heron with sea`; of many the first five."""
    shown = [" with ".join(str(value) for value in scope.values()) for scope in members[:_SHOWN]]
    rest = len(members) - len(shown)
    return ", ".join(shown) + (f" and {rest:,} more" if rest else "")


def _of(keys: Iterable[str], scope: Scope) -> tuple[str, ...]:
    return tuple(str(scope[key]) for key in keys)


def _per_class(metric: str) -> str:
    """The metric of one class that an overall one averages."""
    base = metric.removesuffix("_images")
    if base in ("worst_group_accuracy", "mean_group_accuracy"):
        return "clean_accuracy"
    return base.replace("mean_label", "label")


def _family(metric: str) -> _Family:
    if metric.startswith("feature_") or metric == "control_drop":
        return "feature"
    if metric.startswith("swap_"):
        return "swap"
    return "patch" if metric.startswith("patch_") else "plain"


def _expected(record: ScanRecord, rule: Rule) -> Iterator[Scope]:
    """Scopes of the members, with all of the keys class, feature and group that the rule names."""
    if "group" in rule.scope:
        yield from ({**rule.scope, "group": name} for name in record.data.groups)
        return
    classes = [one.name for one in record.data.classes if one.images and _means(rule, "class", one.name)]
    family = _family(rule.metric)
    if family == "patch":
        yield from ({**rule.scope, "class": name} for name in classes if _was_to_be_swept(record, name))
    elif "feature" in rule.scope:
        yield from ({**rule.scope, **pair} for pair in _pairs(record, rule, family, classes))
    else:
        yield from ({**rule.scope, "class": name} for name in classes)


def _means(rule: Rule, key: str, name: str) -> bool:
    return rule.scope.get(key, WILDCARD) in (WILDCARD, name)


def _was_to_be_swept(record: ScanRecord, name: str) -> bool:
    """Whether the audit was asked for this class and could not sweep it."""
    return any(audit.name == "patch_swap" and name in audit.unmeasured for audit in record.audits)


def _pairs(record: ScanRecord, rule: Rule, family: _Family, classes: Sequence[str]) -> Iterator[Scope]:
    """(class, feature) that the data has; every class at least once where the rule is about all of both."""
    counted = _counted(record, family)
    seen = {name for of_feature in counted.values() for name in of_feature}
    for feature in record.data.features:
        if not feature.masks or not _means(rule, "feature", feature.name) or (feature.role, family) == ("core", "swap"):
            continue
        having = _classes_with(feature, classes, counted[feature.name])
        seen.update(having)
        yield from (_pair(name, feature.name) for name in having)
    if _means(rule, "feature", _BACKGROUND) and _has_background(record, family):
        yield from (_pair(name, _BACKGROUND) for name in classes)
    elif rule.scope["feature"] == WILDCARD == rule.scope.get("class") and record.data.features:
        yield from (_pair(name, ANY_FEATURE) for name in classes if name not in seen)


def _pair(name: str, feature: str) -> Scope:
    return {"class": name, "feature": feature}


def _has_background(record: ScanRecord, family: _Family) -> bool:
    roles = {one.role for one in record.data.features}
    return "core" in roles and (family == "swap" or "spurious" not in roles)


def _counted(record: ScanRecord, family: _Family) -> defaultdict[str, dict[str, int]]:
    """Feature -> class -> images with its mask that were asked about."""
    counted: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for one in record.measurements:
        if one.metric == _BASES[family] and set(one.scope) == {"class", "feature"}:
            counted[str(one.scope["feature"])][str(one.scope["class"])] = one.n
    return counted


def _classes_with(feature: FeatureRecord, classes: Sequence[str], counted: Mapping[str, int]) -> list[str]:
    """The classes that have the feature, as far as the record says so."""
    belongs = [name for name in classes if feature.classes is None or name in feature.classes]
    if feature.role == "core" or sum(counted.values()) < feature.masks:
        return belongs
    return [name for name in belongs if name in counted]
