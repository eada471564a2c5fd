"""`spuraudit report` and `compare` on what is not one scan: a zoo run, a fix, several runs; how these are handed on."""

from __future__ import annotations

from pathlib import Path

import pytest
import sample_run
import sample_zoo
import toy_fix
import typer
from page_outline import outline
from typer.testing import CliRunner

from spuraudit.cli.compare import compare
from spuraudit.cli.report import report
from spuraudit.errors import RunError, UsageError
from spuraudit.record.folder import read_record
from spuraudit.report import Edition, make_edition, write
from spuraudit.report.fix_page import render_fix
from spuraudit.report.output import found_in, page_of
from spuraudit.report.zoo_csv import zoo_csv_text
from spuraudit.report.zoo_evidence import gather_zoo
from spuraudit.report.zoo_page import render_zoo

app = typer.Typer()
app.command()(report)
app.command()(compare)
runner = CliRunner()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("kinds")
    toy_fix.write_fix(root / "fix", toy_fix.draw(root / "data"))
    return {
        "zoo": sample_zoo.plain_zoo(root / "zoo"),
        "fix": root / "fix",
        "scan": sample_run.healthy_run(root / "scan"),
    }


@pytest.fixture
def signed(tmp_path: Path) -> list[str]:
    """Options with a logo and notes."""
    (tmp_path / "logo.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"/>')
    (tmp_path / "notes.md").write_text("Seen by *me*.")
    return ["--logo", str(tmp_path / "logo.svg"), "--notes", str(tmp_path / "notes.md")]


def command(name: str, folders: dict[str, Path]) -> list[str]:
    arms = [str(folders["fix"] / "before"), str(folders["fix"] / "fixed")]
    if name in ("several", "compare"):
        return ["report" if name == "several" else "compare", *arms]
    return ["report", str(folders[name])]


@pytest.mark.parametrize("name", ["scan", "zoo", "fix", "several", "compare"])
def test_every_page_has_a_logo_and_notes(
    folders: dict[str, Path], signed: list[str], name: str, tmp_path: Path
) -> None:
    out = tmp_path / "page.html"
    result = runner.invoke(app, [*command(name, folders), "-o", str(out), *signed, "--title", "Ours"])
    assert result.exit_code == 0, result.output
    page = outline(out.read_text(encoding="utf-8"))
    assert page.headings[0] == (1, "Ours")
    assert [image["alt"] for image in page.images if image["alt"] == "Logo"] == ["Logo"]
    assert "Seen by me." in page.text
    assert [text for level, text in page.headings if level == 2].count("Notes") == 1
    assert page.unclosed == []


@pytest.mark.parametrize("name", ["scan", "zoo", "fix", "several"])
def test_every_page_can_be_had_without_pixels(folders: dict[str, Path], name: str, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    result = runner.invoke(app, [*command(name, folders), "-o", str(out), "--redact-images", "--no-charts"])
    assert result.exit_code == 0, result.output
    assert outline(out.read_text(encoding="utf-8")).images == []
    assert "data:image" not in out.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["zoo", "fix", "several"])
def test_files_to_download_go_first_where_a_page_is_too_large(
    folders: dict[str, Path], name: str, tmp_path: Path
) -> None:
    out, less = tmp_path / "page.html", tmp_path / "less.html"
    assert runner.invoke(app, [*command(name, folders), "-o", str(out)]).exit_code == 0
    whole = outline(out.read_text(encoding="utf-8"))
    links = [value for tag, key, value in whole.attributes if (tag, key) == ("a", "href") and value.startswith("data:")]
    assert links
    limit = f"{(out.stat().st_size - sum(map(len, links)) + 1_000) / 1e6:.6f}"
    result = runner.invoke(app, [*command(name, folders), "-o", str(less), "--max-report-mb", limit])
    assert result.exit_code == 0, result.output
    assert less.stat().st_size <= float(limit) * 1e6
    page = outline(less.read_text(encoding="utf-8"))
    assert "Too large for this page" in page.text
    assert page.headings == whole.headings
    refused = runner.invoke(app, [*command(name, folders), "-o", str(less), "--max-report-mb", "0.01"])
    assert isinstance(refused.exception, UsageError)
    assert "is not possible" in refused.exception.message


def test_the_pages_are_the_same_as_those_that_the_commands_wrote(folders: dict[str, Path]) -> None:
    assert page_of(folders["zoo"]) == folders["zoo"] / "zoo.html"
    assert page_of(folders["fix"] / "fix.json") == folders["fix"] / "report.html"
    for name, render in (("zoo", render_zoo), ("fix", render_fix)):
        result = runner.invoke(app, ["report", str(folders[name])])
        assert result.stdout == f"{page_of(folders[name])}\n"
        assert page_of(folders[name]).read_text(encoding="utf-8") == render(folders[name])


def test_a_page_that_leaves_its_folder_leads_to_nothing_that_stays(folders: dict[str, Path], tmp_path: Path) -> None:
    for name, link in (("zoo", "models/"), ("fix", "/report.html")):
        for model in folders["zoo"].glob("models/*/scan.json"):
            (model.parent / "report.html").touch()
        at_home = write(folders[name], page_of(folders[name])).read_text(encoding="utf-8")
        away = write(folders[name], tmp_path / f"{name}.html").read_text(encoding="utf-8")
        links = {
            text: [v for tag, key, v in outline(text).attributes if (tag, key) == ("a", "href")]
            for text in (at_home, away)
        }
        assert any(link in href for href in links[at_home])
        assert not any(link in href for href in links[away])


def test_other_forms_of_a_zoo_run_and_a_fix(folders: dict[str, Path], tmp_path: Path) -> None:
    zoo, fix = folders["zoo"], folders["fix"]
    assert write(zoo, tmp_path / "zoo.json").read_bytes() == (zoo / "zoo.json").read_bytes()
    assert write(zoo, tmp_path / "zoo.csv").read_bytes().decode() == zoo_csv_text(gather_zoo(zoo))
    assert write(fix, tmp_path / "fix.json").read_bytes() == (fix / "fix.json").read_bytes()
    assert write(fix, tmp_path / "fix.md", title="Ours").read_text(encoding="utf-8").startswith("## Ours")
    with pytest.raises(UsageError, match="no Markdown form"):
        write(zoo, tmp_path / "zoo.md")
    with pytest.raises(UsageError, match="no CSV form"):
        write(fix, tmp_path / "fix.csv")


def test_kinds_are_told_apart(folders: dict[str, Path], tmp_path: Path) -> None:
    assert {name: found_in(folder)[0] for name, folder in folders.items()} == {
        "zoo": "zoo",
        "fix": "fix",
        "scan": "scan",
    }
    assert found_in(folders["scan"] / "scan.json") == ("scan", folders["scan"])
    with pytest.raises(RunError, match="no run here"):
        write(tmp_path, tmp_path / "a.html")
    (tmp_path / "trials.json").touch()
    with pytest.raises(RunError, match="several fixes"):
        found_in(tmp_path)


@pytest.mark.parametrize("name", ["zoo", "fix", "several"])
def test_against_is_for_the_page_of_one_scan(folders: dict[str, Path], name: str, tmp_path: Path) -> None:
    out = tmp_path / "a.html"
    result = runner.invoke(app, [*command(name, folders), "-o", str(out), "--against", "zoo"])
    assert isinstance(result.exception, UsageError)
    assert "--against has no effect" in result.exception.message
    assert not out.exists()


@pytest.mark.parametrize("more", [[], ["-o", "a.md"]])
def test_compare_refuses_what_belongs_to_a_page_without_one(
    folders: dict[str, Path], signed: list[str], more: list[str]
) -> None:
    result = runner.invoke(app, [*command("compare", folders), *more, *signed[:2]])
    assert isinstance(result.exception, UsageError)
    assert "--logo has no effect: no HTML page is written." in result.exception.message


def test_a_comparison_splits(folders: dict[str, Path], tmp_path: Path) -> None:
    result = runner.invoke(app, [*command("compare", folders), "-o", str(tmp_path / "page.html"), "--split"])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "page_files/style.css").is_file()
    assert (tmp_path / "page_files/data/comparison.json").is_file()
    assert read_record(folders["fix"] / "fixed").model.name in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_messages_name_the_option_or_the_key_of_the_config(tmp_path: Path) -> None:
    config = tmp_path / ".spuraudit.yaml"
    for named, arguments in (("--notes", {}), (f"{config}: report.notes:", {"config": config})):
        with pytest.raises(UsageError) as caught:
            make_edition(notes=tmp_path / "missing.md", **arguments)
        assert caught.value.message.startswith(f"{named} {tmp_path / 'missing.md'}: cannot be read")
    assert make_edition() == Edition()
