"""The shared state as programs use it, without a store."""

import asyncio

import pytest

from hive_daemon.runtime.entry_point import IsolationLevel
from hive_daemon.runtime.shared_state import (
    SharedBufferManager,
    SharedStateManager,
    StateScope,
    StreamBuffer,
    StreamMemory,
)
from tests.fakes.still_clock import StillClock

LEVELS = list(IsolationLevel)


@pytest.fixture
def manager():
    return SharedStateManager(agent="a")


def test_memory_and_buffer_are_two_names_for_one_thing(manager):
    assert SharedBufferManager is SharedStateManager
    assert StreamBuffer is StreamMemory
    assert isinstance(manager.create_buffer("x", "s", "shared"), StreamMemory)


async def test_reads_go_from_the_execution_to_the_stream_to_the_whole_agent(manager):
    for scope in StateScope:
        await manager.write("key", scope.value, "x", "s", "shared", scope)
    assert await manager.read("key", "x", "s") == "execution"
    assert await manager.read("key", "other", "s") == "stream"
    assert await manager.read("key", "other", "elsewhere") == "global"


@pytest.mark.parametrize("scope", list(StateScope))
async def test_an_isolated_execution_writes_to_itself_whatever_it_asks_for(manager, scope):
    await manager.write("key", 1, "x", "s", "isolated", scope)
    assert await manager.read("key", "x", "s", "isolated") == 1
    assert [await manager.read("key", "other", "s", level) for level in LEVELS] == [None] * 3


async def test_an_isolated_execution_sees_nothing_of_the_others(manager):
    await manager.write("key", 1, "x", "s", scope="global")
    memory = manager.create_memory("y", "s", IsolationLevel.ISOLATED)
    assert await memory.read("key") is None
    assert await memory.read_all() == {}


async def test_several_keys_are_set_together(manager):
    await manager.write_batch({"a": 1, "b": 2}, "x", "s", scope=StateScope.STREAM)
    memory = manager.create_memory("y", "s", "shared")
    assert await memory.read_all() == {"a": 1, "b": 2}
    assert [change.key for change in manager.get_recent_changes()] == ["b", "a"]


async def test_a_change_tells_what_was_there_before():
    clock = StillClock()
    manager = SharedStateManager(agent="a", clock=clock)
    await manager.write("key", 1, "x", "s", scope="global")
    await manager.write("key", 2, "x", "s", scope="global")
    [change] = manager.get_recent_changes(1)
    assert (change.old_value, change.new_value, change.scope) == (1, 2, StateScope.GLOBAL)
    assert change.timestamp.timestamp() == clock.now


async def test_a_view_reads_and_writes_what_it_may(manager):
    whole = manager.create_memory("x", "s", "shared")
    await whole.write("open", 1)
    await whole.write("closed", 2)
    view = whole.with_permissions(["open"], ["result"])
    assert await view.read_all() == {"open": 1}
    with pytest.raises(PermissionError, match="may not read 'closed'"):
        await view.read("closed")
    with pytest.raises(PermissionError, match="may not write 'open'"):
        await view.write("open", 3)
    await view.write("result", 4)
    assert await whole.read("result") == 4


async def test_what_is_read_later_is_what_was_written_not_what_became_of_it(manager):
    value = {"list": [1]}
    await manager.write("key", value, "x", "s", scope="global")
    value["list"].append(2)
    assert await manager.read("key", "y", "s") == {"list": [1]}


async def test_what_cannot_be_kept_is_refused_and_changes_nothing(manager):
    with pytest.raises(TypeError):
        await manager.write("key", object(), "x", "s", scope="global")
    assert await manager.read("key", "y", "s") is None
    await manager.write("key", 1, "x", "s", scope="global")
    assert await manager.read("key", "y", "s") == 1


async def test_executions_and_streams_can_be_forgotten(manager):
    await manager.write("key", 1, "x", "s")
    await manager.write("key", 2, "x", "s", scope="stream")
    await manager.write("key", 3, "x", "s", scope="global")
    manager.cleanup_execution("x")
    assert await manager.read("key", "x", "s") == 2
    await manager.cleanup_stream("s")
    assert await manager.read("key", "x", "s") == 3
    assert manager.get_stats() == {
        "global_keys": 1,
        "stream_count": 0,
        "execution_count": 0,
        "total_changes": 3,
        "version": 3,
    }


async def test_many_at_once_lose_no_write(manager):
    await asyncio.gather(
        *(manager.write(f"k{n % 3}", n, "x", "s", scope="global") for n in range(60))
    )
    assert manager.versions(["k0", "k1", "k2"]) == {"k0": 20, "k1": 20, "k2": 20}


@pytest.mark.parametrize("unknown", ["universal", ""])
async def test_unknown_words_are_refused(manager, unknown):
    with pytest.raises(ValueError, match="StateScope"):
        await manager.write("key", 1, "x", "s", scope=unknown)
    with pytest.raises(ValueError, match="IsolationLevel"):
        await manager.read("key", "x", "s", unknown)
