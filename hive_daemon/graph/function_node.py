"""A node that calls a function of the program's own."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hive_daemon.clock import Clock
from hive_daemon.errors import ConfigError
from hive_daemon.graph.node import NodeContext, NodeResult, NodeSpec
from hive_daemon.tasks import run_in_thread

logger = logging.getLogger(__name__)

_CONTEXT = "ctx"


@dataclass(frozen=True, slots=True)
class FunctionNode:
    """Calls `function` with the node's inputs as keyword arguments, and with `ctx` if it asks for it.

    A plain function runs in a worker thread. A dict whose keys are all output keys fills them; anything else is the
    value of the only output key; a NodeResult passes through. A missing input is left out if the parameter has a
    default; otherwise the node fails and is not tried again.
    """

    function: Callable[..., Any]
    clock: Clock
    takes: Takes

    @classmethod
    def of(cls, function: Callable[..., Any], clock: Clock) -> FunctionNode:
        """Make the node of a function. Raises ConfigError for one whose parameters cannot be told."""
        return cls(function, clock, Takes.of(function))

    async def execute(self, ctx: NodeContext) -> NodeResult:
        """Call the function with what the node reads."""
        arguments, missing = bind(self.takes, ctx)
        if missing:
            names = ", ".join(missing)
            error = f"nobody has set the inputs that {_name(self.function)} needs: {names}"
            return NodeResult(False, error=error, error_type="missing_input", retryable=False)
        return to_result(ctx.node_spec, await self._answer(ctx.deadline, arguments))

    async def _answer(self, deadline: float | None, arguments: dict[str, Any]) -> Any:
        if inspect.iscoroutinefunction(self.function):
            return await self.function(**arguments)
        answer = await self._in_thread(deadline, arguments)
        return await answer if inspect.isawaitable(answer) else answer

    async def _in_thread(self, deadline: float | None, arguments: dict[str, Any]) -> Any:
        """Call in a thread. A thread cannot be stopped: a cancelled call is waited for, until its deadline."""
        call = run_in_thread(self.function, **arguments)
        try:
            return await asyncio.shield(call)
        except asyncio.CancelledError:
            left = None if deadline is None else max(0.0, deadline - self.clock.monotonic())
            await asyncio.wait([call], timeout=left)
            call.add_done_callback(_note_late_end)
            raise


def _note_late_end(call: asyncio.Future[Any]) -> None:
    """Log how a call ended that nobody waited for any more."""
    error = None if call.cancelled() else call.exception()
    if error is not None:
        logger.info("a function that was given up failed", exc_info=error)


@dataclass(frozen=True, slots=True)
class Takes:
    """What a function takes by keyword: names with whether they must be given, and whether it takes any others."""

    names: tuple[tuple[str, bool], ...]
    takes_any: bool

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Takes:
        """Read a function's signature. Raises ConfigError."""
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError) as error:
            raise ConfigError(f"function {_name(function)} has no signature: {error}") from error
        named = tuple(
            (parameter.name, parameter.default is parameter.empty)
            for parameter in parameters
            if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        )
        return cls(named, any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters))


def bind(takes: Takes, ctx: NodeContext) -> tuple[dict[str, Any], list[str]]:
    """Return the keyword arguments for a call, and the names that have neither value nor default."""
    values = ctx.input_data
    wanted = ctx.node_spec.input_keys
    arguments: dict[str, Any] = {}
    missing: list[str] = []
    for name, is_needed in takes.names:
        if name == _CONTEXT:
            arguments[name] = ctx
        elif name in values and (not wanted or name in wanted):
            arguments[name] = values[name]
        elif is_needed:
            missing.append(name)
    if takes.takes_any:
        for name in wanted or values:
            if name in values and name != _CONTEXT:
                arguments.setdefault(name, values[name])
    return arguments, missing


def to_result(spec: NodeSpec, answer: Any) -> NodeResult:
    """Turn what a function returned into what the node answers."""
    if isinstance(answer, NodeResult):
        return answer
    keys = list(dict.fromkeys([*spec.output_keys, *spec.nullable_output_keys]))
    if isinstance(answer, Mapping) and _fills(keys, answer):
        return NodeResult(True, dict(answer))
    if len(keys) == 1:
        return NodeResult(True, {keys[0]: answer})
    if answer is None:
        return NodeResult(True)
    wanted = f"a dict of {', '.join(keys)}" if keys else "a dict"
    error = f"the function returned {type(answer).__name__}, the node needs {wanted}"
    return NodeResult(False, error=error, error_type="bad_output", retryable=False)


def _fills(keys: list[str], answer: Mapping[Any, Any]) -> bool:
    """Say whether a dict holds outputs by their keys; an empty one may be the value of the only key."""
    if not answer:
        return len(keys) != 1
    return not keys or all(key in keys for key in answer)


def resolve(reference: str | Callable[..., Any]) -> Callable[..., Any]:
    """Return the callable that `module:attr` names. Raises ConfigError."""
    if callable(reference):
        return reference
    module, _, attribute = reference.partition(":")
    if not module or not attribute:
        raise ConfigError(f"function {reference!r} is not of the form module:attr")
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"function {reference!r} cannot be found: {error}") from error
    if not callable(found):
        raise ConfigError(f"function {reference!r} is not callable")
    called: Callable[..., Any] = found
    return called


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)
