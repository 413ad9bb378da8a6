"""Alerts to a command: a program that reads one JSON document on its standard input. No shell is involved."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import Process
from dataclasses import dataclass

import orjson

from hive_daemon.monitoring.alert_rules import Alert
from hive_daemon.monitoring.alerts import AlertFailed

MOST_SAID = 500
"""Characters of what a failed command wrote that are told."""


@dataclass(frozen=True, slots=True)
class CommandSink:
    """Runs a command for each alert; it has taken it if it ends with 0."""

    command: tuple[str, ...]

    async def deliver(self, alert: Alert) -> None:
        """Run the command to its end; it is killed, with its children, if the caller does not wait for that.

        Raises AlertFailed if it ends otherwise, OSError if it cannot be started.
        """
        process = await asyncio.create_subprocess_exec(
            *self.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            hand_over(process, orjson.dumps(alert.document()) + b"\n")
            _, said = await process.communicate()
        finally:
            if process.returncode is None:
                _kill(process.pid)
                await asyncio.shield(process.wait())
        if process.returncode:
            text = said.decode(errors="replace").strip()[-MOST_SAID:]
            raise AlertFailed(f"the command ended with {process.returncode}: {text}".rstrip(": "))


def hand_over(process: Process, document: bytes) -> None:
    """Give a program what it may read; one that ended without reading has no need of it."""
    stdin = process.stdin
    assert stdin is not None
    # To write into a closed pipe is an error of another class on each event loop.
    if not stdin.is_closing():
        stdin.write(document)
        stdin.close()


def _kill(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        # It ended by itself just now.
        return
