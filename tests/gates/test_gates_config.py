"""`.spuraudit.yaml`: found, read, and every mistake reported with file and line."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from spuraudit.errors import ConfigError
from spuraudit.gates import find_config, load_config, parse_rule
from spuraudit.gates.config import config_name
from spuraudit.gates.config_file import config_schema
from spuraudit.record.verdict import Ignore, Rule

WHOLE = """\
version: 1
model: models/resnet50.pt
data: ./photos
data_dir: data/salient1m
locations: {imagenet: ../imagenet, fast: /mnt/fast}
audits:
  noise: {sigma: [0.25, 0.5], trials: 3}
  region_swap:
seed: 7
gates:
  - {id: rcs-floor, metric: rcs, min: 0.2, bound: ci_low, sigma: 0.25}
  - metric: feature_drop
    class: "*"
    feature: sky
    max: 0.1
    min_n: 30
  - clean_accuracy[group=*] >= 0.8
  - {id: cell, metric: patch_drop, class: "3", target_class: "*", cell: 43, max: 0.5}
  - {id: birds, rule: "core_accuracy[class=*] >= 0.7", min_n: 5, severity: warn, allow_fraction: 0.1}
  - {id: no-regression, metric: rcs, max_drop: 0.02, bound: ci_low, severity: warn}
ignores:
  - {gate: birds, class: crane, reason: " TEAM-17: two cameras ", expires: 2027-01-31}
  - metric: rcs
    sigma: 0.5
    reason: not deployed in the dark
    expires: "2027-02-28"
baseline: [runs/released, accepted.json]
"""


def write(folder: Path, text: str) -> Path:
    file = folder / ".spuraudit.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_whole_file(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, WHOLE))
    assert config.model == str(tmp_path / "models/resnet50.pt")
    assert config.data == str(tmp_path / "photos")
    assert config.data_dir == tmp_path / "data/salient1m"
    assert config.locations == {"imagenet": tmp_path / "../imagenet", "fast": Path("/mnt/fast")}
    assert config.audits == {"noise": {"sigma": [0.25, 0.5], "trials": 3}, "region_swap": {}}
    assert config.seed == 7
    unplaced = tuple(rule.model_copy(update={"line": None}) for rule in config.gates)
    lenient = {"severity": "warn", "allow_fraction": 0.1}
    assert unplaced == (
        Rule(id="rcs-floor", metric="rcs", scope={"sigma": 0.25}, op=">=", limit=0.2, bound="ci_low"),
        parse_rule("feature_drop[class=*,feature=sky] <= 0.1", min_n=30),
        parse_rule("clean_accuracy[group=*] >= 0.8"),
        parse_rule("patch_drop[class=3,target_class=*,cell=43] <= 0.5", id="cell"),
        parse_rule("core_accuracy[class=*] >= 0.7", id="birds", min_n=5).model_copy(update=lenient),
        Rule(id="no-regression", metric="rcs", op="<=", limit=0.02, of="drop", bound="ci_low", severity="warn"),
    )
    assert [rule.line for rule in config.gates] == [11, 12, 17, 18, 19, 20]
    assert config.ignores == (
        Ignore(
            gate="birds",
            scope={"class": "crane"},
            reason="TEAM-17: two cameras",
            expires=date(2027, 1, 31),
            line=22,
        ),
        Ignore(
            metric="rcs", scope={"sigma": 0.5}, reason="not deployed in the dark", expires=date(2027, 2, 28), line=23
        ),
    )
    assert config.baseline == (tmp_path / "runs/released", tmp_path / "accepted.json")
    assert load_config(write(tmp_path, "baseline: runs/released\n")).baseline == (tmp_path / "runs/released",)


@pytest.mark.parametrize("spec", ["hf-hub:timm/resnet18.a1_in1k", "open_clip:ViT-B-32,laion2b", "zoo:resnet50"])
def test_specs_stay_as_they_are(tmp_path: Path, spec: str) -> None:
    assert load_config(write(tmp_path, f"model: {spec}\n")).model == spec


def test_the_folder_of_a_model_lies_beside_the_config(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, "model: local-dir:models/a\n")).model == f"local-dir:{tmp_path / 'models/a'}"


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "version: 1\ngates: []\n", "gates:\n"])
def test_a_file_without_gates_has_none(tmp_path: Path, text: str) -> None:
    assert load_config(write(tmp_path, text)).gates == ()


def test_names_and_specs_stay_and_what_lies_beside_becomes_a_path(tmp_path: Path) -> None:
    (tmp_path / "birds").mkdir()
    text = "model: timm:resnet50.a1_in1k\ndata: {}\n"
    assert load_config(write(tmp_path, text.format("salient1m"))).data == "salient1m"
    config = load_config(write(tmp_path, text.format("birds")))
    assert (config.model, config.data) == ("timm:resnet50.a1_in1k", str(tmp_path / "birds"))
    listed = load_config(write(tmp_path, "audits: [noise, patch_swap]\n"))
    assert listed.audits == {"noise": {}, "patch_swap": {}}


ERRORS = [
    ("version: 2\n", 1, "expected 1, found 2"),
    ("version: 1\ngate: []\n", 2, "unknown key. Did you mean 'gates'?"),
    ("gates:\n  - {metric: rcs, min: 0.2, mn_n: 3}\n", 2, "Did you mean 'min_n'"),
    ("gates:\n  - metric: rcs\n    min: 0.2\n    severity: warning\n", 4, "expected 'error' or 'warn'"),
    ("gates:\n  - metric: rcs\n    min: 0.2\n    severty: warn\n", 4, "Did you mean 'severity'?"),
    ("gates:\n  - metric: rcs\n    min: 0.2\n    allow_fraction: 0.1\n", 4, "share of what '*' matches"),
    ("gates:\n  - {rule: rcs >= 0.2,\n     allow_fraction: 0.1}\n", 3, "share of what '*' matches"),
    ("gates:\n  - metric: d\n    class: '*'\n    min: 0.2\n    allow_fraction: 1\n", 5, "less than 1"),
    ("gates:\n  - metric: rcs\n    min: 0.2\n    max_drop: 0.2\n", 2, "exactly one of `min`, `max` and `max_drop`"),
    ("gates:\n  - metric: rcs\n    max_drop: 2\n", 3, "0 to 1, the range of a drop of rcs; did you mean 0.02?"),
    ("gates:\n  - metric: rcs\n    max_drop: -0.1\n", 3, "outside 0 to 1"),
    ("gates:\n  - metric: spurious_accuracy\n    max_drop: 0.1\n", 3, "good neither high nor low"),
    ("gates:\n  - metric: rcs\n    class: null\n    min: 0.2\n", 3, "gates[0].class: there is no value."),
    ("gates:\n  - metric: rcs\n    sigma:\n    min: 0.2\n", 3, "gates[0].sigma: there is no value."),
    ("gates:\n  - metric: rcs\n    max:\n    min: 0.2\n", 3, "gates[0].max: there is no value."),
    ("ignores:\n  - gate: a\n    reason: b\n    expires:\n", 4, "ignores[0].expires: there is no value."),
    ("ignores:\n  - class: a\n    reason: b\n    gate: ~\n", 4, "ignores[0].gate: there is no value."),
    ("ignores:\n  - gate: a\n    reason: b\n    class:\n", 4, "ignores[0].class: there is no value."),
    ("gates:\n  - metric: rcs\n    min: -1\n", 3, "this can never fail: rcs is never below -1"),
    ("gates:\n  - metric: swap_gap\n    max: 1\n", 3, "this can never fail: swap_gap is never above 1"),
    ("gates:\n  - metric: swap_gap\n    min: 0.1\n", 3, "it rewards the shortcut; write <="),
    ("gates: [clean_accuracy >= 0]\n", 1, "this can never fail"),
    ("ignores:\n  - gate: a\n", 2, "reason: required, but missing"),
    ("ignores:\n  - gate: a\n    reason: '  '\n", 3, "a reason is needed"),
    ("ignores:\n  - reason: never mind\n", 2, "would ignore every failure"),
    ("ignores:\n  - gate: a\n    reason: b\n    expires: 2027-13-01\n", 4, "month must be in 1..12"),
    ("ignores:\n  - gate: a\n    reason: b\n    expires: soon\n", 4, "expected a day such as 2026-12-31, found 'soon'"),
    ("ignores:\n  - gate: a\n    reason: b\n    expires: 2027\n", 4, "valid date, found 2027"),
    ("ignores:\n  - gate: a\n    reason: b\n    expires: 2027-01-01 12:00:00\n", 4, "valid date"),
    ("ignores:\n  - gate: a\n    reason: b\n    until: 2027-01-01\n", 4, "unknown key"),
    ("ignores:\n  - gate: a\n    reason: b\n    clas: x\n", 4, "Did you mean 'class'"),
    ("ignores:\n  - sigma: big\n    reason: b\n", 2, "expected a number or '*'"),
    ("ignores: {gate: a, reason: b}\n", 1, "expected a list"),
    ("baseline: 3\n", 1, "expected a list"),
    ("baseline: [3]\n", 1, "expected text"),
    ("gates:\n  - metric: rcs\n    min: 20\n", 3, "did you mean 0.2?"),
    ("gates:\n  - metric: core_accuracy\n    max: 95\n", 3, "did you mean 0.95?"),
    ("gates:\n  - metric: rcs\n    min: yes\n", 3, "expected a number, found true"),
    ("gates:\n  - metric: rcs\n    min: '0.2'\n", 3, "expected a number, found '0.2'"),
    ("gates:\n  - metric: rcs\n    min: .nan\n", 3, "finite"),
    ("gates:\n  - metric: rcs\n    min: 0.2\n    min_n: 0\n", 4, "greater than or equal to 1"),
    ("gates:\n  - metric: rcs\n    min: 0.2\n    bound: lower\n", 4, "'ci_low'"),
    ("gates:\n  - metric: rcs\n    min: 0.2\n    bound: ci_high\n", 4, "use ci_low"),
    ("gates:\n\n  - metric: rcs\n    min: 0.2\n    max: 0.3\n", 3, "exactly one of `min`, `max` and"),
    ("gates:\n  - metric: rcs\n", 2, "exactly one of `min`, `max` and"),
    ("gates:\n  - min: 0.2\n", 2, "`metric` is missing"),
    ("gates:\n  - min: 0.2\n    metric: rcs[sigma=1]\n", 3, "is not the name of a metric"),
    ("gates:\n  - metric: rcs\n    min: 0.2\n    sigma: big\n", 4, "expected a number or '*', found 'big'"),
    ("gates:\n  - metric: rcs\n    min: 0.2\n    sigma: yes\n", 4, "expected a number or '*', found True"),
    ("gates:\n  - metric: d\n    max: 0.2\n    cell: 4.5\n", 4, "expected a number or '*', found 4.5"),
    ("gates:\n  - metric: rcs\n    min: 0.2\n    class: no\n", 4, "expected text, found false"),
    ("gates:\n  - metric: rcs\n    min: 0.2\n    class: 7\n", 4, "expected text, found 7"),
    ("gates:\n  - rcs >= 0.2\n  - rcs > 0.2\n", 3, "write >="),
    ("gates:\n  - {rule: rcs >= 0.2, max: 0.3}\n", 2, "max cannot be added"),
    ("gates:\n  - {rule: rcs >= 0.2, class: a}\n", 2, "class cannot be added"),
    ("gates:\n  - rcs >= 0.2\n  - {metric: rcs, min: 0.20}\n", 3, "the id 'rcs >= 0.2' is already used in line 2"),
    ("gates:\n  - 0.2\n", 2, "expected a mapping"),
    ("gates: rcs >= 0.2\n", 1, "expected a list"),
    ("version: 1\ngates: []\ngates: []\n", 3, "twice"),
    ("version: 1\n gates: []\n", 2, "YAML"),
    ("- 1\n", 1, "expected a mapping"),
    ("audits: noise\n", 1, "expected a list of audit names"),
    ("audits:\n  noise: 3\n", 2, "expected a mapping of parameters"),
    ("seed: many\n", 1, "expected a whole number"),
    ("locations:\n  imagenet: 3\n", 2, "expected text"),
]


@pytest.mark.parametrize(("text", "line", "problem"), ERRORS)
def test_every_mistake_names_file_and_line(tmp_path: Path, text: str, line: int, problem: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert f"{file}, line {line}:" in caught.value.message
    assert problem in caught.value.message
    assert caught.value.hint


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.yaml: cannot be read"):
        load_config(tmp_path / "missing.yaml")


def test_the_search_ends_at_the_root_of_the_repository(tmp_path: Path) -> None:
    stray = write(tmp_path, "")
    deep = tmp_path / "repository" / "a" / "b"
    deep.mkdir(parents=True)
    assert find_config(deep) is None
    assert find_config(tmp_path) == stray
    (tmp_path / "repository" / ".git").mkdir()
    assert find_config(deep) is None
    root = write(tmp_path / "repository", "")
    assert find_config(deep) == root
    nearer = write(tmp_path / "repository" / "a", "")
    assert find_config(deep) == nearer


def test_the_name_of_a_config_says_where_it_lies_in_its_repository(tmp_path: Path) -> None:
    inner = tmp_path / "repository" / "ci"
    inner.mkdir(parents=True)
    file = write(inner, "")
    assert config_name(file) == ".spuraudit.yaml"
    (tmp_path / "repository" / ".git").mkdir()
    assert config_name(file) == "ci/.spuraudit.yaml"


def test_the_published_schema_accepts_what_is_read() -> None:
    schema = config_schema()
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    content = yaml.safe_load(WHOLE)
    content["ignores"] = [{**one, "expires": str(one["expires"])} for one in content["ignores"]]  # JSON has no dates
    assert list(validator.iter_errors(content)) == []
    assert list(validator.iter_errors({})) == []


@pytest.mark.parametrize(
    "text",
    [
        "gate: []",
        "gates: [{metric: rcs, min: 0.2, mn_n: 3}]",
        "gates: [{metric: rcs}]",
        "gates: [{metric: rcs, min: 0.2, max_drop: 0.1}]",
        "gates: [{metric: rcs, min: 0.2, severity: warning}]",
        "gates: [{metric: rcs, min: 0.2, sigma: big}]",
        "gates: [0.2]",
        "gates: [{metric: rcs, min: 0.2, class: }]",
        "gates: [{metric: rcs, min: 0.2, sigma: null}]",
        "ignores: [{gate: a, reason: b, expires: }]",
        "ignores: [{gate: a}]",
        "ignores: [{gate: a, reason: '  '}]",
        "baseline: 3",
        "audits: noise",
    ],
)
def test_the_published_schema_refuses_what_is_refused(tmp_path: Path, text: str) -> None:
    assert list(Draft202012Validator(config_schema()).iter_errors(yaml.safe_load(text))) != []
    with pytest.raises(ConfigError):
        load_config(write(tmp_path, text))
