"""What a submission carries beside its input: how its execution begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hive_daemon.errors import InvalidInput
from hive_daemon.runtime.encoding import dumps, loads


@dataclass(frozen=True, slots=True)
class Beginning:
    """How an execution begins, or goes on.

    `session_state` is what a caller handed in; `carries_memory` asks for the memory that the session's last main
    execution left. `resume_input` is what somebody says to a walk that was put away after its step `after_seq`: once
    it has taken a further step it has heard that. `accepted_graph` is the hash of a changed graph that somebody accepts
    for it.
    """

    session_state: Mapping[str, Any] = field(default_factory=dict)
    carries_memory: bool = False
    resume_input: Mapping[str, Any] = field(default_factory=dict)
    after_seq: int = 0
    accepted_graph: str = ""

    def encode(self) -> bytes | None:
        """Return the value as the store keeps it; None for a plain beginning. Raises InvalidInput."""
        packed: dict[str, Any] = {}
        if self.session_state:
            packed["session_state"] = dict(self.session_state)
        if self.carries_memory:
            packed["carries_memory"] = True
        if self.resume_input:
            packed["resume_input"] = dict(self.resume_input)
        if self.after_seq:
            packed["after_seq"] = self.after_seq
        if self.accepted_graph:
            packed["accepted_graph"] = self.accepted_graph
        try:
            return dumps(packed) if packed else None
        except TypeError as error:
            raise InvalidInput(f"the session state cannot be kept as JSON: {error}") from error

    @classmethod
    def decode(cls, data: bytes | None) -> Beginning:
        """Read what `encode` wrote."""
        return cls(**loads(data)) if data else cls()

    def said_at(self, seq: int) -> Mapping[str, Any]:
        """Return what is said to a walk that stands at step `seq`; nothing if it went on since."""
        return self.resume_input if seq <= self.after_seq else {}
