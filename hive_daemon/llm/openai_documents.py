"""Reading the JSON documents of the OpenAI chat completions protocol: a chunk of a stream, a whole answer, an error.

Services take liberties: any field may be missing, null or of another type. What is not understood is passed over; what
is no document at all raises ValueError.
Source: the public OpenAPI description of `POST /v1/chat/completions`; `reasoning_content` and `reasoning` are what
DeepSeek, vLLM, OpenRouter and Ollama add.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from hive_daemon.llm.assembly import CallFragment, Piece, Usage

DONE = b"[DONE]"

Document = Mapping[str, Any]


def read_document(data: bytes | str) -> Document:
    """Read a JSON object. Raises ValueError."""
    document = json.loads(data)
    if not isinstance(document, dict):
        raise ValueError("not a JSON object")
    return document


def error_in(document: Document) -> Document | None:
    """Return the error that stands in place of an answer, in the protocol's shape."""
    error = document.get("error")
    if not error:
        return None
    return error if isinstance(error, dict) else {"message": str(error)}


def piece_of_chunk(document: Document) -> Piece:
    """Read one chunk of a stream."""
    return _piece(document, "delta")


def piece_of_answer(document: Document) -> Piece:
    """Read a whole answer; the end of one needs not be told."""
    return _piece(document, "message")


def has_answer(document: Document) -> bool:
    """Say whether a whole answer has one in it."""
    choice = _choice(document)
    return choice is not None and isinstance(choice.get("message"), dict)


def usage_of(document: object) -> Usage | None:
    """Read token counts; None if there are none, and what is not told is 0."""
    if not isinstance(document, dict) or not document:
        return None
    prompt = _mapping(document.get("prompt_tokens_details"))
    completion = _mapping(document.get("completion_tokens_details"))
    cached = prompt.get("cached_tokens", document.get("prompt_cache_hit_tokens"))
    return Usage(
        input_tokens=_count(document.get("prompt_tokens")),
        output_tokens=_count(document.get("completion_tokens")),
        cached_tokens=_count(cached),
        reasoning_tokens=_count(completion.get("reasoning_tokens")),
        cache_write_tokens=_count(prompt.get("cache_write_tokens")),
    )


def _piece(document: Document, part: str) -> Piece:
    usage = usage_of(document.get("usage"))
    model = _text(document.get("model"))
    choice = _choice(document)
    if choice is None:
        return Piece(usage=usage, model=model)
    said = _mapping(choice.get(part))
    return Piece(
        text=_content(said.get("content")) or _text(said.get("refusal")),
        reasoning=_text(said.get("reasoning_content")) or _text(said.get("reasoning")),
        fragments=tuple(_fragments(said.get("tool_calls"), is_whole=part == "message")),
        stop_reason=_text(choice.get("finish_reason")),
        usage=usage,
        model=model,
    )


def _choice(document: Document) -> Document | None:
    match document.get("choices"):
        case [dict() as choice, *_]:
            return choice
    return None


def _fragments(calls: object, *, is_whole: bool) -> Iterator[CallFragment]:
    for position, call in enumerate(calls if isinstance(calls, list) else ()):
        if not isinstance(call, dict):
            continue
        function = _mapping(call.get("function"))
        index = call.get("index")
        arguments = function.get("arguments")
        yield CallFragment(
            index=position if is_whole else index if isinstance(index, int) else None,
            id=_text(call.get("id")),
            name=_text(function.get("name")),
            # Some services send the arguments as an object rather than as its text.
            arguments=json.dumps(arguments) if isinstance(arguments, dict) else _text(arguments),
        )


def _content(content: object) -> str:
    """Return the text of a content that is a text, or a list of parts."""
    if isinstance(content, list):
        parts = (part.get("text") for part in content if isinstance(part, dict))
        return "".join(filter(None, map(_text, parts)))
    return _text(content)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _mapping(value: object) -> Document:
    return value if isinstance(value, dict) else {}
