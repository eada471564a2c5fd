"""'*' means every class, group and feature that the data holds, measured or not: an absent one never passes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from gate_records import measured, record

from spuraudit.cli.main import main
from spuraudit.gates import judge, parse_rule
from spuraudit.gates.suggest import suggest
from spuraudit.record.folder import to_json
from spuraudit.record.scan import AuditRecord, FeatureRecord
from spuraudit.record.verdict import Ignore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spuraudit.record.scan import Measurement, ScanRecord, Scope
    from spuraudit.record.verdict import GateResult

BIRDS = ("crane", "heron", "stork")


def gate(now: ScanRecord, text: str) -> GateResult:
    return judge(now, [parse_rule(text, id="g")]).gates[0]


def per_class(metric: str, *names: str, n: int = 200, **scope: str | float) -> list[Measurement]:
    return [measured(metric, 0.05, n=n, ci=(0.0, 0.1), scope={"class": name, **scope}) for name in names]


def test_a_class_that_was_not_measured() -> None:
    noise = per_class("core_accuracy", "crane", "heron", sigma=0.25)
    result = gate(record(*noise, classes=BIRDS), "core_accuracy[class=*] >= 0.01")
    assert (result.outcome, result.matched, result.value) == ("not evaluated", 2, None)
    assert result.text == (
        "core_accuracy was not measured for stork, of which the data has images: '*' means it too. Give it what the "
        'audit needs, or say under ignores: - {gate: "g", class: "stork", reason: ...}'
    )
    assert gate(record(*noise, classes=BIRDS[:2]), "core_accuracy[class=*] >= 0.01").outcome == "pass"
    both = gate(record(*noise, classes=BIRDS), "core_accuracy[class=*] >= 0.5")
    assert (both.outcome, both.failed) == ("not evaluated", 2)
    assert "2 of those that were measured fail." in both.text
    named = gate(record(*noise, classes=BIRDS), "core_accuracy[class=heron] >= 0.01")
    assert named.outcome == "pass"


def test_many_missing_classes_are_listed_in_part() -> None:
    names = [f"species {number}" for number in range(200)]
    text = gate(record(*per_class("rcs", names[0]), classes=names), "rcs[class=*] >= 0.01").text
    assert "for species 1, species 2, species 3, species 4, species 5 and 194 more, of which" in text


def test_classes_without_images_are_no_members() -> None:
    now = record(*per_class("rcs", "crane"), classes=BIRDS)
    empty = [one.model_copy(update={"images": 0 if one.name != "crane" else 9}) for one in now.data.classes]
    now = now.model_copy(update={"data": now.data.model_copy(update={"classes": empty})})
    assert gate(now, "rcs[class=*] >= 0.01").outcome == "pass"


def test_a_group_that_was_not_measured() -> None:
    groups = [measured("clean_accuracy", 0.9, scope={"group": name}) for name in ("land", "sea")]
    rule = "clean_accuracy[group=*] >= 0.5"
    assert gate(record(*groups, groups=("land", "sea")), rule).outcome == "pass"
    result = gate(record(*groups, groups=("land", "sea", "sky")), rule)
    assert result.outcome == "not evaluated"
    assert '{gate: "g", group: "sky", reason: ...}' in result.text


CORE = FeatureRecord(name="bird", role="core", masks=600)
SEA = FeatureRecord(name="sea", role="spurious", masks=100)


def drops(pairs: dict[tuple[str, str], int]) -> list[Measurement]:
    """Of (class, feature) -> images."""
    return [
        measured(metric, 0.05, n=n, scope={"class": name, "feature": feature})
        for (name, feature), n in pairs.items()
        for metric in ("feature_clean_accuracy", "feature_drop")
    ]


WHOLE = {("crane", "bird"): 200, ("heron", "bird"): 200, ("stork", "bird"): 200, ("crane", "sea"): 100}


def test_a_class_has_a_feature_where_the_data_has_masks_of_it() -> None:
    now = record(*drops(WHOLE), classes=BIRDS, features=[CORE, SEA])
    for scope in ("class=*,feature=*", "class=*,feature=sea", "class=*,feature=bird", "class=heron,feature=*"):
        assert gate(now, f"feature_drop[{scope}] <= 0.1").outcome == "pass", scope


@pytest.mark.parametrize(
    ("lost", "features", "scope", "said"),
    [
        (("stork", "bird"), [CORE, SEA], "class=*,feature=*", "for stork with bird, of which"),
        (("stork", "bird"), [CORE, SEA], "class=*,feature=bird", "for stork, of which"),
        (("stork", "bird"), [SEA], "class=*,feature=*", "for heron with any feature, stork with any feature, of"),
        (("crane", "sea"), [CORE, SEA], "class=crane,feature=*", "for sea, of which"),
        (("stork", "bird"), [CORE, SEA.model_copy(update={"masks": 140})], "class=*,feature=sea", "for heron, stork"),
        (
            ("stork", "bird"),
            [CORE, SEA.model_copy(update={"masks": 140, "classes": ["crane", "stork"]})],
            "class=*,feature=sea",
            "for stork, of which",
        ),
    ],
)
def test_a_feature_of_a_class_that_was_not_measured(
    lost: tuple[str, str], features: Sequence[FeatureRecord], scope: str, said: str
) -> None:
    kept = {("crane", "sea"): 100} if features == [SEA] else {pair: n for pair, n in WHOLE.items() if pair != lost}
    result = gate(record(*drops(kept), classes=BIRDS, features=features), f"feature_drop[{scope}] <= 0.1")
    assert result.outcome == "not evaluated"
    assert said in result.text


def test_the_background_of_the_region_swap_is_every_class_s() -> None:
    swaps = per_class("swap_gap", "crane", "heron", feature="background")
    overall = [measured("swap_gap", 0.05, scope={"feature": "background"})]
    now = record(*swaps, *overall, classes=BIRDS, features=[CORE, SEA])
    result = gate(now, "swap_gap[class=*,feature=background] <= 0.1")
    assert (result.outcome, "for stork, of which" in result.text) == ("not evaluated", True)
    assert "for sea, of which" in gate(now, "swap_gap[feature=*] <= 0.1").text
    assert gate(now, "swap_gap[feature=background] <= 0.1").outcome == "pass"


def test_the_patch_swap_asks_the_classes_that_the_scan_chose() -> None:
    pairs: list[Scope] = [{"class": "crane", "target_class": "stork"}]
    found = [measured("patch_argmin_drop", 0.05, n=60, scope=scope) for scope in pairs]
    rule = "patch_argmin_drop[class=*,target_class=*] <= 0.1"
    verdict = judge(record(*found, classes=BIRDS), [parse_rule(rule, id="g")])
    assert verdict.outcome == "pass"
    assert verdict.notes == ["No image of 2 of 3 classes is behind g: heron, stork."]
    audit = AuditRecord(name="patch_swap", status="run", unmeasured=["heron"])
    result = gate(record(*found, classes=BIRDS, audits=[audit]), rule)
    assert (result.outcome, "for heron, of which" in result.text) == ("not evaluated", True)


def test_an_ignore_that_names_the_class_excuses_it_and_no_other_does() -> None:
    now = record(*per_class("core_accuracy", "crane", "heron"), classes=BIRDS)
    rule = parse_rule("core_accuracy[class=*] >= 0.01", id="floor")

    def outcome(**fields: object) -> str:
        ignore = Ignore.model_validate({"reason": "x", **fields})
        return judge(now, [rule], ignores=[ignore]).outcome

    assert outcome(gate="floor", scope={"class": "stork"}) == "pass"
    assert outcome(metric="core_accuracy", scope={"class": "stork"}) == "pass"
    for fields in (
        {"gate": "floor"},
        {"gate": "floor", "scope": {"class": "*"}},
        {"gate": "floor", "scope": {"class": "heron"}},
        {"gate": "other", "scope": {"class": "stork"}},
        {"gate": "floor", "scope": {"class": "stork", "sigma": 0.5}},
    ):
        assert outcome(**fields) == "not evaluated", fields
    verdict = judge(now, [rule], ignores=[Ignore(gate="floor", scope={"class": "stork"}, reason="no masks yet")])
    assert (verdict.ignores[0].state, verdict.ignores[0].covered) == ("used", 1)
    assert verdict.notes == ["Not measured for floor, and ignored: stork."]


def test_an_overall_number_says_which_classes_are_not_behind_it() -> None:
    of_classes = per_class("core_accuracy", "crane", "heron", sigma=0.25)
    overall = [measured(metric, 0.9, scope={"sigma": 0.25}) for metric in ("core_accuracy", "core_accuracy_images")]
    rules = [parse_rule("core_accuracy >= 0.5", id="a"), parse_rule("core_accuracy_images >= 0.5", id="b")]
    verdict = judge(record(*of_classes, *overall, classes=BIRDS), rules)
    assert verdict.outcome == "pass"
    assert verdict.notes == ["No image of 1 of 3 classes is behind a, b: stork."]
    assert judge(record(*of_classes, *overall, classes=BIRDS[:2]), rules).notes == []
    assert judge(record(*overall, classes=BIRDS), rules).notes == []  # nothing per class: nobody can tell


def test_the_written_entry_is_a_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = 'a "crested": crane'
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    now = record(*per_class("core_accuracy", "heron"), classes=("heron", odd))
    Path("run/scan.json").write_bytes(to_json(now))
    gates = "gates: ['core_accuracy[class=*] >= 0.01']\n"
    Path(".spuraudit.yaml").write_text(gates)
    assert main(["gate", "run", "--exit-zero"]) == 2
    text = json.loads(Path("run/verdict.json").read_bytes())["gates"][0]["text"]
    Path(".spuraudit.yaml").write_text(f"{gates}ignores:\n  {text.partition('ignores: ')[2]}\n")
    assert main(["gate", "run"]) == 0


def test_no_gate_is_suggested_that_leaves_a_class_out() -> None:
    found = [measured("core_accuracy", 0.9, ci=(0.8, 0.95), n=200, scope={"class": "crane", "sigma": 0.25})]
    whole = record(*found, measured("core_accuracy", 0.9, ci=(0.8, 0.95), scope={"sigma": 0.25}))
    assert "worst-class-floor" in [one.rule.id for one in suggest(whole).gates]
    left = suggest(record(*whole.measurements, classes=BIRDS))
    assert "worst-class-floor" not in [one.rule.id for one in left.gates]
    assert any("was not measured for heron, stork" in one.reason for one in left.left_out)
