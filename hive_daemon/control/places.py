"""The entry points of the daemon by their addresses."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

from hive_daemon.control.errors import Ambiguous
from hive_daemon.control.host import Agent, Host, agents_of, state_of
from hive_daemon.control.query import shown
from hive_daemon.control.wire import is_address
from hive_daemon.errors import AgentNotFound, EntryPointNotFound, InvalidInput, NotRunning
from hive_daemon.ids import check_name
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.execution_stream import ExecutionStream
from hive_daemon.runtime.graph_host import GraphHost
from hive_daemon.runtime.lifecycle import RunState

_SEE = "see `hive agents list`"


@dataclass(frozen=True, slots=True)
class Place:
    """An entry point of an agent that is loaded."""

    agent: Agent
    graph: GraphHost
    spec: EntryPointSpec

    @property
    def stream_id(self) -> str:
        """Its name within the agent, `graph::entry_point` on a secondary graph."""
        return self.graph.stream_name(self.spec.id)

    @property
    def address(self) -> str:
        """Its full address."""
        return f"{self.agent.name}/{self.stream_id}"

    @property
    def stream(self) -> ExecutionStream | None:
        """Its stream, None while its agent does not run."""
        return self.graph.streams.get(self.spec.id)


@dataclass(frozen=True, slots=True)
class Lane:
    """What an address says about rows and events: the agent and the id of the stream."""

    agent: str
    stream_id: str


def places(host: Host) -> list[Place]:
    """Return every entry point, by address."""
    found = [
        Place(agent, graph, spec)
        for agent in agents_of(host)
        if agent.runtime is not None
        for graph in agent.runtime.hosts
        for spec in graph.specs.values()
    ]
    return sorted(found, key=lambda place: place.address)


def find_place(host: Host, address: str) -> Place:
    """Return the entry point with this address, full or bare.

    Raises InvalidInput, EntryPointNotFound, AgentNotFound, Ambiguous, NotRunning if its agent is degraded.
    """
    name, slash, _ = check_address(address).partition("/")
    if slash:
        agent = find_agent(host, name)
        if agent.runtime is None:
            raise _not_running(agent)
    known = places(host)
    found = [place for place in known if address == (place.address if slash else place.stream_id)]
    if len(found) > 1:
        candidates = [place.address for place in found]
        raise Ambiguous(
            f"{shown(address)} means {len(found)} entry points",
            candidates,
            hint=f"write its agent too: {candidates[0]}",
        )
    if not found:
        raise EntryPointNotFound(
            f"no entry point is called {shown(address)}", hint=_nearest(address, known)
        )
    return found[0]


def _not_running(agent: Agent) -> NotRunning:
    if not agent.reason:
        return NotRunning(f"agent {agent.name} is {agent.state}", hint=_SEE)
    return NotRunning(
        f"agent {agent.name} is {agent.state}: {agent.reason}",
        hint=f"mend it, check it with `hive agents validate {agent.path}`, and restart the daemon",
    )


def find_lane(host: Host, address: str) -> Lane:
    """Return the lane of an address; that of a degraded agent, whose entry points are not known, is believed.

    Raises like `find_place`.
    """
    name, slash, stream_id = check_address(address).partition("/")
    if slash and find_agent(host, name).runtime is None:
        return Lane(name, stream_id)
    place = find_place(host, address)
    return Lane(place.agent.name, place.stream_id)


def find_agent(host: Host, name: str) -> Agent:
    """Return an agent. Raises InvalidInput, AgentNotFound."""
    check_name("the agent", name)
    found = host.agents.agents.get(name)
    if found is None:
        close = get_close_matches(name, host.agents.agents, n=1)
        raise AgentNotFound(
            f"no agent is called {shown(name)}",
            hint=f"did you mean {close[0]}? {_SEE}" if close else _SEE,
        )
    return found


def check_agent(host: Host, name: str) -> None:
    """Raise like `find_agent`; without a daemon nobody knows which agents there are, and every name is believed."""
    if state_of(host) is RunState.STOPPED:
        check_name("the agent", name)
    else:
        find_agent(host, name)


def check_address(text: str) -> str:
    """Return the address of an entry point or a timer, or raise InvalidInput."""
    if is_address(text):
        return text
    raise InvalidInput(
        f"{shown(text)} is not an address",
        hint="an address is agent/entry_point, agent/graph::entry_point, or either without its agent",
    )


def _nearest(address: str, known: list[Place]) -> str:
    by_name = {place.stream_id: place.address for place in known}
    by_name.update({place.address: place.address for place in known})
    close = get_close_matches(address, by_name, n=1)
    return f"did you mean {by_name[close[0]]}? {_SEE}" if close else _SEE
