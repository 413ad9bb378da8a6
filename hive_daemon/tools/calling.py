"""Calling registered tools: on an event loop without blocking it, elsewhere directly."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

from hive_daemon.clock import Clock
from hive_daemon.errors import HiveError, NotFound, Refused
from hive_daemon.interrupts import ENDS_PROCESS, pass_on_of_person
from hive_daemon.llm.values import Tool, ToolResult, ToolUse
from hive_daemon.observability.redaction import redactor
from hive_daemon.tasks import run_in_thread
from hive_daemon.tools.mcp_values import ServerUnavailable
from hive_daemon.tools.on_unknown import OnUnknown
from hive_daemon.tools.outside import is_outside

logger = logging.getLogger(__name__)

ERROR_CHARS = 4_000
"""Characters of a tool's exception that the model is shown."""

_OUTSIDE = (ConnectionError, TimeoutError)
"""Failures that say nothing about the model's choice, a server that is away among them; the caller must be able to
tell them from others."""


class ToolOverdue(HiveError, TimeoutError):
    """The tool gave no result in time."""

    code = "tool_overdue"


@dataclass(frozen=True, slots=True)
class WholeCall:
    """Runs a tool by the whole call, not by its arguments alone: what `tool_executor` of a `tools.py` takes."""

    name: str
    function: Callable[[ToolUse], Any]

    def __call__(self, inputs: Mapping[str, Any]) -> Any:
        """Run it with these arguments."""
        return self.function(ToolUse("", self.name, dict(inputs)))


@dataclass(frozen=True, slots=True)
class RegisteredTool:
    """A tool and what runs it. `executor` takes the arguments; it may be asynchronous.

    `unavailable` says why the tool cannot be called at all; empty if it can. `server` is the MCP server that runs it.
    `is_expected`: nothing runs it yet, a server is expected to. `on_unknown` is what becomes of a call whose result a
    crash took. `takes_turns`: calls that one answer makes of such tools run one after the other, in its order.
    """

    tool: Tool
    executor: Callable[[dict[str, Any]], Any]
    timeout_seconds: float | None = None
    unavailable: str = ""
    on_unknown: OnUnknown = OnUnknown.FAIL
    server: str = ""
    is_expected: bool = False
    takes_turns: bool = False

    @property
    def is_of_servers(self) -> bool:
        """Whether MCP servers have the say over it."""
        return bool(self.server) or self.is_expected

    @property
    def is_async(self) -> bool:
        """Whether a call does nothing before it is awaited."""
        return inspect.iscoroutinefunction(getattr(self.executor, "function", self.executor))

    def begin(self, use: ToolUse) -> Any:
        """Call the executor; what comes back may be awaitable. Raises what it raises."""
        if isinstance(self.executor, WholeCall):
            return self.executor.function(use)
        return self.executor(dict(use.input))


@dataclass(frozen=True, slots=True)
class RegistryExecutor:
    """Runs the tools of a registry: `executor(ToolUse)` comes to a ToolResult.

    On an event loop it answers with an awaitable: plain functions run in a worker thread, with the context variables
    of the caller, each call within its time (`timeout_seconds` of the tool, else of the registry). Elsewhere (in a
    worker thread, in a program without a loop) it runs a plain function there and then and answers with the result.

    What goes wrong is a result with `is_error`; only ConnectionError and TimeoutError are raised, for failures of the
    world outside (`tools.outside`). A thread
    cannot be stopped: a cancelled call is waited for until its time is over. A tool that would end the process, by
    SystemExit or KeyboardInterrupt, fails its call.
    """

    tools: Mapping[str, RegisteredTool]
    timeout_seconds: float
    clock: Clock

    def timeout_of(self, name: str) -> float:
        """Return how many seconds one call of a tool may take."""
        entry = self.tools.get(name)
        return (entry.timeout_seconds if entry else None) or self.timeout_seconds

    def on_unknown_of(self, name: str) -> OnUnknown:
        """Return what becomes of a call that had begun before a crash and has no result."""
        entry = self.tools.get(name)
        return entry.on_unknown if entry else OnUnknown.FAIL

    def takes_turns(self, name: str) -> bool:
        """Say whether calls of a tool wait for earlier ones of the same answer that take turns too."""
        entry = self.tools.get(name)
        return entry is not None and entry.takes_turns

    def __call__(self, use: ToolUse) -> ToolResult | Awaitable[ToolResult]:
        """Run one call."""
        return self._run_in_time(use) if _is_on_loop() else self._run_here(use)

    async def run(self, use: ToolUse) -> ToolResult:
        """Run one call on the event loop. Raises ConnectionError, TimeoutError, ToolOverdue if its time was over."""
        return await _told(use, self._answer(use))

    async def _run_in_time(self, use: ToolUse) -> ToolResult:
        try:
            return await self.run(use)
        except ToolOverdue as error:
            return _failed(use, error)

    def _run_here(self, use: ToolUse) -> ToolResult | Awaitable[ToolResult]:
        try:
            entry = self._entry(use.name)
            if entry.is_async:
                return self._run_in_time(use)
            answer = entry.begin(use)
            return _told(use, answer) if inspect.isawaitable(answer) else result_of(use, answer)
        except _OUTSIDE:
            raise
        except (Exception, *ENDS_PROCESS) as error:
            pass_on_of_person(error)
            logger.info("tool failed", extra={"tool": use.name}, exc_info=True)
            return _judged(use, error)

    def _entry(self, name: str) -> RegisteredTool:
        entry = self.tools.get(name)
        if entry is None:
            known = ", ".join(sorted(self.tools)) or "none"
            raise NotFound(f"there is no tool {name!r}; there are: {known}")
        if entry.unavailable and entry.is_of_servers:
            raise ServerUnavailable(entry.unavailable)
        if entry.unavailable:
            raise Refused(f"{name} is unavailable: {entry.unavailable}")
        return entry

    async def _answer(self, use: ToolUse) -> Any:
        entry = self._entry(use.name)
        limit = self.timeout_of(use.name)
        watch = asyncio.timeout(limit)
        try:
            async with watch:
                return await (
                    entry.begin(use) if entry.is_async else self._in_thread(entry, use, limit)
                )
        except TimeoutError:
            if not watch.expired():
                raise
            text = f"{use.name} gave no result within {limit:g} s; it may still have had its effect"
            raise ToolOverdue(text) from None

    async def _in_thread(self, entry: RegisteredTool, use: ToolUse, limit: float) -> Any:
        began = self.clock.monotonic()
        call = run_in_thread(entry.begin, use)
        try:
            found = await asyncio.shield(call)
        except asyncio.CancelledError:
            left = began + limit - self.clock.monotonic()
            await asyncio.wait([call], timeout=max(0.0, left))
            raise
        return await found if inspect.isawaitable(found) else found


async def _told(use: ToolUse, answer: Awaitable[Any]) -> ToolResult:
    """Await an answer: a part of the first place where every exception is caught."""
    try:
        return result_of(use, await answer)
    except _OUTSIDE:
        raise
    except (Exception, *ENDS_PROCESS) as error:
        pass_on_of_person(error)
        logger.info("tool failed", extra={"tool": use.name}, exc_info=True)
        return _judged(use, error)


def result_of(use: ToolUse, answer: Any) -> ToolResult:
    """Return an answer as the model is shown it: texts and ToolResults as they are, the rest as JSON."""
    match answer:
        case ToolResult():
            return replace(answer, tool_use_id=use.id)
        case str():
            return ToolResult(use.id, answer)
        case BaseModel():
            return ToolResult(use.id, answer.model_dump_json())
    return ToolResult(use.id, json.dumps(answer, ensure_ascii=False, default=str))


def _judged(use: ToolUse, error: BaseException) -> ToolResult:
    """Return a failure as a result. Raises ConnectionError for one of the world outside, whatever its class."""
    if is_outside(error):
        raise ConnectionError(f"{type(error).__name__}: {error}") from error
    return _failed(use, error)


def _failed(use: ToolUse, error: BaseException) -> ToolResult:
    text = redactor().redact_head(str(error), ERROR_CHARS)
    if not isinstance(error, HiveError):
        text = f"{use.name} failed: {type(error).__name__}: {text}"
    return ToolResult(use.id, text, is_error=True)


def _is_on_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
