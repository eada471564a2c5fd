"""A run folder on disk: files are whole or absent, and reading one back says what is wrong with it."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import resource
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import toys

from spuraudit.errors import RunError
from spuraudit.record.folder import (
    point_last,
    read_record,
    read_verdict,
    resolve_run,
    sha256_of,
    to_json,
    write_bytes,
    write_verdict,
)
from spuraudit.record.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> toys.Scanned:
    """A real, small, finished run."""
    folder = tmp_path_factory.mktemp("finished")
    data = toys.draw(folder / "data", toys.Toy(test=3, train=2, tag=True))
    return toys.scan(toys.Reader(toys.TAG), data, folder / "run", trials=1, swap_trials=1)


@pytest.fixture
def content(finished: toys.Scanned) -> dict[str, Any]:
    """Its scan.json."""
    loaded: dict[str, Any] = json.loads((finished.folder / "scan.json").read_bytes())
    return loaded


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Writing more than `size` bytes into a file fails with EFBIG, also for root."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def names(folder: Path) -> list[str]:
    """Everything in a folder, hidden files too."""
    return sorted(path.name for path in folder.iterdir())


# Writing


def test_writing_makes_folders_and_leaves_the_file_alone_in_it(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "c.bin"
    write_bytes(file, b"\x00one")
    assert file.read_bytes() == b"\x00one"
    assert names(file.parent) == ["c.bin"]
    write_bytes(file, b"two")
    assert file.read_bytes() == b"two"
    assert names(file.parent) == ["c.bin"]


def test_a_failed_write_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "scan.json"
    write_bytes(file, b"old")
    with (
        largest_file(1000),
        pytest.raises(RunError, match=r"scan\.json: the disk is full \(File too large\)") as caught,
    ):
        write_bytes(file, b"x" * 1001)
    assert "resumes where it stopped" in (caught.value.hint or "")
    assert caught.value.exit_code == 2
    assert file.read_bytes() == b"old"
    assert names(tmp_path) == ["scan.json"]


def test_a_failed_first_write_leaves_nothing(tmp_path: Path) -> None:
    with largest_file(1000), pytest.raises(RunError):
        write_bytes(tmp_path / "part.parquet", b"x" * 1001)
    assert names(tmp_path) == []


def test_a_full_quota_is_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk without space cannot be made here: only the error that it gives."""

    def no_space(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(RunError, match=r"the disk is full \(No space left on device\)"):
        write_bytes(tmp_path / "file", b"content")
    assert names(tmp_path) == []


def test_a_path_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file" / "scan.json", tmp_path / "file" / "deep" / "scan.json"):
        with pytest.raises(RunError, match=r"scan\.json: cannot be written") as caught:
            write_bytes(path, b"content")
        assert caught.value.hint == "Choose a writable folder with -o."
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_in_the_place_of_the_file_is_an_error_and_stays(tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(RunError, match=r"report\.html: cannot be written"):
        write_bytes(tmp_path / "report.html", b"content")
    assert names(tmp_path) == ["report.html"]


def test_a_pipe_is_written_into_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_bytes(pipe, b"one")
        write_bytes(pipe, b"two")
        assert os.read(reader, 100) == b"onetwo"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.lstat().st_mode)
    assert names(tmp_path) == ["pipe"]


def test_what_a_descriptor_leads_to_is_written_into(tmp_path: Path) -> None:
    """`/dev/stdout` is such a link; a shell may have put a file behind it."""
    file = tmp_path / "file"
    file.write_bytes(b"before ")
    descriptor = os.open(file, os.O_WRONLY)
    number = file.stat().st_ino
    try:
        write_bytes(Path(f"/proc/self/fd/{descriptor}"), b"after")
    finally:
        os.close(descriptor)
    assert (file.read_bytes(), file.stat().st_ino) == (b"before after", number)
    assert names(tmp_path) == ["file"]


def test_a_pipe_that_nobody_reads_any_more_is_an_error(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        with pytest.raises(RunError, match="cannot be written"):
            write_bytes(Path(f"/proc/self/fd/{writer}"), b"content")
    finally:
        os.close(writer)


def test_a_link_to_a_file_is_replaced_and_what_it_leads_to_is_not(tmp_path: Path) -> None:
    store, link = tmp_path / "store", tmp_path / "link"
    store.write_bytes(b"of others")
    link.symlink_to(store)
    write_bytes(link, b"ours")
    assert (link.read_bytes(), link.is_symlink(), store.read_bytes()) == (b"ours", False, b"of others")


def test_the_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    large = os.urandom(3 << 20)
    (tmp_path / "file").write_bytes(large)
    assert sha256_of(tmp_path / "file") == hashlib.sha256(large).hexdigest()


# Reading


def test_a_record_survives_writing_and_reading(finished: toys.Scanned) -> None:
    assert read_record(finished.folder) == finished.record
    assert to_json(read_record(finished.folder)) == (finished.folder / "scan.json").read_bytes()


def test_a_record_is_found_from_its_folder_its_file_and_a_pointer(finished: toys.Scanned, tmp_path: Path) -> None:
    pointer = finished.folder.parent / "pointer"
    pointer.write_text(f"{finished.folder.name}\n")
    for run in (finished.folder, finished.folder / "scan.json", pointer):
        assert resolve_run(run) == finished.folder
        assert read_record(run) == finished.record


def test_no_run_and_an_unfinished_run_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no run here \(no scan\.json\)") as nothing:
        read_record(tmp_path)
    assert "as printed by" in (nothing.value.hint or "")
    with pytest.raises(RunError, match="no run here"):
        read_record(tmp_path / "missing")
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(RunError, match="unfinished") as unfinished:
        read_record(tmp_path)
    assert "resumes where it stopped" in (unfinished.value.hint or "")


@pytest.mark.parametrize("text", ["", "{", '{"schema": "spuraudit/scan"', "\x00\x01"])
def test_what_is_not_json(tmp_path: Path, text: str) -> None:
    (tmp_path / "scan.json").write_text(text)
    with pytest.raises(RunError, match=r"scan\.json: not readable as JSON"):
        read_record(tmp_path)


@pytest.mark.parametrize("text", ["[]", "null", "{}", '{"schema": "other/scan"}', '{"schema": "spuraudit/verdict"}'])
def test_json_of_somebody_else(tmp_path: Path, text: str) -> None:
    (tmp_path / "scan.json").write_text(text)
    with pytest.raises(RunError, match=r"scan\.json: not a spuraudit record"):
        read_record(tmp_path)


@pytest.mark.parametrize("version", ["2.0", "0.9", "10.0", None])
def test_another_major_version_is_refused_and_named(tmp_path: Path, content: dict[str, Any], version: str) -> None:
    (tmp_path / "scan.json").write_text(json.dumps({**content, "schema_version": version}))
    with pytest.raises(RunError, match=rf"record version {version}; this spuraudit reads 1\.x") as caught:
        read_record(tmp_path)
    assert "tool.version" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"measurements": None}, "measurements"),
        ({"surprise": 1}, "surprise"),
        ({"tool": {"name": "spuraudit"}}, r"tool\.version"),
        ({"warnings": [{"code": "X", "text": "t"}]}, r"warnings\.0\.code"),
    ],
)
def test_an_invalid_record_names_the_field(
    tmp_path: Path, content: dict[str, Any], change: dict[str, Any], where: str
) -> None:
    (tmp_path / "scan.json").write_text(json.dumps({**content, **change}))
    with pytest.raises(RunError, match=rf"not a valid record: {where}"):
        read_record(tmp_path)


def test_numbers_that_json_does_not_have_are_refused(tmp_path: Path, content: dict[str, Any]) -> None:
    content["measurements"][0]["value"] = float("nan")
    (tmp_path / "scan.json").write_text(json.dumps(content))
    with pytest.raises(RunError, match=r"measurements\.0\.value"):
        read_record(tmp_path)


def test_a_verdict_is_optional_and_checked(tmp_path: Path) -> None:
    assert read_verdict(tmp_path) is None
    (tmp_path / "verdict.json").write_text('{"outcome": "pass"}')
    with pytest.raises(RunError, match=r"verdict\.json: not a valid verdict"):
        read_verdict(tmp_path)


def test_a_verdict_is_of_the_record_beside_it_alone(finished: toys.Scanned, tmp_path: Path) -> None:
    """The id of a run stays the same where somebody has edited its numbers."""
    (tmp_path / "scan.json").write_bytes((finished.folder / "scan.json").read_bytes())
    verdict = Verdict(run_id=finished.record.run.id, outcome="pass", gates=[])
    write_verdict(tmp_path / "verdict.json", verdict, tmp_path)
    stored = read_verdict(tmp_path)
    assert stored is not None
    assert stored.record_sha256 == sha256_of(tmp_path / "scan.json")
    assert stored.model_copy(update={"record_sha256": None}) == verdict
    with (tmp_path / "scan.json").open("a") as file:
        file.write(" ")
    with pytest.raises(RunError, match=r"verdict\.json: judges a record with sha256") as caught:
        read_verdict(tmp_path)
    assert "spuraudit gate" in (caught.value.hint or "")
    write_bytes(tmp_path / "verdict.json", to_json(verdict))  # of a version that stored no hash
    assert read_verdict(tmp_path) == verdict


# last


def test_last_is_a_link_that_moves_with_the_runs(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        point_last(tmp_path / name)
        assert (tmp_path / "last").is_symlink()
        assert str((tmp_path / "last").readlink()) == name  # relative: the folder may move
        assert resolve_run(tmp_path / "last").resolve() == tmp_path / name


def test_last_is_a_text_file_where_links_cannot_be_made(
    finished: toys.Scanned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows without developer mode."""

    def refuse(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("pathlib.Path.symlink_to", refuse)
    (tmp_path / "run").mkdir()
    for name in ("plan.json", "scan.json"):
        (tmp_path / "run" / name).write_bytes((finished.folder / name).read_bytes())
    for _ in range(2):
        point_last(tmp_path / "run")
        assert (tmp_path / "last").read_text() == "run"
        assert resolve_run(tmp_path / "last") == tmp_path / "run"
        assert read_record(tmp_path / "last") == finished.record


def test_a_dangling_last_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "last").symlink_to("deleted")
    (tmp_path / "run").mkdir()
    point_last(tmp_path / "run")
    assert str((tmp_path / "last").readlink()) == "run"


def test_somebodys_file_or_folder_called_last_is_left_alone(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "run").mkdir(parents=True)
    (tmp_path / "a/last").mkdir()
    (tmp_path / "a/last/mine.txt").write_text("mine")
    (tmp_path / "b/last").write_text("my last will")
    for name in ("a", "b"):
        point_last(tmp_path / name / "run")
    assert (tmp_path / "a/last/mine.txt").read_text() == "mine"
    assert (tmp_path / "b/last").read_text() == "my last will"


def test_a_text_file_that_leads_nowhere_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("run")
    with pytest.raises(RunError, match="notes: not a run folder, a record or a pointer to one"):
        read_record(tmp_path / "notes")


def test_a_run_called_last_is_not_turned_into_a_link_to_itself(tmp_path: Path) -> None:
    (tmp_path / "last").mkdir()
    point_last(tmp_path / "last")
    assert (tmp_path / "last").is_dir()
    assert not (tmp_path / "last").is_symlink()
