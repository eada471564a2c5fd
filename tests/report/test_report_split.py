"""A page whose style sheet and pictures lie beside it: what is written, what is replaced, what is left alone."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import unquote

import pytest
import sample_run
import sample_zoo
from page_outline import outline
from PIL import Image
from typer.testing import CliRunner

from spuraudit.errors import RunError, UsageError
from spuraudit.record.folder import read_record
from spuraudit.report import Edition, make_edition, write
from spuraudit.report.parts import MARK, Parts, write_page


@pytest.fixture(scope="module")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample_run.birds_run(tmp_path_factory.mktemp("birds"), sample_run.verdict("fail", "pass"))


def beside(page: Path) -> set[str]:
    """What lies in the page's folder."""
    folder = page.with_name(f"{page.stem}_files")
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def referred(page: Path) -> set[str]:
    """What the page refers to in its folder."""
    found = re.findall(r'(?:src|href)="\./([^"]+)"', page.read_text(encoding="utf-8"))
    return {unquote(name).removeprefix(f"{page.stem}_files/") for name in found}


def test_a_split_page_holds_nothing_that_a_strict_server_drops(birds: Path, tmp_path: Path) -> None:
    page = write(birds, tmp_path / "page.html", split=True)
    whole = write(birds, tmp_path / "whole.html", charts=False)
    text = page.read_text(encoding="utf-8")
    for dropped in ("<style", "<script", "style=", "data:", "<noscript", "hidden>Save"):
        assert dropped not in text
    assert referred(page) == beside(page)
    assert {Path(name).parts[0] for name in beside(page)} == {"style.css", "img", "data"}
    shown, inside = outline(text), outline(whole.read_text(encoding="utf-8"))
    assert [image["alt"] for image in shown.images] == [image["alt"] for image in inside.images]
    assert shown.headings == inside.headings
    assert shown.unclosed == []
    for image in shown.images:
        Image.open(tmp_path / unquote(image["src"])).load()


def test_the_record_beside_the_page_is_the_run_s(birds: Path, tmp_path: Path) -> None:
    write(birds, tmp_path / "page.html", split=True)
    stored = json.loads((tmp_path / "page_files/data/scan.json").read_bytes())
    assert stored == read_record(birds).model_dump(mode="json", by_alias=True)


def test_writing_again_leaves_no_file_behind(birds: Path, tmp_path: Path) -> None:
    page = write(birds, tmp_path / "page.html", split=True)
    first = {name: (tmp_path / "page_files" / name).read_bytes() for name in beside(page)}
    write(birds, page, split=True)
    assert {name: (tmp_path / "page_files" / name).read_bytes() for name in beside(page)} == first
    write(birds, page, split=True, edition=Edition(redact=True))
    assert beside(page) == {"style.css", "data/scan.json"} == referred(page)
    write(birds, page, split=True)
    write(birds, page, charts=False, edition=Edition(redact=True))
    assert not (tmp_path / "page_files").exists()


def test_a_foreign_folder_is_not_touched(birds: Path, tmp_path: Path) -> None:
    folder = tmp_path / "page_files"
    (folder / "img").mkdir(parents=True)
    (folder / "img/0123456789abcdef.png").write_bytes(b"mine")
    (folder / "style.css").write_text("/* mine */")
    with pytest.raises(RunError, match="is not that of a report"):
        write(birds, tmp_path / "page.html", split=True)
    assert not (tmp_path / "page.html").exists()
    write(birds, tmp_path / "page.html", charts=False)
    assert beside(tmp_path / "page.html") == {"img/0123456789abcdef.png", "style.css"}


def test_what_a_page_did_not_write_stays_in_its_folder(tmp_path: Path) -> None:
    parts = Parts("page_files")
    parts.style("a {}")
    parts.picture("image/png", b"one")
    write_page(tmp_path / "page.html", "", parts)
    (tmp_path / "page_files/img/holiday.png").write_bytes(b"mine")
    parts.start()
    parts.style("b {}")
    write_page(tmp_path / "page.html", "", parts)
    assert beside(tmp_path / "page.html") == {"style.css", "img/holiday.png"}
    assert (tmp_path / "page_files/style.css").read_text() == MARK + "b {}"


def test_addresses_are_quoted(birds: Path, tmp_path: Path) -> None:
    page = write(birds, tmp_path / 'a b#1?"&.html', split=True)
    images = outline(page.read_text(encoding="utf-8")).images
    assert images
    assert all((tmp_path / unquote(image["src"])).is_file() for image in images)


def test_the_limit_counts_what_lies_beside(birds: Path, tmp_path: Path) -> None:
    page = write(birds, tmp_path / "page.html", split=True)
    size = page.stat().st_size + sum((tmp_path / "page_files" / name).stat().st_size for name in beside(page))
    smaller = write(birds, tmp_path / "small.html", split=True, edition=Edition(most=size - 1))
    together = sum((tmp_path / "small_files" / name).stat().st_size for name in beside(smaller))
    assert smaller.stat().st_size + together < size
    assert referred(smaller) == beside(smaller)
    assert "Left out of this page." in outline(smaller.read_text(encoding="utf-8")).text
    with pytest.raises(UsageError, match="is not possible"):
        write(birds, tmp_path / "none.html", split=True, edition=Edition(most=100_000))
    assert not (tmp_path / "none_files").exists()


def test_a_logo_lies_beside_too(birds: Path, tmp_path: Path) -> None:
    logo = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path d="M0 0h9"/></svg>'
    (tmp_path / "logo.svg").write_text(logo)
    edition = make_edition(logo=tmp_path / "logo.svg", redact=True)
    page = write(birds, tmp_path / "page.html", split=True, edition=edition)
    (image,) = outline(page.read_text(encoding="utf-8")).images
    assert image["src"].endswith(".svg")
    assert (tmp_path / image["src"]).read_text() == logo


def test_the_page_of_a_zoo_run_splits_too(tmp_path: Path) -> None:
    zoo = sample_zoo.plain_zoo(tmp_path / "zoo")
    page = write(zoo, zoo / "zoo.html", split=True)
    text = page.read_text(encoding="utf-8")
    for dropped in ("<style", "<script", "style=", "data:"):
        assert dropped not in text
    assert {name for name in beside(page) if name.startswith("data/")} >= {"data/zoo.csv", "data/zoo.json"}
    assert (zoo / "zoo_files/data/zoo.json").read_bytes() == (zoo / "zoo.json").read_bytes()


def test_the_command_splits(birds: Path, tmp_path: Path) -> None:
    import typer

    from spuraudit.cli.report import report

    app = typer.Typer()
    app.command()(report)
    out = tmp_path / "page.html"
    result = CliRunner().invoke(app, [str(birds), "-o", str(out), "--split"])
    assert result.exit_code == 0, result.output
    assert "style.css" in beside(out)
    refused = CliRunner().invoke(app, [str(birds), "-o", str(tmp_path / "a.csv"), "--split"])
    assert isinstance(refused.exception, UsageError)
    assert "--split has no effect" in refused.exception.message
