"""The scripted model: deterministic, offline, at no cost. What `model: scripted` and `model: scripted:PATH` mean.

Without a script it drives any graph: it sets each missing output key to a plausible value, then says so; it calls no
other tool; asked for a verdict it agrees. With a script it says what the script says (`docs/scripted-provider.md`), and
goes on without it where the script ends. What it answers is a function of the conversation and the `CallContext` alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

from hive_daemon.clock import SYSTEM_CLOCK, Clock
from hive_daemon.llm.assembly import Assembler, CallFragment, Piece, Usage
from hive_daemon.llm.failures import CallFailure, CallRejected, CallUnavailable, call_failure
from hive_daemon.llm.improvised import (
    Question,
    Reply,
    improvised_completion,
    improvised_turn,
    set_output,
)
from hive_daemon.llm.openai_shapes import text_of
from hive_daemon.llm.provider import LLMProvider, gather
from hive_daemon.llm.script import (
    Script,
    ScriptedFault,
    ScriptedTurn,
    load_script,
    parse_script,
    pick,
    turns_taken,
)
from hive_daemon.llm.script_template import TemplateFault, fill, fill_text
from hive_daemon.llm.stream_events import StreamEvent
from hive_daemon.llm.values import (
    DEFAULT_MAX_TOKENS,
    CallContext,
    LLMResponse,
    Message,
    Tool,
    call_context,
)

PIECE_CHARS = 24
CHARS_PER_TOKEN = 4


class ScriptedProvider(LLMProvider):
    """A model that follows a script, or makes one up.

    `script` is a `Script`, its decoded JSON, or the path of its file. Raises ConfigError for a faulty script; a call
    raises what the script's turn says, and CallRejected for a placeholder that cannot be filled.
    """

    is_free = True

    def __init__(
        self,
        script: Script | Mapping[str, Any] | Path | None = None,
        model: str = "scripted",
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.model = model
        self.script = _read(script)
        self._clock = clock

    async def acomplete(
        self,
        messages: list[Message],
        system: str = "",
        tools: list[Tool] | None = None,
        max_tokens: int = DEFAULT_MAX_TOKENS,
        response_format: dict[str, Any] | None = None,
        json_mode: bool = False,
    ) -> LLMResponse:
        """Answer as a whole: with tools as `stream` would, without them from `completions`."""
        question = Question(
            messages, system, tools or (), call_context.get(), response_format, json_mode
        )
        reply = self._turn(question) if tools else self._completion(question)
        try:
            return await gather(self._say(reply, question))
        except CallUnavailable as failure:
            failure.delivered = False
            raise

    async def stream(
        self,
        messages: list[Message],
        system: str = "",
        tools: list[Tool] | None = None,
        max_tokens: int = DEFAULT_MAX_TOKENS,
    ) -> AsyncGenerator[StreamEvent, None]:
        """Take the next turn of a node, piece by piece."""
        question = Question(messages, system, tools or (), call_context.get())
        async for event in self._say(self._turn(question), question):
            yield event

    async def _say(self, reply: Reply, question: Question) -> AsyncGenerator[StreamEvent, None]:
        if reply.delay_seconds:
            await self._clock.sleep(reply.delay_seconds)
        fault = _fault_of(reply, question.context)
        if fault is not None and not fault.after_text:
            raise self._failure(fault, delivered=False)
        assembler = Assembler(self.model)
        for piece in _deltas(reply):
            for event in assembler.feed(piece):
                yield event
        if fault is not None:
            raise self._failure(fault, delivered=assembler.delivered)
        assembler.feed(_ending(reply, question))
        for event in assembler.finish(cost_usd=0.0):
            yield event

    def _turn(self, question: Question) -> Reply:
        context = question.context
        turns = self.script.turns_for(context.node_id, context.visit)
        scripted = pick(turns, question.messages, context)
        return improvised_turn(question) if scripted is None else self._fill(scripted, question)

    def _completion(self, question: Question) -> Reply:
        # A completion has no history of its own: only the messages at hand count.
        own = CallContext()
        scripted = pick(self.script.completions, question.messages, own)
        return (
            improvised_completion(question) if scripted is None else self._fill(scripted, question)
        )

    def _fill(self, turn: ScriptedTurn, question: Question) -> Reply:
        values = _values(question)
        try:
            text = fill_text(turn.text, values)
            values["$text"] = text
            outputs = fill(turn.set_output, values)
            calls = [(call.name, fill(call.input, values)) for call in turn.tool_calls]
            reasoning = fill_text(turn.reasoning, values)
        except TemplateFault as fault:
            where = f"script of {self.model}, node {question.context.node_id!r}"
            hint = "give the node this input, or the placeholder a default"
            raise CallRejected(f"{where}: {fault}", hint=hint, subject=self.model) from fault
        return Reply(
            text=text,
            reasoning=reasoning,
            calls=(*calls, *(set_output(key, value) for key, value in outputs.items())),
            fault=turn.error,
            delay_seconds=turn.delay_seconds,
        )

    def _failure(self, fault: ScriptedFault, *, delivered: bool) -> CallFailure:
        failure = call_failure(
            fault.kind,
            f"{self.model}: {fault.message or f'the script says {fault.kind}'}",
            subject=self.model,
            retry_after_seconds=fault.retry_after_seconds,
        )
        if isinstance(failure, CallUnavailable):
            failure.delivered = delivered
        return failure


def _read(script: Script | Mapping[str, Any] | Path | None) -> Script:
    match script:
        case None:
            return Script()
        case Script():
            return script
        case Path():
            return load_script(script)
    return parse_script(dict(script))


def _values(question: Question) -> dict[str, Any]:
    """Return what placeholders may name: the inputs of the node, and the call itself under `$` names."""
    context = question.context
    last = question.messages[-1] if question.messages else {}
    return {
        **context.inputs,
        "$node_id": context.node_id,
        "$visit": context.visit,
        "$attempt": context.attempt,
        "$execution_id": context.execution_id,
        "$session_id": context.session_id,
        "$last": text_of(last),
    }


def _fault_of(reply: Reply, context: CallContext) -> ScriptedFault | None:
    fault = reply.fault
    is_over = fault is not None and fault.attempts and context.attempt > fault.attempts
    return None if is_over else fault


def _deltas(reply: Reply) -> list[Piece]:
    thoughts = [Piece(reasoning=part) for part in _split(reply.reasoning)]
    return thoughts + [Piece(text=part) for part in _split(reply.text)]


def _ending(reply: Reply, question: Question) -> Piece:
    context = question.context
    turn = turns_taken(question.messages, context)
    place = f"{context.execution_id}/{context.node_id}/{context.visit}/{turn}"
    fragments = [
        CallFragment(position, _call_id(place, position), name, json.dumps(given, default=str))
        for position, (name, given) in enumerate(reply.calls)
    ]
    return Piece(
        fragments=tuple(fragments),
        stop_reason="tool_calls" if fragments else "stop",
        usage=_usage(reply, question),
    )


def _split(text: str) -> list[str]:
    return [text[start : start + PIECE_CHARS] for start in range(0, len(text), PIECE_CHARS)]


def _call_id(place: str, position: int) -> str:
    return f"call_{hashlib.sha256(f'{place}/{position}'.encode()).hexdigest()[:16]}"


def _usage(reply: Reply, question: Question) -> Usage:
    heard = json.dumps(list(question.messages), default=str)
    offered = "".join(tool.name + tool.description for tool in question.tools)
    called = "".join(name + json.dumps(given, default=str) for name, given in reply.calls)
    return Usage(
        input_tokens=_tokens(question.system + heard + offered),
        output_tokens=_tokens(reply.text + reply.reasoning + called),
        reasoning_tokens=_tokens(reply.reasoning),
    )


def _tokens(text: str) -> int:
    return -(-len(text) // CHARS_PER_TOKEN)
