"""Where a conversation is kept: as records of its session, or in a program's own store.

Every visit of a model loop is a *phase* with records of its own, so that nothing that runs side by side ever writes the
same key. A node sees the phases before its own as history: in continuous mode those of all nodes, in isolated mode its
own earlier ones; phases of nodes that were still running when it began stay out. Keys, behind the context's prefix:

    conv/{phase}/{seq:010d}      a message; phase = {order:06d}-{node id}, in the order in which the visits began
    cursor/{node id}/state       where the node's last visit stands (`cursor.Cursor`)
    cursor/{node id}/outputs     what it has set

A summary names the phases that it covers: they are history no more, for the node itself and for those that follow it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from hive_daemon.graph.facts import Fact
from hive_daemon.graph.journal import LocalJournal

if TYPE_CHECKING:
    from hive_daemon.graph.conversation import Message

STATE = "state"
OUTPUTS = "outputs"


class ConversationStore(Protocol):
    """A program's own store of one conversation."""

    async def write_part(self, seq: int, data: dict[str, Any]) -> None:
        """Keep a message under its number."""

    async def read_parts(self) -> list[dict[str, Any]]:
        """Return the messages by their numbers."""

    async def write_cursor(self, data: dict[str, Any]) -> None:
        """Keep where the conversation stands."""

    async def read_cursor(self) -> dict[str, Any] | None:
        """Return what `write_cursor` kept."""

    async def delete_parts_before(self, seq: int) -> None:
        """Forget the messages with smaller numbers."""


def phase_name(order: int, node_id: str) -> str:
    """Name the phase of a visit."""
    return f"{order:06d}-{node_id}"


def order_of(phase: str) -> int:
    """Return the place of a phase among all of its session."""
    return int(phase.partition("-")[0])


def node_of(phase: str) -> str:
    """Return the node whose visit a phase is."""
    return phase.partition("-")[2]


def message_key(prefix: str, phase: str, seq: int) -> str:
    """Return the key of a message's record."""
    return f"{prefix}conv/{phase}/{seq:010d}"


def cursor_key(prefix: str, node_id: str, part: str) -> str:
    """Return the key of a part of a node's cursor."""
    return f"{prefix}cursor/{node_id}/{part}"


def pack(value: Any) -> bytes:
    """Write a record."""
    return json.dumps(value, separators=(",", ":")).encode()


def unpack(record: bytes) -> Any:
    """Read a record."""
    return json.loads(record)


def phases_in(records: Mapping[str, bytes], prefix: str) -> dict[str, list[dict[str, Any]]]:
    """Return the stored messages of each phase, phases in their order."""
    head = len(f"{prefix}conv/")
    found: dict[str, list[dict[str, Any]]] = {}
    for key in sorted(records):
        phase = key[head:].rpartition("/")[0]
        found.setdefault(phase, []).append(unpack(records[key]))
    return found


def covered(phases: Iterable[Iterable[Message]]) -> frozenset[str]:
    """Return the phases that a summary in one of these stands for."""
    return frozenset(phase for part in phases for message in part for phase in message.covers)


class StoreJournal(LocalJournal):
    """A journal that keeps the records of one node in a program's conversation store, and tells an event bus."""

    def __init__(
        self, store: ConversationStore, node_id: str, bus: object, ids: tuple[str, str]
    ) -> None:
        super().__init__(bus, *ids)
        self._store = store
        self._node_id = node_id

    async def record(self, *facts: Fact, records: Mapping[str, bytes | None] | None = None) -> None:
        """Keep the messages and the cursor, then tell the facts."""
        changed = records or {}
        known = {**await self.recall(""), **changed}
        gone: list[int] = []
        for key, record in changed.items():
            if "conv/" not in key:
                continue
            place, _, seq = key.rpartition("/")
            if record is None:
                gone.append(int(seq))
            else:
                part = {**unpack(record), "phase": place.rpartition("conv/")[2]}
                await self._store.write_part(int(seq), part)
        cursor = {
            key.rpartition("/")[2]: unpack(record)
            for key, record in known.items()
            if "cursor/" in key and record is not None
        }
        await self._store.write_cursor(cursor)
        if gone:
            await self._store.delete_parts_before(max(gone) + 1)
        await super().record(*facts, records=records)

    async def recall(self, prefix: str) -> dict[str, bytes]:
        """Return the records, read from the store the first time."""
        if not self._records:
            self._records.update(await self._stored())
        return await super().recall(prefix)

    async def _stored(self) -> dict[str, bytes]:
        cursor = await self._store.read_cursor() or {}
        kept = {
            cursor_key("", self._node_id, part): pack(cursor[part])
            for part in (STATE, OUTPUTS)
            if part in cursor
        }
        if not kept:
            return {}
        for part in await self._store.read_parts():
            phase = part.pop("phase", phase_name(1, self._node_id))
            kept[message_key("", phase, part["seq"])] = pack(part)
        return kept
