"""Who shares a suspected feature, where the model stands, what the gates except, and pictures beside class pairs."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest
import sample_run
import sample_zoo
from page_outline import outline

from spuraudit.record.compared import FeatureRow
from spuraudit.record.folder import read_record, to_json, write_bytes
from spuraudit.record.scan import Measurement, ScanRecord
from spuraudit.record.verdict import Accepted, AcceptedResult, GateResult, Ignore, IgnoreResult, Rule, Verdict
from spuraudit.report import bounds, render
from spuraudit.report.evidence import Evidence
from spuraudit.report.numbers import Numbers
from spuraudit.report.page import render_evidence
from spuraudit.report.views.headline import headline
from spuraudit.report.views.swap import swap_view
from spuraudit.report.zoo_evidence import gather_zoo


def shown(record: ScanRecord, verdict: Verdict | None = None, **options: object) -> str:
    return outline(render_evidence(Evidence(record, verdict), charts=False, published=[], **options)).text  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def birds(tmp_path_factory: pytest.TempPathFactory) -> ScanRecord:
    return read_record(sample_run.birds_run(tmp_path_factory.mktemp("birds")))


def test_card_names_the_other_classes_that_share_the_feature(birds: ScanRecord) -> None:
    text = shown(birds)
    assert "Also suspected for: landbird (46.0 points)" in text
    assert "Also suspected for: waterbird (63.5 points)" in text
    assert "In other models:" not in text


def test_card_names_where_the_feature_was_cleared(birds: ScanRecord) -> None:
    cleared = [
        finding.model_copy(update={"feature": "reed belt"}) if finding.feature == "branch" else finding
        for finding in birds.findings
    ]
    text = shown(birds.model_copy(update={"findings": cleared}))
    assert "Tested and cleared for: landbird (1.2 points)" in text


def test_the_same_cell_of_many_classes_is_bounded(tmp_path: Path) -> None:
    record = read_record(sample_run.digits_run(tmp_path))
    findings = [
        finding.model_copy(update={"feature": "cell 7", "cell": record.findings[2].cell}) for finding in record.findings
    ]
    text = shown(record.model_copy(update={"findings": findings}))
    assert re.search(r"Also suspected for: one \([0-9.]+\), two \([0-9.]+\), .* and 5 more", text)


def test_card_says_which_models_of_a_zoo_share_the_feature(birds: ScanRecord, tmp_path: Path) -> None:
    zoo = gather_zoo(sample_zoo.paper_zoo(tmp_path))
    rows: dict[tuple[str, str], list[tuple[str, FeatureRow]]] = {}
    for model in zoo.audited:
        for row in model.features:
            rows.setdefault((row.class_name, row.feature), []).append((model.entry.name, row))
    (name, feature), found = max(rows.items(), key=lambda pair: sum(row.suspected for _, row in pair[1]))
    fooled = sorted((item for item in found if item[1].suspected), key=lambda item: (-item[1].excess, item[0]))
    lead = next(finding for finding in birds.findings if finding.audit == "feature_drop" and finding.suspected)
    own = lead.model_copy(update={"class_name": name, "feature": feature})
    record = birds.model_copy(
        update={"findings": [own], "run": birds.run.model_copy(update={"id": "0123456789abcdef"})}
    )
    text = shown(record, zoo=zoo)
    assert fooled
    assert f"Suspected in {len(fooled)} of {len(found)} other models of {zoo.zoo.zoo}: {fooled[0][0]} (" in text
    # A run of the zoo itself is not one of the others; the drawn ones share their id.
    same = record.model_copy(update={"run": zoo.audited[0].record.run})
    assert "In other models:" not in shown(same, zoo=zoo)


def test_key_numbers_say_where_the_model_stands(birds: ScanRecord, tmp_path: Path) -> None:
    run = sample_run.birds_run(tmp_path)
    page = render(run, charts=False)
    text = outline(page).text
    first = text.index("Among published models RCS of the others")
    assert text.index("Relative core sensitivity") < first < text.index("Accuracy lost, in points")
    assert "14 of 42 lower theirs: 0.122 to 0.574 42" in text
    assert "for orientation only: see the section “Among published models”" in text
    assert 'aria-label="RCS of 42 published models: 0.122 to 0.574; 14 of 42 lower than this model."' in page


def test_pictures_stand_beside_the_class_pairs(tmp_path: Path) -> None:
    page = outline(render(sample_run.birds_run(tmp_path), charts=False))
    assert (3, "What the model was shown") in page.headings
    trio = [image["alt"] for image in page.images if image["alt"].startswith(("Swapped, ", "Image. "))]
    assert trio == [
        "Image. A waterbird on water.",
        "Swapped, same class. The bird on other water.",
        "Swapped, other class. The bird on land.",
        "Image. A landbird on land.",
        "Swapped, same class. The bird on other land.",
        "Swapped, other class. The bird on water.",
    ]
    assert ("a", "href", "#F001") in page.attributes
    assert "What the network saw of waterbird/0000.jpg, after resize and crop" in page.text


def test_cards_hold_an_image_on_which_the_region_did_not_matter(tmp_path: Path) -> None:
    run = sample_run.birds_run(tmp_path)
    page = render(run, charts=False)
    assert page.count("<summary>Counterexample: an image that stays right</summary>") == 2
    assert "<summary>2 more images</summary>" in page
    card = page[page.index('id="F001"') : page.index('id="F002"')]
    assert "Picture not in this file." not in page
    assert card.index("waterbird/0002.jpg") < card.index("Counterexample") < card.index("waterbird/0003.jpg")


def test_cells_of_a_matrix_lead_to_the_composites_of_their_pair(tmp_path: Path) -> None:
    run = sample_run.birds_run(tmp_path)
    names = ["waterbird", "landbird", "gull"]
    same, other = dict.fromkeys(names, 0.9), {"waterbird": 0.3, "landbird": 0.4, "gull": 0.8}
    n = dict.fromkeys(names, 320)
    scan = sample_run.record(
        classes=n,
        measurements=sample_run.swap_measurements(same, other, n),
        findings=read_record(run).findings[:2],
    )
    page = render(sample_run.save_run(run, scan), charts=False)
    assert page.count('class="matrix"') == 1
    ids = dict(re.findall(r'<figure id="(pair-\d)">.*?<a href="#F00\d">(.*?)</a>', page, re.DOTALL))
    assert ids == {"pair-1": "waterbird, background of landbird", "pair-2": "landbird, background of waterbird"}
    table = page[page.index('class="matrix"') :].split("</table>")[0]
    rows = {
        name: re.findall(r'href="#(pair-\d)"', table.split(f'<th scope="row">{name}</th>')[1].split("</tr>")[0])
        for name in names
    }
    assert rows == {"waterbird": ["pair-1"], "landbird": ["pair-2"], "gull": []}


def many_classes(gap: float) -> ScanRecord:
    names = [f"c{index:02d}" for index in range(30)]
    same = dict.fromkeys(names, 0.9)
    other = {name: 0.9 - gap * index / 30 for index, name in enumerate(names)}
    measurements: list[Measurement] = sample_run.swap_measurements(same, other, dict.fromkeys(names, 60))
    return sample_run.record(classes=dict.fromkeys(names, 60), measurements=measurements, findings=[])


def test_matrix_of_many_classes_holds_those_that_lose_most() -> None:
    record = many_classes(0.6)
    view = swap_view(record, Numbers(record.measurements))
    assert view is not None
    matrix = view.matrices[0]
    assert matrix.partial
    assert [name for name, _ in matrix.rows] == [f"c{index:02d}" for index in range(18, 30)]
    assert len(matrix.donors) == bounds.MATRIX
    assert all(len(cells) == bounds.MATRIX for _, cells in matrix.rows)
    assert "Those classes that lose most, and the donors that take most." in shown(record)


def test_nothing_suspected_still_shows_what_was_tested(tmp_path: Path) -> None:
    run = sample_run.birds_run(tmp_path)
    record = read_record(run)
    findings = [finding.model_copy(update={"suspected": False}) for finding in record.findings]
    write_bytes(run / "scan.json", to_json(record.model_copy(update={"findings": findings})))
    page = outline(render(run, charts=False))
    assert "What was tested, and how it looked: the 3 features that came closest." in page.text
    assert len(page.images) > 10
    assert "suspected, most serious first" not in page.text


def rule(name: str, **fields: object) -> Rule:
    return Rule.model_validate({"id": name, "metric": "core_accuracy", "op": ">=", "limit": 0.7, **fields})


def result(name: str, outcome: str, text: str = "said", **fields: object) -> GateResult:
    numbers = {key: fields.pop(key) for key in ("ignored", "known", "failed", "matched") if key in fields}
    return GateResult.model_validate(
        {"rule": rule(name, **fields), "outcome": outcome, "text": text, "matched": 1, "value": 0.731, **numbers}
    )


def judged(outcome: str, *gates: GateResult, **fields: object) -> Verdict:
    return Verdict.model_validate({"run_id": "9f2c41d07ab35e68", "outcome": outcome, "gates": list(gates), **fields})


def test_a_warning_is_neither_passed_nor_failed(birds: ScanRecord) -> None:
    verdict = judged("pass", result("a", "pass"), result("b", "fail", severity="warn"))
    head = headline(birds, verdict)
    assert head.verdict == "The model passes 1 of 2 gates, with 1 warning."
    assert [(row.label, row.tone) for row in head.gates] == [("Passed", "pass"), ("Warning", "unknown")]
    assert head.tone == "pass"
    failed = judged("fail", result("a", "fail"), result("b", "fail", severity="warn"))
    assert headline(birds, failed).verdict == "The model fails 1 of 2 gates, with 1 warning."


def test_limits_on_drops_and_exceptions_are_told(birds: ScanRecord) -> None:
    drop = result("d", "pass", "Fell by 1.2 points.", of="drop", op="<=", limit=0.02)
    many = result("m", "pass", scope={"class": "*"}, allow_fraction=0.05, matched=40, failed=2, ignored=3, known=1)
    head = headline(birds, judged("pass", drop, many))
    assert "core_accuracy, all images: got worse since the baseline by at most 2 points" in head.gates[0].rule.replace(
        "\u202f", " "
    )
    assert head.gates[0].value.replace("\u202f", " ") == "73.1 points"
    assert head.gates[0].text == "Fell by 1.2 points."
    assert head.gates[1].text.replace("\u202f", " ") == (
        "decided by all images, the worst of 40; 5.0 % of 40 may lie beyond the limit, 2 do; "
        "3 numbers beyond the limit ignored; 1 number beyond the limit accepted earlier"
    )


def test_ignores_and_accepted_findings_stand_below_the_gates(birds: ScanRecord) -> None:
    ignore = Ignore(gate="a", reason=sample_run.HOSTILE, expires=date(2027, 1, 31), scope={"class": "landbird"})
    accepted = Accepted(gate="a", metric="core_accuracy", definition=sample_run.NOISE, value=0.2)
    verdict = judged(
        "pass",
        result("a", "pass"),
        ignores=[IgnoreResult(ignore=ignore, state="used", covered=2)],
        accepted=[
            AcceptedResult(accepted=accepted, state="known"),
            AcceptedResult(accepted=accepted, state="known"),
            AcceptedResult(accepted=accepted, state="fixed"),
        ],
        notes=["Judged with other gates than the last run."],
    )
    text = shown(birds, verdict)
    assert f"a: class = landbird {sample_run.HOSTILE} 2027-01-31 covers 2 numbers" in text
    assert "Of 3 accepted findings: 2 still beyond the limit and not counted, 1 within it now." in text
    assert "Judged with other gates than the last run." in text
