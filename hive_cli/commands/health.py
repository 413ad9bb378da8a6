"""`hive health`: whether the daemon is well. Also what a container's health check runs."""

from __future__ import annotations

from hive_cli.grammar import Hive, command, single
from hive_cli.render import status_cell, write, write_facts, write_json, write_table
from hive_daemon.control.wire import ExitCode, Route

app = single()

_WELL = ("ok", "degraded")


@command(app, "health")
def health(hive: Hive) -> ExitCode:
    """Say whether the daemon is well; a degraded one is, as only a part of it fails."""
    answer = hive.client.get(Route.HEALTH)
    status, checks = answer.get("status"), answer.get("checks") or {}
    if hive.as_json:
        write_json(answer)
    else:
        write_facts([("status", status_cell(status))])
        write("")
        write_table(
            ("CHECK", "STATE", "DETAIL"),
            [
                [name, status_cell("ok" if check.get("ok") else "failing"), check.get("detail", "")]
                for name, check in checks.items()
            ],
        )
    return ExitCode.OK if status in _WELL else ExitCode.FAILED
