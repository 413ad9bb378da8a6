"""What a declared MCP server is started or called with: its command or address, and what it is told of the environment.

A server gets an allow-listed environment, never the daemon's: the variables that `INHERITED` names, those that the
operator allows besides, and what its declaration says. In `env`, `headers`, `args`, `command` and `url`, `${NAME}` and
`${NAME:-default}` stand for variables of the daemon; a server that needs one that is not set does not start, and says
so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from hive_daemon.errors import ConfigError
from hive_daemon.observability.redaction import register_secret
from hive_daemon.observability.secret_patterns import is_secret_name
from hive_daemon.tools.mcp_config import McpServer
from hive_daemon.tools.mcp_process import Launch

INHERITED = (
    *(
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "SHELL",
        "TERM",
        "TMPDIR",
        "TZ",
        "LANG",
        "LANGUAGE",
        "LC_*",
    ),
    *("XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE"),
)
"""The variables that every server gets, as far as they are set. None of them is a secret."""

_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


def launch_of(server: McpServer, environ: Mapping[str, str], allowed: Iterable[str] = ()) -> Launch:
    """Return how a stdio server is started; `allowed` are globs of further variables. Raises ConfigError."""
    filled = _Filled(server.name, environ)
    globs = (*INHERITED, *allowed)
    environment = {
        name: value
        for name, value in environ.items()
        if any(fnmatchcase(name, glob) for glob in globs)
        # An exported shell function is code.
        and not value.startswith("()")
    }
    command = tuple(filled.text("command", each) for each in (server.command, *server.args))
    environment |= filled.texts("env", server.env)
    filled.check()
    return Launch(server.name, command, environment, server.cwd)


def address_of(server: McpServer, environ: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Return the address of an HTTP server and the headers to send. Raises ConfigError."""
    filled = _Filled(server.name, environ)
    url, headers = filled.text("url", server.url), filled.texts("headers", server.headers)
    filled.check()
    return url, headers


class _Filled:
    """Texts with their variables filled in, and which of those are not set."""

    def __init__(self, server: str, environ: Mapping[str, str]) -> None:
        self._server = server
        self._environ = environ
        self._missing: dict[str, None] = {}

    def text(self, where: str, written: str) -> str:
        return _VARIABLE.sub(lambda found: self._value(where, found), written)

    def texts(self, where: str, written: Mapping[str, str]) -> dict[str, str]:
        filled = {name: self.text(where, value) for name, value in written.items()}
        for name, value in filled.items():
            if is_secret_name(name):
                register_secret(value)
                register_secret(value.rpartition(" ")[2])
        return filled

    def _value(self, where: str, found: re.Match[str]) -> str:
        value = self._environ.get(found[1]) or found[2]
        if value is None:
            self._missing[f"{where}: the variable {found[1]} is not set"] = None
        return value or ""

    def check(self) -> None:
        if self._missing:
            raise ConfigError(self._missing, source=self._server)
