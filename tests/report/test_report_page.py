"""What the page says, for each kind of run."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import get_args

import pytest
import sample_run
from page_outline import outline

from spuraudit.errors import RunError
from spuraudit.record.folder import read_record, to_json, write_bytes
from spuraudit.record.scan import ModelRecord, TextHead
from spuraudit.report import render
from spuraudit.report.bounds import CARDS, SWEEPS
from spuraudit.report.views.provenance import SOURCES


@pytest.fixture(scope="module")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample_run.birds_run(tmp_path_factory.mktemp("birds"), sample_run.verdict("fail", "pass"))


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample_run.digits_run(tmp_path_factory.mktemp("digits"))


def shown(run: Path, **options: object) -> str:
    return outline(render(run, charts=False, **options)).text  # type: ignore[arg-type]


def test_sections_stand_in_the_order_of_weight(birds: Path) -> None:
    headings = [text for level, text in outline(render(birds, charts=False)).headings if level == 2]
    assert headings == [
        "Verdict: failed",
        "Key numbers",
        "Suspected spurious features",
        "Why noise and swap disagree",
        "Region swap",
        "Patch swap",
        "Accuracy and noise level",
        "Classes",
        "Among published models",
        "What was not measured",
        "Method and limits",
        "Provenance",
        "The record",
    ]


def test_page_is_well_formed_with_one_title_and_no_skipped_heading(birds: Path) -> None:
    page = outline(render(birds, charts=False))
    levels = [level for level, _ in page.headings]
    assert page.unclosed == []
    assert levels.count(1) == 1
    assert all(below - above <= 1 for above, below in itertools.pairwise(levels))
    assert len(page.ids) == len(set(page.ids))
    assert page.tags.count("main") == page.tags.count("nav") == page.tags.count("header") - 4 == 1


def test_verdict_says_gates_and_the_strongest_finding_in_plain_words(birds: Path) -> None:
    text = shown(birds)
    assert "The model fails 1 of 2 gates." in text
    assert (
        "The audit found 4 suspected spurious features. The strongest is the background of “waterbird”: "
        "swapping in that of another class costs 63.5 points of accuracy." in text
    )
    assert "swap_gap, feature = background: at most 10 points 55.0 points 51.1 to 58.9 640" in text
    assert "rcs, sigma = 0.25: at least 0.2 (lower end of the interval) 0.263 0.213 to 0.313 640" in text


def test_without_gates_nothing_passes(tmp_path: Path) -> None:
    text = shown(sample_run.birds_run(tmp_path))
    assert "Verdict: no gates The audit found 4 suspected spurious features." in text
    assert "No gates were set, so nothing was passed or failed." in text
    assert "passes" not in text.split("Key numbers Every number")[0]


def test_not_evaluated_outranks_and_says_why(tmp_path: Path) -> None:
    text = shown(sample_run.birds_run(tmp_path, sample_run.verdict("not evaluated", "fail")))
    assert "Verdict: not evaluated" in text
    assert "could not be judged: 1 of 2 gates had too little evidence, and 1 failed" in text
    assert "worst_group_accuracy has 31 images behind it; the rule asks for 50." in text


def test_key_numbers_carry_interval_and_n(birds: Path) -> None:
    text = shown(birds)
    assert "Core accuracy background noised (σ 0.25), object visible 73.1 % 69.2 to 77.0 640" in text
    assert "RCS above 0 the object counts for more, below 0 the background (σ 0.25)" in text
    assert "0.263 0.213 to 0.313 640" in text
    assert "clean accuracy in the group “waterbird on land” 30.4 %" in text


def test_mean_over_images_is_shown_only_where_it_differs(tmp_path: Path) -> None:
    text = shown(sample_run.healthy_run(tmp_path))
    assert "91.0 % 85.1 to 96.9 over images 91.4 % 280" in text
    assert not re.search(r"over images \d", shown(sample_run.birds_run(tmp_path / "even")))


def test_card_shows_numbers_control_sentence_and_pictures(birds: Path) -> None:
    page = outline(render(birds, charts=False))
    assert "reed belt of waterbird" in [text for level, text in page.headings if level == 3]
    assert (
        "With noise on the feature “reed belt”, the share of “waterbird” images named correctly goes from 87.7 % to "
        "60.0 %; the same amount of noise elsewhere in the same images changes it by −4.6 points." in page.text
    )
    assert (
        "Drop beyond control 23.1 points 95 % 11.0 to 35.0 Drop 27.7 points Control drop 4.6 points "
        "Significance q = 0.012 Images n = 65" in page.text
    )
    assert "Read with care: Only 65 images carry this feature; the interval is wide." in page.text
    assert "Unnamed region, lower middle (cell 46) of landbird" in page.text
    assert len(page.images) == 4 * (2 * 4 + 1) + 2 * 3 + 1  # cards, composites beside the class pairs, what was seen
    for image in page.images:
        assert image["alt"]
        assert image["src"].startswith("data:image/webp;base64,")
        assert int(image["width"]) > 0
        assert int(image["height"]) > 0
        assert image["loading"] == "lazy"


def test_every_chart_has_a_text_alternative(birds: Path) -> None:
    page = outline(render(birds, charts=False))
    roles = sum(tag == "svg" and name == "role" and value == "img" for tag, name, value in page.attributes)
    labels = [value for tag, name, value in page.attributes if tag == "svg" and name == "aria-label"]
    hidden = sum(tag == "svg" and name == "aria-hidden" for tag, name, value in page.attributes)
    assert roles == len(labels)
    assert roles + hidden == page.tags.count("svg")
    assert all(labels)
    assert "Core accuracy: 73.1\u202f%, 95 % interval 69.2 to 77.0." in labels


def test_cleared_features_are_kept_apart(birds: Path) -> None:
    text = shown(birds)
    assert "Tested and cleared: 1" in text
    assert "F005 landbird branch Feature drop 1.2 points −5.0 to 7.0 0.710 80" in text


def test_disagreement_names_the_numbers_of_both_audits(birds: Path) -> None:
    text = shown(birds)
    assert "RCS 0.26 looks healthy. With noise (σ 0.25) on the background, accuracy is 73.1 %" in text
    assert "Gap 54.8 points. For waterbird, accuracy is 98.0 % with a background of the same class and 34.5 %" in text
    assert "the model relies on the background for waterbird and landbird" in text


@pytest.mark.parametrize("change", ["negative rcs", "background cleared"])
def test_no_disagreement_where_there_is_none(tmp_path: Path, change: str) -> None:
    run = sample_run.birds_run(tmp_path)
    record = read_record(run)
    if change == "negative rcs":
        measurements = [
            item.model_copy(update={"value": -0.1, "ci": (-0.2, 0.0)}) if item.metric == "rcs" else item
            for item in record.measurements
        ]
        record = record.model_copy(update={"measurements": measurements})
    else:
        findings = [
            item.model_copy(update={"suspected": False}) if item.audit == "region_swap" else item
            for item in record.findings
        ]
        record = record.model_copy(update={"findings": findings})
    write_bytes(run / "scan.json", to_json(record))
    assert "Why noise and swap disagree" not in shown(run)


def test_region_swap_tables_by_class_and_by_pair(birds: Path) -> None:
    text = shown(birds)
    assert "waterbird 98.0 % 34.5 % 63.5 58.0 to 69.0 60.3 < 0.001 320" in text
    assert "waterbird landbird 98.0 % 40.8 % 57.1" in text


def test_matrix_for_several_classes(tmp_path: Path) -> None:
    page = render(sample_run.hostile_run(tmp_path), charts=False)
    assert page.count('class="matrix"') == 1
    assert page.count('<td class="none">') == 3


def test_zoo_places_the_model_and_warns_of_the_other_dataset(birds: Path) -> None:
    page = render(birds, charts=False)
    text = outline(page).text
    assert "14 of 42 published models have a lower RCS." in text
    assert "For orientation only: the published figures were measured on Salient ImageNet-1M" in text
    assert "birds.pt this model 68.3 % 73.1 % 53.9 % 0.263" in text
    assert "EfficientNet B0 ConvNets 89.52 % 88.23 % 67.60 % 0.4670" in text
    assert page.count("<title>") == 1 + 42


def test_patch_swap_alone_explains_what_is_missing(digits: Path) -> None:
    page = outline(render(digits, charts=False))
    headings = [text for level, text in page.headings if level == 2]
    assert "Region swap" not in headings
    assert "Among published models" not in headings
    assert "Not run: Noise audit, Feature drop, Region swap." in page.text
    assert "The dataset has no masks; this audit needs a core mask per image." in page.text
    assert "Lowest at cell 43 (lower left): certainty 0.15 instead of 0.97." in page.text


def test_the_same_cell_against_several_targets_is_one_card(digits: Path) -> None:
    page = render(digits, charts=False)
    text = outline(page).text
    assert page.count('class="card"') == 10
    assert "10 suspected (20 findings; the same region against several classes is one card)" in text
    assert "The same region with cells of: two (0.854, q < 0.001)." in text


def test_drawn_sweeps_cover_every_class_before_repeating_one(digits: Path) -> None:
    page = render(digits, charts=False)
    assert page.count('class="sweep"') == SWEEPS
    drawn = page.split('class="sweep"')[1:]
    assert len({part.split("<strong>")[1].split("<")[0] for part in drawn}) == 10
    assert "8 sweeps not drawn: see the table." in outline(page).text


def test_nothing_found_is_not_presented_as_proof(tmp_path: Path) -> None:
    text = shown(sample_run.healthy_run(tmp_path, sample_run.verdict("pass")))
    assert "The model passes the only gate. The audit tested one feature or region and does not suspect it." in text
    assert "noise alone cannot show that a model does not rely on the background" in text
    assert "Switched off with --audits." in text


def test_saturated_and_undefined_numbers_are_told(tmp_path: Path) -> None:
    run = sample_run.healthy_run(tmp_path)
    record = read_record(run)
    undefined = sample_run.number("rcs", None, 200, reason="both accuracies are 0", sigma=2.0, **{"class": "landbird"})
    record = record.model_copy(update={"measurements": [*record.measurements, undefined]})
    write_bytes(run / "scan.json", to_json(record))
    text = shown(run)
    assert "rcs, 1 class (landbird)" in text
    assert "rcs, 1 class (landbird): both accuracies are 0" in text
    assert "saturated: RCS is 1 or −1 by arithmetic" in text.replace("Saturated", "saturated")


def test_excluded_images_and_notices_are_told(birds: Path) -> None:
    text = shown(birds)
    assert "640 of 680 available images were audited." in text
    assert "image cannot be decoded 3 waterbird/0009.jpg and landbird/0113.jpg" in text
    assert "SPA014 The crop cuts off 12 % of the core mask's area on average." in text
    assert "dropout of rate 0.2 was injected before the classifier" in text


def test_provenance_is_complete(birds: Path) -> None:
    record = read_record(birds)
    page = render(birds, charts=False)
    assert record.model.sha256 is not None
    for value in (record.model.sha256, record.data.fingerprint, record.run.plan_sha256, "mobilenetv2_100", "1.0.31"):
        assert value in page
    assert "spuraudit scan birds.pt --data mini_waterbirds --sigma 0.1 --sigma 0.25" in outline(page).text
    assert "0.485, 0.456, 0.406 (from timm)" in outline(page).text


@pytest.mark.parametrize("source", get_args(ModelRecord.model_fields["source"].annotation))
def test_a_model_from_anywhere_has_a_page(tmp_path: Path, source: str) -> None:
    made = read_record(sample_run.healthy_run(tmp_path / "plain"))
    model = made.model.model_copy(update={"source": source, "file": None if source == "timm" else "given.name"})
    run = sample_run.save_run(tmp_path / "run", made.model_copy(update={"model": model}))
    text = outline(render(run, charts=False)).text
    assert f"Source {SOURCES[source]} File {'–' if source == 'timm' else 'given.name'} SHA-256" in text


def test_head_text_head_and_notes_are_in_the_provenance(tmp_path: Path) -> None:
    made = read_record(sample_run.healthy_run(tmp_path / "plain"))
    assert (
        "Head softmax: one of the outputs is the answer Precision"
        in outline(render(tmp_path / "plain", charts=False)).text
    )
    update = {
        "head": "sigmoid",
        "text_head": TextHead(class_names="names.txt", templates="openai-imagenet", prompts=80, sha256="ab" * 32),
        "notes": ["The first note.", "The second note."],
    }
    run = sample_run.save_run(tmp_path / "run", made.model_copy(update={"model": made.model.model_copy(update=update)}))
    text = outline(render(run, charts=False)).text
    assert "Head sigmoid: every output is a label of its own, given or not Class names names.txt" in text
    assert f"Templates openai-imagenet Prompts 80 per class Text head, SHA-256 {'ab' * 32}" in text
    assert "Note The first note. Note The second note." in text


def test_title_replaces_the_default(birds: Path) -> None:
    page = outline(render(birds, charts=False, title="Birds & <co>"))
    assert page.headings[0] == (1, "Birds & <co>")
    assert outline(render(birds, charts=False)).headings[0] == (1, "birds.pt on drawn birds")


def test_missing_pictures_are_said_and_do_not_stop_the_report(tmp_path: Path) -> None:
    run = sample_run.birds_run(tmp_path)
    (run / "exhibits" / "swap-waterbird-0-a.webp").unlink()
    (run / "exhibits" / "swap-waterbird-0-b.webp").write_bytes(b"<svg onload=alert(1)>")
    page = render(run, charts=False)
    assert "2 pictures that could not be read from exhibits/ in the run folder." in outline(page).text
    assert "Picture not in this file. A waterbird on water." in outline(page).text
    assert "<svg onload" not in page


@pytest.mark.parametrize("name", ["../secret.webp", "/etc/hostname", "exhibits/../../secret.webp"])
def test_a_record_cannot_pull_other_files_into_the_page(tmp_path: Path, name: str) -> None:
    run = sample_run.birds_run(tmp_path / "run")
    (tmp_path / "secret.webp").write_bytes((run / "exhibits" / "swap-waterbird-0-a.webp").read_bytes())
    content = json.loads((run / "scan.json").read_bytes())
    content["findings"][0]["exhibits"][0]["panels"][0]["file"] = name
    (run / "scan.json").write_text(json.dumps(content))
    with pytest.raises(RunError, match="outside the run folder"):
        render(run, charts=False)


def test_a_link_out_of_the_run_folder_is_refused_too(tmp_path: Path) -> None:
    run = sample_run.birds_run(tmp_path / "run")
    picture = run / "exhibits" / "swap-waterbird-0-a.webp"
    outside = tmp_path / "outside.webp"
    picture.rename(outside)
    picture.symlink_to(outside)
    with pytest.raises(RunError, match="outside the run folder"):
        render(run, charts=False)


def test_a_verdict_of_another_run_is_refused(tmp_path: Path) -> None:
    judged = sample_run.verdict("pass").model_copy(update={"run_id": "ffff000011112222"})
    run = sample_run.birds_run(tmp_path, judged)
    with pytest.raises(RunError, match="judges run ffff000011112222") as caught:
        render(run)
    assert "spuraudit gate" in (caught.value.hint or "")


def test_an_unfinished_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(RunError, match="unfinished"):
        render(tmp_path)


def test_scan_json_itself_may_be_named(birds: Path) -> None:
    assert render(birds / "scan.json", charts=False) == render(birds, charts=False)


def test_lists_are_bounded_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    run = sample_run.thousand_run(tmp_path, classes=300, features=5)
    record = read_record(run)
    cleared = sum(not finding.suspected for finding in record.findings)
    page = render(run, charts=False)
    assert page.count('class="card"') == CARDS
    assert f"{cleared - 500} cleared features beyond the first 500: see findings in scan.json." in outline(
        page
    ).text.replace(" ", " ")
