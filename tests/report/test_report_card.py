"""`spuraudit card`: opened by huggingface_hub, and put into a README without touching the rest of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import sample_run
import yaml
from huggingface_hub import ModelCard, ModelCardData
from huggingface_hub.repocard import REGEX_YAML_BLOCK
from huggingface_hub.repocard_data import model_index_to_eval_results

from spuraudit.cli.main import main
from spuraudit.errors import UsageError
from spuraudit.record.folder import read_record
from spuraudit.report.card import card_text, key, markers, section
from spuraudit.report.card_merge import merge

if TYPE_CHECKING:
    from pathlib import Path

    from huggingface_hub import EvalResult

    from spuraudit.record.scan import Measurement, ScanRecord

OTHERS = """\
---
# Kept: this comment, the quotes, the order, the trailing blanks.
license: "apache-2.0"\x20\x20
tags: [birds,   vision]
model-index:
- name: our-birds
  results:
    # measured in spring
    - task: {type: image-classification}
      dataset: {name: CUB, type: cub}
      metrics:
        - type: accuracy
          value: 0.910   # top-1
          verified: yes

# behind it
pipeline_tag: image-classification
---

# Our birds

Some text with | pipes | and <b>HTML</b>.
"""


@pytest.fixture(scope="module")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample_run.birds_run(tmp_path_factory.mktemp("birds") / "run")


@pytest.fixture(scope="module")
def record(birds: Path) -> ScanRecord:
    return read_record(birds)


def results(text: str) -> dict[str, EvalResult]:
    """Metrics by type, as the Hub's own parser reads them from the text of a README."""
    front = REGEX_YAML_BLOCK.match(text.lstrip("\ufeff"))
    assert front is not None
    _, found = model_index_to_eval_results(yaml.safe_load(front[2])["model-index"])
    assert found == ModelCard(text.lstrip("\ufeff")).data.eval_results
    return {one.metric_type: one for one in found}


def measured(record: ScanRecord, metric: str, **scope: object) -> Measurement:
    return next(one for one in record.measurements if one.metric == metric and one.scope == scope)


def changed(record: ScanRecord, metric: str, **fields: object) -> ScanRecord:
    """The record with these fields on every measurement of a metric over the whole dataset."""
    new = [
        one.model_copy(update=fields) if one.metric == metric and "class" not in one.scope else one
        for one in record.measurements
    ]
    return record.model_copy(update={"measurements": new})


def on(record: ScanRecord, name: str, split: str | None = "test") -> ScanRecord:
    """The same run on a dataset of another name."""
    return record.model_copy(update={"data": record.data.model_copy(update={"name": name, "split": split})})


def test_the_hub_reads_what_was_measured(record: ScanRecord) -> None:
    card = ModelCard(card_text(record))
    assert isinstance(card.data, ModelCardData)
    assert card.data.model_name == "birds.pt"
    found = results(card_text(record))
    assert list(found) == ["clean_accuracy", "core_accuracy", "spurious_accuracy", "rcs", "worst_group_accuracy"]
    for metric, one in found.items():
        scope = {"sigma": 0.25} if metric in ("core_accuracy", "spurious_accuracy", "rcs") else {}
        known = measured(record, metric, **scope)
        assert one.metric_value == known.value
        assert one.metric_args == {"definition": known.definition, "n": known.n, "ci_95": list(known.ci or ())}
        assert one.task_type == "image-classification"
        assert (one.dataset_name, one.dataset_type, one.dataset_split) == ("drawn birds", "drawn-birds", "test")
        assert one.dataset_revision == record.data.fingerprint


def test_what_the_hub_writes_back_is_the_same(record: ScanRecord) -> None:
    assert results(str(ModelCard(card_text(record)))) == results(card_text(record))


def test_the_section_has_intervals_n_definitions_limits_and_where_it_is_from(record: ScanRecord) -> None:
    text = section(record)
    assert re.search(r"\| RCS <sub>.*</sub> \| 0\.263 \| 0\.213 to 0\.313 \| 640 \|", text)
    assert re.search(r"\| Worst-group accuracy .* \| 30\.4\W% \| 22\.\d to 38\.\d \| 160 \|", text)
    for definition in {one.definition for one in record.measurements if one.metric in ("rcs", "swap_gap")}:
        assert f"<code>{definition}</code>" in text
    assert "### Limits" in text
    assert "spuraudit 0.1.0, run 9f2c41d07ab35e68" in text
    assert "| waterbird | background | Region swap | 63.5" in text


def test_no_definition_is_cut(record: ScanRecord) -> None:
    long = "One sentence that goes on. " * 30
    whole = record.model_copy(update={"definitions": dict.fromkeys(record.definitions, long.strip())})
    assert long.strip() in section(whole)


@pytest.mark.parametrize("fields", [{"value": None, "ci": None, "reason": "both are 1"}, {"flags": ["saturated"]}])
def test_an_undefined_or_saturated_rcs_is_no_metric_and_the_table_says_why(
    record: ScanRecord, fields: dict[str, object]
) -> None:
    text = card_text(changed(record, "rcs", **fields))
    assert "rcs" not in results(text)
    assert "core_accuracy" in results(text)
    assert "undefined: both are 1" in text if "reason" in fields else "saturated: at its limit" in text


def test_a_run_without_the_noise_audit_has_a_card(tmp_path: Path) -> None:
    text = card_text(read_record(sample_run.digits_run(tmp_path / "run", targets=1)))
    assert list(results(text)) == ["clean_accuracy"]
    assert "And 5 more in the report." in text


def test_names_cannot_leave_their_place(tmp_path: Path) -> None:
    record = read_record(sample_run.hostile_run(tmp_path / "run"))
    odd = 'x\n---\n- name: "y"\n<!-- spuraudit data end -->|`#\u2028\x07'
    data = record.data.model_copy(update={"name": odd, "split": odd})
    record = record.model_copy(update={"data": data})
    text = card_text(record)
    card = ModelCard(text)
    assert card.data.model_name == sample_run.HOSTILE
    found = results(text)["rcs"]
    assert found.dataset_name == " ".join(odd.split())
    assert found.dataset_type == "x-name-y-spuraudit-data-end"
    begin, end = markers(key(record))
    assert [text.count(begin), text.count(end)] == [1, 1]
    body = card.text.replace(begin, "").replace(end, "")
    assert set(re.findall(r"<[^>]*>?", body)) == {"<sub>", "</sub>", "<code>", "</code>"}
    rows = [line for line in body.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {5, 7}
    assert merge(text, record) == text


def outside(text: str) -> str:
    """A README without the section of the drawn birds."""
    begin, end = markers("drawn-birds/test")
    return text[: text.index(begin)] + text[text.index(end) + len(end) :]


def test_an_entry_joins_those_of_others_and_nothing_else_changes(record: ScanRecord) -> None:
    merged = merge(OTHERS, record)
    lines = merged.splitlines(keepends=True)
    assert [line for line in OTHERS.splitlines(keepends=True) if line not in lines] == []
    added = merged.replace(section(record), "", 1)
    first = OTHERS.index("\n\n# behind it")
    assert added.startswith(OTHERS[:first])
    assert added.rstrip("\n").endswith(OTHERS[first:].rstrip("\n"))
    data = ModelCard(merged).data
    assert data.model_name == "our-birds"
    assert (data.license, data.tags, data.pipeline_tag) == ("apache-2.0", ["birds", "vision"], "image-classification")
    found = results(merged)
    assert (found["accuracy"].dataset_type, found["accuracy"].metric_value) == ("cub", 0.91)
    assert found["rcs"].metric_value == 0.263


def test_merging_again_changes_nothing_and_a_new_run_replaces_its_own(record: ScanRecord) -> None:
    once = merge(OTHERS, record)
    assert merge(once, record) == once
    newer = changed(record, "rcs", value=0.5, ci=(0.4, 0.6))
    newer = newer.model_copy(update={"data": newer.data.model_copy(update={"fingerprint": "ab" * 32})})
    twice = merge(once, newer)
    assert results(twice)["rcs"].metric_value == 0.5
    assert results(twice)["rcs"].dataset_revision == "ab" * 32
    assert "0.263" not in twice
    assert outside(twice.split("---", 2)[2]) == outside(once.split("---", 2)[2])
    assert merge(twice, record) == once


def test_text_behind_the_section_stays_where_it_is(record: ScanRecord) -> None:
    once = f"{merge(OTHERS, record)}\n## Citation\n\nUs.\n"
    twice = merge(once, changed(record, "rcs", value=0.5))
    assert twice.endswith("<!-- spuraudit drawn-birds/test end -->\n\n## Citation\n\nUs.\n")
    assert merge(twice, record) == once


def test_each_dataset_and_split_has_its_own_entry_and_section(record: ScanRecord) -> None:
    others = [on(record, "other birds"), on(record, "drawn birds", "val"), on(record, "drawn birds", None)]
    text = OTHERS
    for one in (record, *others):
        text = merge(text, one)
    index = yaml.safe_load(text.split("---")[1])["model-index"]
    datasets = [(one["dataset"]["type"], one["dataset"].get("split")) for one in index[0]["results"]]
    assert datasets == [
        ("cub", None), ("drawn-birds", "test"), ("other-birds", "test"), ("drawn-birds", "val"), ("drawn-birds", None)
    ]  # fmt: skip
    assert text.count("## Reliance on spurious features") == 4
    for one in (record, *others):
        assert merge(text, one) == text


def test_somebody_elses_numbers_on_the_same_data_stay(record: ScanRecord) -> None:
    readme = OTHERS.replace("{name: CUB, type: cub}", "{name: drawn birds, type: drawn-birds, split: test}")
    found = results(merge(readme, record))
    assert found["accuracy"].metric_value == 0.91
    assert found["rcs"].metric_value == 0.263


FRONTS = {
    "none": "# Title\n\ntext\n",
    "empty file": "",
    "no index": "---\nlicense: mit\n---\n# Title\n",
    "blank front": "---\n\n---\n# Title\n",
    "index without a value": "---\nmodel-index:\nlicense: mit\n---\n# Title\n",
    "index in brackets": "---\nmodel-index: [{name: m, results: [{task: {type: t}, dataset: {name: d, type: d}, "
    "metrics: [{type: accuracy, value: 0.5}]}]}] # inline\nlicense: mit\n---\n# Title\n",
    "two other models": "---\nmodel-index:\n- name: a\n  results: []\n- name: b\n  results: []\n"
    "license: mit\n---\n# T\n",
    "dash of its own": "---\nlicense: mit\nmodel-index:\n-\n  name: m\n  results:\n  -\n    task:\n      type: t\n"
    "    dataset: {name: d, type: d}\n    metrics: []\n---\n# T\n",
    "literal last": "---\nmodel-index:\n  - name: m\n    results:\n      - task: {type: t}\n        metrics: []\n"
    "        dataset:\n          name: d\n          type: |\n            d\n\nlicense: mit\n---\n# T\n",
}


@pytest.mark.parametrize("name", FRONTS)
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_every_shape_of_front_matter_takes_the_entry(name: str, newline: str, record: ScanRecord) -> None:
    readme = FRONTS[name].replace("\n", newline)
    merged = merge(readme, record)
    assert results(merged)["rcs"].metric_value == 0.263
    if "license" in readme:
        assert ModelCard(merged).data.license == "mit"
    if "type: accuracy" in readme:
        assert results(merged)["accuracy"].metric_value == 0.5
    assert merge(merged, record) == merged
    stray = re.findall(r"(?<!\r)\n", merged) if newline == "\r\n" and readme else []
    assert stray == []
    body = readme.split("---" + newline)[-1]
    assert body in merged
    newer = merge(merged, changed(record, "rcs", value=0.5))
    assert results(newer)["rcs"].metric_value == 0.5
    assert merge(newer, record) == merged


def test_a_byte_order_mark_stays_in_front(record: ScanRecord) -> None:
    merged = merge(f"\ufeff{OTHERS}", record)
    assert merged == f"\ufeff{merge(OTHERS, record)}"


@pytest.mark.parametrize(
    ("readme", "said"),
    [
        ("---\nlicense: [mit\n---\ntext\n", "not readable as YAML"),
        ("---\n- a\n- b\n---\ntext\n", "no mapping"),
        ("---\nmodel-index: yes\n---\ntext\n", "no list of models"),
        ("---\nmodel-index:\n- name: a\n  results: {a: 1}\n---\ntext\n", "results of its model-index are no list"),
        ("<!-- spuraudit drawn-birds/test begin -->\ntext\n", "must stand once each"),
        ("<!-- spuraudit drawn-birds/test end --><!-- spuraudit drawn-birds/test begin -->\n", "must stand once each"),
        (
            "<!-- spuraudit drawn-birds/test begin --><!-- spuraudit drawn-birds/test end -->" * 2,
            "must stand once each",
        ),
    ],
)
def test_what_cannot_be_merged_is_refused(readme: str, said: str, record: ScanRecord) -> None:
    with pytest.raises(UsageError, match=said):
        merge(readme, record)


def test_the_command_prints_writes_and_updates(
    birds: Path, record: ScanRecord, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["card", str(birds)]) == 0
    assert capsys.readouterr().out == card_text(record)
    new, old = tmp_path / "new.md", tmp_path / "README.md"
    assert main(["card", str(birds), "-o", str(new)]) == 0
    assert new.read_bytes() == card_text(record).encode()
    old.write_bytes(OTHERS.encode())
    assert main(["card", str(birds), "--update", str(old)]) == 0
    assert old.read_bytes() == merge(OTHERS, record).encode()
    assert capsys.readouterr().out == f"{new}\n{old}\n"
    assert ModelCard.load(old).data.model_name == "our-birds"


def test_the_command_refuses_what_would_lose_something(
    birds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("mine")
    for arguments, said in (
        ([str(birds), "-o", str(readme)], "--update"),
        ([str(birds), "-o", str(tmp_path / "a.md"), "--update", str(readme)], "both were given"),
        ([str(birds), "--update", str(tmp_path / "absent.md")], "cannot be read"),
        ([str(tmp_path), "--update", str(readme)], "no run here"),
    ):
        assert main(["card", *arguments]) == 2
        assert said in " ".join(capsys.readouterr().err.split())
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    assert readme.read_text() == "mine"
