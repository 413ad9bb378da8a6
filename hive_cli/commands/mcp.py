"""`hive mcp`: the MCP servers of the agents, and the probe of those that a folder declares."""

from __future__ import annotations

from typing import Annotated

import typer

from hive_cli.grammar import Hive, command, group
from hive_cli.local import run_local
from hive_cli.options import given
from hive_cli.render import Cell, Json, status_cell, write_json, write_table
from hive_daemon.control.wire import Route

app = group("List MCP servers and their tools, probe those of a folder.")

AgentOption = Annotated[
    str, typer.Option("--agent", metavar="NAME", help="Only those of this agent.")
]


@command(app, "list")
def list_servers(hive: Hive, agent: AgentOption = "") -> None:
    """List the MCP servers of the agents: how they are, and why one is away."""
    answer = _servers(hive, agent)
    if hive.as_json:
        write_json(answer)
        return
    write_table(
        ("AGENT", "SERVER", "STATE", "TOOLS", "STARTS", "TARGET", "REASON"),
        [_server_row(server) for server in answer["items"]],
    )


@command(app, "tools")
def list_tools(hive: Hive, agent: AgentOption = "") -> None:
    """List the tools of the MCP servers, as they offered them last."""
    answer = _servers(hive, agent)
    if hive.as_json:
        write_json(answer)
        return
    write_table(
        ("AGENT", "SERVER", "TOOL", "DESCRIPTION"),
        [
            _tool_row(server, tool)
            for server in answer["items"]
            for tool in server.get("tools") or ()
        ],
    )


@command(app, "probe")
def probe(
    hive: Hive,
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="An agent's folder, or a mcp_servers.json.")
    ],
    server: Annotated[
        list[str] | None,
        typer.Option("--server", metavar="NAME", help="Only this one; may be repeated."),
    ] = None,
) -> int:
    """Start the MCP servers of a folder without a daemon, list their tools, and stop them."""
    named = [word for name in server or () for word in ("--server", name)]
    return run_local("mcp", "probe", *named, *(["--json"] if hive.as_json else []), "--", path)


def _servers(hive: Hive, agent: str) -> Json:
    return hive.client.all(Route.MCP, given(agent=agent))


def _server_row(server: Json) -> list[Cell]:
    return [
        str(server.get("agent")),
        str(server.get("name")),
        status_cell(server.get("state")),
        str(len(server.get("tools") or ())),
        str(server.get("starts")),
        str(server.get("target")),
        server.get("reason") or "-",
    ]


def _tool_row(server: Json, tool: Json) -> list[Cell]:
    text = str(tool.get("description") or "").strip().partition("\n")[0]
    remark = f"({tool['remark']}) " if tool.get("remark") else ""
    return [
        str(server.get("agent")),
        str(server.get("name")),
        str(tool.get("name")),
        f"{remark}{text}" or "-",
    ]
