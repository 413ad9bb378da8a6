"""Putting a streamed answer together.

Each transport decodes what it receives into `Piece`s; an `Assembler` turns them into stream events, in the order that
`stream_events` states. Tool calls are held back until the answer is complete, so those of a broken answer never run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hive_daemon.ids import new_span_id
from hive_daemon.llm.openai_shapes import decode_arguments
from hive_daemon.llm.stream_events import (
    FinishEvent,
    ReasoningDeltaEvent,
    ReasoningStartEvent,
    StreamEvent,
    TextDeltaEvent,
    TextEndEvent,
    ToolCallEvent,
)


@dataclass(frozen=True, slots=True)
class Usage:
    """What an answer cost, in tokens; `is_estimated` if the service did not count.

    `long_write_tokens` are those of `cache_write_tokens` that the service keeps for an hour, at a price of its own.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_tokens: int = 0
    is_estimated: bool = False
    long_write_tokens: int = 0


@dataclass(frozen=True, slots=True)
class CallFragment:
    """A part of a tool call: its head has the name and, mostly, an id; the rest only arguments."""

    index: int | None = None
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class Piece:
    """What one received chunk says."""

    text: str = ""
    reasoning: str = ""
    fragments: tuple[CallFragment, ...] = ()
    stop_reason: str = ""
    usage: Usage | None = None
    model: str = ""


@dataclass(slots=True)
class _OpenCall:
    index: int | None
    id: str
    name: str
    arguments: list[str] = field(default_factory=list)


class Assembler:
    """Turns the pieces of one answer into events."""

    def __init__(self, model: str, new_id: Callable[[], str] = new_span_id) -> None:
        self._model = model
        self._new_id = new_id
        self._text = ""
        self._thinks = False
        self._calls: list[_OpenCall] = []
        self._stop_reason = ""
        self._heard_chars = 0
        self.usage: Usage | None = None
        self.delivered = False

    @property
    def is_complete(self) -> bool:
        """Whether the model said that the answer ends here."""
        return bool(self._stop_reason)

    def feed(self, piece: Piece) -> list[StreamEvent]:
        """Take a piece; return the events to hand out at once."""
        self._model = piece.model or self._model
        self._stop_reason = piece.stop_reason or self._stop_reason
        self.usage = piece.usage or self.usage
        self._heard_chars += len(piece.text) + len(piece.reasoning)
        for fragment in piece.fragments:
            self._add(fragment)
        events = [*self._think(piece.reasoning), *self._say(piece.text)]
        self.delivered = self.delivered or bool(events)
        return events

    @property
    def model(self) -> str:
        """Who answers, as the service says."""
        return self._model

    @property
    def heard_chars(self) -> int:
        """How many characters the model wrote: text, reasoning and tool calls."""
        return self._heard_chars

    def finish(self, cost_usd: float | None = None) -> list[StreamEvent]:
        """Return the events that end the answer."""
        usage = self.usage or Usage()
        end: list[StreamEvent] = [TextEndEvent(full_text=self._text)] if self._text else []
        calls = [
            ToolCallEvent(
                tool_use_id=call.id or f"call_{self._new_id()}",
                tool_name=call.name,
                tool_input=decode_arguments("".join(call.arguments)),
            )
            for call in self._calls
        ]
        finish = FinishEvent(
            stop_reason=self._stop_reason,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            model=self._model,
            cached_tokens=usage.cached_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            is_estimated=usage.is_estimated,
            cost_usd=cost_usd,
        )
        return [*end, *calls, finish]

    def _think(self, reasoning: str) -> list[StreamEvent]:
        if not reasoning:
            return []
        start: list[StreamEvent] = [] if self._thinks else [ReasoningStartEvent()]
        self._thinks = True
        return [*start, ReasoningDeltaEvent(content=reasoning)]

    def _say(self, text: str) -> list[StreamEvent]:
        if not text:
            return []
        self._text += text
        return [TextDeltaEvent(content=text, snapshot=self._text)]

    def _add(self, fragment: CallFragment) -> None:
        self._heard_chars += len(fragment.name) + len(fragment.arguments)
        call = self._open_call(fragment)
        if call is None:
            call = _OpenCall(fragment.index, fragment.id, fragment.name)
            self._calls.append(call)
        call.id = call.id or fragment.id
        call.name = call.name or fragment.name
        call.arguments.append(fragment.arguments)

    def _open_call(self, fragment: CallFragment) -> _OpenCall | None:
        """Find the call that a fragment continues.

        Some services give every call the index 0, or none at all: a new id then begins a new call.
        """
        for call in reversed(self._calls):
            if fragment.index is not None and call.index != fragment.index:
                continue
            begins = bool(fragment.id) and bool(call.id) and fragment.id != call.id
            return None if begins else call
        return None
