"""The input of an execution, from a file, from stdin, from `--set`; checked before anything is sent.

Standard input is read only when it is asked for with `-`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Never

from hive_cli.failures import usage
from hive_cli.render import Json, note
from hive_daemon.control.wire import BODY_LIMIT_BYTES

STDIN = "-"


def read_input(source: str, assignments: list[str], *, option: str = "--input") -> Json:
    """Return the input that `option` and `--set` describe; raises Failure that names what is wrong."""
    document = _load(source, option) if source else {}
    for assignment in assignments:
        _assign(document, assignment)
    return document


def read_text(source: str, *, option: str) -> str:
    """Return a file, or standard input, as it is; raises Failure that names what is wrong."""
    return _decoded(_bytes(source, option), source, option, "utf-8")


def read_answer() -> str:
    """Return the answer to a question from standard input, without its last line's end; raises Failure for none."""
    if sys.stdin is not None and sys.stdin.isatty():
        note("type the answer, then Ctrl-D")
    text = read_text(STDIN, option="TEXT").removesuffix("\n")
    if not text.strip():
        raise usage("there is no answer on standard input", "say it there, or in place of the -")
    return text


def _decoded(content: bytes, source: str, option: str, encoding: str) -> str:
    if len(content) > BODY_LIMIT_BYTES:
        raise usage(
            f"{option} {_name(source)}: is larger than 16 MiB", "put the bulk in a file and name it"
        )
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise usage(
            f"{option} {_name(source)}: is not UTF-8 text, see byte {error.start}",
            "save it as UTF-8",
        ) from error


def _name(source: str) -> str:
    return "standard input" if source == STDIN else source


def _load(source: str, option: str) -> Json:
    name = _name(source)
    text = _decoded(_bytes(source, option), source, option, "utf-8-sig")
    try:
        document = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise usage(f"{option} {name}: is not JSON: {error.msg} at {where}", _SHAPE) from error
    except (ValueError, RecursionError) as error:
        raise usage(f"{option} {name}: is not JSON: {error}", _SHAPE) from error
    if not isinstance(document, dict):
        kind = _KINDS.get(type(document), "a number")
        raise usage(f"{option} {name}: holds {kind}, not a JSON object", _SHAPE)
    return document


_SHAPE = 'write an object such as {"topic": "disk full", "count": 3}'
_KINDS = {list: "a list", str: "a string", bool: "true or false", type(None): "null"}


def _bytes(source: str, option: str) -> bytes:
    if source == STDIN:
        return b"" if sys.stdin is None else sys.stdin.buffer.read(BODY_LIMIT_BYTES + 1)
    try:
        with Path(source).open("rb") as file:
            return file.read(BODY_LIMIT_BYTES + 1)
    except FileNotFoundError as error:
        raise usage(
            f"{option} {source}: there is no such file", "name a JSON file, or - for standard input"
        ) from error
    except IsADirectoryError as error:
        raise usage(
            f"{option} {source}: is a directory, not a JSON file", "name a file in it"
        ) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not a file name"
        raise usage(f"{option} {source}: {reason}", "name a file that you may read") from error


def _refuse_constant(name: str) -> Never:
    raise ValueError(f"{name} is not a JSON number")


def _assign(document: Json, assignment: str) -> None:
    """Set the dotted key of `key=value` in the document."""
    key, equals, text = assignment.partition("=")
    parts = key.split(".")
    if not equals or not all(parts):
        raise usage(
            f"--set {assignment}: is not KEY=VALUE",
            "for example --set topic=disk --set limits.cpu=3",
        )
    place = document
    for depth, part in enumerate(parts[:-1], 1):
        inner = place.setdefault(part, {})
        if not isinstance(inner, dict):
            raise usage(
                f"--set {assignment}: {'.'.join(parts[:depth])} is not an object",
                "set one or the other",
            )
        place = inner
    place[parts[-1]] = _value(text)


def _value(text: str) -> object:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return text
