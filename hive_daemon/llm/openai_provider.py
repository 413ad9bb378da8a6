"""The provider for OpenAI and for every service that speaks its chat completions protocol, without litellm.

Making one touches neither the network nor aiohttp, which is imported at the first call. Deadlines, tries and what an
answer looks like are the same as over litellm: `calling` and `limits`.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import AsyncGenerator, Mapping
from functools import cache, partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

from hive_daemon.llm.failures import FailureKind, call_failure
from hive_daemon.llm.openai_shapes import chat_messages, function_tool
from hive_daemon.llm.remote import ServiceProvider
from hive_daemon.llm.stream_events import StreamEvent
from hive_daemon.llm.transport import Target, target_of
from hive_daemon.llm.values import DEFAULT_MAX_TOKENS, LLMResponse, Message, Tool
from hive_daemon.tasks import to_thread

if TYPE_CHECKING:
    from hive_daemon.llm.openai_transport import Post

REASONING_NAMES = re.compile(r"(o[134](-|$)|gpt-[5-9]).*")
"""OpenAI's models that think first: they count their thoughts as output and take no sampling parameters."""

SAMPLING = frozenset(
    {"temperature", "top_p", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs"}
)
NOT_SENT = frozenset(
    {"extra_headers", "extra_body", "organization", "max_retries", "num_retries", "drop_params"}
)
"""Options that steer the client; all others go into the request."""


class OpenAIProvider(ServiceProvider):
    """A model of a service that speaks the OpenAI chat completions protocol.

    `model` is litellm's name, `openai/…`; of other names only the prefixes of `transport.COMPATIBLE` are taken off.
    Without `api_base` it is OpenAI, or what `OPENAI_BASE_URL` says; without `api_key` the service's variable is read at
    each call. The fields of `CallLimits` are further options; all others go into the request (`temperature`, …), but
    for `extra_headers`, `extra_body` and `organization`, which mean what they mean to litellm.
    """

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
        target = self._target()
        body = self._body(target, chat_messages(messages, system, json_mode=json_mode), max_tokens)
        if response_format or json_mode:
            body["response_format"] = response_format or {"type": "json_object"}
        post = await self._post(target, _with_tools(body, tools))
        return await self._answered(body, partial(_loaded().whole, post))

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
        target = self._target()
        body = self._body(target, chat_messages(messages, system), max_tokens)
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        post = await self._post(target, _with_tools(body, tools))
        answer = self._streamed(body, partial(_loaded().pieces, post), resets=resets)
        try:
            async for event in answer:
                yield event
        finally:
            await answer.aclose()

    async def aclose(self) -> None:
        """Leave the shared connections; the last provider of this event loop closes them."""
        if _loaded.cache_info().currsize:
            await _loaded().leave(self)

    def _target(self) -> Target:
        target = target_of(self.model, self.api_base, self.api_key, os.environ)
        if target.is_openai and not target.api_key:
            sentence = f"{self.model}: there is no API key, set {target.key_variable}"
            raise call_failure(FailureKind.AUTH, sentence, subject=self.model)
        return target

    def _body(self, target: Target, messages: list[Message], max_tokens: int) -> dict[str, Any]:
        thinks = REASONING_NAMES.fullmatch(target.model) is not None
        limit = "max_completion_tokens" if thinks or target.is_openai else "max_tokens"
        left_out = NOT_SENT | SAMPLING if thinks else NOT_SENT
        options = {name: value for name, value in self.extra_kwargs.items() if name not in left_out}
        own = {"model": target.model, "messages": messages, limit: max_tokens}
        return own | options | dict(self.extra_kwargs.get("extra_body") or {})

    async def _post(self, target: Target, body: Mapping[str, Any]) -> Post:
        transport = _loaded() if _loaded.cache_info().currsize else await to_thread(_loaded)
        transport.enter(self)
        headers = {"Content-Type": "application/json"}
        if target.api_key:
            headers["Authorization"] = f"Bearer {target.api_key}"
        if organization := self.extra_kwargs.get("organization"):
            headers["OpenAI-Organization"] = str(organization)
        headers |= dict(self.extra_kwargs.get("extra_headers") or {})
        post: Post = transport.Post(self.model, target.url, headers, body, self._clock)
        return post


@cache
def _loaded() -> ModuleType:
    """Import the transport, and with it aiohttp."""
    return importlib.import_module("hive_daemon.llm.openai_transport")


def _with_tools(body: dict[str, Any], tools: list[Tool] | None) -> dict[str, Any]:
    if tools:
        body["tools"] = [function_tool(tool) for tool in tools]
    return body
