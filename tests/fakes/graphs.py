"""Short ways to write a graph, to walk it by hand, and to perform it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hive_daemon.clock import SYSTEM_CLOCK, Clock
from hive_daemon.graph.edge import EdgeSpec, GraphSpec
from hive_daemon.graph.goal import Goal
from hive_daemon.graph.healing import read_ladder
from hive_daemon.graph.journal import LocalJournal, Move, Totals
from hive_daemon.graph.memory import ROOT
from hive_daemon.graph.node import NodeContext, NodeResult, NodeSpec
from hive_daemon.graph.node_run import Given, NodeRunner
from hive_daemon.graph.node_set import NodeSet
from hive_daemon.graph.performer import NothingShared, Performer, Setting
from hive_daemon.graph.resumption import first_step
from hive_daemon.graph.topology import Topology
from hive_daemon.graph.walk import advance, begin, resume
from hive_daemon.graph.walk_state import (
    Ask,
    Branch,
    EdgesDecided,
    NodeDone,
    NodeWaits,
    Outcome,
    OutcomeKind,
    Run,
    Step,
)
from hive_daemon.llm.unconfigured import UnconfiguredProvider

GOAL = Goal(id="goal", name="Goal", description="what it is for")


def edge(source: str, target: str, condition: str = "on_success", **fields: Any) -> EdgeSpec:
    """Write an edge; its id is `source-target`."""
    fields.setdefault("id", f"{source}-{target}")
    if "expr" in fields:
        condition = "conditional"
        fields["condition_expr"] = fields.pop("expr")
    return EdgeSpec(source=source, target=target, condition=condition, **fields)


def graph_of(
    *edges: EdgeSpec, nodes: Mapping[str, Mapping[str, Any]] | None = None, **fields: Any
) -> GraphSpec:
    """Write a graph by its edges. The first node is the entry; `nodes` says more about some of them."""
    more = nodes or {}
    names = {name: None for e in edges for name in (e.source, e.target)} | dict.fromkeys(more)
    specs = [
        NodeSpec(**{"id": name, "node_type": "function", **more.get(name, {})}) for name in names
    ]
    fields.setdefault("entry_node", specs[0].id)
    return GraphSpec(**{"id": "g", **fields}, nodes=specs, edges=list(edges))


class HandWalk:
    """A walk moved by hand: tell it by a node's name how that node ended."""

    def __init__(self, graph: GraphSpec, inputs: Mapping[str, Any] | None = None) -> None:
        self.topology = Topology.compile(graph)
        self.path: list[str] = []
        self.facts: list[Any] = []
        self.step = begin(self.topology, graph.entry_node, inputs or {})
        self.take(self.step)

    def take(self, step: Step) -> Step:
        """Take note of a step."""
        self.step = step
        self.path.extend(step.path)
        self.facts.extend(step.facts)
        return step

    def branch(self, node: str) -> Branch:
        """Return the branch at a node."""
        found = [branch for branch in self.step.state.branches if branch.node == node]
        assert found, f"no branch stands at {node}: {self.step.state.branches}"
        return found[0]

    def tell(self, report: Any, *, hold: bool = False) -> Step:
        """Work a report in."""
        state, memory = self.step.state, self.step.memory
        return self.take(advance(self.topology, state, memory, report, hold=hold))

    def done(
        self, node: str, *, next_node: str | None = None, hold: bool = False, **output: Any
    ) -> Step:
        """Let a node succeed."""
        report = NodeDone(self.branch(node).id, True, output, output, next_node=next_node)
        return self.tell(report, hold=hold)

    def fail(
        self, node: str, error: str = "broken", code: str = "", *, retryable: bool = False
    ) -> Step:
        """Let a node fail."""
        return self.tell(
            NodeDone(
                self.branch(node).id,
                False,
                error=error,
                error_type=code,
                is_retryable=retryable,
            )
        )

    def wait(self, node: str, question: str = "?", kind: str = "waiting_input") -> Step:
        """Let a node wait for a person."""
        return self.tell(NodeWaits(self.branch(node).id, OutcomeKind(kind), question))

    def decide(self, node: str, *targets: str) -> Step:
        """Let the model choose the ways from a node to these targets."""
        branch = self.branch(node)
        chosen = frozenset(f"{node}-{target}" for target in targets)
        return self.tell(EdgesDecided(branch.id, chosen))

    def go_on(self, inputs: Mapping[str, Any] | None = None, **answers: str) -> Step:
        """Resume."""
        state, memory = self.step.state, self.step.memory
        return self.take(resume(self.topology, state, memory, inputs=inputs or {}, answers=answers))

    @property
    def outcome(self) -> Outcome | None:
        """How it stopped."""
        return self.step.state.outcome

    @property
    def kind(self) -> str | None:
        """How it stopped, in a word."""
        return self.outcome.kind.value if self.outcome else None

    @property
    def running(self) -> list[str]:
        """The nodes that were just started."""
        return [command.node for command in self.step.commands if isinstance(command, Run | Ask)]

    @property
    def memory(self) -> dict[str, Any]:
        """What the execution's own scope holds."""
        return self.step.memory.read([ROOT])

    @property
    def phases(self) -> dict[str, str]:
        """What the branches do."""
        return {branch.node: branch.phase.value for branch in self.step.state.branches}


class Book(LocalJournal):
    """A journal that remembers its moves and facts."""

    def __init__(self, bus: object = None) -> None:
        super().__init__(bus)
        self.moves: list[Move] = []
        self.told: list[Any] = []

    def begin(self, move: Move) -> None:
        """Write the first move down."""
        self.moves.append(move)
        super().begin(move)

    async def step(self, move: Move) -> None:
        """Write a move down."""
        self.moves.append(move)
        await super().step(move)

    async def _tell(self, facts: tuple[Any, ...]) -> None:
        self.told.extend((*self._noted, *facts))
        await super()._tell(facts)

    def kinds(self) -> list[str]:
        """Return the kinds of the facts told."""
        return [fact.kind for fact in self.told]

    def of(self, kind: type) -> list[Any]:
        """Return the facts of a kind."""
        return [fact for fact in self.told if isinstance(fact, kind)]


Body = Callable[[NodeContext], Awaitable[Any]]


@dataclass
class Made:
    """A node made of an async function: a dict it returns is its output."""

    body: Body

    async def execute(self, ctx: NodeContext) -> NodeResult:
        """Run the function."""
        answer = await self.body(ctx)
        return answer if isinstance(answer, NodeResult) else NodeResult(True, answer or {})


async def nothing(ctx: NodeContext) -> dict[str, Any]:
    """Do nothing."""
    return {}


@dataclass
class Stage:
    """Everything that a performer needs; nodes that are not given do nothing."""

    graph: GraphSpec
    bodies: Mapping[str, Body] = field(default_factory=dict)
    clock: Clock = SYSTEM_CLOCK
    book: Book = field(default_factory=Book)
    shared: Any = field(default_factory=NothingShared)
    llm: Any = field(default_factory=UnconfiguredProvider)
    max_resurrections: int = 0
    heal: tuple[str, ...] = ()
    pause: asyncio.Event = field(default_factory=asyncio.Event)
    registered: dict[str, Any] = field(default_factory=dict)
    goal: Goal = field(default_factory=lambda: GOAL)

    def performer(self, path: list[str] | None = None, totals: Totals | None = None) -> Performer:
        """Return a performer."""
        made = {
            node.id: Made(self.bodies.get(node.id, nothing))
            for node in self.graph.nodes
            if node.node_type == "function" and not node.function
        }
        registered = {**made, **self.registered}
        self.topology = Topology.compile(self.graph, registered)
        nodes = NodeSet(registered, lambda spec: Made(nothing), self.clock)
        given = Given(goal=self.goal, llm=self.llm, execution_id="x")
        runner = NodeRunner(self.topology, nodes, self.book, given, self.clock, self.pause)
        setting = Setting(
            self.topology,
            self.book,
            runner,
            self.shared,
            self.clock,
            self.pause,
            execution_id="x",
            session_id="s",
            ladder=read_ladder(self.heal, self.max_resurrections),
        )
        return Performer(setting, totals or Totals(), path if path is not None else [])

    async def run(
        self, inputs: Mapping[str, Any] | None = None, state: Mapping[str, Any] | None = None
    ) -> Any:
        """Perform the graph and return the result."""
        performer = self.performer(list((state or {}).get("execution_path", ())))
        return await performer.run(first_step(self.topology, inputs or {}, state or {}))
