"""The file of the ends that daemons chose: a line each, told once, whatever else stands in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hive_daemon.storage.exits import EXITS, note_exit, read_exits, untold_exits
from tests.unit.test_insight_exits import NOTE

LATER = replace(NOTE, at=NOTE.at + 60.0)


def test_an_end_is_told_once_and_stays_readable(tmp_path: Path) -> None:
    assert untold_exits(tmp_path) == []
    note_exit(tmp_path, NOTE)
    assert untold_exits(tmp_path) == [NOTE]
    assert untold_exits(tmp_path) == []
    note_exit(tmp_path, LATER)
    assert untold_exits(tmp_path) == [LATER]
    assert read_exits(tmp_path) == [NOTE, LATER]


def test_a_line_that_is_torn_says_nothing(tmp_path: Path) -> None:
    note_exit(tmp_path, NOTE)
    with (tmp_path / EXITS).open("ab") as file:
        file.write(b'{"at": 1, "co\n[1]\n{}\n\xff')
    note_exit(tmp_path, LATER)
    assert read_exits(tmp_path) == [NOTE, LATER]


def test_where_nobody_ended_there_is_no_file(tmp_path: Path) -> None:
    assert read_exits(tmp_path) == []
    assert untold_exits(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
