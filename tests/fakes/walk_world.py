"""Random graphs, nodes that answer by a script, and a driver that performs a walk step by step."""

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

from hive_daemon.graph.edge import EdgeSpec, GraphSpec, ParallelExecutionConfig
from hive_daemon.graph.memory import Memory, Write
from hive_daemon.graph.merge import ScopeTree
from hive_daemon.graph.node import NodeSpec
from hive_daemon.graph.topology import Topology
from hive_daemon.graph.walk import advance, begin, resume
from hive_daemon.graph.walk_state import (
    PARKED_KINDS,
    Ask,
    EdgesDecided,
    NodeDone,
    NodeWaits,
    OutcomeKind,
    Phase,
    Run,
    Step,
    WalkState,
)

KEYS = ("k0", "k1", "k2", "k3")
CONDITIONS = ("k0 == 1", "k1 != 2", "output.k2 == 0", "memory.k3 == k0", "k9 == 1", "k0 < k1")


@dataclass(frozen=True)
class Mix:
    """Which features a random graph may have, as shares between 0 and 1.

    Without `counts` nothing looks at how often a node was visited. Branches that cannot meet take turns at a node, so
    that its visits are counted in the order in which they come.
    """

    nodes: int = 8
    feedback: float = 0.15
    pauses: float = 0.1
    failures: float = 0.15
    waits: float = 0.05
    jumps: float = 0.0
    asks: float = 0.1
    writes: float = 0.6
    sure: float = 0.0
    ends: float = 0.15
    fans: tuple[int, ...] = (0, 1, 1, 1, 2, 2, 3)
    strategy: str | None = None
    policy: str | None = None
    max_steps: int = 60
    counts: bool = True


ANYTHING = Mix()
WIDE = Mix(
    nodes=12,
    feedback=0.05,
    pauses=0.03,
    failures=0.03,
    waits=0.02,
    asks=0.02,
    sure=0.8,
    ends=0.03,
    fans=(0, 1, 2, 2, 3),
)
LOOPING = replace(WIDE, nodes=6, feedback=0.25, max_steps=80)
CALM = replace(WIDE, pauses=0.0, failures=0.0, waits=0.0, strategy="last_wins", ends=0.0)


def random_graph(seed: int, mix: Mix) -> GraphSpec:
    """Make a graph of chains, forks, joins and cycles; the same one for the same seed."""
    random = Random(seed)
    count = random.randint(1, mix.nodes)
    names = [f"n{place}" for place in range(count)]
    nodes = [_node(random, name, names, mix) for name in names]
    edges = []
    for place, name in enumerate(names):
        for _ in range(random.choice(mix.fans)):
            back = random.random() < mix.feedback
            targets = names[: place + 1] if back else names[place + 1 :]
            if targets:
                target = random.choice(targets if random.random() < 0.5 else targets[:4])
                edges.append(_edge(random, f"e{len(edges)}", name, target, mix))
    ends = [name for name in names if random.random() < mix.ends]
    pauses = [name for name in names if random.random() < mix.pauses]
    entry_points = {
        f"{name}_resume": random.choice(names) for name in pauses if random.random() < 0.3
    }
    return GraphSpec(
        id="g",
        entry_node=names[0],
        nodes=nodes,
        edges=edges,
        terminal_nodes=ends,
        pause_nodes=pauses,
        entry_points=entry_points,
        max_steps=random.choice((mix.max_steps, mix.max_steps, random.randint(1, 12))),
        max_retries_per_node=random.randint(0, 3),
        parallel_config=ParallelExecutionConfig(
            memory_conflict_strategy=mix.strategy
            or random.choice(("last_wins", "first_wins", "error")),
            on_branch_failure=mix.policy
            or random.choice(("fail_all", "continue_others", "wait_all")),
            is_enabled=random.random() < 0.95,
        ),
    )


def _node(random: Random, name: str, names: list[str], mix: Mix) -> NodeSpec:
    outputs = [key for key in KEYS if random.random() < 0.5]
    visits = random.choice((0, 0, 1, 2)) if mix.counts else 0
    if random.random() < 0.1:
        routes = {str(value): random.choice(names) for value in range(3)}
        if random.random() < 0.7:
            routes["default"] = random.choice(names)
        return NodeSpec(
            id=name,
            node_type="router",
            routes=routes,
            route_on=random.choice(KEYS),
            max_node_visits=visits,
        )
    return NodeSpec(
        id=name,
        node_type="function",
        output_keys=outputs,
        nullable_output_keys=[key for key in outputs if mix.counts and random.random() < 0.3],
        max_node_visits=visits,
        **({"max_retries": random.randint(1, 3)} if random.random() < 0.5 else {}),
    )


def _edge(random: Random, edge_id: str, source: str, target: str, mix: Mix) -> EdgeSpec:
    kinds = ["always", "on_success", "on_success", "conditional", "conditional", "on_failure"]
    kind = "llm_decide" if random.random() < mix.asks else random.choice(kinds)
    if random.random() < mix.sure:
        kind = "on_success"
    mapping = {}
    if random.random() < 0.25:
        mapping = {random.choice(KEYS): random.choice(KEYS) for _ in range(2)}
    return EdgeSpec(
        id=edge_id,
        source=source,
        target=target,
        condition=kind,
        condition_expr=random.choice(CONDITIONS) if kind == "conditional" else None,
        priority=random.choice((0, 0, 0, 1, 2)),
        input_mapping=mapping,
    )


def _dice(*parts: object) -> Random:
    return Random(zlib.crc32(json.dumps(parts, sort_keys=True, default=str).encode()))


@dataclass(frozen=True)
class Script:
    """What nodes answer: a pure function of who runs, which time (if the mix counts), and of all that the node sees."""

    seed: int
    mix: Mix

    def report(self, topology: Topology, command: Run | Ask, seen: dict) -> object:
        """Return what a command comes to."""
        if isinstance(command, Ask):
            dice = _dice(self.seed, "ask", command.node, seen)
            chosen = frozenset(edge for edge in command.edges if dice.random() < 0.6)
            return EdgesDecided(command.branch, chosen)
        node = topology.nodes[command.node]
        visit = command.visit if self.mix.counts else 0
        times = (visit, command.attempt, command.answers)
        dice = _dice(self.seed, command.node, times, command.answer, seen)
        if command.answers < 2 and dice.random() < self.mix.waits:
            kind = dice.choice((OutcomeKind.WAITING_INPUT, OutcomeKind.WAITING_APPROVAL))
            return NodeWaits(command.branch, kind, f"{command.node}?", ("yes", "no"))
        if dice.random() < self.mix.failures:
            return NodeDone(
                command.branch,
                False,
                error=f"{command.node} broke",
                error_type=dice.choice(("", "bad")),
                is_retryable=dice.random() < 0.7,
            )
        if node.node_type == "router":
            return self._routed(command, node, seen)
        output = {
            key: dice.randrange(3) for key in node.output_keys if dice.random() < self.mix.writes
        }
        jump = None
        if dice.random() < self.mix.jumps:
            jump = dice.choice([*topology.nodes, "nowhere"])
        return NodeDone(command.branch, True, output, output, next_node=jump)

    def _routed(self, command: Run, node: NodeSpec, seen: dict) -> NodeDone:
        target = node.routes.get(str(seen.get(node.route_on)), node.routes.get("default"))
        if target is None:
            return NodeDone(command.branch, False, error="no route", is_retryable=False)
        return NodeDone(command.branch, True, next_node=target)


Pick = Callable[[list[int]], int]


def first_in_order(places: list[int]) -> int:
    """Let the first branch in branch order end first."""
    return places[0]


def at_random(random: Random) -> Pick:
    """Let any branch end first."""
    return random.choice


@dataclass
class Walker:
    """Performs a walk: nodes answer by the script, `pick` says which of those that run ends first."""

    topology: Topology
    script: Script
    pick: Pick = first_in_order
    cuts: Callable[[int], bool] = lambda number: False
    path: list[str] = field(default_factory=list)
    writes: list[list] = field(default_factory=list)
    steps: int = 0
    step: Step | None = None
    running: dict[int, tuple[Run | Ask, dict]] = field(default_factory=dict)
    watch: Callable[["Walker"], None] = lambda walker: None

    def begin(self, inputs: dict) -> Step:
        """Take the first step."""
        return self.take(begin(self.topology, self.topology.graph.entry_node, inputs))

    def run(self, inputs: dict) -> Step:
        """Perform the walk until it stops."""
        self.begin(inputs)
        return self.go_on()

    def go_on(self) -> Step:
        """Perform the walk from where it stands until it stops."""
        while self.step.state.outcome is None:
            self.once()
        return self.step

    def once(self) -> None:
        """Let one of the nodes that run end."""
        self.take(advance(self.topology, self.step.state, self.step.memory, self.next_report()))
        if self.step.state.outcome is None and self.cuts(self.steps):
            self.cut()

    def next_report(self) -> object:
        """Return what one of the running nodes answers."""
        ids = [branch.id for branch in self.step.state.branches]
        place = self.pick(sorted(ids.index(branch) for branch in self.running))
        command, seen = self.running.pop(ids[place])
        assert self.seen(ids[place]) == seen, "what a branch sees changed while it ran"
        return self.script.report(self.topology, command, seen)

    def take(self, step: Step) -> Step:
        """Take note of a step and start what it commands."""
        self.step = step
        self.steps += 1
        self.path.extend(step.path)
        self.writes.extend(json.loads(json.dumps([list(write) for write in step.writes])))
        if step.state.outcome is not None:
            self.running.clear()
        for command in step.commands:
            if isinstance(command, Run | Ask):
                self.running[command.branch] = (command, self.seen(command.branch))
        self.watch(self)
        return step

    def resume(self, inputs: dict, answers: dict[str, str] | None = None) -> Step:
        """Go on with a walk that was parked or failed."""
        return self.take(
            resume(self.topology, self.step.state, self.step.memory, inputs=inputs, answers=answers)
        )

    def cut(self) -> None:
        """Lose the process, and go on from what was kept: the state as text, and the patches."""
        self.running.clear()
        state = WalkState.from_json(json.loads(json.dumps(self.step.state.to_json())))
        assert state == self.step.state
        memory = Memory().apply(
            (Write(*write) for write in self.writes), [s.id for s in state.scopes]
        )
        steps = self.steps
        self.take(resume(self.topology, state, memory))
        self.steps = steps

    def run_on(self, inputs: dict, rounds: int = 4) -> Step:
        """Perform the walk, answering every question and leaving every pause, up to so many times."""
        self.run(inputs)
        for number in range(rounds):
            state = self.step.state
            if state.outcome.kind not in PARKED_KINDS:
                break
            asking = [b.node for b in state.branches if b.phase is Phase.PARKED]
            self.resume({"k1": number}, dict.fromkeys(asking, f"answer {number}"))
            self.go_on()
        return self.step

    def seen(self, branch_id: int) -> dict:
        """Return what a branch sees."""
        return seen_by(self.step, self.step.state.branch(branch_id).scope)


def seen_by(step: Step, scope: int) -> dict:
    """Return what is seen from a scope."""
    tree = ScopeTree({s.id: s for s in step.state.scopes}, step.memory, step.state.stamp)
    return step.memory.read(tree.lineage(scope))
