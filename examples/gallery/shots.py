"""Pictures of report pages: Debian's Chromium, no network, WebP files small enough to commit."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
DESKTOP, PHONE = (1280, 860), (390, 780)
PATIENCE = 300_000  # milliseconds: the machine may be busy
#: Bytes of a picture.
MOST = 120_000
#: Tried in order until a picture is small enough. Text and flat areas are best without loss.
ENCODINGS: tuple[dict[str, Any], ...] = ({"lossless": True}, {"quality": 88}, {"quality": 78}, {"quality": 65})


class NoBrowserError(Exception):
    """There is no Chromium, or no Python package playwright."""


class PhotoShownError(Exception):
    """A page that must not show pictures of the data does."""


class Shot(NamedTuple):
    """A picture: its page, the element that it begins at (None: the top of the page), width and height, scheme."""

    name: str
    page: str
    part: str | None = None
    size: tuple[int, int] = DESKTOP
    scheme: str = "light"


SHOTS = (
    Shot("digits-top", "digits"),
    Shot("digits-top-dark", "digits", scheme="dark"),
    Shot("digits-phone", "digits", size=PHONE),
    Shot("digits-suspects", "digits", "#suspects"),
    Shot("digits-swap", "digits", "#swap h3:text-is('By class pair')"),
    Shot("fashion-top", "fashion"),
    Shot("fashion-top-dark", "fashion", scheme="dark"),
    Shot("fashion-phone", "fashion", size=PHONE),
    Shot("fashion-shortcuts", "fashion", "#shortcuts"),
    Shot("photos-top", "photos"),
    Shot("photos-top-dark", "photos", scheme="dark"),
    Shot("photos-phone", "photos", size=PHONE),
    Shot("photos-numbers", "photos", "#numbers"),
)
#: Waits until what is in the window is drawn. Pictures further down are loaded only when they come near.
DRAWN = """async () => {
  const near = [...document.images].filter(one => {
    const box = one.getBoundingClientRect();
    return one.checkVisibility() && box.bottom > 0 && box.top < innerHeight;
  });
  near.forEach(one => { one.loading = "eager"; });
  await Promise.all([document.fonts.ready, ...near.map(one => one.decode())]);
}"""
#: Pages on which no picture of the data may be.
REDACTED = ("photos",)


def find_chromium() -> str:
    """$SPURAUDIT_CHROMIUM, or the first one on the path. Raises NoBrowserError."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("SPURAUDIT_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if found is None:
        raise NoBrowserError("no Chromium is here: apt install chromium, or set SPURAUDIT_CHROMIUM")
    return found


def take_all(pages: dict[str, Path], folder: Path) -> list[Path]:
    """Every picture of the pages given, as FOLDER/NAME.webp. Raises NoBrowserError, PhotoShownError."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise NoBrowserError("pictures need the Python package playwright: pip install playwright") from None
    program = find_chromium()
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=FLAGS)
        for shot in SHOTS:
            if shot.page in pages:
                file = folder / f"{shot.name}.webp"
                file.write_bytes(small(take(browser, pages[shot.page], shot)))
                written.append(file)
        browser.close()
    return written


def take(browser: Any, file: Path, shot: Shot) -> Image.Image:
    """One picture, at most as high as the window."""
    width, height = shot.size
    context = browser.new_context(
        viewport={"width": width, "height": height},
        device_scale_factor=2 if shot.size == PHONE else 1,
        color_scheme=shot.scheme,
        reduced_motion="reduce",
        offline=True,
    )
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(file.resolve().as_uri())
    if shot.page in REDACTED and page.locator("main img, main image, main canvas").count():
        raise PhotoShownError(f"{file} was not rendered with --redact-images: no picture is taken of it")
    if shot.part is not None:
        page.locator(shot.part).evaluate("node => node.scrollIntoView({block: 'start', behavior: 'instant'})")
    page.evaluate(DRAWN)
    content = page.screenshot(animations="disabled", caret="hide")
    context.close()
    return Image.open(io.BytesIO(content)).convert("RGB")


def small(picture: Image.Image) -> bytes:
    """WebP of at most MOST bytes, or as small as it gets."""
    content = b""
    for options in ENCODINGS:
        written = io.BytesIO()
        picture.save(written, "WEBP", method=6, **options)
        content = written.getvalue()
        if len(content) <= MOST:
            break
    return content
