"""The provider for every service that litellm knows; the only door to litellm.

Making one needs neither the network nor litellm: the library (seconds, 150 MB) is imported at the first call, in a
worker thread, with its telemetry, its downloads, its `.env` reading and its log output off. Deadlines and retries are
ours (`limits`), failures are typed (`failures`) and free of keys, and a broken answer's tool calls never come out.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
import os
import re
import warnings
from collections.abc import AsyncGenerator, Mapping
from functools import cache, partial
from typing import Any

from hive_daemon.clock import SYSTEM_CLOCK, Clock
from hive_daemon.llm.assembly import Piece
from hive_daemon.llm.calling import Whole, broken_off
from hive_daemon.llm.failures import (
    CallFailure,
    CallRejected,
    FailureKind,
    call_failure,
    kind_of_body,
    retry_after_seconds,
)
from hive_daemon.llm.loop_users import LoopUsers
from hive_daemon.llm.openai_objects import piece_of, piece_of_answer
from hive_daemon.llm.openai_shapes import chat_messages, function_tool
from hive_daemon.llm.redacting import secrets_in, without
from hive_daemon.llm.remote import ServiceProvider
from hive_daemon.llm.stream_events import StreamEvent
from hive_daemon.llm.values import DEFAULT_MAX_TOKENS, LLMResponse, Message, Tool
from hive_daemon.tasks import to_thread

QUIET_ENVIRONMENT = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_LOCAL_BLOG_POSTS": "True",
    "LITELLM_MODE": "PRODUCTION",
}
"""Set before litellm is imported, unless set already: no downloads, no reading of `.env`."""

QUIET_SETTINGS = {
    "telemetry": False,
    "suppress_debug_info": True,
    "drop_params": True,
    "num_retries": 0,
    "disable_aiohttp_transport": True,
}
"""Set on the module. Its httpx transport closes without leaks, its aiohttp one does not."""

QUIET_LOGGERS = dict.fromkeys(
    ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"), logging.CRITICAL
) | dict.fromkeys(("openai", "httpx", "httpcore"), logging.WARNING)
"""What litellm logs of a failure we raise; the others tell each request, at DEBUG with its content."""

QUIET_WARNING = r"Items? .* using the `ReadOnly` qualifier"
"""What newer versions of pydantic say of litellm's types, at the first answer that needs them."""


_WRAPPING = re.compile(
    r"\Alitellm\.\w+: (?:(?:litellm\.)?\w+(?:Error|Exception): )*(?:\w+Exception - )?"
)
"""What litellm puts before the words of a service: names of its own classes, which tell a person nothing."""


class LiteLLMProvider(ServiceProvider):
    """A model of any service that litellm knows.

    `model` is litellm's name (`anthropic/claude-…`, `gpt-4o-mini`, `openai/…` with an `api_base`). Without `api_key`
    litellm takes the service's environment variable. The fields of `CallLimits` are further options; all others go to
    litellm as they are (`temperature`, `extra_headers`, …), but for `max_retries` and `num_retries`: `max_attempts`
    says how often a call is tried.
    """

    def __init__(
        self,
        model: str = "gpt-4o-mini",
        api_key: str | None = None,
        api_base: str | None = None,
        *,
        clock: Clock = SYSTEM_CLOCK,
        **kwargs: Any,
    ) -> None:
        super().__init__(model, api_key, api_base, clock=clock, **kwargs)

    async def acomplete(
        self,
        messages: list[Message],
        system: str = "",
        tools: list[Tool] | None = None,
        max_tokens: int = DEFAULT_MAX_TOKENS,
        response_format: dict[str, Any] | None = None,
        json_mode: bool = False,
    ) -> LLMResponse:
        """Answer as a whole. Raises CallUnavailable, CallRejected."""
        request = self._request(messages, system, tools, max_tokens, json_mode)
        if response_format or json_mode:
            request["response_format"] = response_format or {"type": "json_object"}
        library = await self._library()
        return await self._answered(request, partial(self._whole, library, request))

    async def stream(
        self,
        messages: list[Message],
        system: str = "",
        tools: list[Tool] | None = None,
        max_tokens: int = DEFAULT_MAX_TOKENS,
        resets: bool = False,
    ) -> AsyncGenerator[StreamEvent, None]:
        """Answer piece by piece. Raises CallUnavailable, CallRejected.

        To stop early, close the generator (`contextlib.aclosing`): that gives the connection back. With `resets` an
        answer that breaks off in its midst is tried again too, after a `StreamResetEvent`.
        """
        request = self._request(messages, system, tools, max_tokens)
        request |= {"stream": True, "stream_options": {"include_usage": True}}
        library = await self._library()
        answer = self._streamed(request, partial(self._pieces, library, request), resets=resets)
        try:
            async for event in answer:
                yield event
        finally:
            await answer.aclose()

    async def aclose(self) -> None:
        """Leave litellm's connections; the last provider of this event loop closes them."""
        if _users.leave(self):
            await close_connections()

    def _request(
        self,
        messages: list[Message],
        system: str,
        tools: list[Tool] | None,
        max_tokens: int,
        json_mode: bool = False,
    ) -> dict[str, Any]:
        request: dict[str, Any] = {
            "model": self.model,
            "messages": chat_messages(messages, system, json_mode=json_mode),
            "max_tokens": max_tokens,
            "timeout": self.limits.total_timeout,
        }
        if tools:
            request["tools"] = [function_tool(tool) for tool in tools]
        own = {"api_key": self.api_key, "api_base": self.api_base}
        given = {name: value for name, value in own.items() if value}
        # Tries are counted here and nowhere else: the libraries' own would multiply them.
        return request | given | self.extra_kwargs | {"max_retries": 0, "num_retries": 0}

    async def _library(self) -> Any:
        _users.enter(self)
        if _load.cache_info().currsize:
            return _load()
        try:
            return await to_thread(_load)
        except ImportError as error:
            raise CallRejected(
                f"litellm cannot be imported: {error}",
                hint="install hive-daemon with its dependencies",
                subject=self.model,
            ) from error

    async def _send(self, library: Any, request: dict[str, Any]) -> Any:
        try:
            return await library.acompletion(**request)
        except _errors(library) as error:
            failure = self._failure(library, error)
        # Outside the handler: the original, whose text may hold the key, must not hang on as its context.
        raise failure

    async def _whole(self, library: Any, request: dict[str, Any]) -> Whole:
        answer = await self._send(library, request)
        if not answer.choices:
            raise broken_off(self.model)
        return Whole(piece_of_answer(answer), answer)

    async def _pieces(
        self, library: Any, request: dict[str, Any]
    ) -> AsyncGenerator[tuple[Piece, ...], None]:
        answer = await self._send(library, request)
        try:
            while (chunk := await self._next(library, answer)) is not None:
                piece = piece_of(chunk, has_ended=_has_ended(answer))
                yield (piece,)
                if piece.usage is not None:
                    # Nothing follows; asking further would only start litellm's logging tasks.
                    return
        finally:
            await answer.aclose()

    async def _next(self, library: Any, answer: Any) -> Any:
        try:
            return await anext(answer, None)
        except _errors(library) as error:
            failure = self._failure(library, error)
        raise failure

    def _failure(self, library: Any, error: BaseException) -> CallFailure:
        cause = getattr(error, "original_exception", None) or error
        kind = _kind_of(library, cause)
        secrets = secrets_in({"api_key": self.api_key}, self.extra_kwargs, os.environ)
        told = str(cause)
        text = without(_WRAPPING.sub("", told, count=1) or told, secrets)
        headers = getattr(cause, "litellm_response_headers", None) or {}
        return call_failure(
            kind,
            f"{self.model}: {text}",
            subject=self.model,
            retry_after_seconds=retry_after_seconds(headers, self._clock.time()),
        )


_users = LoopUsers()


async def preload() -> None:
    """Import litellm now, in a worker thread, rather than at the first call. Raises ImportError."""
    await to_thread(_load)


@cache
def _load() -> Any:
    """Import litellm and make it quiet."""
    for name, value in QUIET_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", QUIET_WARNING, UserWarning)
    library = importlib.import_module("litellm")
    for name, setting in QUIET_SETTINGS.items():
        setattr(library, name, setting)
    for name, level in QUIET_LOGGERS.items():
        chatter = logging.getLogger(name)
        chatter.handlers.clear()
        chatter.setLevel(level)
    return library


def _errors(library: Any) -> tuple[type[BaseException], ...]:
    """Return what a call may raise: litellm maps everything to subclasses of the openai library's error."""
    openai_error = library.exceptions.OpenAIError.__bases__[0]
    return (openai_error, OSError)


def _kind_of(library: Any, error: BaseException) -> FailureKind:
    if isinstance(error, library.exceptions.ContextWindowExceededError):
        return FailureKind.CONTEXT_LENGTH
    body = getattr(error, "body", None)
    status = getattr(error, "status_code", None)
    said = body if isinstance(body, Mapping) else {}
    return kind_of_body(status if isinstance(status, int) else 500, said)


def _has_ended(answer: Any) -> bool:
    """Say whether the service itself ended the answer: litellm invents a `stop` for one that broke off."""
    reasons = ("received_finish_reason", "intermittent_finish_reason")
    return any(getattr(answer, name, "unknown") for name in reasons)


async def close_connections() -> None:
    """Close litellm's clients of the running loop, whoever uses them, and its logging task."""
    _users.clear()
    if not _load.cache_info().currsize:
        return
    library = _load()
    loop = asyncio.get_running_loop()
    clients = library.in_memory_llm_clients_cache
    suffix = f"-{id(loop)}"
    for name in [name for name in clients.cache_dict if str(name).endswith(suffix)]:
        client = clients.cache_dict.pop(name)
        close = getattr(client, "aclose", None) or getattr(client, "close", None)
        closing = close() if close is not None else None
        if inspect.isawaitable(closing):
            await closing
    module = importlib.import_module("litellm.litellm_core_utils.logging_worker")
    worker = module.GLOBAL_LOGGING_WORKER
    if getattr(worker, "_bound_loop", None) is loop:
        await worker.stop()
