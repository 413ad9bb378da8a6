"""Functions as tools: the decorator that marks them, and the call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar, overload

from hive_daemon.errors import InvalidInput
from hive_daemon.llm.values import Tool
from hive_daemon.tools.context import execution_context
from hive_daemon.tools.on_unknown import OnUnknown
from hive_daemon.tools.signature import Signature

F = TypeVar("F", bound=Callable[..., Any])

_MARK = "_hive_tool"


@dataclass(frozen=True, slots=True)
class ToolMark:
    """What the decorator says of a function; what it leaves out is read off the function."""

    name: str = ""
    description: str = ""
    timeout_seconds: float | None = None
    on_unknown: OnUnknown = OnUnknown.FAIL


@overload
def tool(description: F) -> F: ...


@overload
def tool(
    description: str | None = None,
    name: str | None = None,
    *,
    timeout_seconds: float | None = None,
    on_unknown: str = OnUnknown.FAIL,
) -> Callable[[F], F]: ...


def tool(
    description: Any = None,
    name: str | None = None,
    *,
    timeout_seconds: float | None = None,
    on_unknown: str = OnUnknown.FAIL,
) -> Any:
    """Mark a function as a tool, `@tool` or `@tool("what it does", name="…")`; the function stays what it is.

    The name defaults to the function's, the description to its docstring. `timeout_seconds` bounds one call.
    `on_unknown` (`retry`, `fail`, `ask`) says what becomes of a call whose result a crash took: only one that may be
    made twice should say `retry`. Raises ValueError for another word.
    """
    if callable(description):
        setattr(description, _MARK, ToolMark())
        return description

    said = ToolMark(name or "", description or "", timeout_seconds, OnUnknown(on_unknown))

    def mark(function: F) -> F:
        setattr(function, _MARK, said)
        return function

    return mark


def marked_functions(module: ModuleType) -> dict[str, tuple[Callable[..., Any], ToolMark]]:
    """Return the functions of a module that are marked as tools, by the tools' names."""
    found = {}
    for value in vars(module).values():
        mark = getattr(value, _MARK, None) if inspect.isfunction(value) else None
        if isinstance(mark, ToolMark):
            found[mark.name or value.__name__] = (value, mark)
    return found


@dataclass(frozen=True, slots=True)
class FunctionTool:
    """Calls a function with a model's arguments. `session` holds what is true for every call, beside the execution."""

    function: Callable[..., Any]
    signature: Signature
    session: Mapping[str, Any]

    @classmethod
    def of(cls, function: Callable[..., Any], session: Mapping[str, Any]) -> FunctionTool:
        """Read the function."""
        return cls(function, Signature.of(function), session)

    def described(self, name: str, description: str) -> Tool:
        """Return what a model is told."""
        about = description or self.signature.summary or f"Run {name}."
        return Tool(name, about, self.signature.parameters)

    def __call__(self, inputs: Mapping[str, Any]) -> Any:
        """Call the function; an asynchronous one gives an awaitable. Raises InvalidInput, and what it raises."""
        return self.function(**self.signature.bind(inputs), **self._from_context())

    def _from_context(self) -> dict[str, Any]:
        known = {**self.session, **execution_context()}
        required = inspect.signature(self.function).parameters
        filled = {}
        for name in self.signature.from_context:
            if known.get(name):
                filled[name] = known[name]
            elif required[name].default is inspect.Parameter.empty:
                raise InvalidInput(f"{name} is only known inside an execution")
        return filled
