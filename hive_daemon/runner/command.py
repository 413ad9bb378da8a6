"""`hive run`, as the process does it that takes the place of `hive`: run, tell how it ended, leave in time."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shlex
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TextIO

from hive_daemon.control.wire import ErrorCode, ExitCode, exit_code
from hive_daemon.errors import HiveError, InvalidInput
from hive_daemon.observability.logging import configure_logging
from hive_daemon.observability.strict_json import escape_controls, json_shape
from hive_daemon.runner.foreground import Ended, Order, run_once
from hive_daemon.runner.outcome import document_of, exit_code_of, told
from hive_daemon.runner.streams import is_terminal, leave_stdin_alone, stdout_apart
from hive_daemon.tasks import run_through

LEAVE_SECONDS = 1.0
"""How long threads that nobody waits for may hold the process up at its end."""

_ENDINGS = "hive_daemon.runtime.execution_stream"
"""It logs how executions end, which is told here anyway."""


def run_folder(order: Order, *, as_json: bool) -> int:
    """Run an agent folder once, write what came of it, and return the exit code."""
    configure_logging("WARNING")
    logging.getLogger(_ENDINGS).setLevel(logging.CRITICAL)
    order = replace(order, interactive=is_terminal())
    leave_stdin_alone()
    with stdout_apart() as results:
        try:
            with lodged(order) as (order, keep), asyncio.Runner() as runner:
                ended = run_through(runner.get_loop(), run_once(order))
                keep.is_wanted = exit_code_of(ended) is not ExitCode.OK and ended.row is not None
                code = _write(results, ended, order, as_json=as_json)
                _leave_within(LEAVE_SECONDS, code)
        except HiveError as error:
            if as_json:
                write_failure(results, error.code, str(error), error.hint)
            complain(str(error), error.hint)
            return exit_code(error.code)
    return code


@dataclass(slots=True)
class Keep:
    """Whether a temporary store is kept when the run is over."""

    is_wanted: bool = False


@contextmanager
def lodged(order: Order) -> Iterator[tuple[Order, Keep]]:
    """Give a run a temporary store unless it names a directory; one that can be gone on with is kept.

    Raises InvalidInput for a session to resume in no directory.
    """
    if order.state_dir:
        yield order, Keep()
        return
    if order.resume:
        raise InvalidInput(
            f"--resume {order.resume}: the store of a run is temporary unless --state-dir names a directory",
            hint="give the --state-dir that the run named when it ended",
        )
    place, keep = tempfile.mkdtemp(prefix="hive-run-"), Keep()
    try:
        yield replace(order, state_dir=place), keep
    finally:
        if not keep.is_wanted:
            shutil.rmtree(place, ignore_errors=True)


def _write(results: TextIO, ended: Ended, order: Order, *, as_json: bool) -> ExitCode:
    code, document = exit_code_of(ended), document_of(ended)
    sentence, hint = told(ended, _command(order))
    try:
        if as_json and document is not None:
            write_json(results, document)
        elif as_json:
            why = ErrorCode.TIMED_OUT if code is ExitCode.TIMED_OUT else ErrorCode.INTERRUPTED
            write_failure(results, why, sentence, hint)
        elif document is not None and code is ExitCode.OK:
            write_json(results, document["output"], readable=True)
        results.flush()
    except OSError as error:
        return _unwritten(results, error)
    if code is ExitCode.OK:
        sys.stderr.write(f"{escape_controls(sentence)}\n")
    else:
        complain(sentence, hint)
    return code


def _unwritten(results: TextIO, error: OSError) -> ExitCode:
    """Return the exit code for results that nobody takes; a reader that left is told nothing."""
    # What is still in the buffer must not complain once more when the file is closed.
    os.dup2(os.open(os.devnull, os.O_WRONLY), results.fileno())
    if isinstance(error, BrokenPipeError):
        return ExitCode.BROKEN_PIPE
    complain(f"the output cannot be written: {error.strerror}", "make room, or write elsewhere")
    return ExitCode.FAILED


def _command(order: Order) -> str:
    """Return how to go on with the session of this run, as a shell takes it; the session comes after it."""
    words = ["hive", "run", order.path]
    for option, value in (("--state-dir", order.state_dir), ("--model", order.model)):
        words += [option, value] if value else []
    return shlex.join(words)


def _leave_within(seconds: float, code: int) -> None:
    """End the process after so many seconds, also if a thread hangs: whatever it still does, nobody waits for it."""
    alarm = threading.Timer(seconds, os._exit, (code,))
    alarm.daemon = True
    alarm.start()


# --- writing ------------------------------------------------------------------------------------


def complain(message: str, hint: str = "") -> None:
    """Write sentences and a hint to stderr."""
    for line in message.splitlines() or [""]:
        sys.stderr.write(f"hive: {escape_controls(line)}\n")
    if hint:
        sys.stderr.write(f"hint: {escape_controls(hint)}\n")


def write_failure(results: TextIO, code: str, message: str, hint: str) -> None:
    """Write a failure as every command with `--json` does."""
    write_json(results, {"error": {"code": str(code), "message": message, "hint": hint}})


def write_json(results: TextIO, document: Mapping[str, Any], *, readable: bool = False) -> None:
    """Write a document; `readable` leaves the letters of all languages as they are, where nothing in it is unsafe."""
    shaped = json_shape(document)
    text = json.dumps(shaped, indent=2, ensure_ascii=False)
    if not readable or any(escape_controls(line) != line for line in text.split("\n")):
        text = json.dumps(shaped, indent=2)
    results.write(text + "\n")
