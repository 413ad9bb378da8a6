"""An approval: a tool call that a person is asked about, and what the person decides.

Asking is a session record, kept until the call was decided; a decision reaches the node as the answer to its question.
The id of an approval is the idempotency key of its call, so it is never given twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

RECORDS = "approvals/"
"""What the keys of the session records of approvals begin with."""

OPTIONS = ("approve", "reject")

_SHOWN_CHARS = 2_000


@dataclass(frozen=True, slots=True)
class Approval:
    """A call that waits for a person. `why` is the reason for asking."""

    id: str
    execution_id: str
    node_id: str
    tool: str
    arguments: Mapping[str, Any]
    why: str = ""

    @property
    def record_key(self) -> str:
        """The key of its session record."""
        return f"{RECORDS}{self.id}"

    @property
    def question(self) -> str:
        """What the person is asked."""
        arguments = json.dumps(self.arguments, ensure_ascii=False, default=str)
        if len(arguments) > _SHOWN_CHARS:
            arguments = f"{arguments[:_SHOWN_CHARS]}…"
        return f"May {self.tool} be called with {arguments}?{f' {self.why}' if self.why else ''}"

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values; `from_json` is its inverse."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(**data)


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person decides on an approval.

    `arguments` take the place of the model's, None leaves those. `message` is for the model whose call is rejected.
    """

    approval_id: str
    is_approved: bool
    arguments: Mapping[str, Any] | None = None
    message: str = ""

    def text(self) -> str:
        """Write it as an answer; `read` is the inverse."""
        return json.dumps({"decision": asdict(self)})

    @classmethod
    def read(cls, said: str, approval_id: str) -> Self:
        """Read the first decision on this approval in what was said, a line each.

        Nothing is approved by mistake: whatever is no decision on it rejects it, with those words.
        """
        for line in said.splitlines():
            found = _decision(line)
            if found is not None and found["approval_id"] == approval_id:
                return cls(**found)
        return cls(approval_id, is_approved=False, message=said)


def _decision(line: str) -> dict[str, Any] | None:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return None
    found = document.get("decision") if isinstance(document, dict) else None
    if not isinstance(found, dict) or found.keys() != _FIELDS.keys():
        return None
    return found if all(isinstance(found[key], kind) for key, kind in _FIELDS.items()) else None


_FIELDS: Mapping[str, type | tuple[type, ...]] = {
    "approval_id": str,
    "is_approved": bool,
    "arguments": (dict, type(None)),
    "message": str,
}
