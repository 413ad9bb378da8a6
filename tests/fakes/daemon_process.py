"""A real `hived` for tests: its own process, state, socket, configuration and service manager.

Nothing is guessed by the clock: what the daemon says on its notification socket, and its end, wake who waits for it.
Every process that was started here is gone when the place is closed.
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from hive_daemon.control.wire import Message, MessageReader

ROOT = Path(__file__).resolve().parents[2]
AGENTS = ROOT / "tests" / "agents"
SECONDS = 30.0
"""How long anything may take before a test calls it hung."""

_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "PYTHONDONTWRITEBYTECODE")


class ServiceManager:
    """The other end of NOTIFY_SOCKET: hears what a daemon says, in order, and that it ended."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heard: list[str] = []
        self._news = threading.Condition()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._thread = threading.Thread(target=self._listen, name="service manager")
        self._thread.start()

    def _listen(self) -> None:
        while datagram := self._socket.recv(65536):
            self.note(datagram.decode())

    def note(self, text: str) -> None:
        """Take a message, and wake who waits for one."""
        with self._news:
            self.heard.append(text)
            self._news.notify_all()

    def wait_until(self, is_so: Callable[[], bool], what: str, seconds: float = SECONDS) -> None:
        """Wait until something is so, looking after each message."""
        with self._news:
            if not self._news.wait_for(is_so, seconds):
                raise AssertionError(f"{what} did not come within {seconds:g} s: {self.heard}")

    def lines(self) -> list[str]:
        """Return the assignments that were heard, one by one."""
        return [line for message in list(self.heard) for line in message.splitlines()]

    def __enter__(self) -> ServiceManager:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hear no more."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", str(self.path))
        self._thread.join()
        self._socket.close()


class Hived:
    """One running `hived`."""

    def __init__(self, place: Place, process: subprocess.Popen[bytes], begins_at: int) -> None:
        self.place = place
        self.process = process
        self._begins_at = begins_at
        self._end = threading.Thread(target=self._await_end, name=f"end of {process.pid}")
        self._end.start()

    def _await_end(self) -> None:
        code = self.process.wait()
        self.place.manager.note(f"ENDED={self.process.pid} {code}")

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def said(self) -> list[str]:
        """What it told the service manager so far, line by line."""
        return [line for m in self.place.manager.heard[self._begins_at :] for line in m.split("\n")]

    def ready(self) -> Hived:
        """Wait for READY. Fails with the log when the process ends before."""
        self.place.manager.wait_until(
            lambda: "READY=1" in self.said or self.process.poll() is not None, "READY"
        )
        assert "READY=1" in self.said, f"hived ended before READY:\n{self.place.log}"
        return self

    def hears(self, line: str, seconds: float = SECONDS) -> None:
        """Wait until the service manager was told this line."""
        self.place.manager.wait_until(lambda: line in self.said, line, seconds)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kill it with SIGKILL and wait until it is gone."""
        self.process.kill()
        self.ended()

    def terminate(self) -> int:
        """Ask it to stop with SIGTERM and return its exit code."""
        self.process.terminate()
        return self.ended()

    def ended(self, seconds: float = SECONDS) -> int:
        """Wait for its end and return its exit code."""
        code = self.process.wait(seconds)
        self._end.join()
        return code


@dataclass
class Place:
    """Where a daemon lives: a folder with a short name, so that its sockets fit into an address."""

    path: Path
    manager: ServiceManager
    environ: dict[str, str] = field(default_factory=dict)
    _running: list[Hived] = field(default_factory=list)
    _lives: int = 0

    @property
    def state(self) -> Path:
        """The state directory."""
        return self.path / "state"

    @property
    def socket(self) -> Path:
        """The control socket."""
        return self.path / "hived.sock"

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.path / "hive.yaml"

    @property
    def words(self) -> list[str]:
        """The words that every `hived` here is started with."""
        config = ["--config", str(self.config)]
        return [*config, "--state-dir", str(self.state), "--socket", str(self.socket)]

    @property
    def log(self) -> str:
        """What all lives wrote on stdout and stderr."""
        path = self.path / "log"
        return path.read_text() if path.exists() else ""

    def agent(self, name: str) -> Path:
        """Copy an agent of the tests here, and return its folder."""
        folder = self.path / "agents" / name
        shutil.copytree(AGENTS / name, folder, ignore=shutil.ignore_patterns("__pycache__"))
        return folder

    def write(self, **config: Any) -> None:
        """Write the configuration, with the webhook port on any free one unless said otherwise."""
        self.config.write_text(yaml.safe_dump({"http": {"listen": "127.0.0.1:0"}, **config}))

    def surroundings(self, **extra: str) -> dict[str, str]:
        """Return the environment of a process here: nothing of the developer's own."""
        return {
            **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            "HOME": str(self.path),
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "error::ResourceWarning",
            "HIVE_SOCKET": str(self.socket),
            **self.environ,
            **extra,
        }

    def start(self, *words: str, **extra: str) -> Hived:
        """Start `hived` on this place; `extra` are further variables of its environment."""
        self._lives += 1
        command = [sys.executable, "-m", "hive_daemon.daemon.main", *self.words]
        begins_at = len(self.manager.heard)
        around = {"NOTIFY_SOCKET": str(self.manager.path), "LIFE": str(self._lives), **extra}
        with (self.path / "log").open("ab") as log:
            process = subprocess.Popen(
                [*command, *words],
                env=self.surroundings(**around),
                cwd=self.path,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        daemon = Hived(self, process, begins_at)
        self._running.append(daemon)
        return daemon

    def refused(self, *words: str, **extra: str) -> tuple[int, str]:
        """Start a `hived` that is to end at once; return its exit code and what it wrote."""
        before = len(self.log)
        code = self.start(*words, **extra).ended()
        return code, self.log[before:]

    def hive(self, *words: str, **extra: str) -> subprocess.CompletedProcess[str]:
        """Run one `hive` command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "hive_cli", *words],
            env=self.surroundings(**extra),
            cwd=self.path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    @contextmanager
    def hive_running(self, *words: str, **extra: str) -> Iterator[subprocess.Popen[str]]:
        """Run a `hive` command beside the test; it is killed if it outlives the block."""
        with subprocess.Popen(
            [sys.executable, "-m", "hive_cli", *words],
            env=self.surroundings(**extra),
            cwd=self.path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    # --- the control API ----------------------------------------------------------------------

    def get(self, target: str) -> Any:
        """Ask for something that must be there."""
        status, answer = self.ask("GET", target)
        assert status < 300, (status, answer)
        return answer

    def post(self, target: str, body: Any = None, key: str = "") -> Any:
        """Order something that must be taken."""
        status, answer = self.ask("POST", target, body, key)
        assert status < 300, (status, answer)
        return answer

    def trigger(self, address: str, key: str = "", **given: Any) -> str:
        """Trigger an entry point and return the id of the execution, which is durable then."""
        body = {"input": given}
        return str(self.post(f"/v1/entry-points/{address}/trigger", body, key)["execution_id"])

    def settled(self, execution_id: str) -> Any:
        """Wait until an execution is settled and return it."""
        return self.get(f"/v1/executions/{execution_id}?wait=60")

    def ask(
        self, method: str, target: str, body: Any = None, key: str = ""
    ) -> tuple[int, dict[str, Any]]:
        """Send one request; a body that is not bytes is written as JSON."""
        content = body if isinstance(body, bytes) else b"" if body is None else dumps(body)
        headers = {"Idempotency-Key": key} if key else {}
        connection = UnixConnection(self.socket)
        with contextlib.closing(connection):
            connection.request(method, target, content, headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())

    def messages(self, target: str, last_event_id: str = "") -> Iterator[Message]:
        """Give the messages of an event stream until it ends or breaks off."""
        connection, reader = UnixConnection(self.socket), MessageReader()
        headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
        with contextlib.closing(connection):
            connection.request("GET", target, headers=headers)
            response = connection.getresponse()
            assert response.status == 200, response.read()
            with contextlib.suppress(OSError, http.client.HTTPException):
                for line in response:
                    message = reader.feed(line.rstrip(b"\n"))
                    if message is not None:
                        yield message

    def close(self) -> None:
        """End every daemon that was started here."""
        for daemon in self._running:
            if daemon.process.poll() is None:
                daemon.process.kill()
            daemon.ended()
        self._let_the_mirror_end()

    def _let_the_mirror_end(self) -> None:
        """Wait until nobody writes below the state directory: a mirror may be in the middle of a file."""
        if self.state.is_dir():
            root = os.open(self.state, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(root, fcntl.LOCK_EX)
            finally:
                os.close(root)


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("hived", timeout=90)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.settimeout(90)
            self.sock.connect(str(self._path))
        except OSError:
            self.sock.close()
            raise


def dumps(body: Any) -> bytes:
    """Write JSON."""
    return json.dumps(body).encode()


def slow_agent(place: Place) -> Path:
    """Write an agent whose module waits at the gate while it is imported; return its folder."""
    folder = place.path / "agents" / "slow"
    folder.mkdir(parents=True)
    (folder / "agent.py").write_text(
        "import os, socket\n"
        "gate = socket.socket(socket.AF_UNIX)\n"
        "gate.connect(os.environ['GATE'])\n"
        "gate.sendall(b'module import 0\\n')\n"
        "gate.recv(1)\n"
    )
    return folder


@contextmanager
def opened_place(environ: Mapping[str, str] | None = None) -> Iterator[Place]:
    """Make a place for a daemon; nothing of it is left afterwards."""
    with ExitStack() as stack:
        path = Path(tempfile.mkdtemp(prefix="hv-"))
        stack.callback(shutil.rmtree, path)
        manager = ServiceManager(path / "notify")
        stack.callback(manager.close)
        place = Place(path, manager, dict(environ or {}))
        stack.callback(place.close)
        yield place
