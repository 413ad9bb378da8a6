"""The tools of the loop itself: set an output, ask a person, ask for help. They are answered at once, by the engine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from hive_daemon.graph.judge import output_keys
from hive_daemon.graph.node import NodeSpec
from hive_daemon.llm.openai_shapes import RAW_KEY
from hive_daemon.llm.values import Tool, ToolUse

SET_OUTPUT = "set_output"
ASK_USER = "ask_user"
ESCALATE = "escalate"

_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "str": (str,),
    "number": (int, float),
    "float": (int, float),
    "integer": (int,),
    "int": (int,),
    "boolean": (bool,),
    "bool": (bool,),
    "object": (dict,),
    "dict": (dict,),
    "array": (list,),
    "list": (list,),
}


@dataclass(frozen=True, slots=True)
class Handled:
    """What calling a framework tool came to: the result for the model, and what it set, asks or reports."""

    content: str
    is_error: bool = False
    key: str = ""
    value: Any = None
    question: str = ""
    options: tuple[str, ...] = ()
    reason: str = ""
    context: str = ""
    is_unusable: bool = False


def framework_tools(spec: NodeSpec, *, can_ask: bool) -> list[Tool]:
    """Return the tools of the loop that a node is offered; there is always at least one."""
    offered = []
    if output_keys(spec):
        offered.append(_set_output_tool(spec))
    if can_ask:
        offered.append(_ASK_USER_TOOL)
    return [*offered, _ESCALATE_TOOL]


def handle(spec: NodeSpec, use: ToolUse, said: str = "") -> Handled:
    """Answer a call of a framework tool; nothing is done yet, the caller takes it from what this returns.

    `said` is what the model wrote beside the call: the question of an `ask_user` without one.
    """
    if RAW_KEY in use.input:
        return unusable(use)
    if use.name == SET_OUTPUT:
        return _handle_set_output(spec, use.input)
    if use.name == ASK_USER:
        return _handle_ask_user(use.input, said)
    reason = _text(use.input.get("reason"))
    if not reason:
        return Handled("reason is missing: say why you need help.", is_error=True)
    context = _text(use.input.get("context"))
    return Handled("Help was requested; this step ends here.", reason=reason, context=context)


def unusable(use: ToolUse) -> Handled:
    """Refuse a call whose arguments are no JSON object, and say so."""
    text = (
        f"The arguments of {use.name} are not a valid JSON object, so it was not called. They began with: "
        f"{str(use.input.get(RAW_KEY))[:200]!r}. Call it again with complete, valid JSON."
    )
    return Handled(text, is_error=True, is_unusable=True)


def decode_output(value: Any, schema: Mapping[str, Any]) -> Any:
    """Return the value that a model means by the text it gave for an output.

    JSON objects, arrays, true, false and null are decoded, a number only where the schema says so, and nothing where it
    says text. What is no text already stays as it is. Raises ValueError when the value does not fit the schema's type.
    """
    wanted = str(schema.get("type", "")).lower()
    decoded = _decoded(value, wanted) if isinstance(value, str) else value
    kinds = _TYPES.get(wanted)
    if kinds is None or decoded is None:
        return decoded
    if kinds == (str,) and not isinstance(decoded, str):
        return json.dumps(decoded, ensure_ascii=False)
    if not isinstance(decoded, kinds) or (isinstance(decoded, bool) and bool not in kinds):
        raise ValueError(f"a value of type {wanted} is needed")
    return decoded


def _decoded(text: str, wanted: str) -> Any:
    kinds = _TYPES.get(wanted)
    if kinds == (str,):
        return text
    try:
        found = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return text
    if isinstance(found, dict | list | bool) or found is None:
        return found
    is_number = isinstance(found, int | float)
    return found if is_number and kinds is not None and int in kinds else text


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _handle_set_output(spec: NodeSpec, given: Mapping[str, Any]) -> Handled:
    key, keys = _text(given.get("key")), output_keys(spec)
    if key not in keys:
        near = get_close_matches(key, keys, n=1)
        advice = f"did you mean {near[0]!r}?" if near else f"the outputs are: {', '.join(keys)}"
        return Handled(f"There is no output {key!r}; {advice}", is_error=True)
    if "value" not in given:
        return Handled(f"value is missing: nothing was set for {key!r}.", is_error=True)
    try:
        value = decode_output(given["value"], spec.output_schema.get(key, {}))
    except ValueError as error:
        return Handled(f"{key!r} was not set: {error}.", is_error=True)
    if value in (None, "") and key in spec.required_output_keys:
        return Handled(f"{key!r} was not set: it needs a value.", is_error=True)
    return Handled(f"{key} is set.", key=key, value=value)


def _handle_ask_user(given: Mapping[str, Any], said: str) -> Handled:
    question = _text(given.get("question")) or said.strip()
    if not question:
        return Handled("question is missing: say what you want to know.", is_error=True)
    options = given.get("options")
    listed = tuple(_text(option) for option in options) if isinstance(options, list) else ()
    return Handled("The question was put to the user.", question=question, options=listed)


def _set_output_tool(spec: NodeSpec) -> Tool:
    keys = output_keys(spec)
    notes = [f"- {key}: {note}" for key in keys if (note := _describe(spec, key))]
    description = "\n".join(
        ["Set one output of this step. Setting it again replaces the value.", *notes]
    )
    value = {
        "type": "string",
        "description": "The whole value: plain text, or JSON for an object, a list, true, false or null.",
    }
    return Tool(
        SET_OUTPUT,
        description,
        {
            "type": "object",
            "properties": {"key": {"type": "string", "enum": list(keys)}, "value": value},
            "required": ["key", "value"],
        },
    )


def _describe(spec: NodeSpec, key: str) -> str:
    schema = spec.output_schema.get(key, {})
    kind, about = schema.get("type"), schema.get("description")
    optional = "" if key in spec.required_output_keys else "optional"
    return ", ".join(str(part) for part in (kind, about, optional) if part)


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else "" if value is None else str(value)


_ASK_USER_TOOL = Tool(
    ASK_USER,
    "Ask the user something that only they can answer. The work goes on when they have answered.",
    {
        "type": "object",
        "properties": {
            "question": {"type": "string", "description": "The question, complete in itself."},
            "options": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Two or three answers to choose from, where there are such.",
            },
        },
        "required": ["question"],
    },
)
_ESCALATE_TOOL = Tool(
    ESCALATE,
    "Give this step up and ask for help: only when it cannot be done with what you have, after trying.",
    {
        "type": "object",
        "properties": {
            "reason": {"type": "string", "description": "What stands in the way."},
            "context": {"type": "string", "description": "What you tried, what would help."},
        },
        "required": ["reason"],
    },
)
