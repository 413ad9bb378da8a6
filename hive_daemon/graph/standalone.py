"""Running a graph without a runtime: what `GraphExecutor.execute` does."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hive_daemon.errors import ConfigError, InvalidInput
from hive_daemon.graph.edge import GraphSpec
from hive_daemon.graph.facts import ExecutionPaused, ExecutionResumed
from hive_daemon.graph.goal import Goal
from hive_daemon.graph.journal import LocalJournal, Totals
from hive_daemon.graph.loop_factory import loop_maker
from hive_daemon.graph.node_run import Given, NodeRunner
from hive_daemon.graph.node_set import NodeSet
from hive_daemon.graph.performer import NothingShared, Performer, Setting
from hive_daemon.graph.resumption import first_step
from hive_daemon.graph.topology import Topology
from hive_daemon.graph.validation import errors_of
from hive_daemon.llm.models import Models, OneModel
from hive_daemon.llm.unconfigured import UnconfiguredProvider
from hive_daemon.llm.values import DEFAULT_MAX_TOKENS
from hive_daemon.llm.wish import Wish

if TYPE_CHECKING:
    from hive_daemon.graph.executor import ExecutionResult, GraphExecutor


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be run."""

    graph: GraphSpec
    goal: Goal
    inputs: Mapping[str, Any]
    session_state: Mapping[str, Any]


async def run_standalone(executor: GraphExecutor, task: Task) -> ExecutionResult:
    """Run the graph; what is wrong with it, or missing for it, is a failed result.

    Raises InvalidInput for a session state that cannot be read.
    """
    from hive_daemon.graph.executor import ExecutionResult

    models = _models(executor, task.graph)
    try:
        problem = _problem(executor, task.graph, models)
        if problem:
            return ExecutionResult(
                False, error=problem, execution_quality="failed", status="failed"
            )
        return await _run(executor, task, models)
    finally:
        executor.pause.clear()
        await models.aclose()


async def _run(executor: GraphExecutor, task: Task, models: Models) -> ExecutionResult:
    journal = _journal(executor, task)
    topology = Topology.compile(task.graph, executor.node_registry)
    first = first_step(topology, task.inputs, task.session_state)
    performer = _performer(executor, task, models, topology, journal)
    runtime = executor.runtime
    await _call(runtime, "start_run", task.goal.id, task.goal.description, dict(task.inputs))
    try:
        if task.session_state.get("walk") is not None:
            journal.note(ExecutionResumed(None))
        result = await performer.run(first)
        await _tell_end(journal, result)
    except BaseException as error:
        await _call(runtime, "end_run", success=False, narrative=f"{type(error).__name__}: {error}")
        raise
    if not result.success:
        await _call(runtime, "report_problem", severity="critical", description=result.error or "")
    await _call(runtime, "end_run", success=result.success, narrative=result.error or "")
    return result


def _llm(executor: GraphExecutor) -> Any:
    return executor.llm if executor.llm is not None else UnconfiguredProvider()


def _models(executor: GraphExecutor, graph: GraphSpec) -> Models:
    """Return the models for nodes that name one, those beside the program's own."""
    if all(node.model is None for node in graph.nodes):
        return OneModel()
    from hive_daemon.llm import models_beside

    return models_beside(_llm(executor))


def _problem(executor: GraphExecutor, graph: GraphSpec, models: Models) -> str:
    errors = errors_of(graph, executor.node_registry)
    if errors:
        return f"Invalid graph: {'; '.join(errors)}"
    offered = {tool.name for tool in executor.tools}
    missing = sorted({name for node in graph.nodes for name in node.tools} - offered)
    if missing:
        return f"Missing tools: {', '.join(missing)}"
    try:
        for node in graph.nodes:
            models.named(Wish(node.model), _llm(executor))
    except ConfigError as error:
        return str(error)
    return ""


def _journal(executor: GraphExecutor, task: Task) -> LocalJournal:
    """Return a journal that knows what nodes had kept when the execution was put away."""
    kept = task.session_state.get("records") or {}
    try:
        records = {str(key): str(record).encode() for key, record in kept.items()}
    except AttributeError as error:
        raise InvalidInput("session_state.records must be an object") from error
    return LocalJournal(
        executor.event_bus, executor.stream_id, executor.execution_id, records=records
    )


async def _tell_end(journal: LocalJournal, result: ExecutionResult) -> None:
    """Tell of an execution that was put away, and keep with it what its nodes go on from."""
    if result.paused_at is None:
        return
    records = await journal.recall("")
    if records:
        result.session_state["records"] = {key: rec.decode() for key, rec in records.items()}
    await journal.record(ExecutionPaused(result.paused_at, result.status, result.status))


def _performer(
    executor: GraphExecutor, task: Task, models: Models, topology: Topology, journal: LocalJournal
) -> Performer:
    pause = executor.pause
    given = Given(
        goal=task.goal,
        llm=_llm(executor),
        models=models,
        tools={tool.name: tool for tool in executor.tools},
        tool_executor=executor.tool_executor,
        runtime=executor.runtime,
        execution_id=executor.execution_id,
        stream_id=executor.stream_id,
        accounts_prompt=executor.accounts_prompt,
        data_dir=executor.data_dir,
        max_tokens=task.graph.max_tokens or DEFAULT_MAX_TOKENS,
    )
    clock = executor.clock
    nodes = NodeSet(executor.node_registry, loop_maker(task.graph, clock), clock)
    runner = NodeRunner(topology, nodes, journal, given, clock, pause)
    setting = Setting(
        topology,
        journal,
        runner,
        NothingShared(),
        clock,
        pause,
        execution_id=executor.execution_id,
    )
    path = [str(node) for node in task.session_state.get("execution_path") or ()]
    return Performer(setting, Totals(), path if _goes_on(task.session_state) else [])


def _goes_on(session_state: Mapping[str, Any]) -> bool:
    """Say whether an execution goes on rather than beginning anew with what another had left in memory."""
    return any(session_state.get(key) for key in ("walk", "paused_at", "resume_from"))


async def _call(runtime: Any, name: str, *args: Any, **kwargs: Any) -> None:
    """Tell the program's runtime object, if it wants to know."""
    method = getattr(runtime, name, None)
    if method is None:
        return
    outcome = method(*args, **kwargs)
    if inspect.isawaitable(outcome):
        await outcome
