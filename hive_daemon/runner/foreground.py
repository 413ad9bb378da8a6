"""One run of an agent folder in the foreground, without a daemon: `hive run`.

Guarantees: only what was asked for begins an execution (timers, events and webhooks of the folder stay quiet); the run
ends in bounded time after a signal or its time limit, and where it stood is on stable storage then.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from hive_daemon.control.wire import ExitCode
from hive_daemon.errors import (
    AgentLoadError,
    ConfigError,
    EntryPointNotFound,
    HiveError,
    InvalidInput,
)
from hive_daemon.graph.approvals import Decision
from hive_daemon.graph.executor import ExecutionResult
from hive_daemon.graph.input_policy import OnInput
from hive_daemon.runner.agent_loader import HINT, load_agent
from hive_daemon.runner.deciding import answers_of, open_approvals
from hive_daemon.runner.entry_points import DEFAULT
from hive_daemon.runner.loaded_agent import LoadedAgent
from hive_daemon.runner.resuming import SessionFound, find_session
from hive_daemon.runner.runner import AgentRunner
from hive_daemon.runtime.agent_runtime import AgentRuntime
from hive_daemon.runtime.entry_point import EntryPointSpec, TriggerType
from hive_daemon.runtime.runtime_config import AgentRuntimeConfig
from hive_daemon.status import RETRYABLE, ExecutionStatus
from hive_daemon.storage.values import ExecutionRow
from hive_daemon.tasks import Scope

STOP_SECONDS = 2.0
"""How long a run that is broken off may take to stop what it does."""

_OPEN = (ExecutionStatus.QUEUED, ExecutionStatus.RUNNING)


class Stop(StrEnum):
    """Why a run was broken off; also the reason that its record gives."""

    NONE = ""
    SIGNAL = "interrupted by a signal"
    TIMEOUT = "took longer than --timeout"


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be run, and the directory of its store.

    Empty texts mean the defaults; `resume` names a session by its id, or `latest`; `decisions` are on
    tool calls that it waits for.
    """

    path: str
    input: Mapping[str, Any] = field(default_factory=dict)
    entry_point: str = ""
    model: str = ""
    resume: str = ""
    state_dir: str = ""
    timeout_seconds: float | None = None
    interactive: bool = False
    accepts_changed_graph: bool = False
    decisions: tuple[Decision, ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended: its execution as the store has it (None if there is none), its result, who broke it off.

    `approvals` are the ids of those that it waits for.
    """

    row: ExecutionRow | None = None
    result: ExecutionResult | None = None
    stop: Stop = Stop.NONE
    now: float = 0.0
    approvals: tuple[str, ...] = ()


async def run_once(order: Order) -> Ended:
    """Run a folder once and say how it ended.

    Raises AgentLoadError, EntryPointNotFound, SessionNotFound, Conflict, ConfigError (a missing key), InvalidInput,
    StateLocked and the other errors of the store.
    """
    agent = load_agent(order.path)
    place = _place(order)
    try:
        found = find_session(place, agent.graph.id, order.resume) if order.resume else None
        spec = _entry_point(agent, order, found)
        runner = _runner(agent, order, spec, place)
    except BaseException:
        agent.close()
        raise
    try:
        _check(runner, spec.id)
        return await _ForegroundRun(order, runner, spec.id, found).perform()
    finally:
        await runner.cleanup_async()


def _place(order: Order) -> Path:
    return Path(order.state_dir).expanduser().absolute()


def _entry_point(agent: LoadedAgent, order: Order, found: SessionFound | None) -> EntryPointSpec:
    """Return the entry point to run, as one that nothing but a call begins."""
    wanted = found.stream_id if found is not None else order.entry_point or DEFAULT
    if order.entry_point not in ("", wanted):
        raise InvalidInput(
            f"the session was begun at the entry point {wanted!r}, it cannot go on at {order.entry_point!r}",
            hint="leave --entry-point out",
        )
    for spec in agent.entry_points:
        if spec.id == wanted:
            # Somebody is there to be asked: nothing answers in their place.
            on_input = OnInput.PARK if order.interactive else spec.on_input
            return replace(
                spec, trigger_type=TriggerType.MANUAL, trigger_config={}, on_input=on_input
            )
    known = ", ".join(spec.id for spec in agent.entry_points)
    raise EntryPointNotFound(
        f"{agent.name} has no entry point {wanted!r}", hint=f"it has {known}", subject=wanted
    )


def _runner(agent: LoadedAgent, order: Order, spec: EntryPointSpec, place: Path) -> AgentRunner:
    config = replace(agent.runtime_config or AgentRuntimeConfig(), webhook_routes=[])
    return AgentRunner(
        agent.path,
        agent.graph,
        agent.goal,
        storage_path=place,
        model=order.model or None,
        interactive=order.interactive,
        runtime_config=config,
        agent=replace(agent, entry_points=(spec,), webhook_routes=()),
        source="cli",
    )


def _check(runner: AgentRunner, entry_point_id: str) -> None:
    """Raise what would keep the agent from running, before anything is opened."""
    checked = runner.validate()
    if checked.errors:
        raise AgentLoadError(checked.errors, source=str(runner.agent_path), hint=HINT)
    keyless = runner.missing_keys(entry_point_id)
    if keyless:
        raise ConfigError(
            "; ".join(keyless), hint="or choose another model for the agent with --model"
        )


class _ForegroundRun:
    """A run in progress."""

    def __init__(
        self, order: Order, runner: AgentRunner, entry_point: str, found: SessionFound | None
    ) -> None:
        self._order = order
        self._runner = runner
        self._entry_point = entry_point
        self._found = found
        self._stop = Stop.NONE
        self._scope = Scope("run")

    async def perform(self) -> Ended:
        work = self._scope.spawn("execution", self._attempt())
        with self._signals(work):
            done, _ = await asyncio.wait([work], timeout=self._order.timeout_seconds)
            if not done:
                self._break_off(work, Stop.TIMEOUT)
                await asyncio.wait([work], timeout=STOP_SECONDS)
            came_to = work.result() if work.done() and not work.cancelled() else None
            if isinstance(came_to, HiveError):
                raise came_to
            return await self._ended(came_to or await self._put_away())

    @contextmanager
    def _signals(self, work: asyncio.Task[Any]) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        heard = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        for number in heard:
            loop.add_signal_handler(number, self._break_off, work, Stop.SIGNAL)
        try:
            yield
        finally:
            for number in heard:
                loop.remove_signal_handler(number)

    def _break_off(self, work: asyncio.Task[Any], why: Stop) -> None:
        if self._stop is Stop.SIGNAL:
            # Who asks twice does not want to wait; the store is made for this.
            os._exit(ExitCode.INTERRUPTED)
        self._stop = why
        work.cancel()

    # --- running ----------------------------------------------------------------------------

    async def _attempt(self) -> ExecutionResult | HiveError:
        """Run it; a failure of ours is an answer too, for whoever waits for this task."""
        try:
            return await self._execute()
        except HiveError as error:
            return error

    async def _execute(self) -> ExecutionResult:
        state: dict[str, Any] = {}
        if self._found is not None:
            state = {"resume_session_id": self._found.session_id}
            if not self._goes_on_by_itself and self._found.status in RETRYABLE:
                await self._runner.start()
                kept = await self._runner.runtime.wait_for_completion(self._found.execution_id)
                state = kept.session_state if kept is not None else state
        if self._goes_on_by_itself:
            return await self._taken_up()
        if self._order.accepts_changed_graph:
            state = {**state, "accept_changed_graph": True}
        given = await self._decided() if self._order.decisions else self._order.input
        return await self._runner.run(
            given, session_state=state or None, entry_point_id=self._entry_point
        )

    async def _decided(self) -> Mapping[str, Any]:
        """Return the decisions as the input to go on with."""
        assert self._found is not None
        await self._runner.start()
        return await answers_of(
            self._runner.runtime, self._found.execution_id, self._order.decisions
        )

    @property
    def _goes_on_by_itself(self) -> bool:
        """Whether the start alone takes the session up: it was lost while it ran, or put away by a stop."""
        return self._found is not None and self._found.is_interrupted

    async def _taken_up(self) -> ExecutionResult:
        assert self._found is not None
        if self._order.input or self._order.decisions:
            raise InvalidInput(
                f"{self._found.session_id} was interrupted and goes on where it was, it takes no input now",
                hint="leave --input, --set, --approve and --reject out",
            )
        return await self._runner.run(follows=self._found.execution_id)

    # --- the end ----------------------------------------------------------------------------

    async def _put_away(self) -> ExecutionResult | None:
        """Cancel what runs, so that it stays where it is until somebody resumes it."""
        runtime, name = self._runner.runtime, self._runner.latest_execution_id
        if runtime.opened is None or not name:
            return None
        row = await _load(runtime, name)
        if row.status in _OPEN:
            await runtime.cancel_execution(self._entry_point, name)
        return await runtime.wait_for_completion(name, STOP_SECONDS)

    async def _ended(self, result: ExecutionResult | None) -> Ended:
        runtime, name = self._runner.runtime, self._runner.latest_execution_id
        if runtime.opened is None or not name:
            return Ended(stop=self._stop)
        row = await _load(runtime, name)
        now = runtime.clock.time()
        waits_for = tuple(each.id for each in await open_approvals(runtime, name))
        # Nobody waits for whatever else goes on here, left over from an earlier run.
        await runtime.stop(0.0)
        return Ended(row, result, self._stop, now, waits_for)


async def _load(runtime: AgentRuntime, execution_id: str) -> ExecutionRow:
    return await runtime.running().services.store.executions.load(execution_id)
