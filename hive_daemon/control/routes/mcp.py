"""`/v1/mcp`."""

from __future__ import annotations

from aiohttp import web

from hive_daemon.control.answers import listed
from hive_daemon.control.context import Ask, Control
from hive_daemon.control.host import agents_of
from hive_daemon.control.pages import Page
from hive_daemon.control.places import find_agent


async def list_servers(control: Control, ask: Ask) -> web.StreamResponse:
    """List the MCP servers of the agents, by agent, in the order in which each declares them."""
    agent = ask.query.one("agent")
    agents = agents_of(control.host) if agent is None else [find_agent(control.host, agent)]
    found = [
        (each.name, place, server)
        for each in agents
        if each.runtime is not None
        for place, server in enumerate(each.runtime.tool_servers())
    ]
    page, cursor = Page.of(ask.query).cut(found, lambda one: f"{one[0]}/{one[1]:06d}")
    return listed([{"agent": name, **server.to_json()} for name, _, server in page], cursor)
