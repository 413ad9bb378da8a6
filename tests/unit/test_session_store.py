"""SessionStore where there is no database: the files of `sessions/`."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import orjson
import pytest

from hive_daemon.errors import InvalidInput, StorageCorrupt
from hive_daemon.ids import is_session_id
from hive_daemon.storage.session_store import SessionState, SessionStore
from tests.fakes.mirrored import SESSION
from tests.fakes.still_clock import StillClock

NAME = SESSION.format(1)
OLDER = orjson.loads(
    b"""{"schema_version":"1.1","session_id":"session_20260302_090000_00000001","stream_id":"default",
 "status":"paused","goal_id":"g","agent_id":"gr","entry_point":"default",
 "timestamps":{"started_at":"2026-03-02T09:00:00","updated_at":"2026-03-02T09:00:01","completed_at":null},
 "progress":{"current_node":"b","path":["a","b"]},"memory":{"q":1},"is_resumable":false,
 "latest_checkpoint_id":"cp_1","colour":"blue"}"""
)

TRAVERSALS = ["", "..", "../../etc", "session_1", NAME + "/..", NAME + "-2", NAME + "\n", "x" * 300]


def state(number: int, **fields: object) -> SessionState:
    updated = f"2026-03-02T09:{number:02d}:00.000000Z"
    given = {"timestamps": {"updated_at": updated}, "goal_id": "g", **fields}
    return SessionState.model_validate({"session_id": SESSION.format(number), **given})


@pytest.fixture
def store(tmp_path: Path) -> SessionStore:
    return SessionStore(tmp_path, StillClock())


def test_a_new_id_begins_with_the_time(store: SessionStore) -> None:
    name = store.generate_session_id()
    assert is_session_id(name)
    assert name.startswith("session_20260302_090000_")


async def test_what_is_written_is_read(store: SessionStore) -> None:
    written = state(1, status="completed", memory={"a": [1, None]})
    await store.write_state(NAME, written)
    assert await store.read_state(NAME) == written
    assert await store.session_exists(NAME)
    assert store.get_state_path(NAME) == store.get_session_path(NAME) / "state.json"


async def test_a_written_state_is_private_and_leaves_no_draft(store: SessionStore) -> None:
    await store.write_state(NAME, state(1))
    path = store.get_session_path(NAME)
    assert os.listdir(path) == ["state.json"]
    assert stat.S_IMODE((path / "state.json").stat().st_mode) == 0o600


async def test_a_file_of_the_older_schema_is_read(store: SessionStore) -> None:
    path = store.get_state_path(NAME)
    path.parent.mkdir(parents=True)
    path.write_bytes(orjson.dumps(OLDER))
    read = await store.read_state(NAME)
    assert read is not None
    assert (read.status, read.progress.path, read.memory) == ("paused", ["a", "b"], {"q": 1})
    assert read.is_resumable
    assert read.is_resumable_from_checkpoint
    assert read.model_dump()["colour"] == "blue"


@pytest.mark.parametrize("name", TRAVERSALS)
async def test_an_id_that_is_none_touches_no_path(store: SessionStore, name: str) -> None:
    with pytest.raises(InvalidInput):
        store.get_session_path(name)
    for call in (store.read_state, store.session_exists, store.delete_session):
        with pytest.raises(InvalidInput):
            await call(name)
    with pytest.raises(InvalidInput):
        await store.write_state(name, state(1))
    assert os.listdir(store.base_path) == []


async def test_an_absent_session_is_none(store: SessionStore) -> None:
    assert await store.read_state(NAME) is None
    assert not await store.session_exists(NAME)
    assert not await store.delete_session(NAME)
    assert await store.list_sessions() == []


async def test_sessions_are_listed_last_updated_first(store: SessionStore) -> None:
    for number in (3, 1, 2):
        await store.write_state(SESSION.format(number), state(number))
    assert [s.session_id for s in await store.list_sessions()] == [
        SESSION.format(n) for n in (3, 2, 1)
    ]
    assert len(await store.list_sessions(limit=2)) == 2


@pytest.mark.parametrize(
    ("status", "found"),
    [
        ("completed", [2]),
        ("success", [2]),
        ("active", [1]),
        ("running", [1]),
        ("failure", [3]),
        ("failed", [3]),
        ("nonsense", []),
        (None, [3, 2, 1]),
    ],
)
async def test_sessions_are_found_by_words_of_either_vocabulary(
    store: SessionStore, status: str | None, found: list[int]
) -> None:
    for number, word in ((1, "active"), (2, "completed"), (3, "failed")):
        await store.write_state(SESSION.format(number), state(number, status=word))
    listed = await store.list_sessions(status=status)
    assert [s.session_id for s in listed] == [SESSION.format(n) for n in found]


async def test_sessions_are_found_by_goal(store: SessionStore) -> None:
    await store.write_state(SESSION.format(1), state(1, goal_id="one"))
    await store.write_state(SESSION.format(2), state(2, goal_id="two"))
    assert [s.goal_id for s in await store.list_sessions(goal_id="two")] == ["two"]


DAMAGED = {
    "empty": b"",
    "half": b'{"session_id": "sess',
    "null bytes": b"\0" * 100,
    "not utf-8": b'{"session_id": "\xff"}',
    "a list": b"[]",
    "deep": b"[" * 200_000,
    "foreign": orjson.dumps({"session_id": SESSION.format(99)}),
    "wrong types": orjson.dumps({"session_id": NAME, "progress": 3}),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
async def test_a_damaged_state_is_never_taken_for_one(store: SessionStore, content: bytes) -> None:
    path = store.get_state_path(NAME)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    await store.write_state(SESSION.format(2), state(2))
    with pytest.raises(StorageCorrupt):
        await store.read_state(NAME)
    assert [s.session_id for s in await store.list_sessions()] == [SESSION.format(2)]


@pytest.mark.parametrize("kind", ["directory", "fifo", "symlink", "dangling"])
async def test_what_is_no_file_counts_as_none(
    store: SessionStore, tmp_path: Path, kind: str
) -> None:
    path = store.get_state_path(NAME)
    path.parent.mkdir(parents=True)
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        target = tmp_path / "elsewhere.json"
        path.symlink_to(target)
        if kind == "symlink":
            target.write_bytes(orjson.dumps({"session_id": NAME, "status": "completed"}))
    assert await store.read_state(NAME) is None
    assert await store.list_sessions() == []


async def test_a_deleted_session_is_gone(store: SessionStore) -> None:
    await store.write_state(NAME, state(1))
    assert await store.delete_session(NAME)
    assert not store.get_session_path(NAME).exists()


async def test_deleting_does_not_follow_a_link(store: SessionStore, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    store.sessions_dir.mkdir()
    (store.sessions_dir / NAME).symlink_to(elsewhere)
    assert not await store.delete_session(NAME)
    assert elsewhere.is_dir()
