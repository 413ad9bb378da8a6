"""The short loop of `complete_with_tools`: ask, run the tools, answer, until the model calls no more of them."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from dataclasses import replace

from hive_daemon.interrupts import ENDS_PROCESS, pass_on_of_person
from hive_daemon.llm.failures import CallRejected
from hive_daemon.llm.openai_shapes import assistant_message, tool_message
from hive_daemon.llm.provider import LLMProvider, ask
from hive_daemon.llm.purse import purse
from hive_daemon.llm.values import (
    DEFAULT_MAX_TOKENS,
    LLMResponse,
    Message,
    Tool,
    ToolExecutor,
    ToolResult,
    ToolUse,
)
from hive_daemon.tasks import run_all, to_thread

MAX_ROUNDS = 10


async def complete_with_tools(
    provider: LLMProvider,
    messages: list[Message],
    system: str,
    tools: list[Tool],
    tool_executor: ToolExecutor,
    max_tokens: int = DEFAULT_MAX_TOKENS,
) -> LLMResponse:
    """Return the first answer without tool calls; its counts and its cost are those of all rounds.

    The calls of a round run side by side, plain executors in worker threads. An executor that raises ends the loop.
    Raises CallRejected when the model still calls tools after `MAX_ROUNDS`.
    """
    history = list(messages)
    spent: list[LLMResponse] = []
    for _ in range(MAX_ROUNDS):
        response = await ask(provider, history, system, tools=tools, max_tokens=max_tokens)
        spent.append(response)
        if not response.tool_calls:
            return _with_sums(response, spent)
        history.append(assistant_message(response.content, response.tool_calls))
        works = [_run_tool(tool_executor, use) for use in response.tool_calls]
        history += [tool_message(result) for result in await run_all("tool", works)]
    raise CallRejected(
        f"the model still calls tools after {MAX_ROUNDS} rounds", subject=provider.model
    )


async def _run_tool(executor: ToolExecutor, use: ToolUse) -> ToolResult:
    await purse.get().hold_tool(use.name)
    try:
        if inspect.iscoroutinefunction(executor):
            return await _settled(executor(use))
        return await _settled(await to_thread(executor, use))
    except ENDS_PROCESS as error:
        pass_on_of_person(error)
        # Each call is a task: an event loop stops at what no task may raise.
        raise RuntimeError(f"{use.name} raised {type(error).__name__}: {error}") from error


async def _settled(result: ToolResult | Awaitable[ToolResult]) -> ToolResult:
    return result if isinstance(result, ToolResult) else await result


def _with_sums(last: LLMResponse, spent: list[LLMResponse]) -> LLMResponse:
    costs = [response.cost_usd for response in spent if response.cost_usd is not None]
    return replace(
        last,
        input_tokens=sum(response.input_tokens for response in spent),
        output_tokens=sum(response.output_tokens for response in spent),
        cached_tokens=sum(response.cached_tokens for response in spent),
        reasoning_tokens=sum(response.reasoning_tokens for response in spent),
        cache_write_tokens=sum(response.cache_write_tokens for response in spent),
        is_estimated=any(response.is_estimated for response in spent),
        cost_usd=sum(costs) if len(costs) == len(spent) else None,
    )
