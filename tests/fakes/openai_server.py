"""A model server on loopback that speaks the OpenAI chat completions protocol, and breaks it on demand.

    async with FakeOpenAI() as server:
        server.script(Reply(text="hello"), Failure(429, retry_after="0"), Reply(calls=(Call("add", {"a": 1}),)))
        provider = LiteLLMProvider("openai/fake", api_key="k", api_base=server.base_url)

Each request takes the next answer of the script; past its end, `server.otherwise` (a `Reply`) answers. A script entry
may be a function of the request. Every request is recorded. `strict=True` refuses, with 400, a history that has an
unanswered, doubled or unasked tool call.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Self

from aiohttp import web

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call to answer with; `arguments` as a str are sent as they are, valid or not."""

    name: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict)
    id: str | None = None

    @property
    def text(self) -> str:
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments)


@dataclass(frozen=True, slots=True)
class Usage:
    input_tokens: int = 11
    output_tokens: int = 7
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    def document(self) -> Json:
        return {
            "prompt_tokens": self.input_tokens,
            "completion_tokens": self.output_tokens,
            "total_tokens": self.input_tokens + self.output_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": self.reasoning_tokens},
        }


class Break(StrEnum):
    """How an answer goes wrong on its way."""

    NEVER = "never"
    STALL_BEFORE_HEADERS = "stall_before_headers"
    STALL = "stall"  # silence, the connection stays open
    TRICKLE = "trickle"  # comment lines for ever, never an event
    CUT = "cut"  # the connection is dropped
    END = "end"  # the body ends as if that were all
    GARBAGE = "garbage"  # an event that is not JSON
    ERROR_EVENT = "error_event"  # an event that carries an error
    LINGER = "linger"  # a complete answer on a connection that stays open


@dataclass(frozen=True, slots=True)
class Reply:
    """A good answer, or one that breaks: `breaks` after `break_after` events of a stream.

    `text` is sent in pieces of `piece` characters; each tool call is split into a head and argument pieces of that
    size, the calls interleaved, as parallel calls are.
    """

    text: str = ""
    reasoning: str = ""
    calls: tuple[Call, ...] = ()
    usage: Usage | None = Usage()
    finish_reason: str = ""
    piece: int = 8
    breaks: Break = Break.NEVER
    break_after: int = 0
    streams: bool = True  # False: a whole answer, also to who asked for a stream

    @property
    def reason(self) -> str:
        return self.finish_reason or ("tool_calls" if self.calls else "stop")


@dataclass(frozen=True, slots=True)
class Failure:
    """An answer with an error status. `message` may name the key: `{key}` is filled in."""

    status: int
    message: str = "the fake was told to fail"
    code: str | None = None
    type: str = "fake_error"
    retry_after: str | None = None
    retry_after_ms: str | None = None
    location: str | None = None


Answer = Reply | Failure
Script = Answer | Callable[["Request"], Answer]


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asked."""

    path: str
    headers: Mapping[str, str]
    body: Json

    @property
    def key(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    @property
    def streams(self) -> bool:
        return bool(self.body.get("stream"))

    @property
    def messages(self) -> list[Json]:
        messages: list[Json] = self.body.get("messages", [])
        return messages


class FakeOpenAI:
    """The server; an async context manager."""

    def __init__(self, *, strict: bool = False, otherwise: Script | None = None) -> None:
        self.requests: list[Request] = []
        self.strict = strict
        self.otherwise: Script = otherwise or Reply(text="ok")
        self._script: deque[Script] = deque()
        self._closing = asyncio.Event()
        self._arrived = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self.base_url = ""

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_post("/v1/chat/completions", self._complete)
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=0.5
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.base_url = f"http://{host}:{port}/v1"
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._closing.set()
        assert self._runner is not None
        await self._runner.cleanup()

    def script(self, *answers: Script) -> None:
        """Append to what the next requests are answered."""
        self._script.extend(answers)

    @property
    def unused(self) -> int:
        """How many scripted answers nobody asked for yet."""
        return len(self._script)

    @property
    def open_connections(self) -> int:
        assert self._runner is not None
        assert self._runner.server is not None
        return len(self._runner.server.connections)

    async def drop_connections(self) -> None:
        """Close every connection, as a service does with those that idle."""
        assert self._runner is not None
        assert self._runner.server is not None
        for connection in self._runner.server.connections:
            connection.force_close()
        while self.open_connections:
            await asyncio.sleep(0)

    async def wait_for_requests(self, count: int) -> None:
        """Return when that many requests have arrived."""
        while len(self.requests) < count:
            self._arrived.clear()
            await self._arrived.wait()

    async def _complete(self, http: web.Request) -> web.StreamResponse:
        request = Request(http.path, dict(http.headers), await http.json())
        self.requests.append(request)
        self._arrived.set()
        fault = _history_fault(request.messages) if self.strict else ""
        if fault:
            return _failure(Failure(400, fault, type="invalid_request_error"), request)
        script = self._script.popleft() if self._script else self.otherwise
        answer = script(request) if callable(script) else script
        if isinstance(answer, Failure):
            return _failure(answer, request)
        if answer.breaks is Break.STALL_BEFORE_HEADERS:
            await self._closing.wait()
        if request.streams and answer.streams:
            return await self._stream(http, request, answer)
        return await self._whole(http, request, answer)

    async def _stream(
        self, http: web.Request, request: Request, answer: Reply
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(http)
        limit = None if answer.breaks is Break.NEVER else answer.break_after
        for chunk in list(_chunks(request, answer))[:limit]:
            await response.write(_event(json.dumps(chunk)))
        if answer.breaks is Break.NEVER:
            await response.write(_event("[DONE]"))
        else:
            await self._break(http, response, answer.breaks)
        return response

    async def _whole(
        self, http: web.Request, request: Request, answer: Reply
    ) -> web.StreamResponse:
        document = json.dumps(_document(request, answer)).encode()
        if answer.breaks is Break.NEVER:
            return web.Response(body=document, content_type="application/json")
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(http)
        await response.write(document[: len(document) // 2])
        await self._break(http, response, answer.breaks)
        return response

    async def _break(self, http: web.Request, response: web.StreamResponse, how: Break) -> None:
        match how:
            case Break.CUT:
                assert http.transport is not None
                http.transport.abort()
            case Break.STALL:
                await self._closing.wait()
            case Break.LINGER:
                await response.write(_event("[DONE]"))
                await self._closing.wait()
            case Break.TRICKLE:
                await self._trickle(response)
            case Break.GARBAGE:
                await response.write(b"data: {not json at all\n\n")
                await response.write(_event("[DONE]"))
            case Break.ERROR_EVENT:
                error = {"message": "the fake broke off", "type": "server_error", "code": None}
                await response.write(_event(json.dumps({"error": error})))

    async def _trickle(self, response: web.StreamResponse) -> None:
        while not self._closing.is_set():
            await response.write(b": still here\n\n")
            try:
                async with asyncio.timeout(0.02):
                    await self._closing.wait()
            except TimeoutError:
                continue


def _event(data: str) -> bytes:
    return f"data: {data}\n\n".encode()


def _failure(failure: Failure, request: Request) -> web.Response:
    headers = {}
    if failure.retry_after is not None:
        headers["Retry-After"] = failure.retry_after
    if failure.retry_after_ms is not None:
        headers["Retry-After-Ms"] = failure.retry_after_ms
    if failure.location is not None:
        headers["Location"] = failure.location
    message = failure.message.replace("{key}", request.key)
    error = {"message": message, "type": failure.type, "code": failure.code, "param": None}
    return web.json_response({"error": error}, status=failure.status, headers=headers)


def _pieces(text: str, size: int) -> Iterable[str]:
    return (text[start : start + size] for start in range(0, len(text), size))


def _envelope(request: Request, kind: str) -> Json:
    model = request.body.get("model", "")
    return {"id": "chatcmpl-fake", "object": kind, "created": 1, "model": model}


def _chunks(request: Request, answer: Reply) -> Iterable[Json]:
    envelope = _envelope(request, "chat.completion.chunk")
    for delta in _deltas(answer):
        yield {**envelope, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield {**envelope, "choices": [{"index": 0, "delta": {}, "finish_reason": answer.reason}]}
    asked = (request.body.get("stream_options") or {}).get("include_usage")
    if answer.usage is not None and asked:
        yield {**envelope, "choices": [], "usage": answer.usage.document()}


def _deltas(answer: Reply) -> Iterable[Json]:
    yield {"role": "assistant", "content": ""}
    for piece in _pieces(answer.reasoning, answer.piece):
        yield {"reasoning_content": piece}
    for piece in _pieces(answer.text, answer.piece):
        yield {"content": piece}
    for index, call in enumerate(answer.calls):
        function = {"name": call.name, "arguments": ""}
        yield {"tool_calls": [{**_identity(index, call), "function": function, "index": index}]}
    queues = [deque(_pieces(call.text, answer.piece)) for call in answer.calls]
    while any(queues):
        for index, queue in enumerate(queues):
            if queue:
                fragment = {"index": index, "function": {"arguments": queue.popleft()}}
                yield {"tool_calls": [fragment]}


def _identity(index: int, call: Call) -> Json:
    return {"id": call.id or f"call_{index}", "type": "function"}


def _document(request: Request, answer: Reply) -> Json:
    message: Json = {"role": "assistant", "content": answer.text or None}
    if answer.reasoning:
        message["reasoning_content"] = answer.reasoning
    if answer.calls:
        message["tool_calls"] = [
            {**_identity(i, call), "function": {"name": call.name, "arguments": call.text}}
            for i, call in enumerate(answer.calls)
        ]
    choice = {"index": 0, "message": message, "finish_reason": answer.reason}
    usage = answer.usage.document() if answer.usage else None
    return {**_envelope(request, "chat.completion"), "choices": [choice], "usage": usage}


def _history_fault(messages: list[Json]) -> str:
    """Say what is wrong with the tool calls of a history; nothing if all is well."""
    open_calls: list[str] = []
    answered: set[str] = set()
    for message in messages:
        role = message.get("role")
        if role == "tool":
            call_id = message.get("tool_call_id", "")
            if call_id in answered:
                return f"tool call {call_id} is answered twice"
            if call_id not in open_calls:
                return f"tool result {call_id} answers no open call"
            open_calls.remove(call_id)
            answered.add(call_id)
            continue
        if open_calls:
            return f"tool call {open_calls[0]} is not answered"
        if role == "assistant":
            calls = [call["id"] for call in message.get("tool_calls") or []]
            if len(set(calls)) < len(calls):
                return f"tool call ids are doubled: {calls}"
            open_calls = calls
            answered = set()
    return f"tool call {open_calls[0]} is not answered" if open_calls else ""


def breaking(answer: Reply, how: Break, after: int = 0) -> Reply:
    """Return the answer, broken off after so many events."""
    return replace(answer, breaks=how, break_after=after)


__all__ = [
    "Break",
    "Call",
    "Failure",
    "FakeOpenAI",
    "Reply",
    "Request",
    "Usage",
    "breaking",
]
