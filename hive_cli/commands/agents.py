"""`hive agents`: the agents of the daemon, and the check and the drawing of an agent folder."""

from __future__ import annotations

from typing import Annotated

import typer

from hive_cli.grammar import Hive, command, group
from hive_cli.local import run_local
from hive_cli.render import Cell, Json, status_cell, write_json, write_table
from hive_daemon.control.wire import Route

app = group("List the agents, check and draw an agent folder.")


@command(app, "list")
def list_agents(hive: Hive) -> None:
    """List the agents, their entry points, and why one is degraded."""
    answer = hive.client.all(Route.AGENTS)
    if hive.as_json:
        write_json(answer)
        return
    write_table(
        ("AGENT", "STATE", "RUNNING", "ENTRY POINTS", "REASON"),
        [_row(agent) for agent in answer["items"]],
    )


def _row(agent: Json) -> list[Cell]:
    return [
        str(agent.get("name")),
        status_cell(agent.get("state")),
        str(agent.get("running")),
        ", ".join(map(str, agent.get("entry_point_ids") or ())) or "-",
        agent.get("reason") or "-",
    ]


FolderArgument = Annotated[str, typer.Argument(metavar="PATH", help="The agent's folder.")]


@command(app, "validate")
def validate(
    hive: Hive,
    path: FolderArgument,
    probe: Annotated[
        bool, typer.Option("--probe", help="Start the MCP servers and ask for their tools.")
    ] = False,
) -> int:
    """Check an agent folder without a daemon, and say everything that is wrong."""
    how = [*(["--probe"] if probe else []), *(["--json"] if hive.as_json else [])]
    return run_local("agents", "validate", path, *how)


@command(app, "graph")
def graph(
    hive: Hive,
    path: FolderArgument,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="As Mermaid writes graphs.")] = False,
) -> int:
    """Draw the graph of an agent folder without a daemon."""
    how = [*(["--mermaid"] if mermaid else []), *(["--json"] if hive.as_json else [])]
    return run_local("agents", "graph", path, *how)
