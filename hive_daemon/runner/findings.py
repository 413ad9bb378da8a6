"""What is found wrong or odd in an agent folder, gathered so that everything is told at once."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hive_daemon.observability.redaction import redactor

ERROR_CHARS = 400
"""Characters of an exception's text that are told."""

SHOWN_CHARS = 60
"""Characters of a value that are told."""


@dataclass(slots=True)
class Findings:
    """Problems keep the agent from running, warnings do not. Both are sentences that name file and key."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, where: str, problem: str) -> None:
        """Add a problem at a place such as `agent.py: nodes[2]`."""
        self.problems.append(f"{where}: {problem}")

    def warn(self, where: str, remark: str) -> None:
        """Add a warning at a place."""
        self.warnings.append(f"{where}: {remark}")

    def refuse_shape(self, where: str, error: ValidationError) -> None:
        """Add what a model refuses, one problem for each mistake; `where` ends in a key or in `: `."""
        for sentence in sentences_of(error):
            self.problems.append(where + sentence.removeprefix("." if where[-1] == " " else ""))

    def warn_of_unknown(self, where: str, keys: Iterable[str], known: Iterable[str]) -> None:
        """Warn of keys that have no effect, with the nearest that has."""
        known = list(known)
        for key in keys:
            near = get_close_matches(key, known, n=1)
            advice = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            self.warn(f"{where}.{key}", f"is unknown and has no effect, {advice}")


def sentences_of(error: ValidationError) -> list[str]:
    """Return what a pydantic model refuses, as `.nodes[2].id: is missing`."""
    return [f"{_path(detail['loc'])}: {_told(detail)}" for detail in error.errors()]


def _path(steps: Iterable[int | str]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)


def _told(detail: Any) -> str:
    if detail["type"] == "missing":
        return "is missing"
    text, given = str(detail["msg"]), detail["input"]
    is_misfit = detail["type"].endswith(("_type", "_parsing"))
    shown = type(given).__name__ if is_misfit else redactor().redact_head(repr(given), SHOWN_CHARS)
    return f"{text[:1].lower()}{text[1:]}, not {shown}"


def failure_of(folder: Path, error: BaseException) -> str:
    """Say where in the folder an import went wrong, and how: `line 3: NameError: …`."""
    place = _place(folder, error)
    return f"{place}{_kind(error)}" if place else _kind(error)


def _place(folder: Path, error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_within(folder, error.filename)} line {error.lineno}: "
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(folder)]
    return f"{_within(folder, own[-1].filename)} line {own[-1].lineno}: " if own else ""


def _within(folder: Path, filename: str) -> str:
    path = Path(filename)
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)


def _kind(error: BaseException) -> str:
    if isinstance(error, ValidationError):
        wrong = "; ".join(f"{error.title}{sentence}" for sentence in sentences_of(error))
        return redactor().redact_head(wrong, ERROR_CHARS)
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    name = type(error).__name__
    return f"{name}: {redactor().redact_head(text, ERROR_CHARS)}" if text else name
