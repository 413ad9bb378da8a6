"""What a model says, piece by piece.

The events of one answer come in this order, and none after `FinishEvent`; a `StreamResetEvent` among them takes all
before it back, and the order begins anew:

    ReasoningStartEvent? ReasoningDeltaEvent*  (may mix with)  TextDeltaEvent*
    TextEndEvent?  ToolCallEvent*  FinishEvent

`TextEndEvent` comes once, exactly when there was text. A tool call comes whole, and only when the answer is complete:
the calls of a broken attempt are never seen. Events are values: frozen, compared by content.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class TextDeltaEvent:
    """A further piece of text; `snapshot` is all text of this answer so far."""

    type: Literal["text_delta"] = "text_delta"
    content: str = ""
    snapshot: str = ""


@dataclass(frozen=True, slots=True)
class TextEndEvent:
    """The text is complete."""

    type: Literal["text_end"] = "text_end"
    full_text: str = ""


@dataclass(frozen=True, slots=True)
class ToolCallEvent:
    """The model wants a tool run. Arguments that are not a JSON object come as `{"_raw": text}`."""

    type: Literal["tool_call"] = "tool_call"
    tool_use_id: str = ""
    tool_name: str = ""
    tool_input: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ToolResultEvent:
    """A tool answered. No provider of ours sends it; custom ones that run tools themselves may."""

    type: Literal["tool_result"] = "tool_result"
    tool_use_id: str = ""
    content: str = ""
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class ReasoningStartEvent:
    """The model begins to think aloud."""

    type: Literal["reasoning_start"] = "reasoning_start"


@dataclass(frozen=True, slots=True)
class ReasoningDeltaEvent:
    """A further piece of thinking."""

    type: Literal["reasoning_delta"] = "reasoning_delta"
    content: str = ""


@dataclass(frozen=True, slots=True)
class FinishEvent:
    """The answer is complete.

    `stop_reason` is the OpenAI word: stop, tool_calls, length, content_filter. Counts are tokens; `input_tokens`
    includes `cached_tokens` and `cache_write_tokens`, `output_tokens` includes `reasoning_tokens`; `is_estimated`: the
    service did not count, we guessed. `cost_usd` is None where the price is not known. `in_place_of` is the model that
    was asked first, where another one answered.
    """

    type: Literal["finish"] = "finish"
    stop_reason: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    model: str = ""
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_tokens: int = 0
    is_estimated: bool = False
    cost_usd: float | None = None
    in_place_of: str = ""


@dataclass(frozen=True, slots=True)
class StreamResetEvent:
    """The answer begins anew: forget every event before this one.

    Only receivers that ask for resets get them. `attempt` numbers the try that begins, from 2 over all models of a
    call; `model` is who is asked, `reason` why the try before failed, `pause_seconds` how long the call waits first.
    """

    type: Literal["reset"] = "reset"
    attempt: int = 2
    model: str = ""
    reason: str = ""
    pause_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class StreamErrorEvent:
    """The answer broke off. Our providers raise instead; custom ones may send this."""

    type: Literal["error"] = "error"
    error: str = ""
    recoverable: bool = False


StreamEvent = (
    TextDeltaEvent
    | TextEndEvent
    | ToolCallEvent
    | ToolResultEvent
    | ReasoningStartEvent
    | ReasoningDeltaEvent
    | FinishEvent
    | StreamResetEvent
    | StreamErrorEvent
)
"""Any event of an answer."""
