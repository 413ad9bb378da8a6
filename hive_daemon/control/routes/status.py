"""`/v1/status`."""

from __future__ import annotations

from aiohttp import web

from hive_daemon.control.answers import Json, answer
from hive_daemon.control.context import Ask, Control
from hive_daemon.control.host import Agent, agents_of, condition_of, troubles_of
from hive_daemon.control.views import time_view
from hive_daemon.observability.redaction import redactor
from hive_daemon.tools.mcp_values import ServerState


async def status(control: Control, ask: Ask) -> web.StreamResponse:
    """Say how the daemon and each of its agents fare."""
    verdict = await control.vitals.ready()
    agents = [_agent_view(control, agent) for agent in agents_of(control.host)]
    return answer({**verdict.view(), "agents": agents})


def _agent_view(control: Control, agent: Agent) -> Json:
    fortune = control.host.fortunes.of(agent.name)
    degraded = troubles_of(control.host, agent)
    return {
        "name": agent.name,
        "state": condition_of(control.host, agent),
        "last_success": time_view(fortune.last_success),
        "last_failure": time_view(fortune.last_failure),
        "consecutive_failures": fortune.failures,
        "provider": {"state": fortune.provider, "refusals": fortune.refusals},
        "degraded": [redactor().redact_text(" ".join(reason.split())) for reason in degraded],
        "tools_away": _tools_away(agent),
    }


def _tools_away(agent: Agent) -> list[str]:
    """Return the tool servers that do not answer."""
    if agent.runtime is None:
        return []
    return [
        server.name
        for server in agent.runtime.tool_servers()
        if server.state is ServerState.DEGRADED
    ]
