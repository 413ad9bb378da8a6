"""The tools that an agent leaves to its MCP servers: told of, or asked for by starting the servers for a moment."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from hive_daemon.runner.findings import Findings
from hive_daemon.runner.loaded_agent import LoadedAgent
from hive_daemon.tools.mcp_values import ServerState, ServerView
from hive_daemon.tools.servers import probe


def expected_of_servers(agent: LoadedAgent) -> dict[str, list[str]]:
    """Return the tools that only a declared server can offer, with the nodes that ask for them."""
    entries = agent.tools.get_executor().tools if agent.tools.mcp_servers else {}
    found: dict[str, list[str]] = {}
    for node in agent.graph.nodes:
        for name in node.tools:
            if name in entries and entries[name].is_expected:
                found.setdefault(name, []).append(node.id)
    return found


def look_at_expected(agent: LoadedAgent, findings: Findings, *, probes: bool) -> None:
    """Tell of tools that are left to servers; with `probes` start the servers, ask them, and stop them again.

    Blocking; bounded by the servers' own time to connect. None of their processes is left afterwards.
    """
    expected = expected_of_servers(agent)
    servers = agent.tools.mcp_servers
    if not probes:
        if expected:
            names = ", ".join(server.name for server in servers)
            findings.warnings.append(
                f"{', '.join(expected)}: left to the MCP servers ({names}), --probe asks them"
            )
        return
    judge_probed(expected, asyncio.run(probe(servers)), findings)


def judge_probed(
    expected: Mapping[str, Iterable[str]], servers: Iterable[ServerView], findings: Findings
) -> None:
    """Add what a probe found: a server that is away is a warning, a tool that none offers is an error.

    As long as a server is away, nobody can say what it offers: then the tool is a warning too.
    """
    servers = list(servers)
    away = [server for server in servers if server.state is ServerState.DEGRADED]
    findings.warnings.extend(
        f"the MCP server {server.name!r} does not answer: {server.reason}" for server in away
    )
    offered = {tool.name for server in servers for tool in server.tools if tool.is_offered}
    add = findings.warnings if away else findings.problems
    for name, nodes in expected.items():
        if name not in offered:
            who = "no MCP server that answers offers" if away else "no MCP server offers"
            add.append(f"{who} the tool {name!r} (nodes: {', '.join(nodes)})")
