"""A second, slow walk, written without a look at the first: the reference for the property tests.

Every branch carries a whole copy of its memory and the set of all writes it has ever known of. Nothing is shared,
folded or forgotten, and reachability is searched anew each time.
"""

from dataclasses import dataclass, field
from itertools import count

from hive_daemon.graph.edge import EdgeSpec, GraphSpec
from hive_daemon.graph.expression import Expression, OpenContext


@dataclass(eq=False)
class Twig:
    """One branch.

    `cells` maps a key to (value, number of the write, whether an edge handed it on). `line` says how it was forked
    off, from the root down: at which fork, at which node, to begin where, and the number of the branch made there.
    """

    node: str
    cells: dict
    known: set
    phase: str = "waiting"
    visit: int = 0
    attempt: int = 1
    matched: list[EdgeSpec] = field(default_factory=list)
    jump: str | None = None
    line: tuple = ()

    @property
    def values(self) -> dict:
        return {key: cell[0] for key, cell in self.cells.items()}


class NaiveWalk:
    """The walk as the documents describe it."""

    def __init__(self, graph: GraphSpec, inputs: dict) -> None:
        self.graph = graph
        self.nodes = {node.id: node for node in graph.nodes}
        self.numbers = count()
        self.visits: dict[str, int] = {}
        self.retries: dict[str, int] = {}
        self.path: list[str] = []
        self.steps = self.terminals = self.open_ends = 0
        self.roads: dict[tuple, bool] = {}
        self.outcome: tuple | None = None
        self.memory: dict = {}
        first = Twig(graph.entry_node, {}, set())
        self.write(first, inputs)
        self.twigs = [first]
        self.settle()

    # --- reports ----------------------------------------------------------------------------

    def succeed(self, twig: Twig, output: dict, jump: str | None) -> None:
        self.write(twig, output)
        if twig.node in self.graph.pause_nodes:
            twig.phase, twig.jump = "paused", jump
        elif jump is not None:
            self.jump(twig, jump)
        else:
            self.leave(twig, output)
        self.settle()

    def fail(self, twig: Twig, is_retryable: bool) -> None:
        if is_retryable and twig.attempt < self.attempts(twig.node):
            twig.attempt += 1
            self.retries[twig.node] = self.retries.get(twig.node, 0) + 1
            return
        edges = self.edges(twig.node)
        handlers = [e for e in edges if e.condition.value == "on_failure"]
        handlers = handlers or [e for e in edges if e.condition.value == "always"]
        if handlers:
            self.follow(twig, handlers[:1], {})
        else:
            self.lose(twig)
        self.settle()

    def wait(self, twig: Twig, kind: str) -> None:
        twig.phase = kind
        self.settle()

    def decide(self, twig: Twig, chosen: frozenset) -> None:
        edges = [
            edge for edge in self.edges(twig.node) if edge.id in chosen or edge in twig.matched
        ]
        node = self.nodes[twig.node]
        keys = node.output_keys or list(twig.cells)
        output = {key: twig.values[key] for key in keys if key in twig.cells}
        self.follow(twig, edges, output)
        self.settle()

    def resume(self, inputs: dict) -> None:
        """Go on after a pause, with every question answered."""
        self.outcome = None
        parked = [
            t for t in self.twigs if t.phase in ("paused", "waiting_input", "waiting_approval")
        ]
        number = next(self.numbers)
        for twig in parked:
            for key, value in inputs.items():
                twig.cells[key] = (value, number, False)
            twig.known.add(number)
        for twig in parked:
            if twig.phase != "paused":
                twig.phase = "running"
                continue
            node = self.nodes[twig.node]
            target = self.graph.entry_points.get(f"{twig.node}_resume") or twig.jump
            if target is not None:
                self.jump(twig, target)
            else:
                keys = node.output_keys or list(twig.cells)
                self.leave(twig, {key: twig.values[key] for key in keys if key in twig.cells})
        self.settle()

    # --- moves ------------------------------------------------------------------------------

    def attempts(self, name: str) -> int:
        node = self.nodes[name]
        own = node.max_retries if "max_retries" in node.model_fields_set else None
        return max(1, self.graph.max_retries_per_node if own is None else own)

    def edges(self, name: str) -> list[EdgeSpec]:
        found = [edge for edge in self.graph.edges if edge.source == name]
        return sorted(found, key=lambda edge: -edge.priority)

    def leave(self, twig: Twig, output: dict) -> None:
        if twig.node in self.graph.terminal_nodes:
            self.terminals += 1
            self.finish_twig(twig)
            return
        matched, asked = self.choice(twig, output)
        if asked:
            twig.phase, twig.matched = "deciding", matched
        else:
            self.follow(twig, matched, output)

    def choice(self, twig: Twig, output: dict) -> tuple[list[EdgeSpec], list[EdgeSpec]]:
        names = OpenContext(
            {
                **twig.values,
                "output": output,
                "memory": twig.values,
                "buffer": twig.values,
            }
        )
        matched, asked = [], []
        for edge in self.edges(twig.node):
            kind = edge.condition.value
            if kind == "llm_decide":
                asked.append(edge)
            elif kind in ("always", "on_success"):
                matched.append(edge)
            elif kind == "conditional":
                try:
                    holds = Expression.parse(edge.condition_expr).truth(names)
                except ValueError:
                    holds = False
                if holds:
                    matched.append(edge)
        top = max((e.priority for e in matched if e.condition.value == "conditional"), default=0)
        matched = [e for e in matched if e.condition.value != "conditional" or e.priority == top]
        return matched, asked

    def follow(self, twig: Twig, edges: list[EdgeSpec], output: dict) -> None:
        if not edges:
            node = self.nodes[twig.node]
            if self.graph.terminal_nodes and (self.edges(twig.node) or node.routes):
                self.lose(twig)
            else:
                self.open_ends += 1
                self.finish_twig(twig)
            return
        if not self.graph.parallel_config.is_enabled:
            edges = edges[:1]
        ways: dict[str, dict] = {}
        before = twig.values
        for edge in edges:
            way = ways.setdefault(edge.target, {})
            for target, source in edge.input_mapping.items():
                if target not in way and (source in output or source in before):
                    way[target] = output[source] if source in output else before[source]
        if len(ways) > 1:
            fork = next(self.numbers)
            children = [self.child(twig, fork, target, way) for target, way in ways.items()]
            self.replace(twig, children)
        else:
            ((target, way),) = ways.items()
            self.write(twig, way, is_handed=True)
            self.arrive(twig, target)

    def child(self, twig: Twig, fork: int, target: str, way: dict) -> Twig:
        fresh = Twig(target, dict(twig.cells), set(twig.known))
        fresh.line = (*twig.line, (fork, twig.node, target, next(self.numbers)))
        self.write(fresh, way, is_handed=True)
        return fresh

    def jump(self, twig: Twig, target: str) -> None:
        if target in self.nodes:
            self.arrive(twig, target)
        else:
            self.lose(twig)

    def arrive(self, twig: Twig, target: str) -> None:
        twig.node, twig.phase, twig.attempt, twig.jump = target, "waiting", 1, None
        twig.visit = 0

    def finish_twig(self, twig: Twig) -> None:
        twig.phase = "ended"

    def lose(self, twig: Twig) -> None:
        policy = self.graph.parallel_config.on_branch_failure.value
        others = [t for t in self.twigs if t is not twig]
        if policy == "continue_others" and others:
            self.twigs.remove(twig)
        else:
            twig.phase = "failed"
            if policy != "wait_all":
                self.outcome = ("failed", twig.node)

    def write(self, twig: Twig, values: dict, is_handed: bool = False) -> None:
        number = next(self.numbers)
        for key, value in values.items():
            twig.cells[key] = (value, number, is_handed)
        twig.known.add(number)

    def replace(self, twig: Twig, others: list[Twig]) -> None:
        place = self.twigs.index(twig)
        self.twigs[place : place + 1] = others

    # --- coming to rest ---------------------------------------------------------------------

    def settle(self) -> None:
        while self.outcome is None:
            ready = self.gather()
            if not ready or self.outcome is not None:
                break
            if self.steps + len(ready) > self.graph.max_steps:
                self.outcome = ("failed", ready[0].node)
                break
            for twig in ready:
                if self.outcome is None:
                    self.enter(twig)
        if self.outcome is None:
            self.conclude()

    def gather(self) -> list[Twig]:
        """Return those that may enter their node, merged where they meet."""
        free: list[Twig] = []
        for group in self.free_groups():
            if len(group) == 1:
                free.append(group[0])
                continue
            cells = self.merged(group)
            if cells is None:
                return []
            joined = Twig(group[0].node, cells, set().union(*(t.known for t in group)))
            joined.line = self.joined_line([twig.line for twig in group], group[0].node)
            joined.known.update(cell[1] for cell in cells.values())
            place = self.twigs.index(group[0])
            self.twigs[place] = joined
            for twig in group[1:]:
                self.twigs.remove(twig)
            free.append(joined)
        return sorted(free, key=self.twigs.index)

    def joined_line(self, lines: list[tuple], place: str) -> tuple:
        depth = 0
        while len({line[depth][3] for line in lines}) == 1:
            depth += 1
        fork, node, _, _ = lines[0][depth]
        return (*lines[0][:depth], (fork, node, place, next(self.numbers)))

    def free_groups(self) -> list[list[Twig]]:
        waiting = [twig for twig in self.twigs if twig.phase == "waiting"]
        others = [t for t in self.twigs if t.phase not in ("failed", "ended", "waiting")]
        groups: list[list[Twig]] = []
        for twig in waiting:
            near = [g for g in groups if any(t.node == twig.node and self.meet(twig, t) for t in g)]
            groups = [g for g in groups if g not in near]
            groups.append(sorted([twig, *(t for g in near for t in g)], key=self.twigs.index))
        groups.sort(key=lambda group: self.twigs.index(group[0]))

        def awaits(group: list[Twig], twig: Twig) -> bool:
            place = group[0].node
            return self.leads(twig.node, place) and any(self.meet(t, twig) for t in group)

        held = [
            any(t.node == group[0].node or awaits(group, t) for t in others) for group in groups
        ]
        links = {
            i: {
                j
                for j, other in enumerate(groups)
                if i != j and any(awaits(group, twig) for twig in other)
            }
            for i, group in enumerate(groups)
        }
        for _ in groups:  # transitive closure, the slow way
            links = {i: far | set().union(*(links[j] for j in far)) for i, far in links.items()}
        free: dict[str, list[Twig]] = {}
        for i, group in enumerate(groups):
            is_stuck = held[i] or any(held[j] for j in links[i])
            is_first = all(j == i or (i in links[j] and i < j) for j in links[i])
            if is_stuck or not is_first:
                continue
            rival = free.get(group[0].node)
            if rival is None or self.age(group) < self.age(rival):
                free[group[0].node] = group
        return list(free.values())

    def age(self, group: list[Twig]) -> int:
        """Return a number that is the lower the longer ago the first of a group was made."""
        return min(twig.line[-1][3] if twig.line else -1 for twig in group)

    def meet(self, one: Twig, other: Twig) -> bool:
        for (_, node, mine, me), (_, _, its, it) in zip(one.line, other.line, strict=False):
            if me != it:
                return all(
                    start == one.node or self.leads(start, one.node, node) for start in (mine, its)
                )
        return True

    def leads(self, start: str, goal: str, without: str | None = None) -> bool:
        if (start, goal, without) not in self.roads:
            self.roads[start, goal, without] = self.search(start, goal, without)
        return self.roads[start, goal, without]

    def search(self, start: str, goal: str, without: str | None) -> bool:
        if without == start:
            return False
        seen = {without}
        todo = [start]
        while todo:
            name = todo.pop()
            follows = list(self.nodes[name].routes.values())
            for edge in self.graph.edges:
                is_end = name in self.graph.terminal_nodes
                if edge.source == name and (
                    not is_end or edge.condition.value in ("on_failure", "always")
                ):
                    follows.append(edge.target)
            if name in self.graph.pause_nodes and f"{name}_resume" in self.graph.entry_points:
                follows.append(self.graph.entry_points[f"{name}_resume"])
            if goal in follows:
                return True
            todo.extend(node for node in follows if node not in seen)
            seen.update(follows)
        return False

    def merged(self, group: list[Twig]) -> dict | None:
        strategy = self.graph.parallel_config.memory_conflict_strategy.value
        cells: dict = {}
        for key in {key: None for twig in group for key in twig.cells}:
            holders = [twig for twig in group if key in twig.cells]
            rivals = [
                twig.cells[key]
                for twig in holders
                if not any(
                    twig.cells[key][1] in other.known and other.cells[key][1] != twig.cells[key][1]
                    for other in holders
                )
            ]
            if len({cell[1] for cell in rivals}) == 1:
                cells[key] = rivals[0]
                continue
            real = [cell for cell in rivals if not cell[2]]
            if strategy == "error" and len({cell[1] for cell in real}) > 1:
                self.outcome = ("failed", None)
                return None
            pool = real or rivals
            chosen = pool[0] if strategy == "first_wins" else pool[-1]
            cells[key] = (chosen[0], next(self.numbers), chosen[2])
        return cells

    def enter(self, twig: Twig) -> None:
        node = self.nodes[twig.node]
        self.steps += 1
        seen = self.visits.get(node.id, 0)
        if node.max_node_visits and seen >= node.max_node_visits:
            values = twig.values
            if node.node_type == "router":
                word = str(values.get(node.route_on))
                target = node.routes.get(word, node.routes.get("default"))
                if target is not None:
                    self.jump(twig, target)
                    return
            self.leave(twig, values)
            return
        if seen:
            self.write(
                twig,
                {k: None for k in node.nullable_output_keys if twig.values.get(k) is not None},
            )
        self.visits[node.id] = seen + 1
        self.path.append(node.id)
        twig.phase, twig.visit = "running", seen + 1

    def conclude(self) -> None:
        phases = {twig.phase for twig in self.twigs}
        if phases & {"running", "deciding"}:
            return
        for twig in self.twigs:
            if twig.phase == "failed":
                self.outcome = ("failed", twig.node)
                return
        for twig in self.twigs:
            if twig.phase in ("paused", "waiting_input", "waiting_approval"):
                self.outcome = (twig.phase, twig.node)
                return
        if self.graph.terminal_nodes and not self.terminals:
            self.outcome = ("failed", None)
            return
        cells = self.merged(self.twigs)
        if cells is not None:
            self.memory = {key: cell[0] for key, cell in cells.items()}
            self.outcome = ("completed", None)
