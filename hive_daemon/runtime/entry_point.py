"""Entry points: where executions begin, and under which rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from hive_daemon.budgets.written import budget_problems
from hive_daemon.errors import ConfigError
from hive_daemon.graph.edge import AsyncEntryPointSpec
from hive_daemon.graph.healing import Ladder, read_ladder
from hive_daemon.graph.input_policy import InputPolicy, OnInput
from hive_daemon.ids import NAME_RULE, is_name
from hive_daemon.llm.wish import Wish
from hive_daemon.runtime.flow import FlowRules
from hive_daemon.runtime.flow_reading import read_flow
from hive_daemon.tools.policy import ToolPolicy


class TriggerType(StrEnum):
    """What makes an entry point begin an execution. All but timer and event are begun by a call."""

    MANUAL = "manual"
    API = "api"
    TIMER = "timer"
    EVENT = "event"
    WEBHOOK = "webhook"


class IsolationLevel(StrEnum):
    """What an execution shares with others.

    isolated: nothing, its own session. shared: keys named in the graph's `memory_keys` are shared by all, last write
    wins. synchronized: the same, but a write based on an outdated value makes the node run again.
    """

    ISOLATED = "isolated"
    SHARED = "shared"
    SYNCHRONIZED = "synchronized"


class SessionChoice(StrEnum):
    """Which session an isolated timer or event uses: a new one each time, or its own again and again."""

    NEW = "new"
    REUSE = "reuse"


@dataclass
class EntryPointSpec:
    """Where executions begin: a node, what triggers it, and the rules for its executions.

    `timeout` bounds one execution in seconds. `max_resurrections` is how often an execution that failed for a reason
    that may pass is tried again from the node that failed; `recovery_attempts` how often one that took the process down
    is (None: as the runtime says). `task` is handed to executions begun by a timer or an event. `on_input` says what
    becomes of a question to a person; `input_default` answers it under `default`: a text, or a mapping by node id.
    `tools` says which tool calls run (`tools.policy`). `model`, `fallbacks` and `max_tokens` go over those of the
    agent, and a node's over them. `concurrency` and `flow` say how triggers are taken in (`runtime.flow`). `budgets`
    limit what its executions may spend (`budgets.written`). `heal` is what is tried when one fails (`graph.healing`),
    `max_resurrections` times at most.
    A missing `id` is the entry node's; a missing `entry_node` is the graph's.
    """

    id: str = ""
    name: str = ""
    entry_node: str = ""
    trigger_type: str = TriggerType.MANUAL
    trigger_config: dict[str, Any] = field(default_factory=dict)
    isolation_level: str = IsolationLevel.SHARED
    priority: int = 0
    max_concurrent: int = 10
    max_resurrections: int = 0
    heal: Sequence[str] = ()
    session: str = SessionChoice.NEW
    timeout: float | None = None
    recovery_attempts: int | None = None
    task: str = ""
    on_input: str = OnInput.PARK
    input_default: Any = None
    tools: dict[str, Any] = field(default_factory=dict)
    model: str | None = None
    fallbacks: Sequence[str] | None = None
    max_tokens: int | None = None
    concurrency: dict[str, Any] = field(default_factory=dict)
    flow: dict[str, Any] = field(default_factory=dict)
    budgets: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        self.id = self.id or self.entry_node or str(self.trigger_type)
        self.name = self.name or self.id

    def get_isolation_level(self) -> IsolationLevel:
        """Return the isolation level. Raises ValueError for an unknown word."""
        return IsolationLevel(self.isolation_level)

    @property
    def ladder(self) -> Ladder:
        """What is tried when an execution fails. Raises ValueError."""
        return read_ladder(self.heal, self.max_resurrections)

    @property
    def input_policy(self) -> InputPolicy:
        """What becomes of a question to a person. Raises ValueError for an unknown word."""
        return InputPolicy(OnInput(self.on_input), self.input_default)

    @property
    def tool_policy(self) -> ToolPolicy:
        """Which tool calls run. Raises ConfigError."""
        return ToolPolicy.parse(self.tools)

    @property
    def flow_rules(self) -> FlowRules:
        """Under which rules its triggers are taken in. Raises ConfigError."""
        return read_flow(self.max_concurrent, self.concurrency, self.flow)

    @property
    def wish(self) -> Wish:
        """The model that its executions work with."""
        chain = None if self.fallbacks is None else tuple(self.fallbacks)
        return Wish(self.model, chain)

    def problems(self) -> list[str]:
        """Return what is wrong with the rules themselves, as sentences."""
        found = []
        if not _is_id(self.id):
            found.append(f"{self.id!r} is not a valid name; {NAME_RULE}")
        for attribute, choices in (
            ("trigger_type", TriggerType),
            ("isolation_level", IsolationLevel),
            ("session", SessionChoice),
            ("on_input", OnInput),
        ):
            value = getattr(self, attribute)
            words = [choice.value for choice in choices]
            if not isinstance(value, str) or value not in words:
                found.append(f"{attribute}: {value!r} is unknown, use one of {', '.join(words)}")
        found.extend(_too_small("max_concurrent", self.max_concurrent, 1))
        found.extend(_too_small("max_resurrections", self.max_resurrections, 0))
        if self.recovery_attempts is not None:
            found.extend(_too_small("recovery_attempts", self.recovery_attempts, 1))
        if not _is_whole(self.priority):
            found.append(f"priority: {self.priority!r} must be a whole number")
        if self.timeout is not None and not (_is_number(self.timeout) and self.timeout > 0):
            found.append(f"timeout: {self.timeout!r} must be more than 0 seconds")
        if not _is_dict(self.trigger_config):
            found.append(f"trigger_config: {self.trigger_config!r} must be a dict")
        if self.on_input == OnInput.DEFAULT and self.input_default is None:
            found.append("input_default: is missing, on_input: default needs an answer")
        found.extend(_ladder_problems(self.heal, self.max_resurrections))
        found.extend(_policy_problems(self.tools))
        found.extend(_model_problems(self))
        found.extend(_flow_problems(self))
        found.extend(budget_problems(self.budgets))
        return [f"entry point {self.id!r}: {problem}" for problem in found]

    @classmethod
    def from_declared(cls, declared: AsyncEntryPointSpec | EntryPointSpec) -> EntryPointSpec:
        """Return an entry point as an agent folder declares it."""
        if isinstance(declared, EntryPointSpec):
            return declared
        known = {f.name for f in fields(cls)}
        return cls(**{k: v for k, v in declared.model_dump().items() if k in known})

    def merged(self, overrides: Mapping[str, Any]) -> EntryPointSpec:
        """Return a copy with some fields replaced. Raises ConfigError for an unknown field."""
        known = {f.name for f in fields(self)}
        unknown = sorted(set(overrides) - known)
        if unknown:
            raise ConfigError([f"entry point {self.id!r}: unknown key {key!r}" for key in unknown])
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return EntryPointSpec(**{**values, **overrides})


def _ladder_problems(heal: object, most: int) -> tuple[str, ...]:
    if not isinstance(heal, Sequence):
        return (f"heal: {heal!r} must be a list of rungs",)
    try:
        read_ladder(heal, most)
    except ValueError as error:
        return (f"heal: {error}",)
    return ()


def _policy_problems(tools: object) -> tuple[str, ...]:
    if not isinstance(tools, Mapping):
        return (f"tools: {tools!r} must be a mapping with policy and on_ask",)
    try:
        ToolPolicy.parse(tools)
    except ConfigError as error:
        return error.problems
    return ()


def _flow_problems(spec: EntryPointSpec) -> tuple[str, ...]:
    try:
        read_flow(1, spec.concurrency, spec.flow)
    except ConfigError as error:
        return error.problems
    return ()


def _model_problems(spec: EntryPointSpec) -> list[str]:
    found = []
    if spec.model is not None and not _is_name_of_model(spec.model):
        found.append(f"model: {spec.model!r} must be the name of a model")
    if spec.fallbacks is not None and (
        isinstance(spec.fallbacks, str) or not all(map(_is_name_of_model, spec.fallbacks))
    ):
        found.append(f"fallbacks: {spec.fallbacks!r} must be a list of names of models")
    if spec.max_tokens is not None:
        found.extend(_too_small("max_tokens", spec.max_tokens, 1))
    return found


def _is_name_of_model(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_id(value: object) -> bool:
    return isinstance(value, str) and is_name(value)


def _is_dict(value: object) -> bool:
    return isinstance(value, Mapping)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _too_small(name: str, value: object, least: int) -> list[str]:
    """Say that a setting is no whole number from `least` on, if so."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= least:
        return []
    return [f"{name}: {value!r} must be a whole number, at least {least}"]
