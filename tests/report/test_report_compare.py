"""The page of a comparison: what it says of models whose answers are known by hand, its form and its safety."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from base64 import b64decode, b64encode
from hashlib import sha256
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest
import sample_run
import toy_fix
import toys
from page_outline import outline

from spuraudit.errors import UsageError
from spuraudit.record.comparison import Change, ComparedRun, Comparison, Shortcut
from spuraudit.record.folder import read_record, to_json
from spuraudit.record.scan import ScanRecord
from spuraudit.report.compare_page import comparison_content, render_comparison, render_many, render_pair
from spuraudit.report.views.compare_classes import class_changes
from spuraudit.report.views.compare_headline import compare_headline
from spuraudit.report.views.compare_limits import limits
from spuraudit.report.views.compare_numbers import compare_numbers
from spuraudit.report.views.compare_pair import Pair, gather_pair
from spuraudit.report.views.compare_shortcuts import pair_shortcuts
from spuraudit.report.views.compare_words import in_letters, letter, names

if TYPE_CHECKING:
    from pathlib import Path

SECTIONS = ["shortcuts", "numbers", "groups", "classes", "patches", "limits", "provenance", "record"]
QUICK: dict[str, Any] = {
    "audits": ("noise", "region_swap", "patch_swap"),
    "trials": 2,
    "swap_trials": 2,
    "passes": 3,
    "patch_targets": 2,
    "patch_sources": 6,
    "target_classes": 1,
    "allow_chance": True,
}


def scan_readers(root: Path) -> None:
    """Models that read the frame, the object or the tag; 5 of 20 images of a class have another class's frame."""
    toy_fix.draw(root / "data", test=20)
    for name, area in (("frame", toys.FRAME), ("object", toys.OBJECT), ("tag", toys.TAG)):
        model = toys.as_model(toys.Reader(area, guess=0), f"{name}-reader")
        record = model.record.model_copy(update={"sha256": name.encode().hex().ljust(64, "0")})
        toys.scan(dataclasses.replace(model, record=record), root / "data", root / name, **QUICK)
    bare = {**QUICK, "audits": ("noise",), "seed": 1}
    toys.scan(toys.as_model(toys.Reader(toys.OBJECT, guess=0), "lonely"), root / "data", root / "lonely", **bare)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readers")
    scan_readers(folder)
    return folder


@pytest.fixture(scope="module")
def pair(root: Path) -> Pair:
    return gather_pair(root / "frame", root / "object")


@pytest.fixture(scope="module")
def several(root: Path) -> str:
    return render_many([root / name for name in ("frame", "object", "tag", "lonely")])


def said(text: str) -> str:
    return text.replace("\u202f", " ").replace("\u00a0", " ")


def test_numbers_known_by_hand(pair: Pair) -> None:
    """A frame of another class misleads 5 of 20 images of A; B sees the object and is never wrong."""
    rows = {said(row.name): row for row in compare_numbers(pair).key}
    clean = rows["Clean accuracy"]
    assert [said(cell.value) for cell in clean.cells] == ["75.0 %", "100.0 %"]
    assert (said(clean.change), clean.n, clean.tone, clean.word) == ("+25.0 points", "60", "better", "better")
    worst = rows["Worst-group accuracy"]
    assert [said(cell.value) for cell in worst.cells] == ["0.0 %", "100.0 %"]
    groups = {row.name: [said(cell.value) for cell in row.cells] for row in compare_numbers(pair).groups}
    assert groups["red/green"] == ["0.0 %", "100.0 %"]
    assert groups["red/red"] == ["100.0 %", "100.0 %"]
    assert said(rows["Core accuracy (σ 0.25)"].cells[1].value) == "100.0 %"  # the object stays; the rest is noise
    assert said(rows["Swap gap of background"].cells[1].value) == "0.0 points"
    assert rows["Spurious accuracy (σ 0.25)"].tone == ""
    view = class_changes(pair)
    assert view is not None
    assert {row.name: row.change.text for row in view.rows} == dict.fromkeys(("red", "green", "blue"), "+25.0")
    # Five images of a class turn right, none wrong: p = 2 / 2 ** 5 for three classes and the three groups of these
    # images. With the mean and three groups that do not change: q = p * 10 / 7.
    assert {row.q for row in view.rows} == {"0.089"}


def test_the_verdict_says_what_b_relies_on(root: Path, pair: Pair) -> None:
    head = compare_headline(pair)
    assert (head.tone, head.label, head.worse) == ("pass", "B is better", [])
    assert said(head.statement).startswith("B (object-reader) relies less on ")
    assert "clean accuracy rose by 25.0 points (95 % interval " in said(head.statement)
    back = compare_headline(gather_pair(root / "object", root / "frame"))
    assert (back.tone, back.label) == ("fail", "B is worse")
    assert "relies more on " in back.statement
    assert any("background of red (region swap): +" in line for line in back.worse)
    mixed = compare_headline(gather_pair(root / "frame", root / "tag"))
    assert mixed.tone == "unknown"
    assert re.search(r"relies less on .*background.*, but more on .*tag of", mixed.statement)
    same = compare_headline(gather_pair(root / "object", root / "object"))
    assert (same.tone, same.label) == ("open", "no clear difference")
    assert "A and B show no sure difference in what they rely on: none of" in same.statement
    assert "clean accuracy shows no clear change (0.0 points" in said(same.statement)
    assert same.cautions[0].startswith("A and B are the same scan of the same model")


def test_a_fall_that_is_not_sure_is_not_in_the_verdict(pair: Pair) -> None:
    """Among many tested shortcuts an interval without 0 is no proof: q decides, as it does for what got worse."""
    doubtful = [one.model_copy(update={"q": 0.2}) for one in pair.comparison.shortcuts]
    changed = dataclasses.replace(pair, comparison=pair.comparison.model_copy(update={"shortcuts": doubtful}))
    assert "over all classes; clean accuracy rose" in compare_headline(changed).statement


def test_shortcuts_stand_worst_first_with_their_counts(root: Path) -> None:
    view = pair_shortcuts(gather_pair(root / "frame", root / "tag").comparison)
    states = [row.state for row in view.rows]
    assert states[0] == "worse"
    assert states == sorted(states, key=["worse", "new", "unchanged", "reduced", "gone", "repaired"].index)
    assert sum(number for _, _, number in view.counts) == len(view.rows) == view.tested - view.silent
    tag = next(row for row in view.rows if row.name == "tag of red" and row.audit == "Region swap")
    assert tag.suspected == (False, True)
    assert tag.effects[0] == "0.0"


def test_what_was_not_compared_is_said(pair: Pair) -> None:
    found = dict(limits(pair))
    assert found["Feature drop"].startswith("Ran for neither")
    assert "Numbers per pair of classes" in found
    assert "Patch-swap means and maps" in found
    silent = [
        one.model_copy(update={"status": "skipped", "reason": "No image is right."}) for one in pair.records[1].audits
    ]
    one_sided = dataclasses.replace(
        pair, records=(pair.records[0], pair.records[1].model_copy(update={"audits": silent}))
    )
    assert dict(limits(one_sided))["Patch swap"] == "Did not run for B: No image is right."


def test_the_page_is_whole(pair: Pair) -> None:
    page = outline(render_pair(pair))
    assert page.unclosed == []
    assert len(page.ids) == len(set(page.ids))
    assert [name for name in page.ids if name in SECTIONS] == SECTIONS
    links = [value for _, name, value in page.attributes if name in {"src", "href", "srcset", "data", "action"}]
    assert links
    assert all(link.startswith(("#", "data:application/json", "data:text/csv")) for link in links)
    for word in ("frame-reader", "object-reader", "6672616d6500", "6f626a656374", pair.records[0].run.id):
        assert word in page.text
    assert "Given second; changes are B minus A" in page.text
    assert page.headings[0] == (1, "object-reader against frame-reader")


def test_the_record_travels_inside(pair: Pair) -> None:
    page = render_pair(pair)
    href = re.search(r'href="data:application/json;base64,([^"]+)" download="comparison.json"', page)
    assert href is not None
    assert b64decode(unescape(href[1])) == to_json(pair.comparison) == comparison_content(pair, ".json")


@pytest.mark.parametrize("kind", ["pair", "many"])
def test_policy_allows_exactly_its_script(pair: Pair, several: str, kind: str) -> None:
    page = render_pair(pair) if kind == "pair" else several
    policy = unescape(re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1])  # type: ignore[index]
    running = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    hashes = set(re.findall(r"'sha256-([^']+)'", policy))
    assert hashes == {b64encode(sha256(body.encode()).digest()).decode() for body in running}
    assert len(running) == 1
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy.split("style-src")[0]


def hostile(content: Any) -> Any:
    """Every name that comes from users, in values of any depth."""
    names = {"red": sample_run.HOSTILE, "tag": 'a"onclick="x', "frame-reader": sample_run.HOSTILE, "toy": "<b>*d|*"}
    if isinstance(content, dict):
        return {key: hostile(value) for key, value in content.items()}
    if isinstance(content, list):
        return [hostile(value) for value in content]
    return names.get(content, content) if isinstance(content, str) else content


def test_hostile_names_stay_text(root: Path, pair: Pair) -> None:
    tagged = gather_pair(root / "frame", root / "tag")
    content = hostile(json.loads(to_json(tagged.comparison)))
    content["notes"] = [sample_run.HOSTILE]
    records = [ScanRecord.model_validate(hostile(json.loads(to_json(record)))) for record in tagged.records]
    nasty = Pair(Comparison.model_validate(content), (records[0], records[1]))
    page = outline(render_pair(nasty, title=sample_run.HOSTILE))
    assert page.unclosed == []
    assert "img" not in page.tags
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert sample_run.HOSTILE in page.text
    assert 'a"onclick="x of green' in page.text
    short = comparison_content(nasty, ".md").decode()
    assert "<img" not in short
    for line in short.splitlines():
        assert not line.startswith("|") or len(re.findall(r"(?<!\\)\|", line)) in (3, 8, 9, 10)


def test_same_runs_same_bytes_without_torch(root: Path, pair: Pair) -> None:
    code = (
        "import sys, hashlib, pathlib\n"
        "for name in ('torch', 'torchvision', 'timm', 'open_clip'):\n"
        "    sys.modules[name] = None\n"
        "from spuraudit.report.compare_page import render_comparison\n"
        "page = render_comparison(*map(pathlib.Path, sys.argv[1:]))\n"
        "print(hashlib.sha256(page.encode()).hexdigest())\n"
    )
    run = [sys.executable, "-c", code, str(root / "frame"), str(root / "object")]
    made = subprocess.run(run, check=True, capture_output=True, text=True, env={"PYTHONHASHSEED": "5", "PATH": "/bin"})
    assert made.stdout.strip() == sha256(render_pair(pair).encode()).hexdigest()


def test_the_short_form(pair: Pair) -> None:
    lines = said(comparison_content(pair, ".md").decode()).splitlines()
    assert lines[0].startswith("<!-- spuraudit compare=")
    assert lines[1] == "## object-reader against frame-reader"
    assert lines[3].startswith("**B is better.** B \\(object-reader\\) relies less on ")
    assert any(
        line.startswith("- **A** (Given first): frame-reader, toy, SHA-256 6672616d6500, run ") for line in lines
    )
    (clean,) = [line for line in lines if line.startswith("| Clean accuracy |")]
    assert "| +25.0 points (" in clean
    assert clean.endswith("| 60 | better |")


def test_several_runs_stand_beside_the_first(several: str, root: Path) -> None:
    page = outline(several)
    assert page.unclosed == []
    assert len(page.ids) == len(set(page.ids))
    assert page.headings[0] == (1, "4 runs on toy")
    assert "B object-reader B is better" in page.text
    assert "C tag-reader C is better in some ways and worse in others" in page.text
    table = re.search(r'<table class="fix-rows many".*?</table>', several, re.DOTALL)
    assert table is not None
    (row,) = [row for row in table[0].split("<tr ") if ">Clean accuracy<" in row]
    cells = [said(outline(f"<p{cell}").text) for cell in row.split("<td")[1:]]
    assert cells[0].startswith("75.0 %")
    assert all(cell.startswith("100.0 %") and "+25.0 points (" in cell for cell in cells[1:3])
    assert cells[3] == "60"
    assert len(cells) == 4


def test_a_run_that_cannot_be_compared_has_its_reason_and_its_own_numbers(several: str, root: Path) -> None:
    text = outline(several).text
    reason = "These runs cannot be compared, their seed differs: 0 in A, 1 in D."
    assert text.count(reason) == 2
    assert "D alone: not to be compared with A" in text
    assert str(root) not in several
    table = re.search(r'<table class="fix-rows many".*?</table>', several, re.DOTALL)
    assert table is not None
    assert 'data-name="D"' not in table[0]
    own = several.split('id="limits"')[1]
    assert "Clean accuracy" in own


def test_without_a_comparable_run_nothing_is_put_in_one_table(root: Path) -> None:
    page = render_many([root / "lonely", root / "frame"])
    assert "No run can be compared with A" in page
    assert 'id="numbers"' not in page
    assert "comparison-" not in page.split("</style>")[1]
    with pytest.raises(UsageError, match="at least two runs"):
        render_many([root / "frame"])


def test_words() -> None:
    assert [letter(place) for place in (0, 25, 26, 27, 52)] == ["A", "Z", "AA", "AB", "BA"]
    assert in_letters("before: RCS is 0/0") == "A: RCS is 0/0"
    assert in_letters("patch_swap ran after only: none right", ("A", "C")) == "Patch swap ran for C only: none right"
    assert in_letters("measured before: no") == "measured before: no"


def test_models_of_one_name_are_told_apart(tmp_path: Path) -> None:
    one = read_record(sample_run.healthy_run(tmp_path))
    retrained = one.model_copy(update={"model": one.model.model_copy(update={"sha256": "b" * 64})})
    again = one.model_copy(update={"run": one.run.model_copy(update={"id": "0123456789abcdef"})})
    assert names((one, retrained)) == ("birds.pt a87a6e20", "birds.pt bbbbbbbb")
    assert names((one, again)) == ("birds.pt, run 9f2c41d0", "birds.pt, run 01234567")


def large_pair(tmp_path: Path) -> Pair:
    """A thousand classes and five thousand shortcuts, each a little worse or better."""
    record = read_record(sample_run.thousand_run(tmp_path))
    changes = [
        Change(
            metric=m.metric,
            scope=m.scope,
            definition=m.definition,
            before=m.value,
            after=m.value,
            before_ci=m.ci,
            after_ci=m.ci,
            change=0.001 * (place % 41 - 20),
            ci=(-0.05, 0.05),
            n=m.n,
            direction="unclear",
        )
        for place, m in enumerate(record.measurements)
        if m.value is not None
    ]
    shortcuts = [
        Shortcut(
            audit="feature_drop",
            class_name=f.class_name,
            feature=f.feature,
            role="spurious",
            suspected=(f.suspected, f.suspected),
            before=f.effect,
            after=f.effect,
            change=0.0,
            ci=(-0.1, 0.1),
            n=f.n,
            state="unchanged",
        )
        for f in record.findings
    ]
    run = ComparedRun(run_id=record.run.id, record_sha256="0" * 64, model=record.model.name)
    compared = Comparison(
        before=run,
        after=run,
        data=record.data.name,
        data_fingerprint=record.data.fingerprint,
        images=record.data.images,
        changes=changes,
        shortcuts=shortcuts,
    )
    return Pair(compared, (record, record))


def test_a_thousand_classes_stay_within_the_size_of_a_report(tmp_path: Path) -> None:
    page = render_pair(large_pair(tmp_path))
    assert len(page.encode()) < 8_000_000
    assert 'download="comparison.json.gz"' in page
    assert page.count('<tr><th scope="row">class ') == 1000


def test_pages_come_from_folders_alone(root: Path, pair: Pair) -> None:
    assert render_comparison(root / "frame", root / "object" / "scan.json") == render_pair(pair)
