"""From a function's signature and docstring to what a model is told of it, and from a model's arguments to a call."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.errors import PydanticSchemaGenerationError

from hive_daemon.errors import InvalidInput

FROM_CONTEXT = ("data_dir",)
"""Parameters that the execution fills in: the model neither sees nor sets them."""

_ARGUMENT = re.compile(r"^(?:[:@]param (?:\w+ )?)?\*{0,2}(\w+)(?:\s*\([^)]*\))?\s*:\s*(.+)$")
_SECTIONS = re.compile(
    r"^(Args|Arguments|Parameters|Returns?|Yields?|Raises|Examples?|Notes?):\s*$"
)
_ARGUMENT_SECTIONS = ("Args", "Arguments", "Parameters")


@dataclass(frozen=True, slots=True)
class Signature:
    """How a function is called as a tool.

    `parameters` is the JSON Schema of its arguments. `from_context` names the parameters that the execution fills in.
    """

    summary: str
    parameters: dict[str, Any]
    from_context: tuple[str, ...]
    _model: type[BaseModel]

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Signature:
        """Read a function. What has no default is required; what cannot be told is a text."""
        docs = _Docs.read(inspect.getdoc(function) or "")
        hints = _hints(function)
        taken = [each for each in _parameters(function) if each.kind in _NAMED]
        fields = {
            f"argument_{number}": _field(each, hints, docs)
            for number, each in enumerate(taken)
            if each.name not in FROM_CONTEXT
        }
        model = _model_of(function, fields)
        return cls(
            summary=docs.summary,
            parameters=_schema(model),
            from_context=tuple(each.name for each in taken if each.name in FROM_CONTEXT),
            _model=model,
        )

    def bind(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keyword arguments for a call, converted to what the function wants.

        What was not given is left to the function's defaults. Raises InvalidInput with every mistake.
        """
        try:
            given = self._model.model_validate(dict(inputs))
        except ValidationError as error:
            raise InvalidInput("; ".join(_sentence(each) for each in error.errors())) from None
        named = {
            field.alias or name: getattr(given, name)
            for name, field in type(given).model_fields.items()
            if name in given.model_fields_set
        }
        return named | (given.model_extra or {})


_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError, AttributeError):
        # An annotation that only a type checker can resolve: the parameter counts as a text.
        return {}


def _field(parameter: inspect.Parameter, hints: Mapping[str, Any], docs: _Docs) -> tuple[Any, Any]:
    hint = hints.get(parameter.name, _kind_of(parameter.default))
    if parameter.default is None:
        hint = hint | None if hint is not Any else Any
    wanted = _plain(hint)
    about = docs.arguments.get(parameter.name) or _annotated(hint) or None
    is_required = parameter.default is parameter.empty
    default = ... if is_required else parameter.default
    return wanted, Field(default, alias=parameter.name, description=about)


def _kind_of(default: Any) -> Any:
    """Return what a parameter without annotation takes, by its default."""
    return type(default) if isinstance(default, bool | int | float | str | list | dict) else Any


def _plain(hint: Any) -> Any:
    """Return the type that the model is asked for: without None beside it, a text where there is no schema for it."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        kinds = [each for each in typing.get_args(hint) if each is not type(None)]
        if len(kinds) == 1:
            return typing.Annotated[_plain(kinds[0]) | None, _OrNull]
    if hint in (Any, inspect.Parameter.empty):
        return Any
    try:
        create_model("probe", value=(hint, ...)).model_json_schema()
    except (PydanticSchemaGenerationError, ValueError, TypeError, RuntimeError):
        return Any
    return hint


class _OrNull:
    """Marks an optional argument: its schema does not mention null."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> dict[str, Any]:
        schema: dict[str, Any] = handler(core)
        kinds = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
        return kinds[0] if len(kinds) == 1 else schema


def _annotated(hint: Any) -> str:
    texts = [each for each in getattr(hint, "__metadata__", ()) if isinstance(each, str)]
    return texts[0] if texts else ""


def _model_of(function: Callable[..., Any], fields: Mapping[str, Any]) -> type[BaseModel]:
    takes_any = any(each.kind is each.VAR_KEYWORD for each in _parameters(function))
    config = ConfigDict(
        extra="allow" if takes_any else "forbid",
        arbitrary_types_allowed=True,
        coerce_numbers_to_str=True,
    )
    definitions: dict[str, Any] = dict(fields)
    return create_model("arguments", __config__=config, **definitions)


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema(by_alias=True)
    properties = {name: _property(each) for name, each in schema.get("properties", {}).items()}
    result: dict[str, Any] = {
        "type": "object",
        "properties": properties,
        "required": schema.get("required", []),
    }
    if "$defs" in schema:
        result["$defs"] = schema["$defs"]
    return result


def _property(schema: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in schema.items() if key != "title"}
    if kept.get("default", ...) is None:
        del kept["default"]
    if not kept.keys() - {"default", "description"}:
        kept = {"type": "string", **kept}
    return kept


def _sentence(problem: Any) -> str:
    where = ".".join(str(step) for step in problem["loc"])
    match problem["type"]:
        case "missing":
            return f"the argument {where!r} is missing"
        case "extra_forbidden":
            return f"there is no argument {where!r}"
    return f"the argument {where!r}: {problem['msg'].lower()}"


@dataclass(frozen=True, slots=True)
class _Docs:
    """What a docstring says: in general, and of each argument (Google or reST style)."""

    summary: str
    arguments: Mapping[str, str]

    @classmethod
    def read(cls, text: str) -> _Docs:
        summary: list[str] = []
        arguments: dict[str, str] = {}
        section, latest = "", ""
        for line in text.splitlines():
            heading = _SECTIONS.match(line)
            if heading is not None:
                section, latest = heading.group(1), ""
                continue
            is_listed = section in _ARGUMENT_SECTIONS or line.startswith((":param", "@param"))
            found = _ARGUMENT.match(line.strip()) if is_listed else None
            if found is not None:
                latest = found.group(1)
                arguments[latest] = found.group(2).strip()
            elif is_listed and latest and line.strip():
                arguments[latest] += f" {line.strip()}"
            elif not section and not line.startswith(":"):
                summary.append(line)
        return cls("\n".join(summary).strip(), arguments)
