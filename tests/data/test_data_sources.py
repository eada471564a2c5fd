from __future__ import annotations

import os
import pickle
import zipfile
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spuraudit.data.paths import inside, is_image, parent, stem
from spuraudit.data.sources import FolderSource, Source, ZipSource
from spuraudit.errors import DataError

CLIMBING = [
    "../secret.png",
    "a/../../secret.png",
    "/etc/passwd",
    "C:/secret.png",
    "c:secret.png",
    "a\\..\\secret",
    "..",
]


@pytest.fixture
def folder(tmp_path: Path) -> FolderSource:
    root = tmp_path / "root"
    (root / "b" / "c").mkdir(parents=True)
    (root / "b" / "c" / "x.png").write_bytes(b"xx")
    (root / "a.png").write_bytes(b"a")
    (root / ".DS_Store").write_bytes(b"junk")
    (tmp_path / "secret.png").write_bytes(b"secret")
    return FolderSource(root)


@pytest.fixture
def archive(tmp_path: Path) -> ZipSource:
    file = tmp_path / "masks.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("top/b/c/x.png", b"xx")
        packed.writestr("top/a.png", b"a")
        packed.writestr("top/", b"")
        packed.writestr("__MACOSX/top/._a.png", b"junk")
        packed.writestr("top/.DS_Store", b"junk")
    return ZipSource(file, "top")


@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_both_sources_answer_alike(kind: str, request: pytest.FixtureRequest) -> None:
    source: Source = request.getfixturevalue(kind)
    assert isinstance(source, Source)
    assert list(source.files()) == ["a.png", "b/c/x.png"]
    assert list(source.files("b")) == ["b/c/x.png"]
    assert list(source.files("nothing")) == []
    assert source.read("b/c/x.png") == source.read("b//./c/x.png") == b"xx"
    assert source.exists("a.png")
    assert not source.exists("A.PNG")
    assert not source.exists("b")
    assert source.size("b/c/x.png") == 2
    assert source.size("b/c/y.png") is None
    assert source.describe("b/c/x.png").endswith("b/c/x.png")
    with pytest.raises(DataError, match=r"y\.png"):
        source.read("b/c/y.png")
    assert pickle.loads(pickle.dumps(source)).read("a.png") == b"a"


@pytest.mark.parametrize("kind", ["folder", "archive"])
@pytest.mark.parametrize("path", CLIMBING)
def test_no_path_leaves_a_source(kind: str, path: str, request: pytest.FixtureRequest) -> None:
    source: Source = request.getfixturevalue(kind)
    for ask in (source.read, source.exists, source.size):
        with pytest.raises(DataError) as caught:
            ask(path)
        assert repr(path) in caught.value.message


@given(st.text(alphabet="ab./\\:C", max_size=12))
@example("./C:")
def test_a_path_that_is_let_through_stays_inside(path: str) -> None:
    try:
        clean = inside(path, "test")
    except DataError:
        return
    resolved = os.path.normpath(f"/base/inner/{clean}")
    assert resolved.startswith("/base/inner/")
    assert inside(clean, "test") == clean


def test_links_may_not_leave_the_root(folder: FolderSource, tmp_path: Path) -> None:
    (folder.root / "file_link.png").symlink_to(tmp_path / "secret.png")
    (folder.root / "folder_link").symlink_to(tmp_path)
    (folder.root / "inner_link").symlink_to(folder.root / "b")
    for path in ("file_link.png", "folder_link/secret.png"):
        with pytest.raises(DataError, match="link that leads out"):
            folder.read(path)
        with pytest.raises(DataError, match="link that leads out"):
            folder.exists(path)
    assert folder.read("inner_link/c/x.png") == b"xx"


def test_the_root_itself_may_be_a_link(folder: FolderSource, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder.root)
    assert FolderSource(tmp_path / "link").read("b/c/x.png") == b"xx"


def test_links_in_a_circle_are_walked_once(folder: FolderSource) -> None:
    (folder.root / "b" / "up").symlink_to(folder.root)
    (folder.root / "d").mkdir()
    (folder.root / "d" / "to_b").symlink_to(folder.root / "b")
    (folder.root / "b" / "to_d").symlink_to(folder.root / "d")
    files = list(folder.files())
    assert {"a.png", "b/c/x.png", "d/to_b/c/x.png"} <= set(files)
    assert len(files) < 12


@pytest.mark.parametrize("name", ["../evil.png", "/evil.png", "a/../../evil.png", "..\\evil.png", "C:\\evil.png"])
def test_an_archive_with_a_climbing_member_is_refused(tmp_path: Path, name: str) -> None:
    file = tmp_path / "masks.zip"
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("good.png", b"good")
        packed.writestr(name, b"evil")
    with pytest.raises(DataError, match=r"masks\.zip, archive member") as caught:
        ZipSource(file).read("good.png")
    assert repr(name) in caught.value.message


def test_an_archive_with_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "masks.zip"
    link = zipfile.ZipInfo("link.png")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match=r"'link\.png' is a symbolic link"):
        ZipSource(file).exists("link.png")


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    file = tmp_path / "masks.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        with packed.open("bomb.bmp", "w") as member:
            for _ in range(33):
                member.write(bytes(2**20))
        packed.writestr("blank.bmp", bytes(2**20))
    assert file.stat().st_size < 100_000
    source = ZipSource(file)
    with pytest.raises(DataError, match=r"masks\.zip:bomb\.bmp: unpacks to 33 MiB.*zip bomb") as caught:
        source.read("bomb.bmp")
    assert "unpack it" in (caught.value.hint or "")
    assert len(source.read("blank.bmp")) == 2**20, "a blank mask packs as well, and is harmless"


def test_a_member_larger_than_it_claims_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "masks.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("liar.png", bytes(100_000))
    content = file.read_bytes()
    honest = (100_000).to_bytes(4, "little")
    assert content.count(honest) == 2
    file.write_bytes(content.replace(honest, (10).to_bytes(4, "little")))
    with pytest.raises(DataError, match=r"liar\.png: cannot be unpacked"):
        ZipSource(file).read("liar.png")


def test_a_damaged_archive_is_named(tmp_path: Path, archive: ZipSource) -> None:
    cut = tmp_path / "cut.zip"
    cut.write_bytes(archive.file.read_bytes()[:100])
    with pytest.raises(DataError, match=r"cut\.zip: not readable as a zip archive"):
        ZipSource(cut).exists("a.png")
    with pytest.raises(DataError, match=r"none\.zip: not readable as a zip archive \(No such file"):
        ZipSource(tmp_path / "none.zip").exists("a.png")


def _read(source: ZipSource) -> bytes:
    return source.read("b/c/x.png")


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_an_archive_is_shared_by_threads_and_processes(tmp_path: Path) -> None:
    file = tmp_path / "many.zip"
    contents = {f"{number}.png": os.urandom(2000 + number) for number in range(100)}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("b/c/x.png", b"xx")
        for name, content in contents.items():
            packed.writestr(name, content)
    source = ZipSource(file)
    names = list(contents) * 5
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(source.read, names)) == [contents[name] for name in names]
    for start in ("fork", "spawn"):
        with ProcessPoolExecutor(1, mp_context=get_context(start)) as processes:
            assert processes.submit(_read, source).result(timeout=60) == b"xx"


def test_names_of_files() -> None:
    assert stem("a/b.c/x.tar.png") == "x.tar"
    assert stem("x") == "x"
    assert stem("a/.png") == ".png"
    assert parent("a/b/x.png") == "a/b"
    assert parent("x.png") == ""
    assert is_image("a/X.JPEG")
    assert is_image("x.TiF")
    assert not is_image("x.txt")
    assert not is_image("a/._x.jpg")
