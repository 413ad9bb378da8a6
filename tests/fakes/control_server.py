"""A control API that answers as docs/control-api.md says: a real HTTP/1.1 server on a Unix socket.

Tests script it: they put executions, timers and events in, change them while a command waits, cut connections, stop
and start it again (what it knows survives), or replace the answer of a route.
"""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from hive_daemon.control import wire
from hive_daemon.control.wire import ErrorCode, Message, Route, Status, StreamEvent, Until

Json = dict[str, Any]

VERSION = "0.1.0"
SESSION = "session_20260302_090000_1a2b3c4d"
MOMENT = "2026-03-02T09:00:00.000000Z"
LOCAL = "2026-03-02T09:00:00+00:00"


NO_CALLS: Json = {
    "input_tokens": 0,
    "cached_tokens": 0,
    "output_tokens": 0,
    "reasoning_tokens": 0,
    "cost_usd": 0.0,
}


def execution(id: str = SESSION, **changes: Any) -> Json:
    """A whole execution, completed unless told otherwise."""
    return {
        "id": id,
        "session_id": id.partition("-")[0],
        "agent": "ops",
        "graph_id": "triage",
        "entry_point": "ops/triage",
        "stream_id": "triage",
        "status": "completed",
        "source": "cli",
        "correlation_id": id,
        "created_at": MOMENT,
        "started_at": MOMENT,
        "ended_at": MOMENT,
        "duration_seconds": 3.25,
        "attempts": 1,
        "steps": 2,
        "current_node": None,
        "path": ["parse", "report"],
        **NO_CALLS,
        "input": {"log": "disk full"},
        "output": {"report": "all is well"},
        "error": None,
        "error_code": None,
        "cancelled_by": None,
        "paused_at": None,
        "waiting": None,
        "joined": False,
        "causation": [],
        **changes,
    }


def running(id: str = SESSION, **changes: Any) -> Json:
    """An execution at work."""
    alive: Json = {
        "status": "running",
        "ended_at": None,
        "output": None,
        "current_node": "parse",
        "path": [],
    }
    return execution(id, **{**alive, **changes})


def timer(id: str = "ops/report", **changes: Any) -> Json:
    """A timer that fired last."""
    return {
        "id": id,
        "agent": id.partition("/")[0],
        "entry_point": id.partition("/")[2],
        "schedule": "every 5m",
        "zone": "UTC",
        "next_at": MOMENT,
        "next_local": LOCAL,
        "last_at": MOMENT,
        "last_local": LOCAL,
        "last_outcome": "fired",
        "last_reason": None,
        "last_execution_id": SESSION,
        "paused": None,
        "fired": 3,
        "skipped": 1,
        "missed": 0,
        "failures": 0,
        "remaining": None,
        "is_over": False,
        "note": "",
        **changes,
    }


def agent(name: str = "ops", **changes: Any) -> Json:
    """An agent that is ready."""
    return {
        "name": name,
        "path": f"/etc/hive/agents/{name}",
        "state": "ready",
        "reason": None,
        "graph_id": "triage",
        "entry_points": 2,
        "entry_point_ids": [f"{name}/triage", f"{name}/report"],
        "running": 0,
        **changes,
    }


def stats(**changes: Any) -> Json:
    """The figures of a daemon at work."""
    return {
        "version": VERSION,
        "pid": 4242,
        "config": None,
        "state_dir": "/var/lib/hive",
        "started_at": MOMENT,
        "uptime_seconds": 3723.0,
        "state": "running",
        "executions": {**dict.fromkeys(map(str, Status), 0), "running": 1, "completed": 12},
        "running": 1,
        "queued": 0,
        "limit": 100,
        "agents": {"ready": 1, "degraded": 0, "loading": 0},
        "streams": [{"address": "ops/triage", "running": 1, "queued": 0, "max_concurrent": 10}],
        "store": {
            "size_bytes": 12_900_000,
            "commits": 40,
            "commit_ms_p50": 1.25,
            "commit_ms_p99": 4.5,
        },
        "timers": {"count": 1, "paused": 0, "next": {"id": "ops/report", "at": MOMENT}},
        "events": {"published": 120, "dropped": 0, "last_seq": 120},
        "model": {"calls": 0, **NO_CALLS},
        "memory_mb": 61.5,
        **changes,
    }


@dataclass
class Asked:
    """A request that the server got."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: Any


@dataclass
class Answer:
    """What to answer instead of the truth; `close` breaks the connection off without a word."""

    status: int = 200
    body: Any = field(default_factory=dict)
    raw: bytes | None = None
    close: bool = False


def error(code: ErrorCode, message: str, hint: str = "", **more: Any) -> Answer:
    """An error as the daemon writes it."""
    return Answer(
        wire.http_status(code), {"error": {"code": code, "message": message, "hint": hint, **more}}
    )


class _Refused(Exception):
    def __init__(self, answer: Answer) -> None:
        super().__init__(answer)
        self.answer = answer


class ControlServer:
    """The daemon's side, on `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.executions: dict[str, Json] = {}
        self.timers: dict[str, Json] = {}
        self.agents: list[Json] = [agent()]
        self.events: list[Json] = []
        self.health: Json = {
            "status": "ok",
            "checks": {"store": {"ok": True, "detail": "writable"}},
        }
        self.asked: list[Asked] = []
        self.changed = threading.Condition()
        self.scripted: dict[Route, list[Answer]] = {}
        self.streams_opened = 0
        self._keys: dict[str, Json] = {}
        self._server: _Server | None = None
        self._live: list[Callable[[Json], None]] = []

    def start(self) -> ControlServer:
        """Listen."""
        self.path.unlink(missing_ok=True)
        self._server = _Server(str(self.path), _Handler)
        self._server.control = self
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Go away as `kill -9` does: connections break, the socket file stays."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            server.cut()

    def cut(self) -> None:
        """Break every open connection."""
        assert self._server is not None
        self._server.cut()

    def script(self, route: Route, *answers: Answer) -> None:
        """Answer the next requests to a route so, then with the truth again."""
        self.scripted.setdefault(route, []).extend(answers)

    def put(self, *executions: Json) -> None:
        """Add or replace executions, in the order of their creation."""
        with self.changed:
            self.executions.update({one["id"]: one for one in executions})
            self.changed.notify_all()

    def change(self, id: str, **changes: Any) -> None:
        """Change an execution; whoever waits for it is woken."""
        with self.changed:
            self.executions[id] = {**self.executions[id], **changes}
            self.changed.notify_all()

    def publish(self, type: str, id: str = SESSION, **data: Any) -> Json:
        """Add a durable event of an execution."""
        with self.changed:
            one = _event(type, id, len(self.events) + 1, data)
            self.events.append(one)
            self.changed.notify_all()
        return one

    def wait_for_request(self, route: Route, count: int = 1) -> None:
        """Return when so many requests to a route have come."""
        pattern = _pattern(route)
        with self.changed:
            assert self.changed.wait_for(lambda: self._count(route.method, pattern) >= count, 20)

    def wait_for_streams(self, count: int) -> None:
        """Return when so many event streams have been opened."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.streams_opened >= count, 20)

    def _count(self, method: str, pattern: list[str]) -> int:
        return sum(
            one.method == method and _match(pattern, one.path) is not None for one in self.asked
        )


def _event(type: str, id: str, seq: int | None, data: Json) -> Json:
    return {
        "seq": seq,
        "execution_seq": seq,
        "type": type,
        "timestamp": MOMENT,
        "agent": "ops",
        "graph_id": "triage",
        "stream_id": "triage",
        "node_id": "parse" if type.startswith(("node", "llm", "tool")) else None,
        "execution_id": id,
        "session_id": id.partition("-")[0],
        "correlation_id": id,
        "causation": [],
        "data": data,
    }


def live_event(type: str, id: str = SESSION, **data: Any) -> Json:
    """An event that is not stored."""
    return _event(type, id, None, data)


def _pattern(route: Route) -> list[str]:
    return route.template.strip("/").split("/")


def _match(pattern: list[str], path: str) -> dict[str, str] | None:
    parts = path.strip("/").split("/")
    if len(parts) != len(pattern):
        return None
    names: dict[str, str] = {}
    for expected, part in zip(pattern, parts, strict=True):
        if expected.startswith("{"):
            names[expected.strip("{}")] = unquote(part)
        elif expected != part:
            return None
    return names


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 4
    control: ControlServer

    def __init__(self, path: str, handler: type[_Handler]) -> None:
        super().__init__(path, handler)
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def cut(self) -> None:
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is none of our business."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    @property
    def control(self) -> ControlServer:
        return self.server.control

    def _answer(self) -> None:
        split = urlsplit(self.path)
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.loads(content) if content else None
        asked = Asked(self.command, split.path, parse_qs(split.query), dict(self.headers), body)
        with self.control.changed:
            self.control.asked.append(asked)
            self.control.changed.notify_all()
        route, names = self._route(split.path)
        try:
            if route is None:
                raise _Refused(error(ErrorCode.NOT_FOUND, f"there is no {split.path}"))
            scripted = self.control.scripted.get(route)
            if scripted:
                raise _Refused(scripted.pop(0))
            if route in (Route.EVENTS, Route.SESSION_EVENTS):
                self._stream(asked, names)
            else:
                self._send(Answer(*_ROUTES[route](self.control, asked, names)))
        except _Refused as refused:
            self._send(refused.answer)

    def _route(self, path: str) -> tuple[Route | None, dict[str, str]]:
        for route in Route:
            names = _match(_pattern(route), path)
            if route.method == self.command and names is not None:
                return route, names
        return None, {}

    def _send(self, answer: Answer) -> None:
        if answer.close:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        content = answer.raw if answer.raw is not None else json.dumps(answer.body).encode()
        self.send_response(answer.status)
        self.send_header(wire.VERSION_HEADER, VERSION)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _stream(self, asked: Asked, names: dict[str, str]) -> None:
        messages = _messages(self.control, asked, names)
        self.send_response(200)
        self.send_header(wire.VERSION_HEADER, VERSION)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._chunk(wire.KEEPALIVE)
        with self.control.changed:
            self.control.streams_opened += 1
            self.control.changed.notify_all()
        for message in messages:
            self._chunk(message.encode())
        self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, content: bytes) -> None:
        self.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")


def _messages(control: ControlServer, asked: Asked, names: dict[str, str]) -> Iterator[Message]:
    """The stream of section 6: stored events after the start, then those that come, until its end."""
    query = {key: values[0] for key, values in asked.query.items()}
    session = _find(control, names["session"], "session")["session_id"] if names else None
    wanted = [event for event in control.events if _is_wanted(event, session, asked.query)]
    after = int(asked.headers.get(wire.LAST_EVENT_HEADER) or query.get("after") or 0)
    if not after and "last" in query:
        skipped = wanted[: max(len(wanted) - int(query["last"]), 0)]
        after = skipped[-1]["seq"] if skipped else 0
    return _follow(control, asked, session, after)


def _follow(
    control: ControlServer, asked: Asked, session: str | None, seq: int
) -> Iterator[Message]:
    until = asked.query.get("until", [Until.NEVER])[0]
    is_caught_up = False
    while True:
        with control.changed:
            ready = [one for one in control.events if one["seq"] > seq]
            settled = until == Until.SETTLED and _settled(control, session, asked.query)
            if not ready and is_caught_up and not settled:
                control.changed.wait(20)
                continue
        for event in ready:
            seq = event["seq"]
            if _is_wanted(event, session, asked.query):
                yield Message(event["type"], json.dumps(event), str(seq))
        if not is_caught_up:
            is_caught_up = True
            yield Message(StreamEvent.CAUGHT_UP, json.dumps({"seq": seq}))
            if until == Until.CAUGHT_UP:
                yield _end("caught_up", seq, None)
                return
        elif settled:
            yield _end("settled", seq, settled)
            return


def _end(reason: str, seq: int, one: Json | None) -> Message:
    return Message(StreamEvent.END, json.dumps({"reason": reason, "seq": seq, "execution": one}))


def _settled(
    control: ControlServer, session: str | None, query: dict[str, list[str]]
) -> Json | None:
    wanted = query.get("execution_id")
    own = [
        one
        for one in control.executions.values()
        if one["session_id"] == session and (not wanted or one["id"] in wanted)
    ]
    if all(Status(one["status"]).is_settled for one in own):
        return {key: value for key, value in own[-1].items() if key not in ("input", "output")}
    return None


def _is_wanted(event: Json, session: str | None, query: dict[str, list[str]]) -> bool:
    if session is not None and event["session_id"] != session:
        return False
    if "execution_id" in query and event["execution_id"] not in query["execution_id"]:
        return False
    types = query.get("type")
    return not types or any(
        event["type"] == one or (one.endswith("*") and event["type"].startswith(one[:-1]))
        for one in types
    )


def _find(control: ControlServer, reference: str, noun: str = "execution") -> Json:
    ids = [id for id in control.executions if noun == "execution" or "-" not in id]
    if reference == wire.LATEST and ids:
        return control.executions[ids[-1]]
    found = wire.choose(reference, ids)
    if len(found) > 1:
        raise _Refused(
            error(ErrorCode.AMBIGUOUS, f'"{reference}" means {len(found)} things', candidates=found)
        )
    if not found:
        raise _Refused(
            error(
                ErrorCode.NOT_FOUND,
                f'no {noun} is called "{reference}"',
                f"see `hive {noun}s list`",
            )
        )
    return control.executions[found[0]]


def _page(items: list[Json], asked: Asked) -> tuple[int, Json]:
    limit = int(asked.query.get("limit", ["50"])[0])
    start = int(asked.query.get("cursor", ["0"])[0])
    end = start + limit
    return 200, {
        "items": items[start:end],
        "next_cursor": str(end) if end < len(items) else None,
    }


def _list_executions(
    control: ControlServer, asked: Asked, names: dict[str, str]
) -> tuple[int, Json]:
    statuses = asked.query.get("status")
    return _page(
        [
            {key: value for key, value in one.items() if key not in ("input", "output")}
            for one in reversed(control.executions.values())
            if not statuses or one["status"] in statuses
        ],
        asked,
    )


def _show_execution(
    control: ControlServer, asked: Asked, names: dict[str, str]
) -> tuple[int, Json]:
    id = _find(control, names["execution"])["id"]
    seconds = float(asked.query.get("wait", ["0"])[0])
    with control.changed:
        control.changed.wait_for(
            lambda: Status(control.executions[id]["status"]).is_settled, seconds
        )
        return 200, control.executions[id]


def _trigger(control: ControlServer, asked: Asked, names: dict[str, str]) -> tuple[int, Json]:
    if names["entry_point"] != "triage":
        raise _Refused(
            error(
                ErrorCode.NOT_FOUND,
                f'no entry point is called "{names["entry_point"]}"',
                "did you mean ops/triage?",
            )
        )
    id = f"session_20260302_090000_{len(control.executions):08x}"
    return _accept(control, asked, running(id, input=asked.body.get("input", {})))


def _accept(control: ControlServer, asked: Asked, one: Json) -> tuple[int, Json]:
    key = asked.headers.get(wire.IDEMPOTENCY_HEADER, "")
    with control.changed:
        known = control._keys.get(key)
        if known is not None:
            return 202, {**known, "created": False}
        control.executions[one["id"]] = one
        accepted = {
            "execution_id": one["id"],
            "execution_ids": [one["id"]],
            "session_id": one["session_id"],
            "entry_point": "ops/triage",
            "status": "queued",
            "created": True,
        }
        control._keys[key] = accepted
        control.changed.notify_all()
    return 202, accepted


def _go_on(control: ControlServer, asked: Asked, names: dict[str, str]) -> tuple[int, Json]:
    return _accept(control, asked, _find(control, names["session"], "session"))


def _cancel(control: ControlServer, asked: Asked, names: dict[str, str]) -> tuple[int, Json]:
    one = _find(control, names["execution"])
    if Status(one["status"]).is_terminal and one["status"] != "cancelled":
        raise _Refused(error(ErrorCode.ILLEGAL_MOVE, f"{one['id']} is {one['status']} already"))
    return 202, {key: one[value] for key, value in _CANCELLATION.items()}


_CANCELLATION = {"execution_id": "id", "session_id": "session_id", "status": "status"}


def _session(control: ControlServer, one: Json) -> Json:
    own = [
        other for other in control.executions.values() if other["session_id"] == one["session_id"]
    ]
    latest = own[-1]
    return {
        "id": one["session_id"],
        "agent": one["agent"],
        "entry_point": one["entry_point"],
        "status": latest["status"],
        "created_at": own[0]["created_at"],
        "updated_at": latest["created_at"],
        "executions": len(own),
        "latest_execution_id": latest["id"],
        "current_node": latest["current_node"],
        "waiting": latest["waiting"],
        "steps": sum(other["steps"] for other in own),
        **NO_CALLS,
        "input_tokens": 1200,
        "output_tokens": 340,
        "cost_usd": None,
        "latest_execution": latest,
    }


def _list_sessions(control: ControlServer, asked: Asked, names: dict[str, str]) -> tuple[int, Json]:
    firsts = [
        one for one in reversed(control.executions.values()) if one["id"] == one["session_id"]
    ]
    sessions = [_session(control, one) for one in firsts]
    return _page([{**one, "latest_execution": None} for one in sessions], asked)


def _show_session(control: ControlServer, asked: Asked, names: dict[str, str]) -> tuple[int, Json]:
    return 200, _session(control, _find(control, names["session"], "session"))


def _set_timers(control: ControlServer, asked: Asked, paused: Json | None) -> tuple[int, Json]:
    ids = (asked.body or {}).get("ids", list(control.timers))
    unknown = [id for id in ids if id not in control.timers]
    if unknown:
        raise _Refused(error(ErrorCode.NOT_FOUND, f'no timer is called "{unknown[0]}"'))
    for id in ids:
        control.timers[id] = {**control.timers[id], "paused": paused}
    return _page([control.timers[id] for id in ids], asked)


def _pause(control: ControlServer, asked: Asked, names: dict[str, str]) -> tuple[int, Json]:
    note = (asked.body or {}).get("note", "")
    paused = {"by": "uid:1000", "at": MOMENT, "until": None, "note": note}
    return _set_timers(control, asked, paused)


_ROUTES: dict[Route, Callable[[ControlServer, Asked, dict[str, str]], tuple[int, Json]]] = {
    Route.HEALTH: lambda control, *_: (
        503 if control.health["status"] == "failing" else 200,
        control.health,
    ),
    Route.STATS: lambda *_: (200, stats()),
    Route.AGENTS: lambda control, asked, _: _page(control.agents, asked),
    Route.TRIGGER: _trigger,
    Route.TRIGGER_OF_AGENT: _trigger,
    Route.EXECUTIONS: _list_executions,
    Route.EXECUTION: _show_execution,
    Route.CANCEL: _cancel,
    Route.SESSIONS: _list_sessions,
    Route.SESSION: _show_session,
    Route.SESSION_RESUME: _go_on,
    Route.SESSION_INPUT: _go_on,
    Route.TIMERS: lambda control, asked, _: _page(list(control.timers.values()), asked),
    Route.TIMERS_PAUSE: _pause,
    Route.TIMERS_RESUME: lambda control, asked, _: _set_timers(control, asked, None),
    Route.DRAIN: lambda *_: (202, stats(state="draining")),
}


@contextmanager
def control_server(directory: Path) -> Iterator[ControlServer]:
    """A server that listens in a directory, and stops afterwards."""
    server = ControlServer(directory / wire.SOCKET_NAME).start()
    try:
        yield server
    finally:
        server.stop()
