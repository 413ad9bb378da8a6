"""Reading the answer objects of the openai family of libraries: attributes, any of which may be missing or None."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hive_daemon.llm.assembly import CallFragment, Piece, Usage


def piece_of(chunk: Any, *, has_ended: bool) -> Piece:
    """Read one chunk of a stream; a finish reason counts only if the service really ended the answer."""
    usage = getattr(chunk, "usage", None)
    found = usage_of(usage) if usage is not None else None
    model = getattr(chunk, "model", None) or ""
    if not chunk.choices:
        return Piece(usage=found, model=model)
    choice = chunk.choices[0]
    delta = choice.delta
    return Piece(
        text=getattr(delta, "content", None) or "",
        reasoning=getattr(delta, "reasoning_content", None) or "",
        fragments=tuple(_fragment(call) for call in getattr(delta, "tool_calls", None) or ()),
        stop_reason=(choice.finish_reason or "") if has_ended else "",
        usage=found,
        model=model,
    )


def piece_of_answer(answer: Any) -> Piece:
    """Read a whole answer."""
    choice = answer.choices[0]
    message = getattr(choice, "message", None)
    usage = getattr(answer, "usage", None)
    calls = getattr(message, "tool_calls", None) or ()
    return Piece(
        text=getattr(message, "content", None) or "",
        reasoning=getattr(message, "reasoning_content", None) or "",
        fragments=tuple(replace(_fragment(call), index=place) for place, call in enumerate(calls)),
        stop_reason=getattr(choice, "finish_reason", None) or "",
        usage=usage_of(usage) if usage is not None else None,
        model=getattr(answer, "model", None) or "",
    )


def usage_of(usage: Any) -> Usage:
    """Read the token counts; what is not told is 0."""
    prompt = getattr(usage, "prompt_tokens_details", None)
    completion = getattr(usage, "completion_tokens_details", None)
    written = getattr(prompt, "cache_creation_token_details", None)
    return Usage(
        input_tokens=getattr(usage, "prompt_tokens", None) or 0,
        output_tokens=getattr(usage, "completion_tokens", None) or 0,
        cached_tokens=getattr(prompt, "cached_tokens", None) or 0,
        reasoning_tokens=getattr(completion, "reasoning_tokens", None) or 0,
        cache_write_tokens=getattr(prompt, "cache_creation_tokens", None) or 0,
        long_write_tokens=getattr(written, "ephemeral_1h_input_tokens", None) or 0,
    )


def _fragment(call: Any) -> CallFragment:
    function = getattr(call, "function", None)
    return CallFragment(
        index=getattr(call, "index", None),
        id=getattr(call, "id", None) or "",
        name=getattr(function, "name", None) or "",
        arguments=getattr(function, "arguments", None) or "",
    )
