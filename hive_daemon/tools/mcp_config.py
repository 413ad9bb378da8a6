"""`mcp_servers.json`: which MCP servers an agent folder declares. Reading it starts nothing.

Keys of a server: `command`, `args`, `env`, `cwd` (stdio) or `url`, `headers` (HTTP); `description`; `transport`, where
it is not told by the others; `include` and `exclude`, globs of the names of its tools; `timeout`, seconds of one call;
`connect_timeout`, seconds until its tools must be known; `disabled`. Unknown keys are left alone: other programs read
the same file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from hive_daemon.errors import ConfigError

MAX_BYTES = 1024 * 1024


class McpTransport(StrEnum):
    """How a server is reached: as a child process, or by HTTP."""

    STDIO = "stdio"
    HTTP = "http"


@dataclass(frozen=True, slots=True)
class McpServer:
    """One declared server. `cwd` is absolute; `env` and `headers` may hold secrets."""

    name: str
    transport: McpTransport
    command: str = ""
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: Path | None = None
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    description: str = ""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    call_seconds: float | None = None
    connect_seconds: float | None = None
    is_disabled: bool = False

    def offers(self, tool: str) -> bool:
        """Say whether a tool of the server is offered: included, by default all are, and not excluded."""
        is_included = not self.include or any(fnmatchcase(tool, glob) for glob in self.include)
        return is_included and not any(fnmatchcase(tool, glob) for glob in self.exclude)


def read_mcp_config(path: Path) -> tuple[McpServer, ...]:
    """Read `{"servers": [{name, …}]}` or `{name: {…}}`, also below `mcpServers`.

    Relative `cwd`s begin at the file's folder. Raises ConfigError with every problem.
    """
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(MAX_BYTES))
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", source=path.name) from None
    except ValueError as error:
        raise ConfigError(f"is not valid JSON: {error}", source=path.name) from None
    problems: list[str] = []
    servers = []
    for where, name, declared in _entries(document, problems):
        server, found = server_of(name, declared, path.parent)
        problems.extend(f"{where}: {problem}" for problem in found)
        if server is not None:
            servers.append(server)
    if problems:
        raise ConfigError(problems, source=path.name)
    return tuple(servers)


def _entries(document: Any, problems: list[str]) -> Iterator[tuple[str, str, Any]]:
    if isinstance(document, dict) and isinstance(document.get("servers"), list):
        for at, declared in enumerate(document["servers"]):
            name = declared.get("name", "") if isinstance(declared, dict) else ""
            yield f"servers[{at}]", name, declared
        return
    named = document.get("mcpServers", document) if isinstance(document, dict) else document
    if not isinstance(named, dict):
        problems.append('must be {"servers": [{"name": …}]} or {"NAME": {…}}')
        return
    for name, declared in named.items():
        yield name, name, declared


def server_of(name: Any, declared: Any, base: Path) -> tuple[McpServer | None, list[str]]:
    """Read one server; return it, or what is wrong with it."""
    if not isinstance(declared, dict):
        return None, ["must be an object with command or url"]
    problems = list(_problems(name, declared))
    if problems:
        return None, problems
    cwd = declared.get("cwd")
    return McpServer(
        name=name,
        transport=_transport(declared),
        command=declared.get("command", ""),
        args=tuple(map(str, declared.get("args", ()))),
        env=_texts(declared.get("env")),
        cwd=(base / Path(cwd).expanduser()).resolve() if cwd else None,
        url=declared.get("url", ""),
        headers=_texts(declared.get("headers")),
        description=str(declared.get("description", "")),
        include=_globs(declared.get("include")),
        exclude=_globs(declared.get("exclude")),
        call_seconds=declared.get("timeout"),
        connect_seconds=declared.get("connect_timeout"),
        is_disabled=declared.get("disabled") is True or declared.get("enabled") is False,
    ), []


def _problems(name: Any, declared: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(name, str) or not name:
        yield "has no name"
    written = declared.get("transport")
    if written is not None and written not in (*McpTransport, "streamable-http", "sse"):
        yield f"transport: {written!r} is unknown, use stdio or http"
        return
    needed = "command" if _transport(declared) is McpTransport.STDIO else "url"
    if not isinstance(declared.get(needed), str) or not declared[needed]:
        yield f"{needed} is missing"
    checks: tuple[tuple[str, Any, str], ...] = (
        ("args", list, "a list of texts"),
        ("env", dict, "an object of texts"),
        ("headers", dict, "an object of texts"),
        ("cwd", str, "a path"),
        ("include", (list, str), "a list of tool names, * stands for any text"),
        ("exclude", (list, str), "a list of tool names, * stands for any text"),
        ("disabled", bool, "true or false"),
        ("enabled", bool, "true or false"),
    )
    for key, kind, wanted in checks:
        if declared.get(key) is not None and not isinstance(declared[key], kind):
            yield f"{key} must be {wanted}"
    for key in ("timeout", "connect_timeout"):
        if declared.get(key) is not None and not _is_seconds(declared[key]):
            yield f"{key} must be a number of seconds, more than 0"


def _transport(declared: Mapping[str, Any]) -> McpTransport:
    written = declared.get("transport")
    if written is None:
        return McpTransport.HTTP if declared.get("url") else McpTransport.STDIO
    return McpTransport.STDIO if written == McpTransport.STDIO else McpTransport.HTTP


def _texts(values: Mapping[str, Any] | None) -> dict[str, str]:
    return {str(key): str(value) for key, value in (values or {}).items()}


def _globs(values: list[Any] | str | None) -> tuple[str, ...]:
    return (values,) if isinstance(values, str) else tuple(map(str, values or ()))


def _is_seconds(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 < value < float("inf")
