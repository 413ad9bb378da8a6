"""Running the tools that a model calls: side by side, each within its time, whatever they do.

A call always comes to an `Outcome`; what goes wrong is one too, in words that the model can use. Sync tools run in
worker threads. A thread cannot be stopped: when the run is cancelled, its call is waited for until its time is over.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from hive_daemon.clock import Clock
from hive_daemon.errors import HiveError
from hive_daemon.graph.conversation import clean_text
from hive_daemon.graph.framework_tools import unusable
from hive_daemon.ids import span_id_of
from hive_daemon.interrupts import ENDS_PROCESS, pass_on_of_person
from hive_daemon.llm.openai_shapes import RAW_KEY
from hive_daemon.llm.purse import purse
from hive_daemon.llm.values import Tool, ToolExecutor, ToolResult, ToolUse
from hive_daemon.observability.redaction import redactor
from hive_daemon.observability.trace_context import get_trace_context, set_trace_context
from hive_daemon.pulse import resting
from hive_daemon.tasks import run_all, run_in_thread, to_thread
from hive_daemon.tools.calling import ToolOverdue
from hive_daemon.tools.context import idempotency_key
from hive_daemon.tools.data_files import DataFiles
from hive_daemon.tools.on_unknown import OnUnknown
from hive_daemon.tools.outside import is_outside

logger = logging.getLogger(__name__)

ERROR_CHARS = 4_000
"""Characters of a tool's exception that the model is shown."""


@runtime_checkable
class KnowingExecutor(Protocol):
    """An executor that knows its tools, such as that of a ToolRegistry: it keeps their times itself."""

    async def run(self, use: ToolUse) -> ToolResult:
        """Run one call on the event loop. Raises ConnectionError, TimeoutError."""

    def timeout_of(self, name: str) -> float:
        """Return how many seconds one call of a tool may take."""

    def on_unknown_of(self, name: str) -> OnUnknown:
        """Return what becomes of a call that had begun before a crash and has no result."""

    def takes_turns(self, name: str) -> bool:
        """Say whether calls of a tool wait for earlier ones of the same answer that take turns too."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call came to. `is_outside`: it failed for a reason that says nothing about the model's choice."""

    use: ToolUse
    content: str
    is_error: bool = False
    is_outside: bool = False
    is_unusable: bool = False
    duration_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class ToolBench:
    """The tools that one node may call."""

    tools: Sequence[Tool]
    executor: ToolExecutor | None
    clock: Clock
    timeout_seconds: float
    result_chars: int
    spill_dir: Path | None = None
    framework: frozenset[str] = field(default=frozenset())

    def refusal(self, use: ToolUse) -> Outcome | None:
        """Return what a call that cannot be made comes to; None if it can."""
        if RAW_KEY in use.input and len(use.input) == 1:
            refused = unusable(use)
            return Outcome(use, refused.content, is_error=True, is_unusable=True)
        names = [tool.name for tool in self.tools]
        if use.name not in names:
            known = [*names, *sorted(self.framework)]
            near = get_close_matches(use.name, known, n=1)
            advice = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(known)}."
            text = f"There is no tool {use.name!r} in this step. {advice}"
            return Outcome(use, text, is_error=True, is_unusable=True)
        if self.executor is None:
            text = f"{use.name} cannot be called: this run has nothing that runs tools."
            return Outcome(use, text, is_error=True, is_outside=True)
        return None

    def on_unknown(self, name: str) -> OnUnknown:
        """Return what becomes of a call of a tool that had begun and whose result nobody knows."""
        executor: object = self.executor
        if isinstance(executor, KnowingExecutor):
            return executor.on_unknown_of(name)
        return OnUnknown.FAIL

    def _limit(self, name: str) -> float:
        """Return the time of one call: what the node allows, or more where the tool itself says so."""
        executor: object = self.executor
        if isinstance(executor, KnowingExecutor):
            return max(self.timeout_seconds, executor.timeout_of(name))
        return self.timeout_seconds

    async def run(self, calls: Mapping[str, ToolUse], done: dict[str, Outcome]) -> None:
        """Run calls side by side, `{idempotency key: call}`; put each outcome into `done`, by call id, as it comes.

        Those of tools that take turns run one after the other, in the order given. When cancelled, what was not done by
        then is missing in `done`.
        """
        # The lock is fair, and the tasks begin in the order of their calls.
        turns, at_once = asyncio.Lock(), nullcontext()
        works = [
            self._into(done, key, use, turns if self._takes_turns(use.name) else at_once)
            for key, use in calls.items()
        ]
        await run_all("tool", works)

    def _takes_turns(self, name: str) -> bool:
        executor: object = self.executor
        return isinstance(executor, KnowingExecutor) and executor.takes_turns(name)

    async def _into(
        self,
        done: dict[str, Outcome],
        key: str,
        use: ToolUse,
        turn: AbstractAsyncContextManager[None],
    ) -> None:
        async with turn:
            done[use.id] = await self._made(key, use)

    async def _made(self, key: str, use: ToolUse) -> Outcome:
        idempotency_key.set(key)
        # The call has a context of its own: what it logs, and whom it asks, belongs to its span.
        node_span = str(get_trace_context().get("span_id", ""))
        set_trace_context(span_id=span_id_of(node_span, use.id))
        began = self.clock.monotonic()
        outcome = self.refusal(use) or await self._try(use)
        content = await self._fitted(outcome)
        took = self.clock.monotonic() - began
        return replace(outcome, content=content, duration_seconds=took)

    async def _try(self, use: ToolUse) -> Outcome:
        """Call the tool: the first of the places where every exception is caught."""
        seconds = self._limit(use.name)
        watch = asyncio.timeout(seconds)
        try:
            with resting():
                async with watch:
                    return _outcome(use, await self._call(use, seconds))
        except ToolOverdue as error:
            return Outcome(use, str(error), is_error=True, is_outside=True)
        except TimeoutError:
            limit = f"within {seconds:g} s" if watch.expired() else "in time"
            text = f"{use.name} gave no result {limit}; it may still have had its effect."
            return Outcome(use, text, is_error=True, is_outside=True)
        except ConnectionError as error:
            text = f"{use.name} cannot be reached: {_told(error)}"
            return Outcome(use, text, is_error=True, is_outside=True)
        except (Exception, *ENDS_PROCESS) as error:
            pass_on_of_person(error)
            logger.info("tool failed", extra={"tool": use.name}, exc_info=True)
            text = f"{use.name} failed: {type(error).__name__}: {_told(error)}"
            return Outcome(use, text, is_error=True, is_outside=is_outside(error))

    async def _call(self, use: ToolUse, seconds: float) -> Any:
        await purse.get().hold_tool(use.name)
        executor: Any = self.executor
        if isinstance(executor, KnowingExecutor):
            return await executor.run(use)
        if inspect.iscoroutinefunction(executor) or inspect.iscoroutinefunction(executor.__call__):
            return await executor(use)
        began = self.clock.monotonic()
        answer = run_in_thread(executor, use)
        try:
            found = await asyncio.shield(answer)
        except asyncio.CancelledError:
            left = began + seconds - self.clock.monotonic()
            await asyncio.wait([answer], timeout=max(0.0, left))
            raise
        return await found if inspect.isawaitable(found) else found

    async def _fitted(self, outcome: Outcome) -> str:
        """Return the content as the model is shown it: cut to its limit, the whole kept as a file where possible."""
        content, limit = outcome.content, self.result_chars
        if len(content) <= limit:
            return content
        note = f"[cut: the first {limit:,} of {len(content):,} characters"
        if self.spill_dir is not None:
            note += await self._kept_whole(self.spill_dir, outcome)
        return f"{content[:limit]}\n{note}]"

    async def _kept_whole(self, folder: Path, outcome: Outcome) -> str:
        try:
            name = await to_thread(_spill, folder, outcome)
        except (HiveError, OSError) as error:
            logger.warning("a tool result could not be kept", extra={"error": str(error)})
            return ""
        return f"; the whole is the data file {name}"


def mark_of(outcomes: Sequence[Outcome]) -> str:
    """Return a text that is the same for the same calls with the same results, beginning with the tools' names.

    Empty if nothing in it was the model's doing.
    """
    own = [outcome for outcome in outcomes if not outcome.is_outside and not outcome.is_unusable]
    if not own:
        return ""
    names = ", ".join(dict.fromkeys(outcome.use.name for outcome in own))
    facts = [[o.use.name, o.use.input, o.content, o.is_error] for o in own]
    text = json.dumps(facts, sort_keys=True, default=str)
    return f"{names}#{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _outcome(use: ToolUse, answer: Any) -> Outcome:
    if isinstance(answer, ToolResult):
        return Outcome(use, clean_text(str(answer.content)), is_error=answer.is_error)
    text = answer if isinstance(answer, str) else json.dumps(answer, default=str)
    return Outcome(use, clean_text(text))


def _told(error: BaseException) -> str:
    return redactor().redact_head(str(error), ERROR_CHARS)


def _spill(folder: Path, outcome: Outcome) -> str:
    digest = hashlib.sha256(f"{outcome.use.id}/{outcome.content}".encode(errors="replace"))
    tool = "".join(char if char.isalnum() else "_" for char in outcome.use.name)[:40]
    name = f"tool_{tool}_{digest.hexdigest()[:12]}.txt"
    DataFiles(folder).write(name, outcome.content.encode(errors="replace"))
    return name
