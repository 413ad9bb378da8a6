"""What a person may write into the `trigger_config` of an event entry point, and how mistakes in it are told.

Every key here is honoured; a key that nobody acts on does not exist, and an unknown one is refused.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StrictBool,
    StrictStr,
    ValidationError,
)
from pydantic_core import ErrorDetails

from hive_daemon.errors import ConfigError, InvalidInput
from hive_daemon.graph.expression import Expression, ExpressionError
from hive_daemon.runtime.events import LIVE, EventFilter, EventType
from hive_daemon.runtime.routing import (
    MAX_CHAIN,
    CancelRule,
    CancelScope,
    EventPattern,
    EventRoute,
)

SUBJECT = "event"
"""The one name that a `where` reads."""


_WANTED = {
    "bool_type": "true or false",
    "string_type": "a text",
    "int_type": "a whole number",
    "model_type": "a list of event types, or a mapping with event_types",
}
"""What is said of a value of the wrong type, by pydantic's word for it."""


def _read_types(value: object) -> frozenset[EventType]:
    """Read the types of events. Raises InvalidInput that names the unknown one, and for none that could come."""
    if not isinstance(value, str | list | tuple | set | frozenset):
        raise InvalidInput(f"must be a list of event types, not {value!r}")
    texts = [value] if isinstance(value, str) else list(value)
    found = frozenset(map(_read_type, texts))
    if not found:
        raise InvalidInput("names no event, name at least one, for example execution_failed")
    if found <= LIVE:
        names = ", ".join(sorted(found))
        raise InvalidInput(f"{names} never comes to an entry point, name a type that is not live")
    return found


def _read_type(text: object) -> EventType:
    known = [kind.value for kind in EventType]
    if isinstance(text, str) and text in known:
        return EventType(text)
    near = difflib.get_close_matches(str(text), known, n=1)
    hint = f"did you mean {near[0]}?" if near else "docs/events.md lists them"
    raise InvalidInput(f"there is no event type {text!r}, {hint}")


def _read_where(value: object) -> Expression:
    """Read a condition over `event`. Raises InvalidInput."""
    if not isinstance(value, str) or not value.strip():
        raise InvalidInput(f"must be an expression over {SUBJECT}, not {value!r}")
    try:
        where = Expression.parse(value)
    except ExpressionError as error:
        raise InvalidInput(str(error)) from error
    for name in sorted(where.names - {SUBJECT}):
        raise InvalidInput(f"{name!r} is not known here, write event.data.{name} or event.{name}")
    return where


def _read_filter(value: object) -> object:
    return "" if value is None else value


Types = Annotated[frozenset[EventType], PlainValidator(_read_types)]
Condition = Annotated[Expression, PlainValidator(_read_where)]
Filter = Annotated[StrictStr, BeforeValidator(_read_filter)]
"""What a field of an event must be; empty or null for any."""


class PatternConfig(BaseModel):
    """Which events are meant; every filter that is set must match."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    event_types: Types = frozenset()
    filter_stream: Filter = ""
    """A graph's id means every stream of it."""
    filter_node: Filter = ""
    filter_execution: Filter = ""
    filter_graph: Filter = ""
    exclude_own_graph: StrictBool = False
    where: Condition | None = None

    @property
    def pattern(self) -> EventPattern:
        """The pattern as the router matches it."""
        wanted = EventFilter(
            types=self.event_types,
            stream=self.filter_stream,
            node=self.filter_node,
            execution=self.filter_execution,
            graph=self.filter_graph,
        )
        return EventPattern(wanted, self.exclude_own_graph, self.where)


class CancelConfig(PatternConfig):
    """Which events cancel executions of the entry point that have not ended, and which of them."""

    of: CancelScope = CancelScope.RELATED

    @property
    def rule(self) -> CancelRule:
        """The rule as the router applies it."""
        return CancelRule(self.pattern, self.of)


def _read_cancel(value: object) -> object:
    """Let a list of event types stand for the mapping that holds nothing else."""
    if isinstance(value, str | list | tuple):
        return {"event_types": value}
    return value


class EventConfig(PatternConfig):
    """The `trigger_config` of an event entry point. Use `read` where a person's text comes in."""

    cancel_on: Annotated[CancelConfig | None, BeforeValidator(_read_cancel)] = None
    max_depth: Annotated[int, Field(ge=1, le=MAX_CHAIN, strict=True)] = 1
    """How often the entry point may stand in one causation chain."""

    @classmethod
    def read(cls, trigger_config: Mapping[str, Any]) -> Self:
        """Read what a person wrote. Raises ConfigError with one sentence for each mistake."""
        try:
            return cls.model_validate(dict(trigger_config))
        except ValidationError as error:
            raise ConfigError(_sentence(problem) for problem in error.errors()) from None

    def route(self, entry_point: str, lane: str, graph: str) -> EventRoute:
        """Return the route to an entry point of this graph."""
        rule = None if self.cancel_on is None else self.cancel_on.rule
        return EventRoute(entry_point, lane, graph, self.pattern, self.max_depth, rule)


def _sentence(problem: ErrorDetails) -> str:
    *above, last = [str(step) for step in problem["loc"]]
    where = ".".join([*above, last])
    if problem["type"] in ("extra_forbidden", "invalid_key"):
        known = list((CancelConfig if above else EventConfig).model_fields)
        near = difflib.get_close_matches(last, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
        return f"{where}: unknown key, {hint}"
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, InvalidInput):
        return f"{where}: {cause}"
    message = problem["msg"].removeprefix("Input should be ")
    wanted = _WANTED.get(problem["type"], message)
    return f"{where}: must be {wanted}, not {problem['input']!r}"
