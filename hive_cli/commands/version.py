"""`hive version`: which versions of the two programs meet here."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

from hive_cli.client import Unreachable
from hive_cli.grammar import Hive, command, single
from hive_cli.render import note, write_facts, write_json
from hive_daemon.control.wire import DISTRIBUTION, Route

app = single()


@command(app, "version")
def version(hive: Hive) -> None:
    """Show the versions of hive and of the daemon, if one runs."""
    own, daemon = _own_version(), _daemon_version(hive)
    if hive.as_json:
        write_json({"hive": own, "hived": daemon})
        return
    write_facts([("hive", own or "not installed"), ("hived", daemon or "not running")])
    if own and daemon and daemon != own:
        note("the daemon was started from another version than this command: restart it")


def _own_version() -> str | None:
    try:
        return installed_version(DISTRIBUTION)
    except PackageNotFoundError:
        return None


def _daemon_version(hive: Hive) -> str | None:
    try:
        return str(replace(hive.client, patience=0.0).get(Route.STATS).get("version"))
    except Unreachable:
        return None
