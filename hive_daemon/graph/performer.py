"""The performer: does what the walk commands, reports back, and makes every move durable before the next one.

A single branch runs in the performer's own task; branches of a fan-out run as tasks side by side. The performer knows
no store and no runtime: it has a journal, the nodes, and what nodes are given.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from hive_daemon.clock import Clock
from hive_daemon.errors import StateConflict
from hive_daemon.graph.edge_judge import decide_edges
from hive_daemon.graph.executor import ExecutionResult
from hive_daemon.graph.facts import (
    EscalationRequested,
    ExecutionResurrected,
    Fact,
    StateConflicted,
)
from hive_daemon.graph.healing import NO_LADDER, Ladder, Rung, cause_of
from hive_daemon.graph.journal import Journal, Move, Totals
from hive_daemon.graph.memory import ROOT, Memory
from hive_daemon.graph.merge import ScopeTree
from hive_daemon.graph.node_context import PathSoFar, Scene
from hive_daemon.graph.node_run import Ended, NodeRunner
from hive_daemon.graph.outcome import Standing, to_result
from hive_daemon.graph.topology import Topology
from hive_daemon.graph.visit import begun_anew
from hive_daemon.graph.walk import advance, resume
from hive_daemon.graph.walk_state import (
    Ask,
    Branch,
    Command,
    NodeDone,
    OutcomeKind,
    Run,
    Step,
    Stop,
    WalkState,
)
from hive_daemon.tasks import Scope

MAX_CONFLICTS = 16
"""How often a node runs again because a synchronized key changed under it, before it fails."""

RESURRECTION_PAUSE_SECONDS = 2.0
"""How long it waits before it tries again."""


class SharedValues(Protocol):
    """What an execution shares with others."""

    def ambient(self) -> dict[str, Any]:
        """Return the shared values that it sees."""

    def versions(self) -> dict[str, int] | None:
        """Return the versions of the shared keys, or None when the last write wins."""

    def shares(self, key: str) -> bool:
        """Say whether a write to this key is shared."""

    def leads(self, key: str) -> bool:
        """Say whether the shared value counts even where the execution has set the key itself."""


class NothingShared:
    """An execution that shares nothing."""

    def ambient(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def versions(self) -> dict[str, int] | None:
        """Return None: there is nothing to compare."""
        return None

    def shares(self, key: str) -> bool:
        """Say no."""
        return False

    def leads(self, key: str) -> bool:
        """Say no."""
        return False


@dataclass(frozen=True, slots=True)
class Setting:
    """What one execution runs in. `pause` is set to stop it at the next node boundary."""

    topology: Topology
    journal: Journal
    runner: NodeRunner
    shared: SharedValues
    clock: Clock
    pause: asyncio.Event
    execution_id: str = ""
    session_id: str = ""
    ladder: Ladder = NO_LADDER


class Performer:
    """Performs one walk, from its first step until it stops."""

    def __init__(self, setting: Setting, totals: Totals, path: list[str]) -> None:
        self._setting = setting
        self._topology = setting.topology
        self._journal = setting.journal
        self._runner = setting.runner
        self._scope = Scope(setting.execution_id or "execution")
        self._tasks: dict[int, asyncio.Task[Ended]] = {}
        self._spent: dict[int, float] = {}
        self._conflicts: dict[int, int] = {}
        self._versions: dict[int, Mapping[str, int]] = {}
        self._totals = totals
        self._path = path
        self._step = Step(WalkState(), Memory())

    async def run(self, first: Step) -> ExecutionResult:
        """Perform the walk and return what it came to.

        The last move is durable when this returns. Cancellation stops every node that runs, then propagates.
        """
        self._take(first)
        step = first
        result = self._result_of(first)
        move = Move(None, first, self._totals, result=result)
        if result is not None:
            await self._journal.step(move)
            return result
        self._journal.begin(move)
        try:
            while result is None:
                ended = await self._next(step.commands)
                step, result = await self._advance(ended)
        finally:
            await self._scope.close(None)
        return result

    # --- performing -------------------------------------------------------------------------

    async def _next(self, commands: tuple[Command, ...]) -> Ended:
        """Start what is commanded and return the next thing that ended."""
        starts = [command for command in commands if not isinstance(command, Stop)]
        if len(starts) == 1 and not self._tasks:
            return await self._perform(starts[0], *self._scene(starts[0].branch))
        for command in starts:
            work = self._perform(command, *self._scene(command.branch))
            name = f"branch {command.branch} at {command.node}"
            self._tasks[command.branch] = self._scope.spawn(name, work)
        done, _ = await asyncio.wait(self._tasks.values(), return_when=asyncio.FIRST_COMPLETED)
        branch = next(b.id for b in self._step.state.branches if self._tasks.get(b.id) in done)
        return self._tasks.pop(branch).result()

    def _scene(self, branch_id: int) -> tuple[Branch, Scene]:
        """Return a branch, and the scene that its node is about to run in."""
        state, memory = self._step.state, self._step.memory
        branch = state.branch(branch_id)
        path = PathSoFar(self._path)
        if branch.scope == ROOT:
            return branch, Scene(memory.root, path=path)
        tree = ScopeTree({scope.id: scope for scope in state.scopes}, memory, state.stamp)
        limit = self._topology.graph.parallel_config.branch_timeout_seconds
        left = max(0.0, limit - self._spent.get(branch.id, 0.0))
        return branch, Scene(memory.read(tree.lineage(branch.scope)), seconds=left, path=path)

    async def _perform(self, command: Run | Ask, branch: Branch, scene: Scene) -> Ended:
        """Do what is commanded, on the time of its branch: what it has from a fork or a join to the next."""
        clock = self._setting.clock
        began = clock.monotonic()
        if isinstance(command, Ask):
            with self._journal.busy(command.node):
                ended = await decide_edges(self._topology, command, self._runner.given, scene)
        else:
            if command.delay_seconds:
                await clock.sleep(command.delay_seconds)
                if scene.seconds is not None:
                    left = max(0.0, scene.seconds - (clock.monotonic() - began))
                    scene = replace(scene, seconds=left)
            ended = await self._runner.run(command, self._shared_scene(branch.id, scene))
        if branch.scope != ROOT:
            # A branch whose time is over may still handle that: its handler gets as much time again.
            spent = self._spent.get(branch.id, 0.0) + clock.monotonic() - began
            self._spent[branch.id] = 0.0 if ended.is_overdue else spent
        return ended

    def _shared_scene(self, branch_id: int, scene: Scene) -> Scene:
        """Put into the scene what is shared at this moment, and remember its versions."""
        shared = self._setting.shared
        versions, ambient = shared.versions(), shared.ambient()
        if versions is not None:
            self._versions[branch_id] = versions
        if not ambient:
            return scene
        leading = {key: value for key, value in ambient.items() if shared.leads(key)}
        values = {**scene.values, **leading} if leading else scene.values
        return replace(scene, values=values, ambient=ambient)

    # --- advancing --------------------------------------------------------------------------

    async def _advance(self, ended: Ended) -> tuple[Step, ExecutionResult | None]:
        """Work a report in and make the move durable; a conflict over shared keys runs the node again."""
        before = self._step
        report = ended.report
        self._totals = self._totals.plus(ended.cost)
        hold = self._setting.pause.is_set()
        step = advance(self._topology, before.state, before.memory, report, hold=hold)
        step, reborn = await self._heal(step, hold=hold)
        await self._stop(c.branch for c in step.commands if isinstance(c, Stop))
        known = self._versions.get(report.branch)
        self._take(step)
        result = self._result_of(step)
        node = before.state.branch(report.branch).node
        move = Move(node, step, self._totals, (*ended.facts, *reborn), result=result)
        try:
            await self._journal.step(self._with_shared(move, report, known))
        except StateConflict as conflict:
            self._step = before
            del self._path[len(self._path) - len(step.path) :]
            return await self._after_conflict(report.branch, conflict)
        self._conflicts.pop(report.branch, None)
        return step, result

    def _with_shared(self, move: Move, report: object, known: Mapping[str, int] | None) -> Move:
        """Add what a node shares; `known` are the versions it began with, None if the last write wins."""
        if not isinstance(report, NodeDone) or not report.success:
            return move
        shares = self._setting.shared.shares
        shared = {key: value for key, value in report.writes.items() if shares(key)}
        if not shared:
            return move
        expects = None if known is None else {key: known.get(key, 0) for key in shared}
        return replace(move, shared=shared, expects=expects)

    async def _after_conflict(
        self, branch_id: int, conflict: StateConflict
    ) -> tuple[Step, ExecutionResult | None]:
        """Run the node again, with everything else that the move which did not happen had stopped."""
        branch = self._step.state.branch(branch_id)
        count = self._conflicts[branch_id] = self._conflicts.get(branch_id, 0) + 1
        if count > MAX_CONFLICTS:
            report = NodeDone(
                branch_id, False, error=str(conflict), error_type=conflict.code, is_retryable=False
            )
            return await self._advance(Ended(report))
        keys = tuple(conflict.subject.split(","))
        self._journal.note(StateConflicted(branch.node, keys, count))
        again = resume(self._topology, self._step.state, self._step.memory)
        commands = (c for c in again.commands if c.branch not in self._tasks)
        return replace(self._step, commands=tuple(commands)), None

    async def _heal(self, step: Step, *, hold: bool) -> tuple[Step, tuple[Fact, ...]]:
        """Turn a failure into a further try, while the ladder of the entry point has a rung for it."""
        outcome = step.state.outcome
        if outcome is None or outcome.kind is not OutcomeKind.FAILED:
            return step, ()
        ladder, cause, tries = (
            self._setting.ladder,
            cause_of(outcome.code),
            self._totals.resurrections,
        )
        spec = self._topology.nodes.get(outcome.node or "")
        other = None if spec is None else self._runner.given.without(spec)
        rung = ladder.rung_for(cause, tries, has_fallback=other is not None)
        match rung:
            case None:
                return step, ()
            case Rung.ESCALATE:
                context = f"cause {cause}, after {tries} further tries"
                return step, (EscalationRequested(outcome.node, outcome.error or "", context),)
            case Rung.RESTART_FROM_CHECKPOINT if spec is not None:
                await self._forget(spec.id)
            case Rung.FALLBACK_MODEL if other is not None:
                self._runner = replace(self._runner, given=other, kits={})
        self._totals = self._totals.plus(Totals(resurrections=1))
        fact = ExecutionResurrected(
            outcome.node,
            self._totals.resurrections,
            ladder.most,
            outcome.error or "",
            outcome.node,
            rung=rung,
            cause=cause,
        )
        return self._again(step, hold=hold), (fact,)

    async def _forget(self, node_id: str) -> None:
        """Let a node begin its visit anew, from the checkpoint before it."""
        given, config = self._runner.given, self._topology.graph.loop_config
        prefix = f"{given.record_prefix}{config.get('store_prefix', '')}"
        place = (self._setting.execution_id, node_id)
        records = await begun_anew(place, self._journal, prefix)
        if records:
            await self._journal.record(records=records)

    def _again(self, step: Step, *, hold: bool) -> Step:
        """Return a step that failed, going on behind the failure after a pause."""
        again = resume(self._topology, step.state, step.memory, hold=hold)
        pause = RESURRECTION_PAUSE_SECONDS
        runs = (
            replace(c, delay_seconds=pause) if isinstance(c, Run) else c for c in again.commands
        )
        return replace(
            again,
            commands=(*step.commands, *runs),
            facts=(*step.facts, *again.facts),
            writes=(*step.writes, *again.writes),
            path=(*step.path, *again.path),
        )

    async def _stop(self, branches: Iterable[int]) -> None:
        """Cancel what runs for these branches and wait until it has ended."""
        tasks = [self._tasks.pop(branch) for branch in branches if branch in self._tasks]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # --- what it came to --------------------------------------------------------------------

    def _take(self, step: Step) -> None:
        self._step = step
        self._path.extend(step.path)
        if self._spent or self._versions:
            live = {branch.id for branch in step.state.branches}
            self._spent = {id: spent for id, spent in self._spent.items() if id in live}
            self._versions = {id: known for id, known in self._versions.items() if id in live}

    def _result_of(self, step: Step) -> ExecutionResult | None:
        """Return the result if the walk stopped: at an outcome, or held at a boundary with nothing running."""
        starts = any(not isinstance(command, Stop) for command in step.commands)
        if step.state.outcome is None and (starts or self._tasks):
            return None
        setting = self._setting
        standing = Standing(
            setting.execution_id,
            setting.session_id,
            self._totals,
            tuple(self._path),
            self._topology.graph_hash,
        )
        return to_result(step, standing)
