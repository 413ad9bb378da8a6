"""What one node may read and write."""

import pytest

from hive_daemon.graph.memory import Memory, NodeMemory, Write


def test_without_declared_keys_everything_is_open():
    memory = NodeMemory({"a": 1})
    memory.write("b", 2)
    assert (memory.read("a"), memory.read("b"), memory.read("c")) == (1, 2, None)
    assert memory.read_all() == {"a": 1, "b": 2}


def test_what_was_not_declared_is_refused_with_the_remedy():
    memory = NodeMemory({"a": 1, "b": 2}, read_keys=["a"], write_keys=["c"])
    with pytest.raises(PermissionError, match="may not read 'b': add it to its input_keys"):
        memory.read("b")
    with pytest.raises(PermissionError, match="may not write 'a': add it to its output_keys"):
        memory.write("a", 1)
    assert memory.read_all() == {"a": 1}


def test_a_node_may_read_what_it_writes():
    memory = NodeMemory({"c": 0}, read_keys=["a"], write_keys=["c"])
    assert memory.read("c") == 0
    memory.write("c", 5)
    assert memory.read("c") == 5


def test_what_a_node_changes_in_place_is_its_own_copy():
    kept = {"list": [1, {"deep": [2]}]}
    memory = NodeMemory(kept)
    memory.read("list")[1]["deep"].append(3)
    assert memory.read("list") == [1, {"deep": [2, 3]}]
    assert kept == {"list": [1, {"deep": [2]}]}


def test_shared_values_stand_behind_those_of_the_execution():
    memory = NodeMemory({"a": 1}, ambient={"a": 9, "s": 9})
    assert memory.read_all() == {"a": 1, "s": 9}
    assert memory.read("s") == 9


async def test_older_programs_may_await_a_write():
    memory = NodeMemory()
    await memory.write_async("a", "x" * 20_000 + " import os", validate=True)
    assert len(memory.written["a"]) == 20_010


def test_a_narrower_view_shares_the_writes_and_may_do_no_more():
    memory = NodeMemory({"a": 1, "b": 2}, read_keys=["a"], write_keys=["c", "d"])
    view = memory.with_permissions(["a", "b"], ["c"])
    view.write("c", 1)
    assert memory.written == {"c": 1}
    assert view.read_all() == {"a": 1, "c": 1}
    for key in ("d", "e"):
        with pytest.raises(PermissionError):
            view.write(key, 1)


def test_a_memory_is_a_value():
    before = Memory({"a": 1})
    after = before.apply([Write(0, "a", 2), Write(3, "b", 1, 5, 3)])
    assert (before.read([0]), after.read([0]), after.read([0, 3])) == (
        {"a": 1},
        {"a": 2},
        {"a": 2, "b": 1},
    )
    assert Memory().apply(after.writes()) == after
    assert after.apply([], live=[]).layers == {}
