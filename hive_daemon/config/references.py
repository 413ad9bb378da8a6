"""`${env:NAME}` and `${file:PATH}`: how a configuration names a secret without holding it.

A reference may stand inside a longer text, and a file's path may hold `${env:NAME}` (for systemd's
`$CREDENTIALS_DIRECTORY`). What a reference yields is never searched for further references. `$${` stands for a
plain `${`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hive_daemon.config.files import locate, read_text
from hive_daemon.errors import ConfigError

MAX_FILE_BYTES = 64 * 1024

_ENV = r"\$\{env:[^{}]*\}"
_TOKEN = re.compile(
    rf"\$\$\{{|\$\{{file:(?P<file>(?:{_ENV}|[^{{}}])*)\}}|\$\{{env:(?P<env>[^{{}}]*)\}}|\$\{{"
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What references are resolved against: variables, the folder of relative paths, the home of `~`."""

    environ: Mapping[str, str]
    base: Path
    home: Path


def has_reference(text: str) -> bool:
    """Say whether the text holds a reference or the escape of one."""
    return "${" in text


def is_literal(text: str) -> bool:
    """Say whether no reference supplies a part of the text."""
    return all(token[0] == "$${" for token in _TOKEN.finditer(text))


def resolve(text: str, around: Surroundings) -> str:
    """Put the values in the place of all references.

    Raises ConfigError with one problem for each reference that yields nothing; no problem quotes a value.
    """
    parts: list[str] = []
    problems: list[str] = []
    end = 0
    for token in _TOKEN.finditer(text):
        parts.append(text[end : token.start()])
        end = token.end()
        try:
            parts.append(_yield_of(token, around))
        except ConfigError as error:
            problems.extend(error.problems)
    if problems:
        raise ConfigError(problems)
    return "".join([*parts, text[end:]])


def _yield_of(token: re.Match[str], around: Surroundings) -> str:
    if token[0] == "$${":
        return "${"
    if token["env"] is not None:
        return _variable(token["env"].strip(), around)
    if token["file"] is not None:
        return _file(token["file"].strip(), around)
    raise ConfigError(
        "'${' begins no reference, write ${env:NAME} or ${file:PATH}, or $${ for a plain '${'"
    )


def _variable(name: str, around: Surroundings) -> str:
    if not _VARIABLE.fullmatch(name):
        raise ConfigError("${env:…} names no variable, write for example ${env:API_KEY}")
    if (value := around.environ.get(name)) is None:
        raise ConfigError(
            f"${{env:{name}}} is not set, export {name} before the daemon starts, or write ${{file:PATH}}"
        )
    return value


def _file(name: str, around: Surroundings) -> str:
    path = locate(resolve(name, around), around.base, around.home) if name else None
    if path is None:
        raise ConfigError("${file:} names no file, write for example ${file:/etc/hive/api_key}")
    try:
        text = read_text(path, MAX_FILE_BYTES)
    except ConfigError as error:
        remedy = (
            "create it, or correct the path"
            if not path.exists()
            else "correct the path or the file"
        )
        raise ConfigError(f"${{file:{name}}}: {path} {error.problems[0]}, {remedy}") from None
    return text.removesuffix("\n").removesuffix("\r")
