"""`/v1/agents`."""

from __future__ import annotations

from aiohttp import web

from hive_daemon.control.agent_views import agent_view
from hive_daemon.control.answers import listed
from hive_daemon.control.context import Ask, Control
from hive_daemon.control.host import agents_of
from hive_daemon.control.pages import Page
from hive_daemon.control.places import Place, places


async def list_agents(control: Control, ask: Ask) -> web.StreamResponse:
    """List the agents, by name."""
    page, cursor = Page.of(ask.query).cut(agents_of(control.host), lambda agent: agent.name)
    own: dict[str, list[Place]] = {}
    for place in places(control.host):
        own.setdefault(place.agent.name, []).append(place)
    return listed(
        [agent_view(control.host, agent, own.get(agent.name, [])) for agent in page], cursor
    )
