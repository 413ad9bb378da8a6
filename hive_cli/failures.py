"""Failures of a command: one sentence, one hint, one exit code.

A command raises a `Failure`; `main` reports it once, on stderr for people and with `--json` also as a document on
stdout.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from hive_cli.render import Json, escape, is_coloured, painted, write_json
from hive_daemon.control.wire import ErrorCode, ExitCode, exit_code


class Failure(Exception):
    """The command cannot do what it was asked."""

    def __init__(
        self,
        code: str,
        message: str,
        hint: str = "",
        *,
        http_status: int = 500,
        candidates: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.http_status = http_status
        self.candidates = tuple(candidates)

    @property
    def exit_code(self) -> ExitCode:
        """What the shell is told."""
        return exit_code(self.code, self.http_status)

    @property
    def document(self) -> Json:
        """The failure as the daemon would have written it."""
        error: Json = {"code": str(self.code), "message": self.message, "hint": self.hint}
        if self.candidates:
            error["candidates"] = list(self.candidates)
        return {"error": error}


def usage(message: str, hint: str) -> Failure:
    """Make the failure of a command that was called wrongly."""
    return Failure(ErrorCode.USAGE, message, hint)


def report(failure: Failure, *, as_json: bool) -> None:
    """Tell the user."""
    if as_json:
        write_json(failure.document)
    candidates = ", ".join(failure.candidates)
    complain(failure.message, ": ".join(filter(None, (failure.hint, candidates))))


def complain(message: str, hint: str = "") -> None:
    """Write a sentence and a hint to stderr."""
    coloured = is_coloured(sys.stderr)
    lines = [f"{painted('hive:', 'red', coloured)} {escape(message)}"]
    if hint:
        lines.append(f"{painted('hint:', 'dim', coloured)} {escape(hint)}")
    sys.stderr.write("\n".join(lines) + "\n")
