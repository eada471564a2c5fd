"""The page of a zoo run, its CSV files, and a scan placed among the models of a zoo."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import shutil
import subprocess
import sys
from base64 import b64decode, b64encode
from hashlib import sha256
from html import unescape
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sample_run
import sample_zoo
from hypothesis import assume, given
from hypothesis import strategies as st
from page_outline import Outline, outline
from sample_zoo import Model, save_zoo

from spuraudit.errors import RunError
from spuraudit.record import compared
from spuraudit.record.folder import read_record, sha256_of, to_json, write_bytes
from spuraudit.record.scan import Notice
from spuraudit.record.zoo_folder import read_zoo
from spuraudit.report import bounds, render, write
from spuraudit.report.charts.scatter import iso_rcs, looks
from spuraudit.report.charts.zoo_map import clipped
from spuraudit.report.comparable import differences, strict_differences
from spuraudit.report.downloads import download
from spuraudit.report.templating import breaks
from spuraudit.report.zoo_csv import FEATURE_COLUMNS, ZOO_COLUMNS, features_csv_text, zoo_csv_text
from spuraudit.report.zoo_evidence import gather_zoo, models_of
from spuraudit.report.zoo_page import render_zoo
from spuraudit.report.zoo_ranks import agreement, ranked, ranks

if TYPE_CHECKING:
    from collections.abc import Callable

    from spuraudit.record.scan import ScanRecord

LIMIT = 10_000_000


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample_zoo.paper_zoo(tmp_path_factory.mktemp("paper"))


@pytest.fixture(scope="module")
def paper_page(paper: Path) -> str:
    return render_zoo(paper)


def shown(folder: Path) -> Outline:
    return outline(render_zoo(folder))


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


# Reading


def test_an_unfinished_zoo_says_how_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "zoo-plan.json").write_text("{}")
    with pytest.raises(RunError, match="unfinished") as caught:
        gather_zoo(tmp_path)
    assert "resumes where it stopped" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no zoo run here"),
        ("{", "not readable as JSON"),
        ("[]", "not the record of a zoo run"),
        ('{"schema": "spuraudit/scan"}', "not the record of a zoo run"),
        ('{"schema": "spuraudit/zoo", "schema_version": "2.0"}', "record version 2.0; this spuraudit reads 1.x"),
        ('{"schema": "spuraudit/zoo", "schema_version": "1.0"}', "not a valid record: tool: Field required"),
    ],
)
def test_a_damaged_or_foreign_record_is_refused(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / "zoo.json").write_text(content)
    with pytest.raises(RunError, match=re.escape(said)) as caught:
        read_zoo(tmp_path)
    assert caught.value.hint


def test_zoo_json_itself_may_be_named(paper: Path, paper_page: str) -> None:
    assert render_zoo(paper / "zoo.json") == paper_page


def test_a_record_that_changed_since_is_refused(tmp_path: Path) -> None:
    folder = sample_zoo.plain_zoo(tmp_path)
    file = folder / "models" / "b" / "scan.json"
    file.write_bytes(file.read_bytes() + b"\n")
    with pytest.raises(RunError, match=r"not the record that zoo\.json lists for model 'b'"):
        gather_zoo(folder)


def test_a_missing_model_record_is_an_error_and_not_left_out(tmp_path: Path) -> None:
    folder = sample_zoo.plain_zoo(tmp_path)
    (folder / "models" / "b" / "scan.json").unlink()
    with pytest.raises(RunError, match="no run here"):
        gather_zoo(folder)


def test_what_is_compared_is_read_from_its_own_file(paper: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def whole(*_: object) -> ScanRecord:
        raise AssertionError("a whole record was read")

    monkeypatch.setattr("spuraudit.record.zoo_folder.read_model", whole)
    assert len(gather_zoo(paper).audited) == 40


def another_number(content: bytes) -> bytes:
    changed = json.loads(content)
    changed["features"][0][3] = 0.999
    return json.dumps(changed).encode()


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut off": lambda content: content[: len(content) // 2],
    "not text": lambda _: bytes(range(256)),
    "another number": another_number,
}


@pytest.mark.parametrize("what", ["missing", *DAMAGE])
def test_a_damaged_file_of_what_is_compared_changes_nothing(
    paper: Path, paper_page: str, tmp_path: Path, what: str
) -> None:
    folder = shutil.copytree(paper, tmp_path / "zoo")
    files = list(folder.glob(f"models/*/{compared.FILE}"))
    assert len(files) == 40
    for file in files:
        if what == "missing":
            file.unlink()
        else:
            file.write_bytes(DAMAGE[what](file.read_bytes()))
    assert render_zoo(folder) == paper_page


@pytest.mark.parametrize("listed", ["none", "another version", "another form"])
def test_a_zoo_of_another_version_is_read_whole(paper: Path, tmp_path: Path, listed: str) -> None:
    folder = shutil.copytree(paper, tmp_path / "zoo")
    record = read_zoo(folder)
    sums: dict[str, str] = {}
    for file in folder.glob(f"models/*/{compared.FILE}"):
        content = json.loads(file.read_bytes())
        changed = {**content, "version": 0} if listed == "another version" else {**content, "rows": []}
        if listed != "none":
            file.write_text(json.dumps(changed), encoding="utf-8")
            sums[file.parent.name] = sha256_of(file)
    models = [model.model_copy(update={"compared_sha256": sums.get(model.id)}) for model in record.models]
    write_bytes(folder / "zoo.json", to_json(record.model_copy(update={"models": models})))
    whole, quick = gather_zoo(folder), gather_zoo(paper)
    for one, other in zip(whole.audited, quick.audited, strict=True):
        assert one.record == other.record
        assert one.features == other.features
    assert features_csv_text(whole) == features_csv_text(quick)
    assert zoo_csv_text(whole) == zoo_csv_text(quick)


def test_models_of_other_data_are_refused(tmp_path: Path) -> None:
    folder = save_zoo(tmp_path, [Model("a", "alpha")], data_fingerprint="ab" * 32)
    with pytest.raises(RunError, match="measured on data 5d8e5d8e5d8e, the zoo on abababababab"):
        gather_zoo(folder)


@pytest.mark.parametrize("run", ["../elsewhere", "/etc", "models/../../elsewhere", None])
def test_a_zoo_cannot_pull_in_other_folders(tmp_path: Path, run: str | None) -> None:
    folder = sample_zoo.single_zoo(tmp_path / "zoo")
    sample_run.birds_run(tmp_path / "elsewhere")
    content = json.loads((folder / "zoo.json").read_bytes())
    content["models"][0]["run"] = run
    (folder / "zoo.json").write_text(json.dumps(content))
    with pytest.raises(RunError, match=r"outside the zoo's|names no run folder"):
        gather_zoo(folder)


# What the page says


def test_the_sections_stand_in_order(paper_page: str) -> None:
    page = outline(paper_page)
    assert page.unclosed == []
    assert [text for level, text in page.headings if level < 3] == [
        "42 models on drawn birds",
        "Summary",
        "Core and spurious accuracy",
        "All models",
        "Groups of models",
        "Clean and core order",
        "Features across models",
        "Data",
        "What was not measured",
        "Definitions",
        "Provenance",
    ]
    assert len(page.ids) == len(set(page.ids))
    links = [value[1:] for tag, name, value in page.attributes if (tag, name) == ("a", "href") and value[0] == "#"]
    assert set(links) <= set(page.ids)


def test_the_summary_names_both_ends_and_what_failed(paper: Path, paper_page: str) -> None:
    text = outline(paper_page).text
    rows = [row for row in rows_of(zoo_csv_text(gather_zoo(paper))) if row["rcs"]]
    most, least = max(rows, key=lambda row: float(row["rcs"])), min(rows, key=lambda row: float(row["rcs"]))
    assert "40 models were evaluated on drawn birds, 5 000 images." in text
    for row, word in ((most, f"{most['name']} looks most at the object"), (least, f"and {least['name']} least")):
        ends = f"{float(row['rcs_ci_low']):.3f} to {float(row['rcs_ci_high']):.3f}"
        assert f"{word}, RCS {float(row['rcs']):.3f} (95 % {ends})" in text
    assert "2 models failed." in text
    assert "The ends of this order are not settled by this many images" in text
    band = text[text.index("Summary 40 models") : text.index("Each point is a model")]
    assert f"ViT-B/32 {sample_zoo.FAILED}" in band
    assert f"Wide ResNet50 {sample_zoo.FAILED}" in band


def test_every_model_is_in_the_table_with_its_published_figures(paper: Path, paper_page: str) -> None:
    text = outline(paper_page).text
    evidence = gather_zoo(paper)
    places = ranks(evidence)
    for model in evidence.audited:
        printed = model.entry.published
        assert printed is not None
        assert printed.core is not None
        core = model.figure("core", 0.25)
        assert core is not None
        assert core.value is not None
        change = (core.value - printed.core) * 100
        said = f"{'+' if change > 0 else '−' if round(change, 1) else ''}{abs(change):.1f}"
        row = text[text.index(f"{model.entry.name} {model.entry.group} ") :][:300]
        assert f"publ. {printed.core * 100:.1f} ({said})" in row
        place = places[model.entry.id]
        gain = f"{'+' if place.gain > 0 else '−' if place.gain < 0 else ''}{abs(place.gain)}"
        assert f"{place.core} clean {place.clean} ({gain})" in row
    assert "ViT-B/32 failed: see the summary ViTs – publ. 87.6" in text
    assert sample_zoo.SOURCE in text


def test_the_plane_draws_every_model_once_and_its_published_figures_hollow(paper_page: str) -> None:
    part = paper_page[paper_page.index('<section id="map"') : paper_page.index('<section id="models"')]
    assert part.count("<title>") == 80
    assert part.count(": published</title>") == 40
    assert all(f">RCS {level}<" in part for level in ("−0.2", "0", "0.2", "0.4", "0.6"))
    assert "Hollow marks are the published figures of 40 models" in outline(paper_page).text


def test_group_means_are_the_means_of_their_models(paper: Path, paper_page: str) -> None:
    rows = [row for row in rows_of(zoo_csv_text(gather_zoo(paper))) if row["group"] == "Robust ResNets"]
    mean = sum(float(row["rcs"]) for row in rows) / len(rows)
    printed = sum(float(row["rcs_published"]) for row in rows) / len(rows)
    assert printed == pytest.approx(0.38135)  # "0.38" in the paper
    text = outline(paper_page).text
    row = text[text.index("Robust ResNets 4 ") :][:400]
    assert f"{mean:.3f} sd" in row
    assert f"published {printed:.3f}" in row


def test_features_are_ordered_by_how_many_models_they_fool(paper_page: str) -> None:
    page = outline(paper_page)
    places = [page.text.index(said) for said in ("milkweed monarch 40 of 40", "glove baseball 1 of 40")]
    assert places == sorted(places)
    assert "Noise on milkweed of monarch" in page.text
    assert "One model alone is fooled by glove of baseball (DeiT-S/16)." in page.text
    heat = paper_page[paper_page.index('class="matrix heat"') :].split("</table>")[0]
    fooled = [int(number) for number in re.findall(r'class="fooled">(\d+) of 40', heat)]
    assert fooled == sorted(fooled, reverse=True)
    assert heat.count("<b>") == sum(fooled)
    assert heat.count('class="heat-') == 40 * len(sample_zoo.PAIRS)


def test_region_swap_is_shown_per_model(tmp_path: Path) -> None:
    text = shown(sample_zoo.single_zoo(tmp_path)).text
    assert "the only one 90.0 % 70.0 % 20.0 18.6 to 21.4 5 000" in text


def test_other_input_sizes_are_told_but_compared(paper_page: str) -> None:
    text = outline(paper_page).text
    assert "Inception V4 dilation=square81@299x299 instead of dilation=square61@224x224" in text
    assert "Not comparable" not in text


def test_what_cannot_be_compared_or_has_no_meaning_is_said(tmp_path: Path) -> None:
    page = shown(sample_zoo.awkward_zoo(tmp_path))
    text = page.text
    assert "The figures of 1 model are defined differently from the others" in text
    assert "half precision=bf16 instead of precision=fp32" in text
    assert "large dilation=square87@320x320 instead of dilation=square61@224x224" in text
    assert "dead: rcs is undefined, core and spurious accuracy are both 0: RCS is 0/0." in text
    assert "– core and spurious accuracy are both 0: RCS is 0/0" in text
    assert "edge: RCS 1.000 is saturated, at its limit by arithmetic only." in text
    assert "1.000*" in text
    assert "1.000* 0.965 to 1.000 saturated" in text
    assert "usual and large have the same RCS, 0.455." in text
    assert "edge looks most" not in text
    assert "Saturated, RCS at its limit by arithmetic only (an accuracy sits at 0 or 100 %): edge." in text
    assert "half least" not in text
    assert "SPA014 The crop cuts off 12 % of the core mask's area. (edge)" in text
    assert "Feature drop 0 of 5 0 No feature is annotated. (all models)" in text
    assert "Patch swap 0 of 5 0 not asked for (all models)" in text


def test_the_sentence_names_a_saturated_model_only_where_all_are(tmp_path: Path) -> None:
    edge = Model("edge", "edge", core=0.9, spurious=0.0, flags=["saturated"])
    one = shown(save_zoo(tmp_path / "one", [edge, Model("a", "alpha", core=0.8)])).text
    assert "alpha has RCS" in one
    assert "edge looks most" not in one
    assert "They have no place in the order above." in one
    low = Model("low", "low", core=0.0, spurious=0.9, flags=["saturated"])
    both = shown(save_zoo(tmp_path / "both", [edge, low])).text
    assert "edge looks most at the object, RCS 1.000, saturated" in both
    assert "low least, RCS −1.000, saturated" in both
    assert "They have no place" not in both
    other = Model("other", "other", core=0.7, spurious=0.0, flags=["saturated"])
    same = shown(save_zoo(tmp_path / "same", [edge, other])).text
    assert "edge and other have the same RCS, 1.000, saturated." in same


def test_saturated_members_of_a_group_are_counted(tmp_path: Path) -> None:
    edge = Model("edge", "edge", "mine", core=0.9, spurious=0.0, flags=["saturated"])
    text = shown(save_zoo(tmp_path, [edge, Model("a", "alpha", "mine"), Model("b", "beta", "yours")])).text
    group = text[text.index("Group means") :]
    assert re.search(r"mine 2 .*? to 1\.000; 1 saturated yours 1 ", group)


def test_notices_that_change_the_reading_stand_beside_the_model(tmp_path: Path) -> None:
    better = "With --mean 0.5,0.5,0.5, 125 of 128 clean images are answered right instead of 96."
    limited = Notice(code="SPA002", text="Only 128 of 227 images were audited (--limit).")
    models = [
        Model("a", "alpha", core=0.8, notices=[limited, Notice(code="SPA006", text=better)]),
        Model("b", "beta", notices=[limited, Notice(code="SPA001", text="Near chance.")]),
        Model("c", "gamma", core=0.7, notices=[limited, Notice(code="SPA003", text="Small classes.")]),
    ]
    folder = save_zoo(tmp_path, models)
    page = shown(folder)
    table = page.text[page.text.index("Highest RCS first.") :]
    for row in (
        "beta SPA0011 near chance SPA0022 part of the images no group",
        "alpha SPA0022 part of the images SPA0063 other preprocessing does better no group",
        "gamma SPA0022 part of the images no group",
    ):
        assert row in table
    notes = f"SPA001 Near chance. (beta) {limited.code} {limited.text} (all models) SPA006 {better} (alpha)"
    assert notes in table
    assert "answers far more images right (SPA006) for 1 of 3 models: alpha." in page.text
    assert "Clean accuracy is near chance (SPA001) for 1 of 3 models: beta." in page.text
    links = {value[1:] for tag, name, value in page.attributes if (tag, name) == ("a", "href") and value[0] == "#"}
    assert {"notice-1", "notice-2", "notice-3"} <= links
    assert links <= set(page.ids)
    rows = rows_of(zoo_csv_text(gather_zoo(folder)))
    assert rows[0]["warnings"] == f"SPA002 {limited.text} | SPA006 {better}"
    assert rows[2]["warnings"] == f"SPA002 {limited.text} | SPA003 Small classes."


def test_names_break_at_their_joints_and_stay_text() -> None:
    assert breaks("net_100.tf_same/x") == "net_<wbr>100.<wbr>tf_<wbr>same/<wbr>x"
    assert breaks("a_<b>") == "a_&lt;b&gt;"
    assert breaks("plain-name_") == "plain-name_"


def test_a_line_shorter_than_its_name_goes_without(tmp_path: Path) -> None:
    """RCS -0.2 touches only the corner of the plane of 0.7..1 and 0..0.8, by the last bit of a float."""
    models = [Model("a", "alpha", core=0.756, spurious=0.01), Model("b", "beta", core=0.975, spurious=0.689)]
    page = render_zoo(save_zoo(tmp_path, models))
    part = page[page.index('<section id="map"') : page.index('<section id="models"')]
    assert ">RCS −0.2<" not in part
    assert all(f">RCS {level}<" in part for level in ("0", "0.2", "0.4", "0.6"))
    (start, bend), (_, end) = pairwise(iso_rcs(-0.2))
    assert clipped(start, bend, (0.7, 1.0), (0.0, 0.8)) is None
    assert clipped(bend, end, (0.7, 1.0), (0.0, 0.8)) is not None


def test_a_model_with_a_class_map_of_its_own_has_its_own_fingerprint(tmp_path: Path) -> None:
    folder = save_zoo(tmp_path, [Model("a", "alpha"), Model("b", "beta", core=0.8)])
    own = "ab" * 32
    record = sample_zoo.record(Model("b", "beta", core=0.8))
    mapped = record.model_copy(update={"data": record.data.model_copy(update={"fingerprint": own})})
    sample_run.save_run(folder / "models" / "b", mapped)
    zoo = read_zoo(folder)
    free = zoo.models[1].model_copy(update={"record_sha256": None})
    write_bytes(folder / "zoo.json", to_json(zoo.model_copy(update={"models": [zoo.models[0], free]})))
    with pytest.raises(RunError, match="measured on data abababababab, the zoo on 5d8e5d8e5d8e"):
        gather_zoo(folder)
    known = free.model_copy(update={"data_fingerprint": own})
    write_bytes(folder / "zoo.json", to_json(zoo.model_copy(update={"models": [zoo.models[0], known]})))
    evidence = gather_zoo(folder)
    assert [row["data_fingerprint"] for row in rows_of(zoo_csv_text(evidence))] == ["5d8e" * 16, own]
    text = shown(folder).text
    assert "With another class map abababababababab, the same photos (beta)" in text
    assert "Not comparable" not in text
    run = sample_run.save_run(tmp_path / "run", mapped)
    assert "Not comparable" not in outline(render(run, charts=False, against=folder)).text


def test_a_zoo_without_published_figures_and_groups(tmp_path: Path) -> None:
    page = shown(sample_zoo.plain_zoo(tmp_path))
    assert not [text for _, text in page.headings if text in ("Groups of models", "Features across models")]
    assert "publ." not in page.text
    assert "Hollow" not in page.text
    assert "alpha no group 90.0 88.6 to 91.4" in page.text
    assert "gamma gains most: 2 places, from rank 3 to 1." in page.text
    assert "alpha loses most: 2 places, from rank 1 to 3." in page.text
    assert "Published figures Source none" in page.text


def test_one_model_is_not_ranked(tmp_path: Path) -> None:
    page = shown(sample_zoo.single_zoo(tmp_path))
    assert page.headings[0] == (1, "1 model on drawn birds")
    assert "One model was evaluated on drawn birds, 5 000 images. the only one has RCS 0.455" in page.text
    assert "Clean and core order" not in [text for _, text in page.headings]


def test_a_zoo_in_which_everything_failed(tmp_path: Path) -> None:
    page = shown(save_zoo(tmp_path, [Model("a", "alpha", failed="It broke. Try again.")]))
    assert "None of the 1 model of model_zoo.yaml could be evaluated on drawn birds." in page.text
    assert "alpha It broke. Try again." in page.text
    assert page.unclosed == []


def test_a_title_replaces_the_default(tmp_path: Path) -> None:
    page = outline(render_zoo(sample_zoo.single_zoo(tmp_path), title=sample_run.HOSTILE))
    assert page.headings[0] == (1, sample_run.HOSTILE)


def test_models_with_a_report_are_linked_beside_the_page(tmp_path: Path) -> None:
    folder = sample_zoo.plain_zoo(tmp_path)
    write_bytes(folder / "models" / "b" / "report.html", b"<p>x")
    links = [value for tag, name, value in shown(folder).attributes if (tag, name) == ("a", "href")]
    assert [link for link in links if "report.html" in link] == ["./models/b/report.html"]


def test_models_asked_at_other_noise_are_not_mixed(tmp_path: Path) -> None:
    models = [Model("a", "alpha"), Model("b", "beta", core=0.7), Model("c", "gamma")]
    folder = save_zoo(tmp_path, models)
    other = sample_zoo.record(models[2])
    numbers = [
        item.model_copy(update={"scope": {"sigma": 0.5}}) if "sigma" in item.scope else item
        for item in other.measurements
    ]
    sample_run.save_run(folder / "models" / "c", other.model_copy(update={"measurements": numbers}))
    zoo = read_zoo(folder)
    entries = [entry.model_copy(update={"record_sha256": None}) for entry in zoo.models]
    write_bytes(folder / "zoo.json", to_json(zoo.model_copy(update={"models": entries})))
    assert gather_zoo(folder).sigma == 0.25
    assert [model.name for model in models_of(folder)] == ["alpha", "beta"]
    assert "gamma: core accuracy was not measured at sigma 0.25." in shown(folder).text


# Safety


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    page = shown(sample_zoo.hostile_zoo(tmp_path))
    assert page.unclosed == []
    assert page.tags.count("script") == 1
    assert "img" not in page.tags
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert page.text.count(sample_run.HOSTILE) > 20
    assert 'carpenter\'s "kit" & co' in page.text


def test_the_policy_allows_the_one_script_and_nothing_is_remote(paper_page: str) -> None:
    start = paper_page.encode()[:1024].decode()
    said = unescape(re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', start)[1])  # type: ignore[index]
    body = re.search(r"<script>(.*?)</script>", paper_page, re.DOTALL)
    assert body is not None
    digest = b64encode(sha256(body[1].encode()).digest()).decode()
    assert re.findall(r"'sha256-([^']+)'", said) == [digest]
    assert "default-src 'none'" in said
    links = [value for _, name, value in outline(paper_page).attributes if name in {"src", "href", "action"}]
    assert all(link.startswith(("#", "data:text/csv;", "data:application/json;")) for link in links)


def test_same_folder_same_bytes_in_any_process(paper: Path, paper_page: str) -> None:
    assert render_zoo(paper) == paper_page
    code = (
        "import sys, hashlib, pathlib\n"
        "class NoTorch:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name.split('.')[0] in {'torch', 'torchvision', 'timm', 'plotly', 'pandas'}:\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, NoTorch())\n"
        "from spuraudit.report.zoo_page import render_zoo\n"
        "print(hashlib.sha256(render_zoo(pathlib.Path(sys.argv[1])).encode()).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(paper)],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONHASHSEED": "7", "PATH": "/usr/bin:/bin", "TZ": "Asia/Tokyo"},
    )
    assert done.stdout.strip() == sha256(paper_page.encode()).hexdigest()


# CSV and downloads


def test_zoo_csv_has_a_row_per_model_and_raw_numbers(paper: Path) -> None:
    evidence = gather_zoo(paper)
    text = zoo_csv_text(evidence)
    rows = rows_of(text)
    assert tuple(rows[0]) == ZOO_COLUMNS
    assert [row["id"] for row in rows] == [model.id for model in evidence.zoo.models]
    assert text.count("\r\n") == 43
    record = read_record(paper / "models" / "deit-s-16")
    core = next(item for item in record.measurements if item.metric == "core_accuracy")
    row = next(row for row in rows if row["id"] == "deit-s-16")
    assert core.ci is not None
    assert (float(row["core"]), float(row["core_ci_low"]), float(row["core_ci_high"])) == (core.value, *core.ci)
    assert (row["core_n"], row["core_published"], row["sigma"]) == ("5000", "0.9144", "0.25")
    assert float(row["core_difference"]) == pytest.approx((core.value or 0) - 0.9144)
    assert int(row["rank_gain"]) == int(row["rank_clean"]) - int(row["rank_core"])
    assert row["definition"] == core.definition
    lost = next(row for row in rows if row["status"] == "failed")
    assert (lost["core"], lost["rank_core"], lost["reason"]) == ("", "", sample_zoo.FAILED)
    assert lost["core_published"]


def test_features_csv_has_a_row_per_class_feature_and_model(paper: Path) -> None:
    evidence = gather_zoo(paper)
    rows = rows_of(features_csv_text(evidence))
    assert tuple(rows[0]) == FEATURE_COLUMNS
    assert len(rows) == 40 * len(sample_zoo.PAIRS)
    assert rows == sorted(rows, key=lambda row: (row["class"], row["feature"]))
    row = next(row for row in rows if row["id"] == "deit-s-16" and row["feature"] == "glove")
    assert (row["class"], row["drop"], row["suspected"], row["n"]) == ("baseball", "0.31", "true", "65")
    assert float(row["drop_ci_low"]) < 0.31 < float(row["drop_ci_high"])
    assert float(row["excess"]) == pytest.approx(float(row["drop"]) - float(row["control_drop"]))


def test_csv_keeps_hostile_names_as_they_are(tmp_path: Path) -> None:
    evidence = gather_zoo(sample_zoo.hostile_zoo(tmp_path))
    assert rows_of(zoo_csv_text(evidence))[3]["reason"] == sample_run.HOSTILE
    assert sample_run.HOSTILE in {row["class"] for row in rows_of(features_csv_text(evidence))}


def test_the_page_carries_its_data(paper: Path, paper_page: str) -> None:
    evidence = gather_zoo(paper)
    carried = {
        name: b64decode(content).decode()
        for content, name in re.findall(r'<a href="data:[a-z/]+;base64,([^"]+)" download="([^"]+)"', paper_page)
    }
    assert carried == {
        "zoo.csv": zoo_csv_text(evidence),
        "features.csv": features_csv_text(evidence),
        "zoo.json": (paper / "zoo.json").read_text(),
    }


def test_downloads_are_compressed_then_left_out() -> None:
    small = download("a.csv", "text/csv", b"a" * 100, "")
    assert (small.name, small.href) == ("a.csv", f"data:text/csv;base64,{b64encode(b'a' * 100).decode()}")
    large = b"0123456789\n" * 200_000
    packed = download("a.csv", "text/csv", large, "")
    assert packed == download("a.csv", "text/csv", large, "")
    assert packed.name == "a.csv.gz"
    assert packed.href is not None
    assert gzip.decompress(b64decode(packed.href.split(",")[1])) == large
    noise = b"".join(sha256(str(index).encode()).digest() for index in range(200_000))
    assert download("a.csv", "text/csv", noise, "").href is None


# Parts


@given(st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4]), min_size=1, max_size=8))
def test_ranks_count_who_is_better(values: list[float]) -> None:
    assert ranked(values) == [1 + sum(other > value for other in values) for value in values]


def test_correlation_is_that_of_the_orders(tmp_path: Path) -> None:
    accuracies = [(0.9, 0.8), (0.8, 0.7), (0.7, 0.75), (0.6, 0.5)]
    models = [Model(f"m{i}", f"m{i}", clean=clean, core=core) for i, (clean, core) in enumerate(accuracies)]
    found = agreement(gather_zoo(save_zoo(tmp_path, models)), "clean", "core")
    assert (found.n, found.spearman, found.kendall) == (4, pytest.approx(0.8), pytest.approx(4 / 6))
    same = [Model(f"s{i}", "s", clean=0.5, core=0.1 * i) for i in range(3)]
    assert agreement(gather_zoo(save_zoo(tmp_path / "b", same)), "clean", "core").spearman is None


def test_definitions_differ_in_what_they_say() -> None:
    small, large = ("noise/x;sigma=0.25;dilation=square61@224x224", "noise/x;sigma=0.25;dilation=square87@320x320")
    assert differences(small, small) == []
    assert differences(small, large) == ["dilation=square87@320x320 instead of dilation=square61@224x224"]
    assert strict_differences(small, large) == []
    assert strict_differences(small, small.replace("61@224", "31@224")) != []
    assert differences("a/1;s=1", "a/2;s=1;clamp=no") == ["a/2 instead of a/1", "clamp=no added"]
    assert differences("a/1;clamp", "a/1") == ["without clamp"]


@given(st.floats(-0.9, 0.9), st.floats(0, 0.8), st.floats(0, 0.8))
def test_clipped_lines_stay_inside_and_on_the_line(level: float, left: float, floor: float) -> None:
    x_range, y_range = (left, left + 0.2), (floor, floor + 0.2)
    start, bend, _ = iso_rcs(level)
    part = clipped(start, bend, x_range, y_range)
    assume(part is not None)
    assert part is not None
    for core, spurious in part:
        assert left - 1e-9 <= core <= left + 0.2 + 1e-9
        assert floor - 1e-9 <= spurious <= floor + 0.2 + 1e-9
        assert core * bend[1] == pytest.approx(spurious * bend[0], abs=1e-9)


def test_groups_get_looks_of_their_own_and_known_ones_keep_theirs() -> None:
    found = looks(["ViTs", "mine", "ConvNets", "yours", "mine"])
    assert found["ViTs"] == ("square", "core")
    assert len(set(found.values())) == 4
    many = looks([f"group {index}" for index in range(40)])
    assert len(set(many.values())) == 12


# A scan among the models of a zoo


def test_a_scan_is_placed_among_the_models_of_a_zoo(tmp_path: Path, paper: Path) -> None:
    run = sample_run.birds_run(tmp_path / "run")
    page = outline(render(run, charts=False, against=paper))
    below = sum((model.rcs or 0) < 0.263 for model in models_of(paper))
    assert (2, "Among the models of model_zoo.yaml") in page.headings
    assert f"{below} of 40 models of model_zoo.yaml have a lower RCS." in page.text
    assert "Among published models" not in page.text
    assert "For orientation only" not in page.text
    assert "Not comparable: the figures of this model and those of model_zoo.yaml are defined differently" in page.text
    assert "Not comparable: this model was measured on" not in page.text


def test_the_same_definition_and_data_are_compared_without_a_warning(tmp_path: Path, paper: Path) -> None:
    run = sample_run.save_run(tmp_path / "run", sample_zoo.record(Model("x", "mine", core=0.8, size=256)))
    assert "Not comparable" not in outline(render(run, charts=False, against=paper)).text


def test_other_data_are_said_to_be_other_data(tmp_path: Path, paper: Path) -> None:
    record = sample_zoo.record(Model("x", "mine", core=0.8))
    other = record.data.model_copy(update={"fingerprint": "ff" * 32, "name": "other birds"})
    run = sample_run.save_run(tmp_path / "run", record.model_copy(update={"data": other}))
    text = outline(render(run, charts=False, against=paper)).text
    assert (
        "Not comparable: this model was measured on other birds (ffffffffffff), the models of model_zoo.yaml on" in text
    )


def test_another_class_map_alone_is_not_other_data(tmp_path: Path, paper: Path) -> None:
    record = sample_zoo.record(sample_zoo.paper_models()[0])
    classes = [item.model_copy(update={"outputs": [item.index + 9]}) for item in record.data.classes]
    other = record.data.model_copy(update={"fingerprint": "ff" * 32, "classes": classes})
    run = sample_run.save_run(tmp_path / "run", record.model_copy(update={"data": other}))
    text = outline(render(run, charts=False, against=paper)).text
    assert "Not comparable" not in text
    assert "This model has a class map of its own, so fingerprints cannot show that it saw the photos of" in text


def test_a_model_without_rcs_is_company_too(tmp_path: Path) -> None:
    zoo = sample_zoo.awkward_zoo(tmp_path / "zoo")
    dead = next(model for model in models_of(zoo) if model.name == "dead")
    assert (dead.core, dead.spurious, dead.rcs) == (0.0, 0.0, None)
    run = sample_run.save_run(tmp_path / "run", sample_zoo.record(Model("x", "mine", core=0.8)))
    page = outline(render(run, charts=False, against=zoo))
    assert "dead ViTs 1.0 % 0.0 % 0.0 % –" in page.text
    assert page.unclosed == []


def test_write_takes_the_zoo(tmp_path: Path) -> None:
    run, zoo = sample_run.birds_run(tmp_path / "run"), sample_zoo.plain_zoo(tmp_path / "zoo")
    page = write(run, tmp_path / "page.html", charts=False, against=zoo)
    assert page.read_text() == render(run, charts=False, against=zoo)
    with pytest.raises(RunError, match="no zoo run here"):
        write(run, tmp_path / "other.html", against=tmp_path / "run")
    assert not (tmp_path / "other.html").exists()


# Size


def test_lists_are_bounded_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    drops = {(f"class {index}", "feature"): 0.001 * index for index in range(bounds.HEAT_ROWS + 30)}
    models = [Model(f"m{index}", f"model {index}", drops=drops) for index in range(bounds.HEAT_MODELS + 2)]
    folder = save_zoo(tmp_path, models)
    page = render_zoo(folder)
    text = outline(page).text
    assert page.count('class="fooled"') == bounds.HEAT_ROWS
    assert "30 features after the first 60: see features.csv. 2 models after the first 60: see features.csv." in text
    assert 'class="chart wide slopes"' not in page
    assert len(rows_of(features_csv_text(gather_zoo(folder)))) == 90 * 62


@pytest.mark.slow
def test_42_models_and_5000_features_stay_below_the_limit(tmp_path: Path) -> None:
    pairs = tuple((f"class {index // 5:04d}", f"feature {index}") for index in range(4998))
    folder = save_zoo(tmp_path, sample_zoo.paper_models((sample_zoo.PAIRS[0], *pairs, sample_zoo.PAIRS[-1])))
    page = render_zoo(folder)
    assert len(page.encode()) < LIMIT
    found = re.search(r'<a href="data:application/gzip;base64,([^"]+)" download="features.csv.gz"', page)
    assert found is not None
    text = gzip.decompress(b64decode(found[1])).decode()
    assert text.count("\r\n") == 40 * 5000 + 1
