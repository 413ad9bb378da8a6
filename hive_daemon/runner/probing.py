"""`hive mcp probe`, as the process does it that `hive` starts: start servers, ask for their tools, stop them again."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hive_daemon.control.wire import ErrorCode, ExitCode
from hive_daemon.errors import HiveError, InvalidInput
from hive_daemon.runner.folder_tools import SERVERS_FILE
from hive_daemon.tools.mcp_config import read_mcp_config
from hive_daemon.tools.mcp_values import ServerState, ServerView
from hive_daemon.tools.servers import probe

_WELL = frozenset({ServerState.READY, ServerState.DISABLED})


@dataclass(frozen=True, slots=True)
class Probed:
    """How the servers of a file are; `error` is set if they could not even be tried."""

    path: Path
    servers: tuple[ServerView, ...] = ()
    error: HiveError | None = None

    @property
    def exit_code(self) -> ExitCode:
        """0 if every server that is not disabled offers its tools, 1 if not, 2 if the file is not valid."""
        if self.error is not None:
            return ExitCode.USAGE
        is_well = all(server.state in _WELL for server in self.servers)
        return ExitCode.OK if is_well else ExitCode.FAILED

    def to_dict(self) -> dict[str, Any]:
        """Return it as `--json` writes it; with trouble also in the form that every failing command has."""
        document = {"file": str(self.path), "items": [each.to_json() for each in self.servers]}
        trouble = self._trouble()
        return {"error": trouble, **document} if trouble else document

    def _trouble(self) -> dict[str, str]:
        if self.error is not None:
            return {"code": self.error.code, "message": str(self.error), "hint": self.error.hint}
        away = [f"{each.name}: {each.reason}" for each in self.servers if each.state not in _WELL]
        if not away:
            return {}
        return {"code": ErrorCode.ERROR, "message": "\n".join(away), "hint": "docs/tools.md"}

    def lines(self) -> list[str]:
        """Return it for people."""
        if self.error is not None:
            hint = [f"hint: {self.error.hint}"] if self.error.hint else []
            return [*str(self.error).splitlines(), *hint]
        return [line for server in self.servers for line in _told(server)] or [
            f"{self.path}: declares no server"
        ]


def probe_folder(given: str, names: list[str]) -> Probed:
    """Probe the servers of an agent folder or of a `mcp_servers.json`: all of them, or those that are named."""
    path = Path(given)
    if path.is_dir():
        path = path / SERVERS_FILE
    try:
        if not path.exists():
            raise InvalidInput(
                f"{path}: there is no such file",
                hint=f"name an agent's folder with a {SERVERS_FILE} in it, or the file itself",
            )
        servers = read_mcp_config(path)
        known = [server.name for server in servers]
        unknown = [name for name in names if name not in known]
        if unknown:
            raise InvalidInput(
                f"{path.name} declares no server {unknown[0]!r}",
                hint=f"it declares {', '.join(known) or 'none'}",
            )
        chosen = [server for server in servers if not names or server.name in names]
        return Probed(path, tuple(asyncio.run(probe(chosen))))
    except HiveError as error:
        return Probed(path, error=error)


def to_text(probed: Probed) -> str:
    """Write it as the one JSON document of `--json`."""
    return json.dumps(probed.to_dict(), indent=2) + "\n"


def _told(server: ServerView) -> list[str]:
    reason = f": {server.reason}" if server.reason else ""
    return [
        f"{server.name}: {server.state}{reason} ({server.transport}, {server.target})",
        *(
            f"  {tool.name}: {f'({tool.remark}) ' if tool.remark else ''}{_first_line(tool.description)}"
            for tool in server.tools
        ),
    ]


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
