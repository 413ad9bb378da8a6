"""A conversation in files, as programs of the older system keep it."""

import pytest

from hive_daemon.storage.conversation_store import FileConversationStore


@pytest.fixture
def store(tmp_path):
    return FileConversationStore(tmp_path / "conversations" / "a")


async def test_messages_come_back_in_order(store):
    for seq in (2, 0, 10):
        await store.write_part(seq, {"seq": seq})
    assert await store.read_parts() == [{"seq": 0}, {"seq": 2}, {"seq": 10}]


async def test_messages_before_a_number_are_forgotten(store):
    for seq in range(4):
        await store.write_part(seq, {"seq": seq})
    await store.delete_parts_before(2)
    assert await store.read_parts() == [{"seq": 2}, {"seq": 3}]


async def test_cursor_and_meta_are_kept_and_missing_at_first(store):
    assert (await store.read_cursor(), await store.read_meta()) == (None, None)
    await store.write_cursor({"next_seq": 3})
    await store.write_meta({"system_prompt": "Grüße"})
    assert (await store.read_cursor(), await store.read_meta()) == (
        {"next_seq": 3},
        {"system_prompt": "Grüße"},
    )


async def test_the_files_are_where_they_always_were(store, tmp_path):
    await store.write_part(7, {"role": "user", "content": "x"})
    await store.write_cursor({})
    base = tmp_path / "conversations" / "a"
    found = sorted(str(path.relative_to(base)) for path in base.rglob("*") if path.is_file())
    assert found == ["cursor.json", "parts/0000000007.json"]


async def test_a_torn_file_counts_as_missing(store, tmp_path):
    await store.write_part(0, {"seq": 0})
    await store.write_part(1, {"seq": 1})
    (tmp_path / "conversations" / "a" / "parts" / "0000000000.json").write_text('{"seq"')
    assert await store.read_parts() == [{"seq": 1}]


async def test_a_destroyed_conversation_is_gone(store, tmp_path):
    await store.write_part(0, {"seq": 0})
    await store.destroy()
    assert await store.read_parts() == []
