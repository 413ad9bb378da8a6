"""One attempt of one node: running it within its limits, and judging what it answered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from hive_daemon.clock import Clock
from hive_daemon.errors import ConfigError, HiveError
from hive_daemon.graph.constraints import ConstraintViolated, check, told_of
from hive_daemon.graph.facts import ConstraintViolation, Fact, NodeCompleted
from hive_daemon.graph.input_policy import INPUT_NEEDED, Answer, Refuse
from hive_daemon.graph.journal import Journal, Totals
from hive_daemon.graph.node import (
    NodeContext,
    NodeResult,
    NodeSpec,
    NodeStats,
    Waiting,
    missing_inputs,
)
from hive_daemon.graph.node_context import Given, Kit, PathSoFar, Scene
from hive_daemon.graph.node_set import NodeSet
from hive_daemon.graph.topology import Topology
from hive_daemon.graph.walk_state import NodeDone, NodeWaits, OutcomeKind, Report, Run
from hive_daemon.ids import span_id_of
from hive_daemon.interrupts import ENDS_PROCESS, pass_on_of_person
from hive_daemon.observability.redaction import redactor
from hive_daemon.observability.trace_context import reset_trace_context, set_trace_context
from hive_daemon.pulse import cuttable
from hive_daemon.tasks import to_thread
from hive_daemon.tools.context import reset_execution_context, set_execution_context

__all__ = ["BRANCH_TIMEOUT", "Ended", "Given", "NodeRunner", "PathSoFar", "Scene"]

logger = logging.getLogger(__name__)

ERROR_LIMIT = 4_000
"""Characters of an error's text that are kept."""

BRANCH_TIMEOUT = "branch_timeout"
"""The code of a failure because the time of the branch was over; another attempt would have no time either."""


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command came to: the report to the walk, and what goes into the same commit.

    `is_overdue`: the time of its branch was over.
    """

    report: Report
    facts: tuple[Fact, ...] = ()
    cost: Totals = field(default_factory=Totals)
    is_overdue: bool = False


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What an attempt came to, before it is told; `undeclared` are outputs that memory does not keep."""

    result: NodeResult
    report: NodeDone | NodeWaits
    undeclared: tuple[str, ...] = ()
    facts: tuple[Fact, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeRunner:
    """Runs nodes of one execution."""

    topology: Topology
    nodes: NodeSet
    journal: Journal
    given: Given
    clock: Clock
    pause: asyncio.Event
    kits: dict[str, Kit] = field(default_factory=dict, repr=False)

    async def run(self, command: Run, scene: Scene) -> Ended:
        """Run one attempt of a node. Nothing but cancellation is raised: a failure is a report."""
        spec = self.topology.nodes[command.node]
        began = self.clock.monotonic()
        span_id = span_id_of(self.given.execution_id, spec.id, command.visit, command.attempt)
        trace = set_trace_context(node_id=spec.id, span_id=span_id)
        known = set_execution_context(**self._told_to_tools(spec.id))
        try:
            with self.journal.busy(spec.id):
                verdict = await self._attempt(spec, command, scene, began)
        finally:
            reset_execution_context(known)
            reset_trace_context(trace)
        took = self.clock.monotonic() - began
        stats = verdict.result.stats or NodeStats(input_tokens=verdict.result.tokens_used)
        cost = Totals(
            input_tokens=stats.input_tokens,
            cached_tokens=stats.cached_tokens,
            output_tokens=stats.output_tokens,
            reasoning_tokens=stats.reasoning_tokens,
            cost_usd=stats.cost,
            latency_seconds=took,
            llm_calls=stats.llm_call_count,
            tool_calls=stats.tool_call_count,
        )
        report = verdict.report
        if isinstance(report, NodeWaits):
            return Ended(replace(report, cost=cost), cost=cost)
        whole = cost if command.earlier is None else command.earlier.plus(cost)
        fact = _completed(spec, command, report, stats, whole)
        fact = replace(fact, span_id=span_id, undeclared_outputs=verdict.undeclared)
        return Ended(report, (*verdict.facts, fact), cost, report.error_type == BRANCH_TIMEOUT)

    def _told_to_tools(self, node_id: str) -> dict[str, str]:
        """Return what the tools of a node may know without asking the model; empty when nobody knows it."""
        given = self.given
        told = {
            "data_dir": given.data_dir,
            "session_id": given.session_id,
            "execution_id": given.execution_id,
            "stream_id": given.stream_id,
            "node_id": node_id,
        }
        return {key: value for key, value in told.items() if value}

    def _kit(self, node_id: str) -> Kit:
        kit = self.kits.get(node_id)
        if kit is None:
            kit = Kit.of(self.topology, node_id, self.given, self.journal, self.pause)
            self.kits[node_id] = kit
        return kit

    async def _attempt(self, spec: NodeSpec, command: Run, scene: Scene, began: float) -> _Verdict:
        """Run the node and judge it: one of the five places where every exception is caught."""
        limit = _shorter(spec.timeout_seconds, scene.seconds)
        deadline = None if limit is None else began + limit
        watch = asyncio.timeout(limit)
        silence = _Silence(watch)
        try:
            kit = self._kit(spec.id)
            if kit.is_given_much(scene):
                # What is committed does not change, so it can be copied while others go on.
                ctx = await to_thread(kit.context, command, scene, deadline)
            else:
                ctx = kit.context(command, scene, deadline)
            missing = missing_inputs(ctx)
            if missing:
                logger.debug("node begins without some inputs", extra={"missing": missing})
            node = self.nodes.node_for(spec)
            async with watch:
                with cuttable(silence.cut) if self.given.heals_stalls else nullcontext():
                    result = await node.execute(ctx)
            return self._judge(ctx, command, scene, result)
        except TimeoutError as error:
            if silence.is_cut:
                return _silent(command)
            if not watch.expired():
                return _refused(command, error)
            return _out_of_time(command, spec, scene, limit or 0.0)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Nobody cancelled this execution: the node awaited something that somebody else had cancelled.
            return _refused(command, error)
        except (Exception, *ENDS_PROCESS) as error:
            pass_on_of_person(error)
            logger.info("node failed", exc_info=True)
            return _refused(command, error)

    def _judge(self, ctx: NodeContext, command: Run, scene: Scene, result: NodeResult) -> _Verdict:
        """Say whether the answer is acceptable, and which part of it memory keeps."""
        if not isinstance(result, NodeResult):
            raise TypeError(f"a node answers with a NodeResult, not with {type(result).__name__}")
        if result.waiting is not None:
            return self._asked(command, result, result.waiting)
        if not result.success:
            return _failed(command, result)
        memory = ctx.memory
        output = {**memory.written, **result.output} if memory.written else dict(result.output)
        writes = {key: value for key, value in output.items() if memory.may_write(key)}
        undeclared = tuple(key for key in output if key not in writes)
        problem = _problem(ctx.node_spec, writes)
        if problem is not None:
            bad = replace(result, success=False, error=problem, error_type="bad_output")
            return _failed(command, bad, undeclared)
        try:
            writes = self.journal.admit(writes)
        except TypeError as error:
            bad = replace(
                result, success=False, error=str(error), error_type="bad_output", retryable=False
            )
            return _failed(command, bad, undeclared)
        facts, violated = self._check(ctx, scene, writes)
        if violated:
            code = ConstraintViolated.code
            bad = replace(result, success=False, error=violated, error_type=code, retryable=False)
            return replace(_failed(command, bad, undeclared), facts=facts)
        output.update(writes)
        ambient = {
            key: scene.values.get(key, value)
            for key, value in scene.ambient.items()
            if key not in writes
        }
        report = NodeDone(
            command.branch, True, output, writes, next_node=result.next_node, ambient=ambient
        )
        return _Verdict(result, report, undeclared, facts)

    def _check(
        self, ctx: NodeContext, scene: Scene, writes: Mapping[str, Any]
    ) -> tuple[tuple[Fact, ...], str]:
        """Look at the goal's constraints; return what to tell, and what hard ones are broken."""
        found = check(self.given.goal, writes, {**scene.ambient, **scene.values, **writes})
        for fault in found.faults:
            logger.warning(
                "a constraint could not be evaluated", extra={"node": ctx.node_id, "error": fault}
            )
        facts = tuple(
            ConstraintViolation(ctx.node_id, each.id, each.description) for each in found.broken
        )
        return facts, told_of(found.broken)

    def _asked(self, command: Run, result: NodeResult, asks: Waiting) -> _Verdict:
        """Say what becomes of a question; one about an approval always waits."""
        kind = OutcomeKind(asks.kind)
        waits = NodeWaits(command.branch, kind, asks.question, tuple(asks.options))
        if kind is not OutcomeKind.WAITING_INPUT:
            return _Verdict(result, waits)
        match self.given.on_question.decide(command.node, asks.question, command.answers):
            case Answer(text):
                return _Verdict(result, replace(waits, answer=text))
            case Refuse(reason):
                failed = replace(
                    result, success=False, error=reason, error_type=INPUT_NEEDED, retryable=False
                )
                return _failed(command, failed)
        return _Verdict(result, waits)


def _failed(command: Run, result: NodeResult, undeclared: tuple[str, ...] = ()) -> _Verdict:
    report = NodeDone(
        command.branch,
        False,
        error=_cut(result.error or "the node failed"),
        error_type=result.error_type or "node_failed",
        is_retryable=result.retryable,
        is_final=result.error_type == ConstraintViolated.code,
    )
    return _Verdict(result, report, undeclared)


def _refused(command: Run, error: BaseException) -> _Verdict:
    """Turn what a node raised into its answer."""
    kind = error.code if isinstance(error, HiveError) else type(error).__name__
    text = str(error) if isinstance(error, HiveError) else f"{type(error).__name__}: {error}"
    mends = not isinstance(error, ConfigError)
    return _failed(command, NodeResult(False, error=text, error_type=kind, retryable=mends))


@dataclass(slots=True)
class _Silence:
    """Ends an attempt that gives no sign of life, by its time limit."""

    watch: asyncio.Timeout
    is_cut: bool = False

    def cut(self) -> None:
        """End it at once."""
        if not self.watch.expired():
            self.is_cut = True
            self.watch.reschedule(asyncio.get_running_loop().time())


def _silent(command: Run) -> _Verdict:
    error = "the node gave no sign of life for too long"
    return _failed(command, NodeResult(False, error=error, error_type="stalled", retryable=False))


def _out_of_time(command: Run, spec: NodeSpec, scene: Scene, limit: float) -> _Verdict:
    if spec.timeout_seconds is not None and limit >= spec.timeout_seconds:
        error = f"the node took longer than {limit:g} s"
        return _failed(command, NodeResult(False, error=error, error_type="timeout"))
    error = "the branch took longer than parallel_config.branch_timeout_seconds"
    late = NodeResult(False, error=error, error_type=BRANCH_TIMEOUT, retryable=False)
    return _failed(command, late)


def _problem(spec: NodeSpec, writes: Mapping[str, Any]) -> str | None:
    """Say what is wrong with a node's output: a required key without a value, or one that its model refuses."""
    empty = [key for key in spec.required_output_keys if _is_empty(writes.get(key))]
    if empty:
        return f"the node succeeded without setting its output: {', '.join(empty)}"
    if spec.output_model is not None:
        try:
            spec.output_model.model_validate(dict(writes))
        except ValidationError as error:
            return f"the output does not fit {spec.output_model.__name__}: {error}"
    return None


def _is_empty(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value)


def _shorter(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def _cut(text: str) -> str:
    return redactor().redact_head(text, ERROR_LIMIT)


def _completed(
    spec: NodeSpec,
    command: Run,
    report: NodeDone,
    stats: NodeStats,
    whole: Totals,
) -> NodeCompleted:
    """Return the L2 log of a visit that ended; `whole` is what all its runs cost."""
    status = "success" if report.success else "failure"
    return NodeCompleted(
        node_id=spec.id,
        node_name=spec.label,
        node_type=spec.node_type,
        success=report.success,
        result=status,
        error=report.error,
        visit=command.visit,
        attempt=command.attempt,
        duration_seconds=round(whole.latency_seconds, 6),
        iterations=stats.iterations,
        llm_call_count=whole.llm_calls,
        tool_call_count=whole.tool_calls,
        input_tokens=whole.input_tokens,
        cached_tokens=whole.cached_tokens,
        output_tokens=whole.output_tokens,
        reasoning_tokens=whole.reasoning_tokens,
        cost_usd=whole.cost_usd,
        accept_count=stats.accept_count,
        retry_count=stats.retry_count,
        escalate_count=stats.escalate_count,
        continue_count=stats.continue_count,
        exit_status=stats.exit_status or status,
        model=stats.model,
    )
