"""Facts about model calls: what the model writes while it writes it, and what a call came to."""

from __future__ import annotations

from dataclasses import dataclass

from hive_daemon.graph.facts import Fact
from hive_daemon.llm.stream_events import FinishEvent
from hive_daemon.llm.values import LLMResponse


@dataclass(frozen=True, slots=True)
class LlmTurnComplete(Fact):
    """A model call ended; counts and cost as in `llm.stream_events.FinishEvent`."""

    kind = "llm_turn_complete"
    stop_reason: str
    model: str
    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    iteration: int = 0
    latency_seconds: float = 0.0
    reasoning_tokens: int = 0
    cache_write_tokens: int = 0
    cost_usd: float | None = None
    is_estimated: bool = False
    in_place_of: str = ""


@dataclass(frozen=True, slots=True)
class LlmCallFailed(Fact):
    """A model call failed for good. `failure` is an `llm.failures.FailureKind`, `model` who was asked first."""

    kind = "llm_call_failed"
    model: str
    failure: str
    error: str
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class LlmTextDelta(Fact):
    """The model wrote some text, at try number `attempt`; `is_reset`: forget what the try before it wrote."""

    kind = "llm_text_delta"
    live = True
    content: str
    snapshot: str = ""
    attempt: int = 1
    is_reset: bool = False


@dataclass(frozen=True, slots=True)
class LlmReasoningDelta(Fact):
    """The model thought aloud."""

    kind = "llm_reasoning_delta"
    live = True
    content: str
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class ClientOutputDelta(LlmTextDelta):
    """A node that faces a person wrote some text."""

    kind = "client_output_delta"


def call_told(
    node_id: str, call: FinishEvent | LLMResponse, iteration: int = 0, latency_seconds: float = 0.0
) -> LlmTurnComplete:
    """Return the fact of a model call that was made for a node; `iteration` 0 is none of a loop."""
    return LlmTurnComplete(
        node_id,
        stop_reason=call.stop_reason,
        model=call.model,
        input_tokens=call.input_tokens,
        output_tokens=call.output_tokens,
        cached_tokens=call.cached_tokens,
        iteration=iteration,
        latency_seconds=latency_seconds,
        reasoning_tokens=call.reasoning_tokens,
        cache_write_tokens=call.cache_write_tokens,
        cost_usd=call.cost_usd,
        is_estimated=call.is_estimated,
        in_place_of=call.in_place_of,
    )
