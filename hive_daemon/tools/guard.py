"""The guard of one tool server: a small process between the daemon and the server, that lets nothing outlive either.

Run as a script, by a bare interpreter (`python -I -S guard.py LEASH COMMAND ARGUMENT…`), so it imports nothing but the
standard library. LEASH is the number of an inherited pipe's read end. The daemon holds the write end; the kernel closes
it when the daemon is gone, however it went, `kill -9` included.

Guarantees. The server gets the guard's standard streams and its process group; the guard keeps no end of them open.
When the leash ends, on SIGTERM, and when the server ends by itself, every process that came of the server is told to
end (SIGTERM) and, `GRACE_SECONDS` later, ended (SIGKILL), also those that moved to a session of their own (Linux:
the guard adopts orphans below it). Only then does the guard end, with the server's exit code, or 128 + its signal.
Should the guard itself be killed, the server is (Linux).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
from types import FrameType

GRACE_SECONDS = 1.0
"""How long processes have between SIGTERM and SIGKILL."""

NOT_STARTED = 127
"""The exit code of a server whose command cannot be run, as shells have it."""

_TICK_MS = 20
_KILL_ROUNDS = 100

_SET_DEATH_SIGNAL = 1
_SET_ADOPTS_ORPHANS = 36


def main(arguments: list[str]) -> int:
    """Run a server to its end, or to the end of whoever started it; return its exit code."""
    leash, command = int(arguments[1]), arguments[2:]
    os.set_inheritable(leash, False)
    wake = _wake_on_signals()
    _control_process(_SET_ADOPTS_ORPHANS, 1)
    server = _start(command)
    _let_go_of_streams()
    ending = _Ending(server)
    while ending.code is None and not _Asked.to_end and not _is_over(leash, wake):
        ending.reap()
    ending.end_all()
    return ending.code if ending.code is not None else 128 + signal.SIGKILL


class _Asked:
    """Set by SIGTERM."""

    to_end = False


def _wake_on_signals() -> int:
    """Have SIGTERM and the end of a child wake the poll; return what to poll."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, _asked)
    signal.signal(signal.SIGCHLD, _woken)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return reading


def _asked(_number: int, _frame: FrameType | None) -> None:
    _Asked.to_end = True


def _woken(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: that the signal came is in the pipe."""


def _control_process(option: int, value: int) -> None:
    """Call prctl(2) where there is one."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
    except (ImportError, OSError, AttributeError, MemoryError):
        # Another system, or one that forbids what ctypes does: the process group alone has to do.
        return


def _start(command: list[str]) -> int:
    """Start the server and return its process id."""
    guard = os.getpid()
    server = os.fork()
    if server:
        return server
    try:
        _control_process(_SET_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != guard:
            os._exit(NOT_STARTED)
        for number in (
            signal.SIGTERM,
            signal.SIGCHLD,
            signal.SIGINT,
            signal.SIGHUP,
            signal.SIGPIPE,
        ):
            signal.signal(number, signal.SIG_DFL)
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"{command[0]} cannot be started: {error.strerror}\n".encode(errors="replace"))
    finally:
        os._exit(NOT_STARTED)


def _let_go_of_streams() -> None:
    """Leave the standard streams to the server: when it ends, whoever reads or writes them must see it."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)


def _is_over(leash: int, wake: int) -> bool:
    """Wait for the leash to end, or for a signal; say whether it was the leash."""
    poll = select.poll()
    poll.register(leash, select.POLLIN | select.POLLHUP)
    poll.register(wake, select.POLLIN)
    seen = dict(poll.poll())
    if wake in seen:
        _drain(wake)
    return leash in seen and not os.read(leash, 1)


def _drain(wake: int) -> None:
    with contextlib.suppress(BlockingIOError):
        while os.read(wake, 512):
            continue


class _Ending:
    """The server's exit code, once known, and the end of all that came of it."""

    def __init__(self, server: int) -> None:
        self.code: int | None = None
        self._server = server

    def reap(self) -> bool:
        """Take the ends of children; say whether any child is left."""
        while True:
            try:
                child, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if child == 0:
                return True
            if child == self._server:
                code = os.waitstatus_to_exitcode(status)
                self.code = code if code >= 0 else 128 - code

    def end_all(self) -> None:
        """End the server and everything that came of it."""
        if self._all_gone_after(signal.SIGTERM, int(GRACE_SECONDS * 1000) // _TICK_MS):
            return
        for _ in range(_KILL_ROUNDS):
            # Again and again: between looking and killing, a process may have started another.
            if self._all_gone_after(signal.SIGKILL, 1):
                return

    def _all_gone_after(self, number: int, ticks: int) -> bool:
        if not self.reap() and not _remaining():
            return True
        _signal_all(number)
        for _ in range(ticks):
            select.poll().poll(_TICK_MS)
            if not self.reap() and not _remaining():
                return True
        return False


def _signal_all(number: int) -> None:
    processes = _processes()
    if not processes:
        # No /proc: the group has to do, and with SIGKILL that is the guard as well.
        os.killpg(0, number)
        return
    for process in _remaining():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process, number)


def _remaining() -> set[int]:
    """Return what came of the server and still runs: what is below the guard, and the rest of its group."""
    guard, group = os.getpid(), os.getpgrp()
    processes = _processes()
    found = {process for process, (_, its_group) in processes.items() if its_group == group}
    looked = [guard, *found]
    while looked:
        above = looked.pop()
        below = {process for process, (parent, _) in processes.items() if parent == above} - found
        found |= below
        looked.extend(below)
    return found - {guard}


def _processes() -> dict[int, tuple[int, int]]:
    """Return every running process with its parent and its group, none where the system does not tell."""
    try:
        names = os.listdir("/proc")
    except OSError:
        return {}
    found = {}
    for name in filter(str.isdigit, names):
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                state, parent, group = file.read().rpartition(b")")[2].split()[:3]
        except (OSError, ValueError):
            continue
        if state not in (b"Z", b"X"):
            found[int(name)] = (int(parent), int(group))
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv))
