"""Whether a daemon is there and answers; its socket, its port."""

from __future__ import annotations

import errno
import http.client
import json
import os
import shlex
import socket
import stat
from collections.abc import Iterator
from typing import Any

from hive_daemon.control.wire import Route
from hive_daemon.doctor.finding import Finding, Mend
from hive_daemon.doctor.patient import Patient
from hive_daemon.insight.story import moment
from hive_daemon.storage.exits import read_exits
from hive_daemon.storage.sqlite.inspection import owner_of

ANSWER_SECONDS = 5.0
REMEMBERED_SECONDS = 86_400.0
"""How long an end that the daemon chose is told of."""

LOGS = "journalctl -u hive-agent -e"
MEND_KEY = (
    "mend the key: llm.api_key in hive.yaml, or the variable that the model's service goes by"
)
"""What only a person can do about a key that is refused."""

_WELL = ("ready", "starting", "draining")


def daemon_findings(patient: Patient) -> Iterator[Finding]:
    """Ask the daemon; where none answers, say why."""
    path, owner = patient.socket, owner_of(patient.state_dir)
    answer = _ask(patient)
    if answer is not None:
        yield from _unwell(answer)
        yield from _refused(answer)
        return
    if owner is not None:
        told = f"process {owner} owns the state directory, and nothing answers at {path}"
        yield Finding("daemon_silent", f"process {owner}", told, LOGS)
    else:
        told = f"nobody owns {patient.state_dir}"
        yield Finding("daemon_down", str(path), told, "systemctl start hive-agent")
    yield from _socket(patient)
    if owner is None:
        yield from _port(patient)


def exit_findings(patient: Patient) -> Iterator[Finding]:
    """Tell of a daemon that ended itself within the last day because its event loop was blocked."""
    since = patient.clock.time() - REMEMBERED_SECONDS
    notes = [note for note in read_exits(patient.state_dir) if note.at >= since]
    if not notes:
        return
    last = notes[-1]
    times = "once" if len(notes) == 1 else f"{len(notes)} times"
    told = f"within a day the daemon ended itself {times} ({last.code}), last at {moment(last.at)}: {last.sentence}"
    guilty = [each.execution_id for each in last.at_work if each.is_blocking]
    command = f"hive why {guilty[0]}" if guilty else LOGS
    yield Finding("loop_blocked", "event loop", told, command)


def _unwell(answer: dict[str, Any]) -> Iterator[Finding]:
    if answer.get("status") in _WELL:
        return
    for name, check in (answer.get("checks") or {}).items():
        if not check.get("ok") and name != "agents":
            yield Finding("daemon_failing", name, str(check.get("detail")), LOGS)


def _refused(answer: dict[str, Any]) -> Iterator[Finding]:
    """Tell of agents whose key the model service does not take."""
    for agent in answer.get("agents") or ():
        if (agent.get("provider") or {}).get("state") == "refused":
            told = "; ".join(agent.get("degraded") or ("the model service refuses the key",))
            command = f"systemctl restart hive-agent  # first {MEND_KEY}"
            yield Finding("key_refused", str(agent.get("name")), told, command)


def _socket(patient: Patient) -> Iterator[Finding]:
    path = patient.socket
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return
    remove = f"rm {shlex.quote(str(path))}"
    if not stat.S_ISSOCK(mode):
        told = "something else than a socket is in its place: the daemon cannot listen"
        yield Finding("socket_odd", str(path), told, f"ls -l {shlex.quote(str(path))}")
    elif is_stale(str(path)):
        told = "a daemon that is gone left its socket: nobody listens on it"
        yield Finding("socket_stale", str(path), told, remove, Mend.REMOVE_SOCKET)


def is_stale(path: str) -> bool:
    """Say whether nobody listens on a socket. Who may not be asked, or is busy, counts as alive."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        return probe.connect_ex(path) == errno.ECONNREFUSED


def _port(patient: Patient) -> Iterator[Finding]:
    address = patient.loaded.config.http.listen
    if not address.port:
        return
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                return
            told = "another process listens there: the daemon ends with 69 when it needs the port"
            yield Finding("port_taken", str(address), told, f"ss -ltnp 'sport = :{address.port}'")


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("hived", timeout=ANSWER_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(ANSWER_SECONDS)
        self.sock.connect(self._path)


def _ask(patient: Patient) -> dict[str, Any] | None:
    """Return what the daemon says of itself, None if nobody answers."""
    connection = _Connection(str(patient.socket))
    try:
        connection.request(Route.STATUS.method, Route.STATUS.path())
        answer = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    return answer if isinstance(answer, dict) else None
