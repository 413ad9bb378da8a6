"""CheckpointStore where there is no database: the files of `checkpoints/`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hive_daemon.clock import iso_z
from hive_daemon.storage.checkpoint_store import Checkpoint, CheckpointStore
from tests.fakes.still_clock import StillClock

DAY = 86_400


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def store(tmp_path: Path, clock: StillClock) -> CheckpointStore:
    return CheckpointStore(tmp_path / "session", clock)


def checkpoint(name: str, **fields: object) -> Checkpoint:
    return Checkpoint.model_validate({"checkpoint_id": name, "session_id": "session", **fields})


async def test_what_is_saved_is_loaded_and_listed(store: CheckpointStore) -> None:
    first = checkpoint("cp_a", shared_memory={"q": 1}, execution_path=["a"])
    await store.save_checkpoint(first)
    await store.save_checkpoint(checkpoint("cp_b", checkpoint_type="pause", is_clean=False))
    assert await store.load_checkpoint("cp_a") == first
    latest = await store.load_checkpoint()
    assert latest is not None
    assert latest.checkpoint_id == "cp_b"
    index = await store.load_index()
    assert index is not None
    assert (index.total_checkpoints, index.latest_checkpoint_id) == (2, "cp_b")
    assert [c.checkpoint_id for c in await store.list_checkpoints(is_clean=True)] == ["cp_a"]
    assert [c.checkpoint_id for c in await store.list_checkpoints("pause")] == ["cp_b"]
    assert await store.checkpoint_exists("cp_a")


async def test_the_same_id_is_listed_once(store: CheckpointStore) -> None:
    await store.save_checkpoint(checkpoint("cp_a", current_node="one"))
    await store.save_checkpoint(checkpoint("cp_a", current_node="two"))
    assert [c.current_node for c in await store.list_checkpoints()] == ["two"]


async def test_an_empty_store_has_nothing(store: CheckpointStore) -> None:
    assert await store.load_index() is None
    assert await store.load_checkpoint() is None
    assert await store.load_checkpoint("cp_a") is None
    assert not await store.delete_checkpoint("cp_a")


async def test_a_deleted_checkpoint_is_gone_from_disk_and_index(store: CheckpointStore) -> None:
    await store.save_checkpoint(checkpoint("cp_a"))
    await store.save_checkpoint(checkpoint("cp_b"))
    assert await store.delete_checkpoint("cp_b")
    latest = await store.load_checkpoint()
    assert latest is not None
    assert latest.checkpoint_id == "cp_a"
    assert sorted(os.listdir(store.base_path / "checkpoints")) == ["cp_a.json", "index.json"]


async def test_what_is_too_old_is_pruned(store: CheckpointStore, clock: StillClock) -> None:
    for days in (9, 8, 1):
        at = iso_z(clock.now - days * DAY)
        await store.save_checkpoint(checkpoint(f"cp_{days}", created_at=at))
    assert await store.prune_checkpoints(max_age_days=7) == 2
    assert [c.checkpoint_id for c in await store.list_checkpoints()] == ["cp_1"]


@pytest.mark.parametrize("name", ["../../escape", "a/b", "..", "x" * 500])
async def test_no_id_leads_out_of_the_directory(
    store: CheckpointStore, tmp_path: Path, name: str
) -> None:
    await store.save_checkpoint(checkpoint(name))
    assert await store.checkpoint_exists(name)
    assert os.listdir(tmp_path) == ["session"]
    assert len(os.listdir(store.base_path / "checkpoints")) == 2


async def test_a_damaged_file_counts_as_missing(store: CheckpointStore) -> None:
    await store.save_checkpoint(checkpoint("cp_a"))
    (store.base_path / "checkpoints/cp_a.json").write_bytes(b"{")
    (store.base_path / "checkpoints/index.json").write_bytes(b"{")
    assert await store.load_checkpoint("cp_a") is None
    assert await store.load_index() is None
