"""The pages that scan, zoo and fix write themselves: what the config's `report:` and `--redact-images` make of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import toys

from spuraudit.cli.fix_outcome import write_pages
from spuraudit.cli.main import main
from spuraudit.cli.pages import Pages, pages_of
from spuraudit.errors import UsageError
from spuraudit.gates import load_config
from spuraudit.report import Edition

SECTION = "report: {title: Nightly, notes: notes.md, redact_images: true, max_report_mb: 2}\n"
SCAN = ["--data", "data", "--audits", "region_swap", "--swap-trials", "2"]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    toys.draw(folder / "data", toys.Toy(test=20, train=6))
    toys.save_cnn(folder / "model.pt", {"object": 1.0, "frame": 1.5})
    return folder


@pytest.fixture
def here(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("data", "model.pt"):
        (tmp_path / name).symlink_to(original / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shown(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def test_a_scan_writes_the_page_that_the_config_asks_for(here: Path) -> None:
    (here / ".spuraudit.yaml").write_text(SECTION)
    (here / "notes.md").write_text("Of the *nightly* job.")
    assert main(["scan", "model.pt", *SCAN, "-o", "run", "-o", "copy.html", "--quiet"]) == 0
    for page in (here / "run/report.html", here / "copy.html"):
        assert "<title>Nightly" in shown(page)
        assert "Of the <em>nightly</em> job." in shown(page)
        assert "data:image" not in shown(page)
        assert page.stat().st_size <= 2_000_000
    assert list((here / "run/exhibits").glob("*.webp"))


def test_one_option_withholds_the_pictures_of_a_scan(here: Path) -> None:
    assert main(["scan", "model.pt", *SCAN, "-o", "run", "--quiet"]) == 0
    assert "data:image/webp" in shown(here / "run/report.html")
    assert main(["scan", "model.pt", *SCAN, "-o", "run", "--quiet", "--redact-images"]) == 0
    assert "data:image" not in shown(here / "run/report.html")
    assert "Pictures were withheld" in shown(here / "run/report.html")


def test_a_missing_file_is_known_before_the_scan(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / ".spuraudit.yaml").write_text(SECTION)
    assert main(["scan", "model.pt", *SCAN, "-o", "run"]) == 2
    assert ".spuraudit.yaml: report.notes:" in capsys.readouterr().err
    assert not (here / "run").exists()


def test_a_zoo_run_hands_on_all_its_pages(here: Path) -> None:
    (here / ".spuraudit.yaml").write_text(SECTION)
    (here / "notes.md").write_text("Of the *nightly* job.")
    (here / "second.pt").symlink_to((here / "model.pt").resolve())
    models = ["--models", "model.pt", "--models", "second.pt"]
    assert main(["zoo", *models, *SCAN, "-o", "zoo", "--quiet"]) == 0
    pages = sorted((here / "zoo").rglob("*.html"))
    assert len(pages) == 3
    for page in pages:
        assert "Of the <em>nightly</em> job." in shown(page)
        assert "data:image" not in shown(page)
        assert ("<title>Nightly" in shown(page)) == (page.name == "zoo.html")


@pytest.mark.slow
def test_a_fix_hands_on_all_its_pages(tmp_path: Path) -> None:
    import toy_fix
    from markupsafe import Markup

    toy_fix.write_fix(tmp_path / "fix", toy_fix.draw(tmp_path / "data", test=12))
    pages = Pages("Nightly", Edition(notes=Markup("Ours."), redact=True))
    assert write_pages(tmp_path / "fix", pages) == tmp_path / "fix/report.html"
    written = sorted((tmp_path / "fix").rglob("report.html"))
    assert len(written) == 4
    for page in written:
        assert "Ours." in shown(page)
        assert "data:image" not in shown(page)
        assert ("<title>Nightly" in shown(page)) == (page.parent.name == "fix")


def test_the_option_adds_to_the_config(tmp_path: Path) -> None:
    file = tmp_path / ".spuraudit.yaml"
    file.write_text("report: {title: A, redact_images: false, max_report_mb: 1.5}")
    config = load_config(file)
    assert pages_of(config) == Pages("A", Edition(most=1_500_000))
    assert pages_of(config, redact_images=True) == Pages("A", Edition(redact=True, most=1_500_000))
    assert pages_of(None) == Pages() == pages_of(load_config(_empty(tmp_path)))
    file.write_text("report: {logo: missing.png}")
    with pytest.raises(UsageError, match="cannot be read"):
        pages_of(load_config(file))


def _empty(folder: Path) -> Path:
    file = folder / "empty.yaml"
    file.write_text("")
    return file
