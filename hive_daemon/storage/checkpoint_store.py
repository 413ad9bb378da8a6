"""CheckpointStore, the documented face of a session's checkpoints: hive.db where there is one, files where not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from hive_daemon.clock import SYSTEM_CLOCK, Clock, iso_z, parse_iso
from hive_daemon.errors import Conflict
from hive_daemon.schemas.checkpoint import Checkpoint, CheckpointIndex, CheckpointSummary
from hive_daemon.storage.chronicle import checkpoint_file
from hive_daemon.storage.files import read_file, replace_file
from hive_daemon.storage.session_reader import SessionReader
from hive_daemon.storage.session_state import INDEX, checkpoint_documents
from hive_daemon.tasks import to_thread

__all__ = ["Checkpoint", "CheckpointIndex", "CheckpointStore", "CheckpointSummary"]

Model = TypeVar("Model", bound=BaseModel)

_DAY_SECONDS = 86_400


class CheckpointStore:
    """The checkpoints of one session; `base_path` is the session's directory.

    No id leads to another directory. Where a database keeps the sessions, what writes raises Conflict.
    """

    def __init__(self, base_path: str | Path, clock: Clock = SYSTEM_CLOCK) -> None:
        self.base_path = Path(base_path).expanduser()
        self._clock = clock
        self._writing = asyncio.Lock()

    async def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint and list it; one of the same id is replaced."""
        self._refuse_with_database()
        path = self._path(checkpoint.checkpoint_id)
        async with self._writing:
            await to_thread(replace_file, path, _dump(checkpoint))
            index = await to_thread(self._index)
            kept = [c for c in index.checkpoints if c.checkpoint_id != checkpoint.checkpoint_id]
            fields = {name: getattr(checkpoint, name) for name in CheckpointSummary.model_fields}
            await self._save_index(index, [*kept, CheckpointSummary(**fields)])

    async def load_checkpoint(self, checkpoint_id: str | None = None) -> Checkpoint | None:
        """Return a checkpoint, the latest if none is named; None if there is none."""
        return await to_thread(self._load, checkpoint_id)

    async def load_index(self) -> CheckpointIndex | None:
        """Return the index, None if there are no checkpoints."""
        index = await to_thread(self._index)
        return index if index.checkpoints else None

    async def list_checkpoints(
        self, checkpoint_type: str | None = None, is_clean: bool | None = None
    ) -> list[CheckpointSummary]:
        """Return the checkpoints of this type and cleanness, oldest first."""
        index = await to_thread(self._index)
        return [
            checkpoint
            for checkpoint in index.checkpoints
            if checkpoint_type in (None, checkpoint.checkpoint_type)
            and is_clean in (None, checkpoint.is_clean)
        ]

    async def checkpoint_exists(self, checkpoint_id: str) -> bool:
        """Say whether there is such a checkpoint."""
        return await to_thread(self._load, checkpoint_id) is not None

    async def delete_checkpoint(self, checkpoint_id: str) -> bool:
        """Delete a checkpoint; say whether there was one."""
        self._refuse_with_database()
        return bool(await self._delete([checkpoint_id]))

    async def prune_checkpoints(self, max_age_days: int = 7) -> int:
        """Delete what is older than that many days; answer how many were."""
        self._refuse_with_database()
        oldest = iso_z(self._clock.time() - max_age_days * _DAY_SECONDS)
        index = await to_thread(self._index)
        return await self._delete(
            [c.checkpoint_id for c in index.checkpoints if _utc(c.created_at) < oldest]
        )

    async def _delete(self, checkpoint_ids: list[str]) -> int:
        async with self._writing:
            index = await to_thread(self._index)
            kept = [c for c in index.checkpoints if c.checkpoint_id not in checkpoint_ids]
            gone = len(index.checkpoints) - len(kept)
            if gone:
                await self._save_index(index, kept)
            for checkpoint_id in checkpoint_ids:
                await to_thread(lambda p: p.unlink(missing_ok=True), self._path(checkpoint_id))
            return gone

    async def _save_index(self, index: CheckpointIndex, kept: list[CheckpointSummary]) -> None:
        fresh = CheckpointIndex(
            session_id=index.session_id or self.base_path.name,
            checkpoints=kept,
            latest_checkpoint_id=kept[-1].checkpoint_id if kept else None,
            total_checkpoints=len(kept),
        )
        await to_thread(replace_file, self.base_path / INDEX, _dump(fresh))

    def _documents(self) -> dict[str, bytes] | None:
        """Return the files as the database would have them, None where there is none."""
        reader = SessionReader.find(self.base_path.parent.parent)
        if reader is None:
            return None
        found = reader.read(self.base_path.name)
        return {} if found is None else checkpoint_documents(found[0])

    def _content(self, path: str) -> bytes | None:
        documents = self._documents()
        return read_file(self.base_path / path) if documents is None else documents.get(path)

    def _index(self) -> CheckpointIndex:
        return _read(CheckpointIndex, self._content(INDEX)) or CheckpointIndex()

    def _load(self, checkpoint_id: str | None) -> Checkpoint | None:
        if checkpoint_id is None:
            checkpoint_id = self._index().latest_checkpoint_id
            if checkpoint_id is None:
                return None
        return _read(Checkpoint, self._content(checkpoint_file(checkpoint_id)))

    def _path(self, checkpoint_id: str) -> Path:
        return self.base_path / checkpoint_file(checkpoint_id)

    def _refuse_with_database(self) -> None:
        if SessionReader.find(self.base_path.parent.parent) is not None:
            raise Conflict(
                "the checkpoints here are kept in hive.db, which only its daemon changes"
            )


def _dump(model: BaseModel) -> bytes:
    return orjson.dumps(model.model_dump(mode="json"), option=orjson.OPT_APPEND_NEWLINE)


def _read(model: type[Model], content: bytes | None) -> Model | None:
    """Return what a file holds; a damaged one counts as missing."""
    if content is None:
        return None
    try:
        return model.model_validate(orjson.loads(content))
    except (orjson.JSONDecodeError, ValidationError):
        return None


def _utc(text: str) -> str:
    try:
        return iso_z(parse_iso(text))
    except ValueError:
        return text
