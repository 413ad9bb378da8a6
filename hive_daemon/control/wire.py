"""The contract that `hived` and `hive` share: routes, headers, statuses, errors, exit codes, the event stream.

Standard library only, so that the command line starts fast. Tests compare it with docs/control-api.md and docs/cli.md.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Self
from urllib.parse import quote

DISTRIBUTION = "hive-daemon"
"""The name under which both programs are installed."""

VERSION_HEADER = "Hive-Version"
IDEMPOTENCY_HEADER = "Idempotency-Key"
LAST_EVENT_HEADER = "Last-Event-ID"

BODY_LIMIT_BYTES = 16 * 1024 * 1024
PAGE_SIZE = 50
PAGE_SIZE_MAX = 500
WAIT_SECONDS_MAX = 60
KEEPALIVE_SECONDS = 15
"""An open event stream carries at least one line in this time."""

SOCKET_NAME = "hived.sock"
SYSTEM_SOCKET = "/run/hive/hived.sock"
"""Where the packaged systemd unit puts the socket."""

LATEST = "latest"
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"


def is_reference(text: str) -> bool:
    """Say whether the text may stand for a session or an execution: `latest`, an id, or part of one."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", text) is not None


def is_approval(text: str) -> bool:
    """Say whether the text may stand for an approval: its id, or an execution that waits for just one."""
    execution, colon, call = text.partition(":")
    names_call = re.fullmatch(rf"{_NAME}:\d{{1,9}}:\d{{1,9}}", call) is not None
    return is_reference(execution) and (names_call if colon else True)


def is_delivery(text: str) -> bool:
    """Say whether the text may stand for a webhook delivery."""
    return re.fullmatch(r"dlv_[0-9a-f]{32}", text) is not None


def is_address(text: str) -> bool:
    """Say whether the text may stand for an entry point or a timer.

    That is `agent/entry_point`, `agent/graph::entry_point`, or either without its agent.
    """
    return re.fullmatch(rf"(?:{_NAME}/)?(?:{_NAME}::)?{_NAME}", text) is not None


class Route(StrEnum):
    """Every request that the daemon answers, as `METHOD /path/{name}`."""

    HEALTH = "GET /v1/health"
    READY = "GET /v1/ready"
    LIVEZ = "GET /livez"
    READYZ = "GET /readyz"
    METRICS = "GET /metrics"
    STATUS = "GET /v1/status"
    STATS = "GET /v1/stats"
    PS = "GET /v1/ps"
    SHOW = "GET /v1/show/{id}"
    WHY = "GET /v1/why/{id}"
    AGENTS = "GET /v1/agents"
    ENTRY_POINTS = "GET /v1/entry-points"
    TRIGGER = "POST /v1/entry-points/{entry_point}/trigger"
    TRIGGER_OF_AGENT = "POST /v1/entry-points/{agent}/{entry_point}/trigger"
    EXECUTIONS = "GET /v1/executions"
    EXECUTION = "GET /v1/executions/{execution}"
    TRACE = "GET /v1/executions/{execution}/trace"
    CANCEL = "POST /v1/executions/{execution}/cancel"
    QUEUE = "GET /v1/queue"
    QUEUED = "GET /v1/queue/{execution}"
    QUEUED_FRONT = "POST /v1/queue/{execution}/front"
    QUEUED_CANCEL = "POST /v1/queue/{execution}/cancel"
    SESSIONS = "GET /v1/sessions"
    SESSION = "GET /v1/sessions/{session}"
    SESSION_STATE = "GET /v1/sessions/{session}/state"
    SESSION_CHECKPOINTS = "GET /v1/sessions/{session}/checkpoints"
    SESSION_EVENTS = "GET /v1/sessions/{session}/events"
    SESSION_RESUME = "POST /v1/sessions/{session}/resume"
    SESSION_INPUT = "POST /v1/sessions/{session}/input"
    APPROVALS = "GET /v1/approvals"
    APPROVAL = "GET /v1/approvals/{approval}"
    APPROVAL_DECIDE = "POST /v1/approvals/{approval}"
    BUDGETS = "GET /v1/budgets"
    BUDGETS_FORECAST = "GET /v1/budgets/forecast"
    INCIDENTS = "GET /v1/incidents"
    INCIDENT = "GET /v1/incidents/{incident}"
    INCIDENT_ACK = "POST /v1/incidents/{incident}/ack"
    INCIDENT_RESOLVE = "POST /v1/incidents/{incident}/resolve"
    TIMERS = "GET /v1/timers"
    TIMER = "GET /v1/timers/{timer}"
    TIMER_NEXT = "GET /v1/timers/{timer}/next"
    TIMER_HISTORY = "GET /v1/timers/{timer}/history"
    TIMER_TRIGGER = "POST /v1/timers/{timer}/trigger"
    TIMER_BACKFILL = "POST /v1/timers/{timer}/backfill"
    TIMERS_SIMULATE = "GET /v1/timers/-/simulate"
    TIMERS_PAUSE = "POST /v1/timers/pause"
    TIMERS_RESUME = "POST /v1/timers/resume"
    WEBHOOKS = "GET /v1/webhooks"
    WEBHOOKS_TEST = "POST /v1/webhooks/test"
    DELIVERIES = "GET /v1/webhooks/deliveries"
    DELIVERY = "GET /v1/webhooks/deliveries/{delivery}"
    WEBHOOKS_REPLAY = "POST /v1/webhooks/replay"
    MCP = "GET /v1/mcp"
    EVENTS = "GET /v1/events"
    LOGS = "GET /v1/logs"
    DRAIN = "POST /v1/drain"

    @property
    def method(self) -> str:
        """The HTTP method."""
        return self.partition(" ")[0]

    @property
    def template(self) -> str:
        """The path with its names in braces, as a router wants it."""
        return self.partition(" ")[2]

    def path(self, **names: str) -> str:
        """Fill in the names of the path, percent-encoded."""
        return self.template.format(**{key: quote(name, safe=":") for key, name in names.items()})


def trigger_path(address: str) -> str:
    """Return the path that triggers the entry point with this address, bare or with its agent."""
    agent, slash, entry_point = address.rpartition("/")
    if slash:
        return Route.TRIGGER_OF_AGENT.path(agent=agent, entry_point=entry_point)
    return Route.TRIGGER.path(entry_point=entry_point)


class Status(StrEnum):
    """Where an execution is in its life (the moves between them are in `hive_daemon.status`)."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    WAITING_INPUT = "waiting_input"
    WAITING_APPROVAL = "waiting_approval"
    INTERRUPTED = "interrupted"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RECOVERY_EXHAUSTED = "recovery_exhausted"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing follows any more; a retry or a resume is a new execution."""
        return self in _TERMINAL

    @property
    def is_settled(self) -> bool:
        """Whether it stays so until somebody does something: terminal, paused or waiting."""
        return self.is_terminal or self in _PARKED


_TERMINAL = frozenset(
    {Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.RECOVERY_EXHAUSTED}
)
_PARKED = frozenset({Status.PAUSED, Status.WAITING_INPUT, Status.WAITING_APPROVAL})


class ExitCode(IntEnum):
    """What `hive` tells the shell."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    UNREACHABLE = 5
    DENIED = 6
    BUDGET = 7
    NEEDS_INPUT = 8
    TIMED_OUT = 124
    INTERRUPTED = 130
    BROKEN_PIPE = 141


class ErrorCode(StrEnum):
    """The stable word for a failure, with what it means at the two edges.

    The last four never travel: the command line finds them itself, and their `http_status` is None.
    """

    http_status: int | None
    exit_code: ExitCode

    def __new__(cls, code: str, http_status: int | None, exit_code: ExitCode) -> Self:
        """Make a member that is its code and knows its meanings."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.http_status = http_status
        member.exit_code = exit_code
        return member

    INVALID = "invalid", 400, ExitCode.USAGE
    CONFIG = "config", 400, ExitCode.USAGE
    AGENT_LOAD = "agent_load", 400, ExitCode.USAGE
    INVALID_GRAPH = "invalid_graph", 400, ExitCode.USAGE
    TOO_LARGE = "too_large", 413, ExitCode.USAGE
    METHOD_NOT_ALLOWED = "method_not_allowed", 405, ExitCode.USAGE
    DENIED = "denied", 403, ExitCode.DENIED
    NOT_FOUND = "not_found", 404, ExitCode.NOT_FOUND
    AMBIGUOUS = "ambiguous", 409, ExitCode.CONFLICT
    CONFLICT = "conflict", 409, ExitCode.CONFLICT
    ALREADY_REGISTERED = "already_registered", 409, ExitCode.CONFLICT
    NOT_RUNNING = "not_running", 409, ExitCode.CONFLICT
    ALREADY_RUNNING = "already_running", 409, ExitCode.CONFLICT
    ILLEGAL_MOVE = "illegal_move", 409, ExitCode.CONFLICT
    GRAPH_CHANGED = "graph_changed", 409, ExitCode.CONFLICT
    FENCED = "fenced", 409, ExitCode.CONFLICT
    STATE_CONFLICT = "state_conflict", 409, ExitCode.CONFLICT
    STATE_LOCKED = "state_locked", 409, ExitCode.CONFLICT
    IDEMPOTENCY_CONFLICT = "idempotency_conflict", 409, ExitCode.CONFLICT
    BUSY = "busy", 409, ExitCode.CONFLICT
    QUEUE_FULL = "queue_full", 429, ExitCode.CONFLICT
    RATE_LIMITED = "rate_limited", 429, ExitCode.CONFLICT
    BUDGET_EXCEEDED = "budget_exceeded", 429, ExitCode.BUDGET
    REFUSED = "refused", 503, ExitCode.CONFLICT
    DRAINING = "draining", 503, ExitCode.CONFLICT
    STARTING = "starting", 503, ExitCode.UNREACHABLE
    STORAGE_UNAVAILABLE = "storage_unavailable", 503, ExitCode.FAILED
    STORAGE_FULL = "storage_full", 507, ExitCode.FAILED
    STORAGE = "storage", 500, ExitCode.FAILED
    STORAGE_CORRUPT = "storage_corrupt", 500, ExitCode.FAILED
    STORAGE_TOO_NEW = "storage_too_new", 500, ExitCode.FAILED
    MODEL = "model", 502, ExitCode.FAILED
    MODEL_UNAVAILABLE = "model_unavailable", 502, ExitCode.FAILED
    MODEL_REJECTED = "model_rejected", 502, ExitCode.FAILED
    ERROR = "error", 500, ExitCode.FAILED
    USAGE = "usage", None, ExitCode.USAGE
    UNREACHABLE = "unreachable", None, ExitCode.UNREACHABLE
    TIMED_OUT = "timed_out", None, ExitCode.TIMED_OUT
    INTERRUPTED = "interrupted", None, ExitCode.INTERRUPTED


_CODES: Mapping[str, ErrorCode] = {code.value: code for code in ErrorCode}
_EXIT_BY_HTTP_STATUS = {
    400: ExitCode.USAGE,
    403: ExitCode.DENIED,
    404: ExitCode.NOT_FOUND,
    409: ExitCode.CONFLICT,
    429: ExitCode.CONFLICT,
}


def http_status(code: str) -> int:
    """Return the HTTP status for an error's code; 500 for a code that does not travel."""
    known = _CODES.get(code)
    return (known and known.http_status) or 500


def exit_code(code: str, status: int = 500) -> ExitCode:
    """Return the exit code for an error; a code of a newer daemon is judged by its HTTP status."""
    known = _CODES.get(code)
    return known.exit_code if known else _EXIT_BY_HTTP_STATUS.get(status, ExitCode.FAILED)


def run_exit_code(status: str, error_code: str | None = None) -> ExitCode:
    """Return the exit code that tells how a settled execution ended."""
    if status == Status.COMPLETED:
        return ExitCode.OK
    if status == Status.CANCELLED:
        return ExitCode.INTERRUPTED
    if status in _PARKED:
        return ExitCode.NEEDS_INPUT
    return ExitCode.BUDGET if error_code == ErrorCode.BUDGET_EXCEEDED else ExitCode.FAILED


def choose(reference: str, ids: Iterable[str]) -> list[str]:
    """Return the ids that a reference means: one when it is exact or unique, several when it is ambiguous.

    A reference is an id or the beginning of one, with or without `session_`. `latest` needs the order of
    creation and is the caller's to resolve.
    """
    start = f"session_{reference}" if reference[:1].isdigit() else reference
    found = [id for id in ids if id.startswith(start)]
    return [start] if start in found else found


def socket_to_bind(environ: Mapping[str, str], state_dir: str) -> str:
    """Return the path at which the daemon listens when no option names one."""
    runtime_dir = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    session_dir = environ.get("XDG_RUNTIME_DIR", "")
    if path := environ.get("HIVE_SOCKET"):
        return path
    if runtime_dir:
        return os.path.join(runtime_dir, SOCKET_NAME)
    if session_dir:
        return os.path.join(session_dir, "hive", SOCKET_NAME)
    return os.path.join(state_dir, SOCKET_NAME)


def sockets_to_try(environ: Mapping[str, str]) -> list[str]:
    """Return the paths where the command line looks for the daemon, the first that exists wins."""
    if path := environ.get("HIVE_SOCKET"):
        return [path]
    state_dirs = environ.get("HIVE_STATE_DIR") or environ.get("STATE_DIRECTORY") or "~/.hive"
    state_dir = os.path.expanduser(state_dirs.partition(":")[0])
    session_dir = environ.get("XDG_RUNTIME_DIR", "")
    return [
        SYSTEM_SOCKET,
        *([os.path.join(session_dir, "hive", SOCKET_NAME)] if session_dir else []),
        os.path.join(state_dir, SOCKET_NAME),
    ]


class Until(StrEnum):
    """When an event stream ends by itself."""

    NEVER = "never"
    CAUGHT_UP = "caught_up"
    SETTLED = "settled"


class StreamEvent(StrEnum):
    """Messages about the stream itself; they carry no `id:`."""

    CAUGHT_UP = "stream.caught_up"
    END = "stream.end"


class EndReason(StrEnum):
    """Why an event stream ended; after the last two a client connects again."""

    CAUGHT_UP = "caught_up"
    SETTLED = "settled"
    STOPPING = "stopping"
    LAGGED = "lagged"


@dataclass(frozen=True, slots=True)
class Message:
    """One message of an event stream. Source: WHATWG HTML, section 9.2, server-sent events."""

    event: str
    data: str
    id: str | None = None
    """The durable sequence number as text; None for a live event or a word about the stream."""

    def encode(self) -> bytes:
        """Write it as the stream carries it; `data` may have several lines."""
        head = f"id: {self.id}\n" if self.id is not None else ""
        lines = "".join(f"data: {line}\n" for line in self.data.split("\n"))
        return f"{head}event: {self.event}\n{lines}\n".encode()


KEEPALIVE = b": keepalive\n\n"


class MessageReader:
    """Puts messages together from the lines of an event stream.

    Law: feeding the lines of encoded messages gives the messages back; comments and unknown fields are skipped,
    and a message that the end of the stream cut off never appears.
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._data: list[str] = []
        self._event = ""
        self._id: str | None = None

    def feed(self, line: bytes) -> Message | None:
        """Take one line, with or without its end; return the message that it completed, if any."""
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if not text:
            return self._complete()
        field, _, value = text.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
        elif field == "event":
            self._event = value
        elif field == "id" and "\0" not in value:
            self._id = value
        return None

    def _complete(self) -> Message | None:
        has_data = bool(self._data)
        message = Message(self._event or "message", "\n".join(self._data), self._id)
        self._begin()
        return message if has_data else None
