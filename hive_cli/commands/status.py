"""`hive status`: how the daemon and each of its agents fare."""

from __future__ import annotations

from hive_cli.durations import relative
from hive_cli.grammar import Hive, command, single
from hive_cli.render import (
    Cell,
    Json,
    status_cell,
    write,
    write_facts,
    write_json,
    write_table,
)
from hive_daemon.control.wire import ExitCode, Route

app = single()


@command(app, "status")
def status(hive: Hive) -> ExitCode:
    """Say how the daemon and each of its agents fare: the last success, failures in a row, what is degraded."""
    answer = hive.client.get(Route.STATUS)
    agents = answer.get("agents") or []
    is_well = answer.get("status") == "ready" and not any(_trouble(agent) for agent in agents)
    if hive.as_json:
        write_json(answer)
        return ExitCode.OK if is_well else ExitCode.FAILED
    write_facts([("hived", status_cell(answer.get("status")))])
    for name, check in (answer.get("checks") or {}).items():
        if not check.get("ok") and name != "agents":
            write(f"  {name}: {check.get('detail', '')}")
    write("")
    write_table(
        ("AGENT", "STATE", "LAST SUCCESS", "FAILED IN A ROW", "MODEL", "TROUBLE"),
        [_row(agent) for agent in agents],
    )
    return ExitCode.OK if is_well else ExitCode.FAILED


def _row(agent: Json) -> list[Cell]:
    last = agent.get("last_success")
    return [
        str(agent.get("name")),
        status_cell(agent.get("state")),
        relative(last) if last else "-",
        str(agent.get("consecutive_failures") or 0),
        str((agent.get("provider") or {}).get("state", "")),
        _trouble(agent) or "-",
    ]


def _trouble(agent: Json) -> str:
    away = agent.get("tools_away") or []
    told = [*(agent.get("degraded") or ())]
    if away:
        told.append(f"tool servers away: {', '.join(away)}")
    return "; ".join(told)
