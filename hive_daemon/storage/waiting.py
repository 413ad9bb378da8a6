"""What an execution that was put away waits for, as its row keeps it for people and for the inbox.

The row says what is shown first (kind, node_id, question, options) and, under `nodes`, all of it in branch order. Law:
an answer wakes an execution if one of the nodes that ask is the one it is for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

PAUSE = "paused"
"""The kind that nobody's words are an answer to."""

APPROVAL = "waiting_approval"
"""The kind that only words meant for it are an answer to: anything else would reject a tool call."""


@dataclass(frozen=True, slots=True)
class Awaited:
    """What one branch waits for. `kind` is the status that it gives the execution."""

    kind: str
    node_id: str
    question: str = ""
    options: tuple[str, ...] = ()


def described(awaited: Sequence[Awaited]) -> dict[str, Any] | None:
    """Return what the row of an execution says of what it waits for, None if that is nothing; `read` is the inverse."""
    if not awaited:
        return None
    return {**asdict(awaited[0]), "nodes": [asdict(one) for one in awaited]}


def read(waiting: bytes | None) -> tuple[Awaited, ...]:
    """Return what an execution waits for, what is shown first at the head; nothing if its row names no node."""
    said = json.loads(waiting) if waiting else None
    if not isinstance(said, dict):
        return ()
    parts = said.get("nodes") or (said,)
    return tuple(_awaited(part) for part in parts if part.get("node_id"))


def hears(waiting: bytes | None, node_id: str) -> bool:
    """Say whether what is said to a node is for an execution that waits so.

    What is said to no node in particular is for whichever asks a question first; one that names no node hears
    everything.
    """
    awaited = read(waiting)
    if not awaited:
        return True
    if not node_id:
        return any(one.kind not in (PAUSE, APPROVAL) for one in awaited)
    return node_id in [one.node_id for one in awaited if one.kind != PAUSE]


def _awaited(part: Mapping[str, Any]) -> Awaited:
    return Awaited(
        kind=str(part.get("kind") or ""),
        node_id=str(part["node_id"]),
        question=str(part.get("question") or ""),
        options=tuple(str(option) for option in part.get("options") or ()),
    )
