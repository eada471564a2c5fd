"""The grammar of rules: every form, every error with its place, and text -> rule -> text -> rule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spuraudit.errors import ConfigError
from spuraudit.gates.rules import SCOPE_KEYS, check_rule, format_rule, parse_rule
from spuraudit.record.verdict import Rule


@pytest.mark.parametrize(
    ("text", "metric", "scope", "op", "limit", "bound"),
    [
        ("rcs >= 0.2", "rcs", {}, ">=", 0.2, "point"),
        ("rcs>=.2", "rcs", {}, ">=", 0.2, "point"),
        ("  rcs  >=  -.5 ", "rcs", {}, ">=", -0.5, "point"),
        ("swap_gap <= 1e-1", "swap_gap", {}, "<=", 0.1, "point"),
        ("swap_gap <= +0.", "swap_gap", {}, "<=", 0.0, "point"),
        ("core_accuracy[class=monarch] >= 0.9", "core_accuracy", {"class": "monarch"}, ">=", 0.9, "point"),
        ("feature_drop[class=*,feature=*] <= 0.1", "feature_drop", {"class": "*", "feature": "*"}, "<=", 0.1, "point"),
        ("clean_accuracy[ group = * ] >= 0.8", "clean_accuracy", {"group": "*"}, ">=", 0.8, "point"),
        ("rcs[sigma=0.25] >= 0.2", "rcs", {"sigma": 0.25}, ">=", 0.2, "point"),
        ("patch_drop[cell=43] <= 0.2", "patch_drop", {"cell": 43}, "<=", 0.2, "point"),
        ("ci_low(rcs) >= 0.2", "rcs", {}, ">=", 0.2, "ci_low"),
        ("ci_low ( rcs[sigma=1] ) >= 0.2", "rcs", {"sigma": 1.0}, ">=", 0.2, "ci_low"),
        ("ci_high(swap_gap[feature=background]) <= 0.1", "swap_gap", {"feature": "background"}, "<=", 0.1, "ci_high"),
        ("drop(rcs) <= 0.02", "rcs", {}, "<=", 0.02, "point"),
        ("ci_high( drop( rcs[sigma=1] ) ) <= 0", "rcs", {"sigma": 1.0}, "<=", 0.0, "ci_high"),
        ("ci_low(drop(core_accuracy[class=*])) <= 0.5", "core_accuracy", {"class": "*"}, "<=", 0.5, "ci_low"),
        ("drop >= 0.1", "drop", {}, ">=", 0.1, "point"),
        ("clean_accuracy[class=Cabbage White] >= 1", "clean_accuracy", {"class": "Cabbage White"}, ">=", 1, "point"),
        ("clean_accuracy[class=7] >= 1", "clean_accuracy", {"class": "7"}, ">=", 1, "point"),
        (
            "clean_accuracy[class=jack-o'-lantern] >= 1",
            "clean_accuracy",
            {"class": "jack-o'-lantern"},
            ">=",
            1,
            "point",
        ),
        (
            'clean_accuracy[class="crane, bird ]\\"", group="a=b"] >= 1',
            "clean_accuracy",
            {"class": 'crane, bird ]"', "group": "a=b"},
            ">=",
            1,
            "point",
        ),
    ],
)
def test_every_form(text: str, metric: str, scope: dict[str, object], op: str, limit: float, bound: str) -> None:
    rule = parse_rule(text)
    assert (rule.metric, rule.scope, rule.op, rule.limit, rule.bound) == (metric, scope, op, limit, bound)
    assert (rule.of, rule.min_n) == ("drop" if "drop(" in text else "value", 50)


def test_id_is_the_canonical_text_unless_given() -> None:
    assert parse_rule("ci_low( rcs[ sigma=.250 ] )>=0.20").id == "ci_low(rcs[sigma=0.25]) >= 0.2"
    named = parse_rule("rcs >= 0.2", id="floor", min_n=7)
    assert (named.id, named.min_n) == ("floor", 7)


ERRORS = [
    ("", "metric name", 0),
    (">= 0.2", "metric name", 0),
    ("0.2 <= rcs", "metric name", 0),
    ("rcs", ">= or <= is expected", 3),
    ("rcs 0.2", ">= or <= is expected", 4),
    ("rcs == 0.2", ">= or <= is expected", 4),
    ("rcs > 0.2", "> is not used; write >=", 4),
    ("rcs < 0.2", "< is not used; write <=", 4),
    ("rcs ≥ 0.2", "write >=", 4),
    ("rcs =< 0.2", "write <=", 4),
    ("rcs >=", "a number is expected", 6),
    ("rcs >= high", "a number is expected", 7),
    ("rcs >= nan", "a number is expected", 7),
    ("clean_accuracy >= 20%", "write 0.2 for 20 %", 20),
    ("rcs >= 0,2", "decimal point", 8),
    ("rcs >= 0.2 and rcs <= 0.5", "nothing may follow", 11),
    ("clean_accuracy >= 95", "did you mean 0.95?", 18),
    ("clean_accuracy >= -0.1", "outside 0 to 1", 18),
    ("core_accuracy_images >= -0.1", "outside 0 to 1", 24),
    ("patch_certainty[cell=1] >= -0.1", "outside 0 to 1", 27),
    ("rcs >= 20", "did you mean 0.2?", 7),
    ("rcs >= -20", "did you mean -0.2?", 7),
    ("rcs >= 1e999", "outside -1 to 1", 7),
    ("feature_drop <= 500", "outside -1 to 1", 16),
    ("rcs[] >= 0.2", "a scope key", 4),
    ("rcs[clas=a] >= 0.2", "Did you mean 'class'?", 4),
    ("rcs[zzz=a] >= 0.2", "Known are class, feature", 4),
    ("rcs[class] >= 0.2", "= is expected after class", 9),
    ("rcs[class=] >= 0.2", "a value for class", 10),
    ("rcs[class=a,class=b] >= 0.2", "given twice", 12),
    ("rcs[class=a >= 0.2", "or ] is expected", 18),
    ('rcs[class="a" b] >= 0.2', ", or ] is expected", 14),
    ('rcs[class="a] >= 0.2', 'closing " is missing', 10),
    ('rcs[class="\\q"] >= 0.2', "unknown escape", 10),
    ("rcs[class='a'] >= 0.2", "use double quotes", 10),
    ("rcs[sigma=big] >= 0.2", "sigma takes a number or *", 10),
    ("rcs[sigma=nan] >= 0.2", "sigma takes a number or *", 10),
    ("patch_drop[cell=4.5] <= 0.2", "cell takes a number or *", 16),
    ("mean(rcs) >= 0.2", "not mean(...)", 0),
    ("drop(rcs) >= 0.1", "a drop has an upper limit; write <=", 0),
    ("drop(rcs <= 0.1", "the ) of drop( is missing", 9),
    ("ci_low(drop(rcs) <= 0.1", "the ) of ci_low( is missing", 17),
    ("drop(ci_low(rcs)) <= 0.1", "the ) of drop( is missing", 11),
    ("drop(rcs) <= 2", "outside 0 to 1, the range of a drop of rcs; did you mean 0.02?", 13),
    ("drop(rcs) <= -0.1", "outside 0 to 1", 13),
    ("drop(spurious_accuracy) <= 0.1", "good neither high nor low", 0),
    ("rcs >= -1", "this can never fail: rcs is never below -1", 7),
    ("clean_accuracy >= 0", "this can never fail: clean_accuracy is never below 0", 18),
    ("ci_low(clean_accuracy) >= 0", "this can never fail", 26),
    ("swap_gap <= 1", "this can never fail: swap_gap is never above 1", 12),
    ("ci_high(swap_gap) <= 1.0", "this can never fail", 21),
    ("drop(core_accuracy) <= 1", "this can never fail: a drop of core_accuracy is never above 1", 23),
    ("swap_gap >= 0.1", "it rewards the shortcut; write <=", 12),
    ("swap_pull[class=*,feature=*] >= 0.1", "it rewards the shortcut; write <=", 32),
    ("ci_low(rcs >= 0.2", "the ) of ci_low( is missing", 11),
    ("ci_low() >= 0.2", "metric name", 7),
    ("ci_high(rcs) >= 0.2", "would pass on little evidence; use ci_low", 0),
    ("  ci_low(swap_gap) <= 0.2", "would pass on little evidence; use ci_high", 2),
]


@pytest.mark.parametrize(("text", "problem", "caret"), ERRORS)
def test_every_error_points_at_its_place(text: str, problem: str, caret: int) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_rule(text)
    first, shown, pointer = caught.value.message.split("\n")
    assert problem in first
    assert "?." not in first
    assert shown == f"  {text}"
    assert pointer == "  " + " " * caret + "^"
    assert "METRIC >= NUMBER" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "text", ["rcs >= -0.99", "clean_accuracy >= 1", "rcs <= -1", "drop(rcs) <= 1", "swap_gap >= -0.1"]
)
def test_limits_that_something_misses(text: str) -> None:
    assert parse_rule(text).id == text


def test_a_caret_stands_right_under_text_with_tabs_and_newlines() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_rule("rcs\t>=\n x")
    assert caught.value.message.split("\n")[1:] == ["  rcs >=  x", "          ^"]


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        (Rule(id="a", metric="rcs", op=">=", limit=20), "did you mean 0.2?"),
        (Rule(id="a", metric="rcs", op=">=", limit=-1), "this can never fail"),
        (Rule(id="a", metric="rcs", op=">=", limit=0.2, of="drop"), "write <="),
        (Rule(id="a", metric="rcs", op=">=", limit=0.2, allow_fraction=0.1), "the scope has none"),
        (Rule(id="a", metric="rcs", op=">=", limit=0.2, bound="ci_high"), "use ci_low"),
        (Rule(id="a", metric="rcs", op="<=", limit=0.2, bound="ci_low"), "use ci_high"),
    ],
)
def test_rules_made_without_text_are_checked_too(rule: Rule, problem: str) -> None:
    with pytest.raises(ConfigError, match=r"Gate 'a' \(.*rcs.*") as caught:
        check_rule(rule)
    assert problem in caught.value.message


_NUMERIC = {"sigma": st.floats(0, 10).map(float)} | {
    key: st.integers(0, 10_000) for key in ("cell", "row", "column", "rows", "columns")
}
_SCOPES = st.fixed_dictionaries(
    {}, optional={key: _NUMERIC.get(key, st.text(st.characters(exclude_categories=["Cs"]))) for key in SCOPE_KEYS}
)
_BOUNDS = st.sampled_from(
    [
        (">=", "point", "value"),
        ("<=", "point", "value"),
        (">=", "ci_low", "value"),
        ("<=", "ci_high", "value"),
        ("<=", "point", "drop"),
        ("<=", "ci_low", "drop"),
        ("<=", "ci_high", "drop"),
    ]
)


@given(
    st.sampled_from(["rcs", "core_accuracy", "ci_low", "drop", "a_1"]),
    _SCOPES,
    _BOUNDS,
    st.floats(0.01, 0.99),
    st.integers(1, 99),
)
def test_a_rule_is_read_back_from_its_text(
    metric: str, scope: dict[str, object], ask: tuple[str, str, str], limit: float, min_n: int
) -> None:
    op, bound, of = ask
    rule = Rule.model_validate(
        {"id": "x", "metric": metric, "scope": scope, "op": op, "limit": limit, "of": of, "bound": bound}
    ).model_copy(update={"min_n": min_n})
    again = parse_rule(format_rule(rule), id="x", min_n=min_n)
    assert again == rule
    assert format_rule(again) == format_rule(rule)


@given(st.text(alphabet="rcsdop_[]=,\"' >=<.0129class*()x\n%", max_size=30))
def test_any_text_is_a_rule_or_a_config_error(text: str) -> None:
    try:
        rule = parse_rule(text)
    except ConfigError:
        return
    assert parse_rule(format_rule(rule)) == rule
