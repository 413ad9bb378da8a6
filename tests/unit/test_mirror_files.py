"""The mirror's hand on the file system: whole documents, whole lines, no links followed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from hive_daemon.storage.mirror_files import Change, Files, Place, session_place, sweep
from tests.fakes.mirrored import SESSION

NAME = SESSION.format(1)


@pytest.fixture
def files() -> Iterator[Files]:
    files = Files()
    yield files
    files.close()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return session_place(tmp_path / "agents" / "a", NAME)


def path_of(place: Place) -> Path:
    return Path(*place)


def test_a_new_session_appears_with_all_its_files(files: Files, place: Place) -> None:
    assert files.create(place, {"logs/details.jsonl": b"1\n", "state.json": b"{}"})
    assert (path_of(place) / "logs/details.jsonl").read_bytes() == b"1\n"
    assert (path_of(place) / "state.json").read_bytes() == b"{}"


def test_creating_says_no_where_something_is_and_changes_nothing(
    files: Files, place: Place
) -> None:
    files.create(place, {"state.json": b"old"})
    assert not files.create(place, {"state.json": b"new", "other.json": b"x"})
    assert os.listdir(path_of(place)) == ["state.json"]
    assert (path_of(place) / "state.json").read_bytes() == b"old"


def test_only_the_owner_can_read(files: Files, place: Place, tmp_path: Path) -> None:
    files.create(place, {"logs/summary.json": b"{}"})
    files.update(place, Change({"logs/details.jsonl": b"1\n"}, {"checkpoints/a.json": b"{}"}))
    for folder, folders, names in os.walk(tmp_path / "agents"):
        for name in folders:
            assert stat.S_IMODE((Path(folder) / name).stat().st_mode) == 0o700
        for name in names:
            assert stat.S_IMODE((Path(folder) / name).stat().st_mode) == 0o600


def test_a_reader_keeps_the_document_it_opened_whole(files: Files, place: Place) -> None:
    files.create(place, {"state.json": b"old" * 1000})
    with open(path_of(place) / "state.json", "rb") as reader:
        files.update(place, Change(documents={"state.json": b"new"}))
        assert reader.read() == b"old" * 1000
    assert (path_of(place) / "state.json").read_bytes() == b"new"


def test_a_torn_last_line_is_never_glued_to_the_next(files: Files, place: Place) -> None:
    log = path_of(place) / "logs/details.jsonl"
    files.update(place, Change({"logs/details.jsonl": b'{"n":1}\n'}))
    files.release(place)
    with open(log, "ab") as torn:
        torn.write(b'{"n":2')
    files.update(place, Change({"logs/details.jsonl": b'{"n":3}\n'}))
    files.update(place, Change({"logs/details.jsonl": b'{"n":4}\n'}))
    assert log.read_bytes() == b'{"n":1}\n{"n":2\n{"n":3}\n{"n":4}\n'


def test_a_linked_document_is_replaced_not_followed(
    files: Files, place: Place, tmp_path: Path
) -> None:
    target = tmp_path / "precious"
    target.write_text("precious")
    files.create(place, {"state.json": b"1"})
    (path_of(place) / "state.json").unlink()
    (path_of(place) / "state.json").symlink_to(target)
    files.update(place, Change(documents={"state.json": b"2"}))
    assert target.read_text() == "precious"
    assert (path_of(place) / "state.json").read_bytes() == b"2"
    assert not (path_of(place) / "state.json").is_symlink()


def test_a_linked_log_is_put_aside_not_followed(files: Files, place: Place, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("precious")
    (path_of(place) / "logs").mkdir(parents=True)
    (path_of(place) / "logs/details.jsonl").symlink_to(target)
    files.update(place, Change({"logs/details.jsonl": b"1\n"}))
    assert target.read_text() == "precious"
    assert (path_of(place) / "logs/details.jsonl").read_bytes() == b"1\n"
    assert (path_of(place) / "logs/details.jsonl.damaged-1").is_symlink()


def test_a_linked_session_is_put_aside_not_followed(
    files: Files, place: Place, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    path_of(place).parent.mkdir(parents=True)
    path_of(place).symlink_to(elsewhere)
    files.update(place, Change({"logs/details.jsonl": b"1\n"}, {"state.json": b"{}"}))
    assert os.listdir(elsewhere) == []
    assert (path_of(place) / "state.json").read_bytes() == b"{}"


def test_a_new_session_displaces_a_link_of_its_name(
    files: Files, place: Place, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    path_of(place).parent.mkdir(parents=True)
    path_of(place).symlink_to(elsewhere)
    assert files.create(place, {"state.json": b"{}"})
    assert os.listdir(elsewhere) == []
    assert not path_of(place).is_symlink()


def test_a_linked_sessions_directory_is_refused(files: Files, place: Place, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    path_of(place).parent.parent.mkdir(parents=True)
    path_of(place).parent.symlink_to(elsewhere)
    with pytest.raises(OSError):  # noqa: PT011  which one is the kernel's choice
        files.create(place, {"state.json": b"{}"})
    assert os.listdir(elsewhere) == []


def test_a_fifo_in_the_place_of_a_log_does_not_hang(files: Files, place: Place) -> None:
    (path_of(place) / "logs").mkdir(parents=True)
    os.mkfifo(path_of(place) / "logs/details.jsonl")
    files.update(place, Change({"logs/details.jsonl": b"1\n"}))
    assert (path_of(place) / "logs/details.jsonl").read_bytes() == b"1\n"


def test_a_directory_in_the_place_of_a_document_is_put_aside(files: Files, place: Place) -> None:
    (path_of(place) / "state.json" / "inside").mkdir(parents=True)
    files.update(place, Change(documents={"state.json": b"{}"}))
    assert (path_of(place) / "state.json").read_bytes() == b"{}"
    assert (path_of(place) / "state.json.damaged-1/inside").is_dir()


def test_what_is_gone_already_need_not_be_removed(files: Files, place: Place) -> None:
    files.update(place, Change(documents={"checkpoints/a.json": b"{}"}))
    files.update(place, Change(gone=["checkpoints/a.json", "checkpoints/never.json"]))
    assert files.names((*place, "checkpoints")) == []


def test_a_removed_session_is_gone_and_leaves_nothing_behind(
    files: Files, place: Place, tmp_path: Path
) -> None:
    files.update(place, Change({"logs/details.jsonl": b"1\n"}, {"state.json": b"{}"}))
    files.remove(place)
    files.remove(place)
    assert not path_of(place).exists()
    assert os.listdir(tmp_path / "agents/a/.mirror") == []


def test_no_more_descriptors_stay_open_than_allowed(tmp_path: Path) -> None:
    files = Files(most_open=8)
    try:
        before = len(os.listdir("/proc/self/fd"))
        for number in range(30):
            place = session_place(tmp_path, SESSION.format(number))
            files.update(place, Change({"logs/details.jsonl": b"1\n"}))
            files.update(place, Change({"logs/details.jsonl": b"2\n"}))
        assert len(os.listdir("/proc/self/fd")) - before <= 8
        for number in range(30):
            log = tmp_path / "sessions" / SESSION.format(number) / "logs/details.jsonl"
            assert log.read_bytes() == b"1\n2\n"
    finally:
        files.close()


def test_sweeping_removes_what_was_left_unfinished(tmp_path: Path) -> None:
    (tmp_path / ".mirror/17/logs").mkdir(parents=True)
    (tmp_path / ".mirror/18").write_text("half")
    (tmp_path / "kept").write_text("kept")
    (tmp_path / ".mirror/19").symlink_to(tmp_path)
    sweep([tmp_path, tmp_path / "absent"])
    assert os.listdir(tmp_path / ".mirror") == []
    assert (tmp_path / "kept").read_text() == "kept"


def test_reading_takes_only_regular_files(files: Files, place: Place, tmp_path: Path) -> None:
    files.update(place, Change(documents={"state.json": b"{}"}))
    os.mkfifo(path_of(place) / "fifo")
    (path_of(place) / "link").symlink_to(tmp_path)
    found = [files.read(place, name) for name in ("state.json", "fifo", "link", "absent")]
    assert found == [b"{}", None, None, None]
