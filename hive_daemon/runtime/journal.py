"""The journal of one execution: one fact, three readers, in order.

A move of the walk, or a fact of a node, becomes durable as one fenced commit; the hub then logs and publishes it.
Events that set off other entry points are matched here, so that their executions are part of the same commit. When the
store cannot be written for a while, the journal waits and tries again: the execution stands still, nothing is lost.

The first move is sent once its node gives up the event loop. A node that is done before that has both moves in one
commit.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from hive_daemon.errors import Fenced, HiveError, InvalidInput
from hive_daemon.graph.executor import ExecutionResult
from hive_daemon.graph.facts import Fact
from hive_daemon.graph.journal import Move, Totals
from hive_daemon.graph.memory import Memory
from hive_daemon.graph.outcome import Standing, to_result
from hive_daemon.graph.walk_state import Step, WalkState
from hive_daemon.pulse import beat, resting
from hive_daemon.runtime.drafting import Desk, Drafter, Spawner, checked
from hive_daemon.runtime.encoding import clean, dumps, settled, show
from hive_daemon.runtime.endings import (
    Verdict,
    broken_off,
    last_fact,
    overrules,
    stored_result,
    verdict_on,
)
from hive_daemon.runtime.execution import Execution
from hive_daemon.runtime.patches import PatchBook, Restored, waiting_at
from hive_daemon.runtime.pen import Answers, Pen
from hive_daemon.runtime.resume_state import meant_for
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.values import Checkpoint, Ending, StateWrite, StepCommit
from hive_daemon.storage.waiting import described

__all__ = ["Desk", "ExecutionJournal", "Spawner"]

logger = logging.getLogger(__name__)

_NO_RECORDS: Mapping[str, bytes | None] = {}


@dataclass(frozen=True, slots=True)
class _Mark:
    """Where a journal stood before a commit that may be refused."""

    seq: int
    noted: tuple[Fact, ...]
    taken: tuple[int, ...]
    held: Move | None
    book: tuple[int, int, int]
    totals: Totals
    step: Step | None
    result: ExecutionResult | None


class ExecutionJournal:
    """Writes what one execution does. One writer: the execution's own task and its nodes."""

    def __init__(self, desk: Desk, execution: Execution) -> None:
        self._desk = desk
        self._execution = execution
        self._claim = execution.claim
        self._drafter = Drafter(desk, execution.claim)
        self._pen = Pen(desk.store.executions, desk.clock, execution, self._durable)
        self._book = PatchBook([])
        self._totals = Totals()
        self._seq = execution.claim.seq
        self._noted: list[Fact] = []
        self._taken: tuple[int, ...] = ()
        self._held: Move | None = None
        self._held_at = 0.0
        self._mark: _Mark | None = None
        self._turn = asyncio.Lock()

    # --- what nodes use ---------------------------------------------------------------------

    def admit(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return values as they will be read back later. Raises TypeError for what cannot be kept."""
        return settled(values, "the output key")

    def note(self, *facts: Fact) -> None:
        """Add facts to the next commit. Raises InvalidInput for one that no event type exists for."""
        self._noted.extend(checked(facts))
        beat()

    async def record(self, *facts: Fact, records: Mapping[str, bytes | None] | None = None) -> None:
        """Make facts and session records durable now."""
        self._execution.active()
        checked(facts)
        with resting():
            async with self._turn:
                await self._settle()
                await self._write(facts, records=records or _NO_RECORDS)

    def show(self, fact: Fact) -> None:
        """Show a live fact to whoever watches."""
        self._execution.active()
        beat()
        if self.is_watched:
            self._desk.hub.show(self._drafter.event(fact, fact.data(), self._desk.clock.time()))

    @property
    def is_watched(self) -> bool:
        """Whether anybody watches live facts of this execution."""
        return self._desk.hub.is_watched(self._claim.agent, self._claim.session_id)

    async def recall(self, prefix: str) -> dict[str, bytes]:
        """Return the session records whose key begins with `prefix`."""
        return await self._desk.store.sessions.records(self._claim.session_id, prefix)

    def busy(self, node_id: str) -> AbstractContextManager[None]:
        """Mark a stretch in which the execution is at work at a node."""
        return self._execution.busy(node_id)

    def take_injected(self, node_id: str) -> list[str]:
        """Return what was said to a node since it asked last; its next record makes that durable."""
        inbox = self._execution.inbox
        mine = [item for item in inbox if item.node_id in ("", node_id)]
        for item in mine:
            inbox.remove(item)
        self._taken = (*self._taken, *(item.id for item in mine))
        return [item.content for item in mine]

    # --- what the performer uses ------------------------------------------------------------

    def go_on(self, kept: Restored) -> None:
        """Write on from where an earlier process, or an earlier claim, left off; in its graph until `open`."""
        self._book = kept.book(kept.graph_hash)
        self._totals = kept.totals
        self._execution.step = Step(kept.state, kept.memory)

    def open(self, book: PatchBook, answered: Sequence[int]) -> None:
        """Write on in `book`; the inbox items in `answered` are used up by the first move."""
        self._book = book
        self._taken = tuple(answered)

    def begin(self, move: Move) -> None:
        """Take the first move; it is durable together with, or before, anything that follows."""
        self._held, self._held_at = move, self._desk.clock.time()
        self._execution.step = move.step
        asyncio.get_running_loop().call_soon(self._send_held)

    def _send_held(self) -> None:
        """Send the first move by itself: its node takes its time."""
        if self._held is None or self._turn.locked() or self._execution.is_abandoned:
            return
        mark = self._here()
        try:
            step = self._draft()
        except InvalidInput:
            # It is refused again with the next move, where somebody hears of it.
            return
        self._mark = mark
        self._pen.send(step)

    async def step(self, move: Move) -> None:
        """Make a move durable. Raises StateConflict if a shared key has another version than expected."""
        self._execution.active()
        async with self._turn:
            await self._settle()
            await self._write((*move.facts, *move.step.facts), move=move)
        self._execution.step = move.step

    async def remark(self, fact: Fact) -> None:
        """Make a fact about the execution durable, which is no more active for it; once it ends, none is."""
        checked((fact,))
        async with self._turn:
            if not self._execution.is_ending and self._execution.result is None:
                await self._settle()
                await self._write((fact,))

    async def close(self, verdict: Verdict) -> None:
        """End the execution from outside its walk, unless it turns out to have ended by itself."""
        self._execution.is_ending = True
        async with self._turn:
            try:
                await self._settle()
                if self._execution.result is None:
                    await self._write((verdict.fact,), broken=await self._broken_off(verdict))
            except Fenced:
                raise
            except HiveError as error:
                logger.warning("what was to be written last is refused", extra={"why": str(error)})
                self._held, self._noted, self._taken = None, [], ()
                await self._write((verdict.fact,), broken=await self._broken_off(verdict))

    # --- writing ----------------------------------------------------------------------------

    async def _settle(self) -> None:
        """Wait for what was sent before; what is refused did not happen. Raises what it was refused with."""
        if self._pen.is_settled:
            return
        try:
            await self._pen.settle()
        except HiveError:
            if self._mark is not None:
                self._back_to(self._mark)
            raise

    async def _write(
        self,
        facts: Sequence[Fact],
        *,
        records: Mapping[str, bytes | None] = _NO_RECORDS,
        move: Move | None = None,
        broken: ExecutionResult | None = None,
    ) -> None:
        """Make facts durable, with a move or an end; if the store refuses, nothing happened."""
        mark = self._here()
        step = self._draft(facts, records, move, broken)
        self._mark = mark
        try:
            await self._pen.write(step)
        except HiveError:
            self._back_to(mark)
            raise

    def _here(self) -> _Mark:
        return _Mark(
            self._seq,
            tuple(self._noted),
            self._taken,
            self._held,
            self._book.mark(),
            self._totals,
            self._execution.step,
            self._execution.result,
        )

    def _back_to(self, mark: _Mark) -> None:
        self._seq, self._taken, self._held = mark.seq, mark.taken, mark.held
        self._noted = [*mark.noted]
        self._totals = mark.totals
        self._book.back_to(mark.book)
        self._execution.step, self._execution.result = mark.step, mark.result

    def _durable(self, step: StepCommit, answers: Answers) -> None:
        """Tell of what a commit changed beside this execution."""
        if step.state:
            claim = self._claim
            self._desk.shared.committed(step.state, claim.execution_id, claim.stream_id)
        if step.spawn:
            self._desk.spawner.spawned(step.spawn, answers)
        if step.cancels:
            self._desk.spawner.cancelled(step.cancels)

    # --- drafting ---------------------------------------------------------------------------

    def _draft(
        self,
        facts: Sequence[Fact] = (),
        records: Mapping[str, bytes | None] = _NO_RECORDS,
        move: Move | None = None,
        broken: ExecutionResult | None = None,
    ) -> StepCommit:
        """Number the next commit and put everything into it that waits for one.

        Raises InvalidInput for memory that cannot be kept; everything waits on then.
        """
        held, latest = self._held, move or self._held
        result, last, asks = self._end_of(move, broken)
        groups: list[tuple[float, Sequence[Fact]]] = []
        if held is not None:
            groups.append((self._held_at, (*held.facts, *held.step.facts)))
        groups.append((self._desk.clock.time(), (*self._noted, *facts, *last)))
        values = self._execution.values if move is None else move.step.memory.root
        told = self._drafter.tell(groups, values)
        ending = None if result is None else _ending_of(result, asks)
        step = StepCommit(
            seq=self._seq + 1,
            node_id=self._place_of(move, broken),
            checkpoint=None if latest is None else self._checkpoint(latest, held),
            events=told.events,
            records=records,
            state=() if move is None else self._shared(move),
            spawn=told.spawned,
            cancels=told.cancels,
            taken=self._taken,
            ending=ending,
            steps=None if latest is None else latest.step.state.steps,
            keep=self._keep(ending),
        )
        self._seq, self._held, self._taken = step.seq, None, ()
        self._noted.clear()
        if latest is not None:
            self._totals = latest.totals
        if result is not None:
            self._execution.result = result
        return step

    def _place_of(self, move: Move | None, broken: ExecutionResult | None) -> str | None:
        """Return the node that a commit is about: that of its move, or the one at work where the walk is broken off."""
        if move is not None:
            return move.node_id
        nodes = self._execution.nodes if broken is not None else ()
        return nodes[0] if nodes else None

    def _checkpoint(self, latest: Move, held: Move | None) -> Checkpoint:
        mark = self._book.mark()
        try:
            return self._book.checkpoint(latest, None if held is latest else held)
        except TypeError as error:
            self._book.back_to(mark)
            raise InvalidInput(f"the memory cannot be kept as JSON: {error}") from error

    def _shared(self, move: Move) -> tuple[StateWrite, ...]:
        scope = self._desk.shared.scope_name("")
        expects = move.expects
        return tuple(
            StateWrite(scope, key, dumps(value), None if expects is None else expects[key])
            for key, value in move.shared.items()
        )

    def _end_of(
        self, move: Move | None, broken: ExecutionResult | None
    ) -> tuple[ExecutionResult | None, tuple[Fact, ...], bytes | None]:
        """Return the result that ends the execution here, what is told of it, and what it waits for."""
        if move is None or move.result is None:
            return broken, (), None
        result, reason = move.result, self._execution.stop_reason
        if overrules(reason, result, is_held=move.step.state.outcome is None):
            verdict = verdict_on(reason, self._execution.stop_text)
            return broken_off(result, verdict), (verdict.fact,), None
        waiting = described(waiting_at(move.step.state))
        asks = show(waiting) if waiting and ExecutionStatus(result.status).is_parked else None
        return result, (last_fact(result, self._execution.stop_text),), asks

    def _keep(self, ending: Ending | None) -> int | None:
        most = self._desk.keep_checkpoints
        if ending is None or not ending.status.is_terminal or self._seq < most:
            return None
        return most

    async def _broken_off(self, verdict: Verdict) -> ExecutionResult:
        """Return the result of an execution that is ended where it stands; one without a step may still begin."""
        claim, path, step = self._claim, tuple(self._book.path), self._execution.step
        standing = Standing(
            claim.execution_id, claim.session_id, self._totals, path, self._book.graph_hash
        )
        result = broken_off(to_result(step or Step(WalkState(), Memory()), standing), verdict)
        if step is not None:
            return result
        left = await meant_for(self._desk.store, claim)
        return replace(result, session_state=left.whole | standing.names)


def _ending_of(result: ExecutionResult, waiting: bytes | None = None) -> Ending:
    return Ending(
        status=ExecutionStatus(result.status),
        result=stored_result(result),
        error=None if result.error is None else clean(result.error),
        error_code=clean(result.error_code),
        waiting=waiting,
    )
