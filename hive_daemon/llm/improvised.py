"""What the scripted model says where no script speaks: outputs made up, verdicts that agree.

Everything is a function of the question: the conversation, the tools on offer and the context of the call.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hive_daemon.llm.openai_shapes import decode_arguments, text_of
from hive_daemon.llm.plausible import plausible
from hive_daemon.llm.script import ScriptedFault
from hive_daemon.llm.script_template import as_text
from hive_daemon.llm.values import CallContext, Message, Tool

SET_OUTPUT = "set_output"
KEYS_PER_TURN = 10
"""As many `set_output` calls as a turn of the model loop runs by default."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model says once; `calls` are pairs of tool name and arguments."""

    text: str = ""
    reasoning: str = ""
    calls: tuple[tuple[str, dict[str, Any]], ...] = ()
    fault: ScriptedFault | None = None
    delay_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Question:
    """What the model was asked."""

    messages: Sequence[Message]
    system: str
    tools: Sequence[Tool]
    context: CallContext
    response_format: Mapping[str, Any] | None = None
    json_mode: bool = False

    @property
    def text(self) -> str:
        """All that was said, as one text."""
        return "\n".join([self.system, *(text_of(message) for message in self.messages)])


def set_output(key: str, value: Any) -> tuple[str, dict[str, Any]]:
    """Make the call that sets an output key; what is not text travels as JSON."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return SET_OUTPUT, {"key": key, "value": text}


def improvised_turn(question: Question) -> Reply:
    """Set the output keys that are missing, else say that nothing is left to do."""
    context = question.context
    keys = _keys_to_set(question)
    calls = tuple(
        set_output(key, plausible(key, context.output_schema.get(key, {}), context.visit))
        for key in keys[:KEYS_PER_TURN]
    )
    if calls:
        return Reply(calls=calls)
    subject = f"node {context.node_id!r}" if context.node_id else "this conversation"
    done = ", ".join(_output_keys(question))
    outcome = f"the outputs are set: {done}." if done else "nothing is left to do."
    return Reply(text=f"This is the scripted model's answer for {subject}: {outcome}")


def _output_keys(question: Question) -> tuple[str, ...]:
    """Return the keys that can be set: those of the context, else those that the tool names."""
    tool = next((tool for tool in question.tools if tool.name == SET_OUTPUT), None)
    if tool is None:
        return ()
    if question.context.output_keys:
        return question.context.output_keys
    key = tool.parameters.get("properties", {}).get("key", {})
    return tuple(key.get("enum", ()))


def _keys_to_set(question: Question) -> list[str]:
    """Return the keys not set since the last user message, those never set before first.

    Asked again (the judge wants more, a node is visited again) the model sets them again: harmless, and it needs no
    memory of what a visit is.
    """
    ever, lately = _keys_set(question.messages)
    open_keys = [key for key in _output_keys(question) if key not in lately]
    return sorted(open_keys, key=lambda key: key in ever)


def _keys_set(messages: Sequence[Message]) -> tuple[set[str], set[str]]:
    ever: set[str] = set()
    lately: set[str] = set()
    for message in messages:
        if message.get("role") == "user":
            lately = set()
        for call in message.get("tool_calls") or ():
            key = _key_set_by(call.get("function") or {})
            ever.add(key)
            lately.add(key)
    return ever, lately


def _key_set_by(function: Mapping[str, Any]) -> str:
    if function.get("name") != SET_OUTPUT:
        return ""
    return as_text(decode_arguments(function.get("arguments") or "").get("key"))


def improvised_completion(question: Question) -> Reply:
    """Agree: with an edge that asks whether to proceed, with a judge; else answer in the form that was asked for."""
    text = question.text
    if schema := _schema_of(question.response_format):
        return Reply(text=json.dumps(plausible("answer", schema)))
    if all(word in text for word in ("proceed", "reasoning")):
        verdict = {"proceed": True, "reasoning": "The scripted model agrees."}
        return Reply(text=json.dumps(verdict))
    if all(word in text for word in ("ACTION", "CONFIDENCE", "FEEDBACK")):
        return Reply(text="ACTION: ACCEPT\nCONFIDENCE: 1.0\nFEEDBACK: ")
    if question.json_mode or question.response_format:
        return Reply(text=json.dumps({"answer": "scripted"}))
    return Reply(text="This is the scripted model's answer.")


def _schema_of(response_format: Mapping[str, Any] | None) -> Mapping[str, Any]:
    declared = (response_format or {}).get("json_schema")
    schema = declared.get("schema") if isinstance(declared, Mapping) else None
    return schema if isinstance(schema, Mapping) else {}
