"""The process of an MCP server that speaks on its standard streams, behind its guard (guard.py).

Guarantees. A line is at most `MOST_LINE_BYTES` long; a server that writes a longer one is at fault. What the server
writes and nobody reads yet stays in its pipe. `stop` returns within about `STOP_SECONDS`, and whatever came of the
server is gone then; it is gone as well a moment after this process is, whatever ended it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hive_daemon.observability.redaction import redactor
from hive_daemon.tasks import Scope
from hive_daemon.tools import guard

logger = logging.getLogger(__name__)

MOST_LINE_BYTES = 16 * 1024 * 1024
"""The longest message that is read."""

CLOSE_SECONDS = 1.0
"""How long a server has to end by itself once its input ended."""

STOP_SECONDS = CLOSE_SECONDS + guard.GRACE_SECONDS + 2.0
"""How long stopping takes at most."""

_WORDS_BYTES = 4096
_PIECE_BYTES = 65536
_SHOWN_CHARS = 400
_GUARD = str(Path(guard.__file__).resolve())


@dataclass(frozen=True, slots=True)
class Launch:
    """What to start. `environment` is all that the server gets."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    cwd: Path | None = None


class Overflow(ConnectionError):
    """The server wrote a line longer than any message may be."""


class ServerProcess:
    """A running server. Made by `start`; whoever starts it stops it."""

    def __init__(self, launch: Launch, process: asyncio.subprocess.Process, leash: int) -> None:
        self._launch = launch
        self._process = process
        self._leash: int | None = leash
        self._words = bytearray()
        self._writing = asyncio.Lock()
        self._stopping: asyncio.Task[None] | None = None
        self._scope = Scope(f"mcp server {launch.name}")
        self._listening = self._scope.spawn("errors", self._listen())

    @classmethod
    async def start(cls, launch: Launch) -> ServerProcess:
        """Start the server's guard, and that the server. Raises OSError if that cannot even begin."""
        held, leash = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-I", "-S", _GUARD, str(held), *launch.command),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=dict(launch.environment),
                cwd=launch.cwd,
                pass_fds=(held,),
                start_new_session=True,
                limit=MOST_LINE_BYTES,
            )
        except BaseException:
            os.close(leash)
            raise
        finally:
            os.close(held)
        return cls(launch, process, leash)

    async def read_line(self) -> bytes:
        """Return the next line, empty at the end. Raises Overflow."""
        stdout = self._process.stdout
        assert stdout is not None
        try:
            return await stdout.readline()
        except ValueError:
            text = f"it wrote a line of more than {MOST_LINE_BYTES // 1024**2} MiB"
            raise Overflow(text) from None

    async def write_line(self, line: bytes) -> None:
        """Write a line as a whole. Raises ConnectionError once the server takes nothing any more."""
        stdin = self._process.stdin
        assert stdin is not None
        async with self._writing:
            stdin.write(line + b"\n")
            await stdin.drain()

    async def stop(self) -> None:
        """End the server and everything that came of it. It may be called again, and nothing interrupts it."""
        if self._stopping is None:
            self._stopping = self._scope.spawn("stop", self._stop())
        await asyncio.shield(self._stopping)
        await self._scope.close()

    async def last_words(self) -> str:
        """Say how the server ended, with the end of what it wrote to its error stream, for a person to read.

        To be asked once its output ended; waits a moment for the rest.
        """
        await self._is_gone(CLOSE_SECONDS)
        await asyncio.wait([self._listening], timeout=CLOSE_SECONDS)
        code = self._process.returncode
        ended = "it closed its output" if code is None else f"its process ended with code {code}"
        text = self._words.decode(errors="replace").strip()
        return f"{ended}: {redactor().redact_text(_last_of(text))}" if text else ended

    async def _listen(self) -> None:
        """Keep the end of what the server writes to its error stream; what it says is its log, not ours."""
        stderr = self._process.stderr
        assert stderr is not None
        while piece := await stderr.read(_WORDS_BYTES):
            self._words = (self._words + piece)[-_WORDS_BYTES:]

    async def _stop(self) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        self._scope.spawn("rest", self._discard_rest())
        stdin.close()
        if not await self._is_gone(CLOSE_SECONDS):
            self._drop_leash()
            if not await self._is_gone(guard.GRACE_SECONDS + 1.0):
                self._kill_group()
                await self._is_gone(1.0)
        elif self._was_guard_killed:
            self._kill_group()
        self._drop_leash()
        with suppress(OSError):
            await stdin.wait_closed()

    async def _discard_rest(self) -> None:
        """Read on: a server that is stuck writing does not see that its input ended."""
        stdout = self._process.stdout
        assert stdout is not None
        while await stdout.read(_PIECE_BYTES):
            continue

    async def _is_gone(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._process.wait()
        except TimeoutError:
            return self._process.returncode is not None
        return True

    @property
    def _was_guard_killed(self) -> bool:
        return (self._process.returncode or 0) < 0

    def _drop_leash(self) -> None:
        leash, self._leash = self._leash, None
        if leash is not None:
            os.close(leash)

    def _kill_group(self) -> None:
        logger.warning("tool server did not end", extra={"server": self._launch.name})
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)


def _last_of(text: str) -> str:
    """Return the last line that says something, as people are shown it."""
    return text.splitlines()[-1].strip()[:_SHOWN_CHARS]
