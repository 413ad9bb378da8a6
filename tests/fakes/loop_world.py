"""A world for model loops: a model that plays what it is told, and a recorder that keeps what it is given.

The model is strict: it fails a test that shows it a history with an unanswered or doubled tool call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hive_daemon.clock import SYSTEM_CLOCK
from hive_daemon.graph.event_loop_node import EventLoopNode, LoopConfig
from hive_daemon.graph.facts import Fact
from hive_daemon.graph.goal import Goal
from hive_daemon.graph.memory import NodeMemory
from hive_daemon.graph.node import NodeContext, NodeResult, NodeSpec
from hive_daemon.llm.provider import LLMProvider
from hive_daemon.llm.stream_events import (
    FinishEvent,
    ReasoningDeltaEvent,
    TextDeltaEvent,
    TextEndEvent,
    ToolCallEvent,
)
from hive_daemon.llm.values import LLMResponse, Tool, ToolResult, ToolUse, call_context
from tests.fakes.openai_server import _history_fault as history_fault

SEARCH = Tool("search", "Search", {"properties": {"q": {"type": "string"}}})
WRITE = Tool("write", "Write", {"properties": {"text": {"type": "string"}}})


@dataclass(frozen=True)
class Says:
    """An answer: text in pieces, calls as (name, arguments), then how it ends."""

    text: str = ""
    calls: tuple[tuple[str, dict[str, Any]], ...] = ()
    reasoning: str = ""
    piece: int = 1_000
    tokens: int = 0
    cost: float | None = None
    breaks: BaseException | None = None


def says(text: str = "", **details: Any) -> Says:
    return Says(text, **details)


def calls(*wanted: tuple[str, dict[str, Any]], text: str = "") -> Says:
    return Says(text, wanted)


def sets(**outputs: Any) -> Says:
    return calls(*(("set_output", {"key": k, "value": v}) for k, v in outputs.items()))


class PlayedModel(LLMProvider):
    """Plays answers, one a call, and `otherwise` past their end; `whole` are the answers to single questions."""

    model = "played"

    def __init__(self, *answers: Says, otherwise: Says | None = None) -> None:
        self.answers = list(answers)
        self.otherwise = otherwise or Says("Done.")
        self.whole: list[str | Exception] = []
        self.requests: list[list[dict[str, Any]]] = []
        self.systems: list[str] = []
        self.tools: list[list[str]] = []
        self.contexts: list[Any] = []
        self.asked: list[tuple[list[dict[str, Any]], str]] = []
        self.before: Callable[[], None] | None = None

    async def stream(self, messages, system="", tools=None, max_tokens=4096):
        fault = history_fault(messages)
        assert not fault, fault
        self.requests.append(messages)
        self.systems.append(system)
        self.tools.append([tool.name for tool in tools or ()])
        self.contexts.append(call_context.get())
        if self.before is not None:
            self.before()
        answer = self.answers.pop(0) if self.answers else self.otherwise
        if answer.reasoning:
            yield ReasoningDeltaEvent(content=answer.reasoning)
        for start in range(0, len(answer.text), answer.piece):
            yield TextDeltaEvent(content=answer.text[start : start + answer.piece])
        if answer.breaks is not None:
            raise answer.breaks
        if answer.text:
            yield TextEndEvent(full_text=answer.text)
        for place, (name, given) in enumerate(answer.calls):
            yield ToolCallEvent(tool_use_id=f"call_{place}", tool_name=name, tool_input=given)
        yield FinishEvent(
            stop_reason="tool_calls" if answer.calls else "stop",
            input_tokens=answer.tokens,
            output_tokens=3,
            model="played",
            cached_tokens=answer.tokens // 2,
            reasoning_tokens=1,
            cost_usd=answer.cost,
        )

    async def acomplete(self, messages, system="", max_tokens=4096):
        self.asked.append((messages, system))
        answer = self.whole.pop(0) if self.whole else "noted"
        if isinstance(answer, Exception):
            raise answer
        return LLMResponse(answer, "played", 5, 2)

    @property
    def last(self) -> list[dict[str, Any]]:
        return self.requests[-1]


class JumpingClock:
    """Time passes only by sleeping, and sleeping takes none."""

    def __init__(self) -> None:
        self.now = 1_772_442_000.0
        self.slept: list[float] = []

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Crash(BaseException):
    """The process dies."""


class KeepingRecorder:
    """Keeps records and facts; dies right after, or instead of, commit number `dies_at`."""

    def __init__(
        self,
        records: dict[str, bytes] | None = None,
        *,
        watched: bool = False,
        dies_at: int = 0,
        dies_before: bool = False,
    ) -> None:
        self.records = records if records is not None else {}
        self.facts: list[Fact] = []
        self.shown: list[Fact] = []
        self.commits: list[tuple[str, ...]] = []
        self.is_watched = watched
        self.dies_at = dies_at
        self.dies_before = dies_before

    def note(self, *facts: Fact) -> None:
        self.facts.extend(facts)

    async def record(self, *facts: Fact, records: Mapping[str, bytes | None] | None = None) -> None:
        self.commits.append(tuple(fact.kind for fact in facts))
        dies = len(self.commits) == self.dies_at
        if dies and self.dies_before:
            raise Crash
        self.facts.extend(facts)
        for key, value in (records or {}).items():
            if value is None:
                self.records.pop(key, None)
            else:
                self.records[key] = value
        if dies:
            raise Crash

    def show(self, fact: Fact) -> None:
        self.shown.append(fact)

    async def recall(self, prefix: str) -> dict[str, bytes]:
        return {k: v for k, v in sorted(self.records.items()) if k.startswith(prefix)}

    def kinds(self) -> list[str]:
        return [fact.kind for fact in self.facts]

    def of(self, kind: str) -> list[Any]:
        return [fact for fact in self.facts if fact.kind == kind]


class Tools:
    """Counts the calls of its tools and answers them; what is callable in `answers` is called."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.uses: list[ToolUse] = []

    async def __call__(self, use: ToolUse) -> ToolResult:
        self.uses.append(use)
        answer = self.answers.get(use.name, f"{use.name} ran")
        if callable(answer):
            answer = answer(use)
        if hasattr(answer, "__await__"):
            answer = await answer
        return answer if isinstance(answer, ToolResult) else ToolResult(use.id, str(answer))


class MemoryStore:
    """A program's own store of one conversation."""

    def __init__(self) -> None:
        self.parts: dict[int, dict[str, Any]] = {}
        self.cursor: dict[str, Any] | None = None

    async def write_part(self, seq: int, data: dict[str, Any]) -> None:
        self.parts[seq] = data

    async def read_parts(self) -> list[dict[str, Any]]:
        return [dict(self.parts[seq]) for seq in sorted(self.parts)]

    async def write_cursor(self, data: dict[str, Any]) -> None:
        self.cursor = data

    async def read_cursor(self) -> dict[str, Any] | None:
        return self.cursor

    async def delete_parts_before(self, seq: int) -> None:
        self.parts = {kept: part for kept, part in self.parts.items() if kept >= seq}


@dataclass
class World:
    """One session: its records, its model, its tools."""

    model: PlayedModel = field(default_factory=PlayedModel)
    recorder: KeepingRecorder = field(default_factory=KeepingRecorder)
    tools: Any = field(default_factory=Tools)
    config: LoopConfig = field(default_factory=LoopConfig)
    clock: Any = SYSTEM_CLOCK
    judge: Any = None

    def context(
        self, spec: NodeSpec, inputs: dict[str, Any] | None = None, **more: Any
    ) -> NodeContext:
        values = inputs or {}
        goal = Goal(id="g", name="Goal")
        given: dict[str, Any] = {
            "llm": self.model,
            "available_tools": [SEARCH, WRITE],
            "goal": goal,
            "tool_executor": self.tools,
            "recorder": self.recorder,
            "execution_id": "e1",
            "session_id": "s1",
        }
        memory = NodeMemory(values, read_keys=spec.input_keys, write_keys=spec.output_keys)
        return NodeContext(None, spec.id, spec, memory, values, **{**given, **more})

    async def run(
        self, spec: NodeSpec, inputs: dict[str, Any] | None = None, **more: Any
    ) -> NodeResult:
        node = EventLoopNode(judge=self.judge, config=self.config, clock=self.clock)
        return await node.execute(self.context(spec, inputs, **more))


def node(id: str = "n", **fields: Any) -> NodeSpec:
    return NodeSpec(id=id, name=id, **fields)
