"""`framework.storage.conversation_store`: one conversation in files, for programs that run a model loop themselves.

Under an AgentRuntime conversations are in hive.db; this is not used there. Files are replaced as a whole, so a crash
leaves the old one or the new one.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from hive_daemon.storage.files import read_file, replace_file
from hive_daemon.tasks import to_thread


class FileConversationStore:
    """A conversation under `base_path`: `parts/{seq}.json` for each message, `meta.json`, `cursor.json`.

    A file that is not a JSON object counts as missing. The methods raise StorageUnavailable.
    """

    def __init__(self, base_path: str | Path) -> None:
        self._base = Path(base_path).expanduser()
        self._parts = self._base / "parts"

    async def write_part(self, seq: int, data: dict[str, Any]) -> None:
        """Keep a message under its number."""
        await to_thread(_write, self._part(seq), data)

    async def read_parts(self) -> list[dict[str, Any]]:
        """Return the messages by their numbers."""
        return await to_thread(self._read_parts)

    async def delete_parts_before(self, seq: int) -> None:
        """Forget the messages with smaller numbers."""
        await to_thread(self._delete_before, seq)

    async def write_meta(self, data: dict[str, Any]) -> None:
        """Keep what holds for the whole conversation."""
        await to_thread(_write, self._base / "meta.json", data)

    async def read_meta(self) -> dict[str, Any] | None:
        """Return what `write_meta` kept."""
        return await to_thread(_read, self._base / "meta.json")

    async def write_cursor(self, data: dict[str, Any]) -> None:
        """Keep where the conversation stands."""
        await to_thread(_write, self._base / "cursor.json", data)

    async def read_cursor(self) -> dict[str, Any] | None:
        """Return what `write_cursor` kept."""
        return await to_thread(_read, self._base / "cursor.json")

    async def close(self) -> None:
        """Do nothing: every write is done when it returns."""

    async def destroy(self) -> None:
        """Delete the conversation."""
        await to_thread(shutil.rmtree, self._base, ignore_errors=True)

    def _part(self, seq: int) -> Path:
        return self._parts / f"{seq:010d}.json"

    def _read_parts(self) -> list[dict[str, Any]]:
        found = [_read(path) for path in sorted(self._parts.glob("*.json"))]
        return [part for part in found if part is not None]

    def _delete_before(self, seq: int) -> None:
        for path in self._parts.glob("*.json"):
            if path.stem.isdecimal() and int(path.stem) < seq:
                path.unlink(missing_ok=True)


def _write(path: Path, data: dict[str, Any]) -> None:
    replace_file(path, json.dumps(data, ensure_ascii=False).encode(errors="replace"))


def _read(path: Path) -> dict[str, Any] | None:
    content = read_file(path)
    try:
        found = None if content is None else json.loads(content)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
