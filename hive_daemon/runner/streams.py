"""The standard streams of a process that runs somebody else's code: none is missing, and none is taken by that code."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

_STANDARD = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def complete_streams() -> None:
    """Put the null device where a standard stream was closed: what is opened next must not come to stand there."""
    for number, (name, mode) in enumerate(_STANDARD):
        if getattr(sys, name) is None:
            _put(number, os.open(os.devnull, os.O_RDWR))
            # Lives as long as the process.
            setattr(sys, name, open(number, mode, encoding="utf-8"))  # noqa: SIM115


def is_terminal() -> bool:
    """Say whether somebody sits here who can be asked: with a keyboard, and a screen for the question."""
    return os.isatty(0) and (os.isatty(1) or os.isatty(2))


def leave_stdin_alone() -> None:
    """Give the null device to whoever reads standard input, unless it is a terminal: a silent pipe holds nobody up."""
    if not os.isatty(0):
        _put(0, os.open(os.devnull, os.O_RDONLY))


@contextmanager
def stdout_apart() -> Iterator[TextIO]:
    """Keep stdout for results: give it, and let all else that is printed go to stderr, also by child processes.

    On a terminal whose stderr leads elsewhere, stdout is left as it is: a person must see the questions.
    """
    sys.stdout.flush()
    sends_away = os.isatty(2) or not os.isatty(1)
    kept = os.dup(1)
    if sends_away:
        os.dup2(2, 1)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    try:
        with open(kept, "w", encoding=sys.stdout.encoding, errors="backslashreplace") as results:
            yield results
    finally:
        sys.stdout.flush()


def _put(number: int, descriptor: int) -> None:
    """Make `number` lead where `descriptor` leads, for child processes too."""
    if descriptor == number:
        os.set_inheritable(number, True)
        return
    os.dup2(descriptor, number)
    os.close(descriptor)
