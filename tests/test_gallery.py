"""examples/gallery: the script runs on a real scan of the digits, and the committed pictures are what it makes."""

from __future__ import annotations

import io
import re
import shutil
import sys
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder
from PIL import Image

import spuraudit
from spuraudit.report import make_edition, write
from spuraudit.runs.demo import make_digits, train_cnn
from spuraudit.runs.progress import Silent

ROOT = Path(__file__).resolve().parent.parent
GALLERY = ROOT / "examples" / "gallery"
READMES = (ROOT / "README.md", GALLERY / "README.md")
MOST, TOTAL = 120_000, 900_000


def load_example() -> Any:
    """The example's modules, which import each other by name; other examples use the same names."""
    names = ("shots", "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(GALLERY)
        loaded = {name: import_module(name) for name in names}
    for name in names:
        del sys.modules[name]
    return SimpleNamespace(**loaded)


example = load_example()
COMMITTED = sorted(GALLERY.glob("*.webp"))


def shown(readme: Path) -> dict[Path, str]:
    """Picture -> alternative text ("" for the dark twin of another), as Markdown and HTML name them."""
    text = readme.read_text(encoding="utf-8")
    marked = {place: alt for alt, place in re.findall(r"!\[([^\]]*)\]\(([^)\s]+)\)", text)}
    tagged = dict(re.findall(r'<img src="([^"]+)"[^>]*?\balt="([^"]*)"', text))
    twins = dict.fromkeys(re.findall(r'srcset="([^"]+)"', text), "")
    return {(readme.parent / place).resolve(): alt for place, alt in {**twins, **marked, **tagged}.items()}


def test_every_shot_is_committed_and_nothing_else() -> None:
    assert sorted(file.stem for file in COMMITTED) == sorted(shot.name for shot in example.shots.SHOTS)
    others = {file.name for file in GALLERY.iterdir() if file.suffix != ".webp"} - {"__pycache__"}
    assert others == {"README.md", "run.py", "shots.py"}


def test_committed_pictures_are_small() -> None:
    sizes = {file.name: file.stat().st_size for file in COMMITTED}
    assert max(sizes.values()) <= MOST == example.shots.MOST
    assert sum(sizes.values()) <= TOTAL


@pytest.mark.parametrize("shot", example.shots.SHOTS, ids=lambda shot: shot.name)
def test_committed_pictures_are_as_wide_as_they_are_taken(shot: Any) -> None:
    with Image.open(GALLERY / f"{shot.name}.webp") as picture:
        scale = 2 if shot.size == example.shots.PHONE else 1
        assert (picture.format, picture.size) == ("WEBP", (shot.size[0] * scale, shot.size[1] * scale))
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 20  # not an empty window


@pytest.mark.parametrize("readme", READMES, ids=lambda file: str(file.relative_to(ROOT)))
def test_pictures_that_a_readme_names_exist_and_are_described(readme: Path) -> None:
    pictures = shown(readme)
    assert len(pictures) >= 3
    for file, alt in pictures.items():
        assert file.is_file(), file
        assert len(alt) > 40 or file.stem.endswith("-dark"), file


def test_the_gallery_names_every_picture() -> None:
    assert set(shown(GALLERY / "README.md")) == set(COMMITTED)
    assert "(examples/gallery/README.md)" in READMES[0].read_text(encoding="utf-8")


def test_neither_wheel_nor_sdist_ships_the_gallery() -> None:
    for builder in (SdistBuilder(str(ROOT)), WheelBuilder(str(ROOT))):
        with builder.config.set_build_data({"artifacts": [], "force_include": {}}):
            files = [included.distribution_path for included in builder.recurse_included_files()]
        assert any(file.endswith("spuraudit/errors.py") for file in files)
        assert not [file for file in files if file.startswith("examples")]


def test_a_step_without_what_it_works_on_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    for only, lacks in (("fashion", "--fashion DIR"), ("photos", "--photos DATA and --model MODEL")):
        monkeypatch.setattr(sys, "argv", ["run.py", "--only", only])
        with pytest.raises(SystemExit, match="2"):
            example.run.parse_arguments()
        assert lacks in capsys.readouterr().err


def test_what_was_not_given_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["run.py", "--fashion", "there"])
    assert example.run.parse_arguments().only == ["digits", "fashion", "pictures"]


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OUT with a scan of some of the demo's digits, where the script looks for the whole demo."""
    out = tmp_path_factory.mktemp("gallery")
    data, weights = make_digits(out / "digits" / "data"), train_cnn(out / "digits" / "model.pt", 0, Silent())
    settings = spuraudit.ScanSettings(audits=("noise", "region_swap"), trials=1, swap_trials=1, limit=300)
    model = spuraudit.load_model(str(weights), device="cpu")
    spuraudit.scan(model, spuraudit.open_dataset(str(data)), out / "digits" / "run-small", settings)
    return out


def carry_out(monkeypatch: pytest.MonkeyPatch, out: Path, *steps: str) -> str:
    """What `python run.py --out OUT --only STEPS` prints, in this process."""
    printed = io.StringIO()
    monkeypatch.setattr(sys, "argv", ["run.py", "--out", str(out), "--only", *steps])
    with redirect_stdout(printed), redirect_stderr(printed):
        example.run.main()
    return printed.getvalue()


@pytest.fixture
def _needs_chromium() -> None:
    pytest.importorskip("playwright.sync_api", reason="needs the Python package playwright")
    try:
        example.shots.find_chromium()
    except example.shots.NoBrowserError as error:
        pytest.skip(str(error))


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.usefixtures("_needs_chromium")
def test_digits_are_not_made_again_but_judged_and_pictured(small_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = carry_out(monkeypatch, small_run, "digits", "pictures")
    assert " demo " not in said
    assert (small_run / "digits/run-small/verdict.json").is_file()
    assert (small_run / "pages/digits.html").is_file()
    names = [shot.name for shot in example.shots.SHOTS if shot.page == "digits"]
    pictures = sorted(small_run.glob("pictures/*.webp"))
    assert sorted(file.stem for file in pictures) == sorted(names)
    for file in pictures:
        assert f"{file.name} (" in said
        assert 5_000 < file.stat().st_size <= MOST
    tops = {name: Image.open(small_run / f"pictures/{name}.webp") for name in ("digits-top", "digits-top-dark")}
    assert tops["digits-top"].getpixel((5, 5)) > (200, 200, 200) > (60, 60, 60)
    assert tops["digits-top-dark"].getpixel((5, 5)) < (60, 60, 60)
    again = carry_out(monkeypatch, small_run, "digits")
    assert again == ""


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.usefixtures("_needs_chromium")
def test_no_picture_is_taken_of_a_page_that_shows_photos(small_run: Path, tmp_path: Path) -> None:
    """The digits stand in for photos: the page with them is refused, the redacted one is not."""
    run = small_run / "digits/run-small"
    bare = write(run, tmp_path / "bare.html", charts=False)
    with pytest.raises(example.shots.PhotoShownError, match="redact"):
        example.shots.take_all({"photos": bare}, tmp_path / "bare")
    assert not list((tmp_path / "bare").iterdir())
    hidden = write(run, tmp_path / "hidden.html", charts=False, edition=make_edition(redact=True))
    written = example.shots.take_all({"photos": hidden}, tmp_path / "hidden")
    assert [file.stem for file in written] == [s.name for s in example.shots.SHOTS if s.page == "photos"]
    shutil.rmtree(tmp_path / "hidden")
