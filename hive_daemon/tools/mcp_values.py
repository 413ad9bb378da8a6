"""What is said of MCP servers on this side of the protocol: what they offer, what a call came to, how they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hive_daemon.errors import HiveError


class ServerState(StrEnum):
    """How a server is.

    starting: not known yet. ready: its tools can be called. degraded: they cannot, it is tried again. disabled: it was
    declared so, and is never started. stopped: the agent is not running.
    """

    STARTING = "starting"
    READY = "ready"
    DEGRADED = "degraded"
    DISABLED = "disabled"
    STOPPED = "stopped"


class ServerUnavailable(ConnectionError):
    """The server cannot be called at present; its message says why."""


class ServerRefused(HiveError):
    """The server answered with an error."""

    code = "tool_server"


@dataclass(frozen=True, slots=True)
class OfferedTool:
    """A tool as its server describes it. `is_repeatable`: the server says that calling it twice does no harm."""

    name: str
    description: str
    parameters: dict[str, Any]
    is_repeatable: bool = False


@dataclass(frozen=True, slots=True)
class Attachment:
    """A part of an answer that is no text."""

    media_type: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call came to: texts and attachments in the server's order."""

    parts: tuple[str | Attachment, ...]
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class ToolView:
    """A tool of a server, for people. `is_offered`: nodes get it from here; `is_excluded`: its declaration says no."""

    name: str
    description: str
    is_offered: bool = True
    is_excluded: bool = False

    @property
    def remark(self) -> str:
        """Why nodes do not get it from here; empty if they do."""
        if self.is_excluded:
            return "excluded"
        return "" if self.is_offered else "another one of this name counts"


@dataclass(frozen=True, slots=True)
class ServerView:
    """A server, for people: `target` is its command or address, `retries_in_seconds` is None unless it is degraded."""

    name: str
    transport: str
    target: str
    state: ServerState
    reason: str = ""
    tools: tuple[ToolView, ...] = ()
    starts: int = 0
    retries_in_seconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the view as the control API shows it."""
        return {
            "name": self.name,
            "transport": self.transport,
            "target": self.target,
            "state": str(self.state),
            "reason": self.reason,
            "tools": [
                {
                    "name": tool.name,
                    "description": tool.description,
                    "offered": tool.is_offered,
                    "remark": tool.remark,
                }
                for tool in self.tools
            ],
            "starts": self.starts,
            "retries_in_seconds": self.retries_in_seconds,
        }


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """How servers are dealt with, where their declaration does not say.

    `connect_seconds` bounds the start of a server up to its list of tools, `call_seconds` one call, `settle_seconds`
    how long the start of an agent waits for its servers. Between tries come `first_retry_seconds`, doubled each time up
    to `longest_retry_seconds`; a server that was ready for `steady_seconds` begins anew. `inherited` are globs of
    variables that servers get beside the allow-listed ones.
    """

    connect_seconds: float = 30.0
    call_seconds: float = 60.0
    settle_seconds: float = 10.0
    first_retry_seconds: float = 1.0
    longest_retry_seconds: float = 60.0
    steady_seconds: float = 60.0
    inherited: tuple[str, ...] = ()

    def retry_seconds(self, failures: int) -> float:
        """Return how long to wait after so many failures in a row, at least one."""
        doublings = min(failures - 1, 32)
        return min(self.longest_retry_seconds, self.first_retry_seconds * 2.0**doublings)
