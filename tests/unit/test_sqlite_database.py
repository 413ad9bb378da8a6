"""hive.db: making, owning, checking and migrating it; what is wrong is said, and nothing is touched."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hive_daemon.errors import (
    HiveError,
    StateLocked,
    StorageCorrupt,
    StorageTooNew,
    StorageUnavailable,
)
from hive_daemon.storage.sqlite.database import (
    migrate,
    open_reader,
    own,
    prepare_database,
    prepare_directory,
)
from hive_daemon.storage.sqlite.schema import VERSION
from hive_daemon.storage.sqlite.store import open_sqlite
from hive_daemon.storage.values import ExecutionFilter
from tests.fakes.store_kit import Ear, SetClock, begin, step, submission

HOLD = """
import asyncio, sys
from pathlib import Path
from hive_daemon.storage.sqlite.store import open_sqlite
from tests.fakes.store_kit import Ear, begin, step

async def main():
    async with open_sqlite(Path(sys.argv[1]), Ear()) as store:
        claim = await begin(store)
        await store.executions.commit(claim.fence, step(1))
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory with a little in it, made once."""
    directory = tmp_path_factory.mktemp("filled") / "state"
    asyncio.run(_fill(directory))
    return directory


@pytest.fixture
def state(filled: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(filled, tmp_path / "state")


async def _fill(directory: Path) -> None:
    async with open_sqlite(directory, Ear(), SetClock()) as store:
        for _ in range(200):
            claim = await begin(store)
            await store.executions.commit(claim.fence, step(1))


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that owns the directory `held`."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "held")], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def open_once(directory: Path) -> int:
    """Open the store and count what is in it."""

    async def count() -> int:
        async with open_sqlite(directory, Ear(), SetClock()) as store:
            return len(await store.executions.query(ExecutionFilter(limit=500)))

    return asyncio.run(count())


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


# --- owning -------------------------------------------------------------------------------------


def test_a_second_owner_is_told_who_the_first_is(tmp_path: Path) -> None:
    with own(tmp_path), pytest.raises(StateLocked, match=str(os.getpid())) as caught, own(tmp_path):
        pass
    assert caught.value.subject == str(os.getpid())
    with own(tmp_path):
        pass


def test_another_process_is_named_too(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    with pytest.raises(StateLocked) as caught:
        open_once(tmp_path / "held")
    assert caught.value.subject == str(holder.pid)
    assert "--state-dir" in caught.value.hint


def test_the_lock_is_gone_when_its_owner_was_killed(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert open_once(tmp_path / "held") == 1


def test_a_shorter_pid_leaves_nothing_of_a_longer_one(tmp_path: Path) -> None:
    (tmp_path / "hive.lock").write_text("4194304       \n")
    with own(tmp_path):
        assert (tmp_path / "hive.lock").read_text().split() == [str(os.getpid())]


def test_a_refused_owner_does_not_touch_the_lock(tmp_path: Path) -> None:
    with own(tmp_path):
        before = (tmp_path / "hive.lock").read_bytes()
        with pytest.raises(StateLocked), own(tmp_path):
            pass
        assert (tmp_path / "hive.lock").read_bytes() == before


# --- files --------------------------------------------------------------------------------------


def test_only_the_owner_reads_what_is_made(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        modes = asyncio.run(_modes(tmp_path / "deep" / "state"))
    finally:
        os.umask(mask)
    assert modes == {
        "state": 0o700,
        "hive.db": 0o600,
        "hive.db-wal": 0o600,
        "hive.db-shm": 0o600,
        "hive.lock": 0o600,
    }


async def _modes(directory: Path) -> dict[str, int]:
    async with open_sqlite(directory, Ear()) as store:
        await store.queue.submit(submission())
        return {path.name: mode_of(path) for path in (directory, *directory.iterdir())}


@pytest.mark.parametrize("name", ["hive.db", "hive.lock"])
def test_a_symbolic_link_is_not_followed(tmp_path: Path, state: Path, name: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    (state / name).rename(elsewhere)
    (state / name).symlink_to(elsewhere)
    before = elsewhere.read_bytes()
    with pytest.raises(StorageUnavailable, match="symbolic link"):
        open_once(state)
    assert elsewhere.read_bytes() == before


@pytest.mark.parametrize("name", ["hive.db", "hive.lock"])
def test_a_dangling_link_makes_no_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to(tmp_path / "target")
    with pytest.raises(StorageUnavailable, match="symbolic link"):
        open_once(tmp_path)
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("name", ["hive.db", "hive.lock"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(StorageUnavailable, match="not a plain file"):
        open_once(tmp_path)


def test_a_file_in_the_way_of_the_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageUnavailable, match="file"):
        prepare_directory(tmp_path / "file" / "state")


def test_half_a_making_is_begun_again(tmp_path: Path) -> None:
    for part in ("", "-wal", "-shm"):
        (tmp_path / f"hive.db.new{part}").write_bytes(b"half")
    assert open_once(tmp_path) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hive.db", "hive.lock"]


# --- damage -------------------------------------------------------------------------------------


def _garbage(path: Path) -> None:
    path.write_bytes(os.urandom(path.stat().st_size))


def _half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _zero_page(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[8_192 * 3 : 8_192 * 4] = bytes(8_192)
    path.write_bytes(content)


def _zero_last_page(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-8_192] + bytes(8_192))


def _zeroes(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _text(path: Path) -> None:
    path.write_text("not a database at all\n" * 1_000)


def _foreign(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE notes (text)")


DAMAGES = [_garbage, _half, _zero_page, _zero_last_page, _zeroes, _empty, _text, _foreign]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_database_stops_the_start_untouched(
    state: Path, damage: Callable[[Path], None]
) -> None:
    path = state / "hive.db"
    damage(path)
    before = path.read_bytes()
    with pytest.raises(StorageCorrupt, match=r"hive\.db is damaged") as caught:
        open_once(state)
    assert "put a backup in its place" in caught.value.hint
    assert "`hive doctor --fix`" in caught.value.hint
    assert path.read_bytes() == before
    with pytest.raises(StorageCorrupt):
        open_once(state)


@pytest.mark.parametrize("damage", [_garbage, _half, _zero_last_page])
def test_a_damaged_database_with_a_log_keeps_both_as_they_are(
    holder: subprocess.Popen[str], tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    holder.kill()
    holder.wait()
    path, log = tmp_path / "held" / "hive.db", tmp_path / "held" / "hive.db-wal"
    damage(path)
    before = path.read_bytes(), log.read_bytes()
    assert before[1]
    with pytest.raises(StorageCorrupt):
        open_once(tmp_path / "held")
    assert (path.read_bytes(), log.read_bytes()) == before


def test_a_database_that_is_gone_while_its_log_is_not_is_not_made_anew(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    holder.kill()
    holder.wait()
    path, log = tmp_path / "held" / "hive.db", tmp_path / "held" / "hive.db-wal"
    path.unlink()
    before = log.read_bytes()
    with pytest.raises(StorageCorrupt, match=r"hive\.db-wal is there"):
        open_once(tmp_path / "held")
    assert log.read_bytes() == before
    assert not path.exists()


def test_what_a_killed_owner_had_acknowledged_is_read_from_its_log(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    holder.kill()
    holder.wait()
    assert (tmp_path / "held" / "hive.db-wal").stat().st_size
    assert open_once(tmp_path / "held") == 1


# --- versions -----------------------------------------------------------------------------------


def test_a_newer_database_is_left_alone(state: Path) -> None:
    path = state / "hive.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = path.read_bytes()
    with pytest.raises(StorageTooNew, match=f"version {VERSION + 1}") as caught:
        open_once(state)
    assert "newer version" in caught.value.hint
    assert path.read_bytes() == before


def test_a_reader_from_outside_meets_the_same_checks(state: Path) -> None:
    path = state / "hive.db"
    with closing(open_reader(path)) as reader:
        assert reader.execute("SELECT count(*) FROM executions").fetchone() == (200,)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(StorageTooNew):
        open_reader(path)
    _foreign(path)
    with pytest.raises(StorageCorrupt):
        open_reader(path)
    path.unlink()
    with pytest.raises(StorageUnavailable):
        open_reader(path)
    assert not path.exists()


STEPS = {
    VERSION: "CREATE TABLE colours (name TEXT) STRICT;",
    VERSION + 1: "INSERT INTO colours VALUES ('red');",
}


def test_a_migration_goes_step_by_step_and_keeps_a_copy(state: Path) -> None:
    path = state / "hive.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate(connection, path, VERSION + 2, STEPS)
        assert connection.execute("SELECT name FROM colours").fetchall() == [("red",)]
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSION + 2,)
    backup = state / f"hive.db.v{VERSION}.bak"
    assert mode_of(backup) == 0o600
    with closing(sqlite3.connect(backup)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
        assert connection.execute("SELECT count(*) FROM executions").fetchone() == (200,)


def test_a_migration_that_fails_changes_nothing_and_may_run_again(state: Path) -> None:
    path = state / "hive.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        bad = {**STEPS, VERSION + 1: "INSERT INTO nowhere VALUES (1);"}
        with pytest.raises(sqlite3.OperationalError):
            migrate(connection, path, VERSION + 2, bad)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
        migrate(connection, path, VERSION + 2, STEPS)
        assert connection.execute("SELECT name FROM colours").fetchall() == [("red",)]


def test_half_a_copy_is_not_taken_for_a_whole_one(state: Path) -> None:
    path = state / "hive.db"
    (state / f"hive.db.v{VERSION}.bak.new").write_bytes(b"half")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate(connection, path, VERSION + 2, STEPS)
    with closing(sqlite3.connect(state / f"hive.db.v{VERSION}.bak")) as connection:
        assert connection.execute("SELECT count(*) FROM executions").fetchone() == (200,)


def test_a_database_of_this_version_is_not_copied(state: Path) -> None:
    prepare_database(state / "hive.db")
    assert sorted(path.name for path in state.iterdir()) == ["hive.db", "hive.lock"]


def test_every_failure_to_open_leaves_the_lock_free(state: Path) -> None:
    _half(state / "hive.db")
    with pytest.raises(HiveError):
        open_once(state)
    with own(state):
        pass
