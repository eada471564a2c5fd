"""Outcomes of rules over records: what passes, what fails, and everything that is no evidence."""

from __future__ import annotations

import pytest
from gate_records import measured, record
from hypothesis import assume, given
from hypothesis import strategies as st

from spuraudit.errors import ConfigError, UsageError
from spuraudit.gates import judge, parse_rule
from spuraudit.record.folder import to_json
from spuraudit.record.scan import AuditRecord, FeatureRecord, Measurement
from spuraudit.record.verdict import GateResult, Rule, Verdict

RCS = measured("rcs", 0.262, ci=(0.241, 0.283), scope={"sigma": 0.25})
CLASSES = [
    measured("core_accuracy", 0.845, ci=(0.801, 0.88), n=1200),
    measured("core_accuracy", 0.95, ci=(0.9, 0.98), n=120, scope={"class": "monarch"}),
    measured("core_accuracy", 0.7, ci=(0.6, 0.8), n=80, scope={"class": "admiral"}),
    measured("core_accuracy", 0.5, ci=(0.2, 0.8), n=9, scope={"class": "cabbage white"}),
]


def one(text: str, *measurements: Measurement, min_n: int = 50) -> GateResult:
    return judge(record(*measurements), [parse_rule(text, min_n=min_n)]).gates[0]


@pytest.mark.parametrize(
    ("text", "outcome", "sentence"),
    [
        (
            "rcs >= 0.2",
            "pass",
            "rcs[sigma=0.25] is 0.262 (95 % interval 0.241 to 0.283, n = 1,000), at least 0.2 as asked.",
        ),
        (
            "rcs >= 0.3",
            "fail",
            "rcs[sigma=0.25] is 0.262 (95 % interval 0.241 to 0.283, n = 1,000), below the limit of 0.3.",
        ),
        (
            "rcs <= 0.25",
            "fail",
            "rcs[sigma=0.25] is 0.262 (95 % interval 0.241 to 0.283, n = 1,000), above the limit of 0.25; the interval "
            "contains the limit.",
        ),
        (
            "rcs >= 0.25",
            "pass",
            "rcs[sigma=0.25] is 0.262 (95 % interval 0.241 to 0.283, n = 1,000), at least 0.25 as asked; inconclusive: "
            "the interval contains the limit.",
        ),
        (
            "ci_low(rcs) >= 0.25",
            "fail",
            "The lower end of the 95 % interval of rcs[sigma=0.25] is 0.241 (value 0.262, n = 1,000), below the limit "
            "of 0.25.",
        ),
        (
            "ci_high(rcs) <= 0.3",
            "pass",
            "The upper end of the 95 % interval of rcs[sigma=0.25] is 0.283 (value 0.262, n = 1,000), at most 0.3 as "
            "asked.",
        ),
    ],
)
def test_pass_and_fail_in_one_sentence(text: str, outcome: str, sentence: str) -> None:
    result = one(text, RCS)
    assert (result.outcome, result.text) == (outcome, sentence)
    assert (result.value, result.ci, result.n, result.scope, result.matched) == (
        0.262,
        (0.241, 0.283),
        1000,
        {"sigma": 0.25},
        1,
    )


def test_proportions_read_in_percent_and_differences_in_points() -> None:
    assert (
        "is 84.5 % (95 % interval 80.1 to 88.0 %, n = 1,200), at least 80 %"
        in one("core_accuracy >= 0.8", *CLASSES).text
    )
    drop = measured("feature_drop", 0.123, ci=(-0.01, 0.15), scope={"class": "a", "feature": "sky"})
    text = one("feature_drop[class=a,feature=sky] <= 0.1", drop).text
    assert "is 12.3 points (95 % interval -1.0 to 15.0 points, n = 1,000), above the limit of 10 points" in text


def test_a_missed_limit_never_looks_reached() -> None:
    assert "is 79.99 %" in one("clean_accuracy >= 0.8", measured("clean_accuracy", 0.79994)).text
    assert "is 0.1999 " in one("rcs >= 0.2", measured("rcs", 0.19994)).text


def test_binary_rounding_does_not_decide() -> None:
    assert one("swap_gap <= 0.1", measured("swap_gap", 0.8 - 0.7)).outcome == "pass"
    assert one("swap_gap <= 0.1", measured("swap_gap", 0.1 + 1e-6)).outcome == "fail"


def test_a_rule_without_class_is_about_the_whole_dataset_only() -> None:
    result = one("core_accuracy >= 0.8", *CLASSES)
    assert (result.outcome, result.matched, result.scope) == ("pass", 1, {})


def test_without_sigma_every_sigma_must_hold() -> None:
    sweep = [measured("rcs", value, scope={"sigma": sigma}) for sigma, value in ((0.1, 0.5), (0.25, 0.3), (0.5, 0.1))]
    result = one("rcs >= 0.2", *sweep)
    assert (result.outcome, result.matched, result.scope) == ("fail", 3, {"sigma": 0.5})
    assert result.text.startswith("1 of 3 fail; the worst: rcs[sigma=0.5] is 0.100")
    assert one("rcs[sigma=0.250] >= 0.2", *sweep).outcome == "pass"
    assert one("rcs[sigma=*] >= 0.2", *sweep).outcome == "fail"


def test_a_wildcard_shows_the_worst() -> None:
    result = one("core_accuracy[class=*] >= 0.6", *CLASSES, min_n=5)
    assert (result.outcome, result.matched, result.scope) == ("fail", 3, {"class": "cabbage white"})
    result = one("core_accuracy[class=*] >= 0.5", *CLASSES, min_n=5)
    assert (result.outcome, result.scope) == ("pass", {"class": "cabbage white"})
    assert result.text.startswith("All 3 hold; the nearest to the limit: core_accuracy[class=cabbage white] is 50.0 %")
    drops = [measured("feature_drop", v, scope={"class": "a", "feature": f}) for f, v in (("sky", 0.05), ("sea", 0.4))]
    result = one("feature_drop[class=*,feature=*] <= 0.1", *drops)
    assert (result.outcome, result.scope["feature"]) == ("fail", "sea")


def test_a_class_that_looks_like_a_number_is_text() -> None:
    digits = [measured("clean_accuracy", 0.9, scope={"class": "7"}), measured("clean_accuracy", 0.1)]
    assert one("clean_accuracy[class=7] >= 0.8", *digits).outcome == "pass"


def test_a_cell_needs_no_more_than_its_number() -> None:
    scope = {"class": "3", "target_class": "8", "cell": 43, "row": 7, "column": 1, "rows": 7, "columns": 7}
    cell = measured("patch_drop", 0.5, scope=scope)
    assert one("patch_drop[class=3,target_class=8,cell=43] <= 0.2", cell).outcome == "fail"
    assert one("patch_drop[class=3,target_class=8,cell=43,row=7] <= 0.2", cell).outcome == "fail"
    assert one("patch_drop[class=3,target_class=8] <= 0.9", cell).outcome == "not evaluated"
    assert one("patch_drop[class=3,target_class=8,cell=42] <= 0.9", cell).outcome == "not evaluated"


NO_EVIDENCE = [
    ("core_acuracy >= 0.1", CLASSES, "no 'core_acuracy'. Did you mean 'core_accuracy'?"),
    ("zzz >= 0.1", CLASSES, "no 'zzz'; it has core_accuracy."),
    ("rcs >= 0.1", [], "The record has no measurements."),
    ("core_accuracy[class=monrch] >= 0.1", CLASSES, "the record has monarch, admiral, cabbage white. Did you mean"),
    ("core_accuracy[group=water] >= 0.1", CLASSES, "not measured by group; it was measured over the whole dataset, by"),
    ("core_accuracy[class=*,feature=*] >= 0.1", CLASSES, "not measured by class and feature"),
    ("rcs[class=*] >= 0.1", [RCS], "not measured by class; it was measured over the whole dataset."),
    ("rcs[sigma=0.5] >= 0.1", [RCS], "not measured for sigma 0.5; the record has 0.25."),
    (
        "core_accuracy[class=*] >= 0.1",
        CLASSES,
        "1 of 3 cannot be judged; one of them: core_accuracy[class=cabbage white]",
    ),
    ("core_accuracy[class=cabbage white] >= 0.1", CLASSES, "rests on n = 9 images; at least 50 are asked"),
    ("rcs >= 0.1", [measured("rcs", None, reason="both accuracies are 0")], "undefined: both accuracies are 0."),
    ("rcs >= 0.1", [measured("rcs", None)], "undefined: no reason recorded."),
    ("rcs >= 0.1", [measured("rcs", 0.9, n=0)], "n = 0 images"),
    ("ci_low(rcs) >= 0.1", [measured("rcs", 0.9)], "no interval in the record, so ci_low cannot be judged."),
    ("ci_high(rcs) <= 0.1", [measured("rcs", 0.0)], "no interval in the record, so ci_high cannot be judged."),
    (
        "rcs >= 0.2",
        [measured("rcs", 1.0, ci=(-1.0, 1.0), flags=["saturated"])],
        "rcs is 1.000 by arithmetic only (an accuracy sits at 0 or 100 %), and its interval -1.000 to 1.000 does not "
        "hold the limit of 0.2.",
    ),
    ("rcs <= 0.2", [measured("rcs", -1.0, ci=(-1.0, 1.0), flags=["saturated"])], "by arithmetic only"),
    ("rcs >= 0.2", [measured("rcs", 1.0, flags=["saturated"])], "has no interval, so its point value is no evidence"),
]


@pytest.mark.parametrize(("text", "measurements", "reason"), NO_EVIDENCE)
def test_no_evidence_is_not_evaluated_and_says_why(text: str, measurements: list[Measurement], reason: str) -> None:
    result = one(text, *measurements)
    assert result.outcome == "not evaluated"
    assert reason in result.text
    assert judge(record(*measurements), [parse_rule(text)]).outcome == "not evaluated"


def test_a_combination_that_was_not_measured() -> None:
    pairs = [measured("feature_drop", 0.0, scope={"class": c, "feature": f}) for c, f in (("a", "sky"), ("b", "sea"))]
    result = one("feature_drop[class=a,feature=sea] <= 0.1", *pairs)
    assert (result.outcome, result.text) == (
        "not evaluated",
        "No measurement of feature_drop has the combination [class=a,feature=sea].",
    )


def test_many_values_are_listed_in_part() -> None:
    classes = [measured("core_accuracy", 0.9, scope={"class": f"c{number:03}"}) for number in range(100)]
    text = one("core_accuracy[class=zebra] >= 0.1", *classes).text
    assert text.endswith("the record has c000, c001, c002, c003, c004, c005, c006, c007 and 92 more.")


def test_a_record_without_images_is_no_evidence() -> None:
    verdict = judge(record(RCS.model_copy(update={"n": 0}), images=0), [parse_rule("rcs >= 0.1")])
    assert (verdict.outcome, verdict.gates[0].text) == ("not evaluated", "The record has no images.")


def test_a_skipped_audit_explains_a_missing_metric() -> None:
    skipped = AuditRecord(name="region_swap", status="skipped", reason="needs core masks")
    result = judge(record(RCS, audits=[skipped]), [parse_rule("swap_gap <= 0.1")]).gates[0]
    assert result.text == "The record has no 'swap_gap'; it has rcs; skipped audits: region_swap (needs core masks)."


def test_a_saturated_number_passes_when_its_interval_does_and_on_its_bound() -> None:
    firm = measured("rcs", 1.0, ci=(0.6, 1.0), flags=["saturated"])
    assert one("rcs >= 0.5", firm).outcome == "pass"
    assert one("rcs >= 0.7", firm).outcome == "not evaluated"
    assert one("ci_low(rcs) >= 0.7", firm).outcome == "fail"


def test_precedence_not_evaluated_over_fail_over_pass() -> None:
    rules = {text: parse_rule(text) for text in ("rcs >= 0.1", "rcs >= 0.9", "zzz >= 0.1")}
    passing, failing, unknown = rules.values()
    assert judge(record(RCS), [passing]).outcome == "pass"
    assert judge(record(RCS), [passing, failing]).outcome == "fail"
    assert judge(record(RCS), [failing, unknown, passing]).outcome == "not evaluated"
    within = one("core_accuracy[class=*] >= 0.9", *CLASSES)
    assert (within.outcome, within.scope) == ("not evaluated", {"class": "cabbage white"})


def test_no_rules_pass_nothing() -> None:
    with pytest.raises(UsageError, match="nothing could pass"):
        judge(record(RCS), [])


def test_two_gates_of_one_id_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"id 'a': rcs >= 0\.1 and rcs >= 0\.2"):
        judge(record(RCS), [parse_rule("rcs >= 0.1", id="a"), parse_rule("rcs >= 0.2", id="a")])


def test_a_rule_made_without_text_is_checked_before_judging() -> None:
    with pytest.raises(ConfigError, match="use ci_low"):
        judge(record(RCS), [Rule(id="a", metric="rcs", op=">=", limit=0.1, bound="ci_high")])


def test_judging_twice_gives_the_same_bytes_and_reads_back() -> None:
    rules = [parse_rule(text) for text in ("core_accuracy[class=*] >= 0.9", "rcs >= 0.2", "zzz >= 0.1")]
    first, second = (to_json(judge(record(RCS, *CLASSES), rules)) for _ in range(2))
    assert first == second
    assert Verdict.model_validate_json(first) == judge(record(RCS, *CLASSES), rules)


_VALUES = st.one_of(st.none(), st.floats(-1, 1))


@st.composite
def _measurements(draw: st.DrawFn) -> Measurement:
    value = draw(_VALUES)
    spread = (draw(st.floats(0, 0.5)), draw(st.floats(0, 0.5)))
    ci = None if value is None or draw(st.booleans()) else (max(-1.0, value - spread[0]), min(1.0, value + spread[1]))
    flags = ["saturated"] if draw(st.booleans()) else []
    scope = {"sigma": draw(st.sampled_from([0.1, 0.25]))} if draw(st.booleans()) else {}
    return measured("rcs", value, n=draw(st.integers(0, 100)), ci=ci, flags=flags, scope=scope)


@given(
    st.lists(_measurements(), max_size=4),
    st.floats(-0.999, 0.999),
    st.floats(1e-6, 1),
    st.sampled_from(["point", "ci_low"]),
    st.sampled_from(["point", "ci_high"]),
)
def test_a_rule_and_its_negation_never_both_pass(
    measurements: list[Measurement], limit: float, gap: float, floor: str, ceiling: str
) -> None:
    assume(limit - gap >= -1)
    at_least = Rule.model_validate({"id": "a", "metric": "rcs", "op": ">=", "limit": limit, "bound": floor})
    less = Rule.model_validate({"id": "b", "metric": "rcs", "op": "<=", "limit": limit - gap, "bound": ceiling})
    outcomes = {judge(record(*measurements), [rule]).outcome for rule in (at_least, less)}
    assert outcomes != {"pass"}


@given(st.lists(_measurements(), min_size=1, max_size=4), st.floats(-0.999, 1), st.sampled_from(["point", "ci_low"]))
def test_a_pass_always_has_evidence(measurements: list[Measurement], limit: float, bound: str) -> None:
    rule = Rule.model_validate({"id": "a", "metric": "rcs", "op": ">=", "limit": limit, "bound": bound})
    if judge(record(*measurements), [rule]).outcome == "pass":
        for measurement in measurements:
            low = measurement.ci[0] if measurement.ci else None
            decisive = measurement.value if bound == "point" else low
            assert measurement.n >= 50
            assert decisive is not None
            assert decisive >= limit - 1e-9
            assert "saturated" not in measurement.flags or (low is not None and low >= limit - 1e-9)


def test_a_limit_that_a_better_number_fails_is_said() -> None:
    features = [
        FeatureRecord(name="sky", role="spurious", masks=9),
        FeatureRecord(name="bird", role="core", masks=9),
    ]
    drops = [measured("feature_drop", 0.3, scope={"class": "a", "feature": name}) for name in ("sky", "bird")]
    now = record(*drops, RCS, features=features)
    texts = ["feature_drop[class=a,feature=sky] >= 0.2", "rcs <= 0.3", "feature_drop[class=a,feature=bird] >= 0.2"]
    verdict = judge(now, [parse_rule(text, id=text.split()[0]) for text in texts])
    assert verdict.outcome == "pass"
    assert verdict.notes == [
        "The gate feature_drop[class=a,feature=sky] asks for feature_drop of at least 0.2, and less of it is better.",
        "The gate rcs asks for rcs of at most 0.3, and more of it is better.",
    ]
