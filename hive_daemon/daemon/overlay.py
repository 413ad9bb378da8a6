"""What hive.yaml lays over an agent folder: its entry points and webhook routes, and what is wrong with that.

A mistake that hive.yaml makes is the operator's and stops the start; one that the folder makes by itself degrades the
agent. Everything here is a function of what was read; nothing is opened.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from difflib import get_close_matches
from typing import Any

from hive_daemon.config.agent_model import AgentConfig, EntryPointConfig
from hive_daemon.config.loaded import LoadedConfig
from hive_daemon.config.tree import KeyPath
from hive_daemon.errors import ConfigError
from hive_daemon.runner.loaded_agent import LoadedAgent
from hive_daemon.runtime.entry_point import EntryPointSpec, TriggerType
from hive_daemon.runtime.events import EventType
from hive_daemon.runtime.graph_host import trigger_problems

_TRIGGER = "trigger_config"
_MERGED = (_TRIGGER, "concurrency", "flow")
_TIMES = frozenset({"cron", "interval_minutes", "every"})
"""Keys that only a timer has."""

_COPIED = (
    "trigger_type",
    "entry_node",
    "isolation_level",
    "max_concurrent",
    "priority",
    "session",
    "timeout",
    "on_input",
    "input_default",
    "tools",
    "model",
    "fallbacks",
    "max_tokens",
    "heal",
    "max_resurrections",
)


def entry_points(agent: LoadedAgent, item: AgentConfig) -> list[EntryPointSpec]:
    """Return the entry points of an agent: what the folder declares, with what hive.yaml says on top.

    Raises ConfigError with every problem.
    """
    found = {spec.id: spec for spec in agent.entry_points}
    for name, written in item.entry_points.items():
        if written.enabled is False:
            found.pop(name, None)
        else:
            found[name] = merged(found.get(name) or EntryPointSpec(id=name), written)
    laid = [found[name] for name in item.entry_points if name in found]
    problems = [problem for spec in laid for problem in _problems(spec)]
    if problems:
        raise ConfigError(problems)
    return list(found.values())


def merged(base: EntryPointSpec, written: EntryPointConfig) -> EntryPointSpec:
    """Return an entry point with what hive.yaml says.

    `trigger_config`, `concurrency` and `flow` are merged key by key, null removes a key.
    """
    overrides: dict[str, Any] = {}
    for key in _COPIED:
        value = getattr(written, key)
        if value is not None:
            overrides[key] = value.value if hasattr(value, "value") else value
    for key in _MERGED:
        over = getattr(written, key)
        if over is not None:
            both = {**getattr(base, key), **over}
            overrides[key] = {k: v for k, v in both.items() if v is not None}
    if written.budgets is not None:
        overrides["budgets"] = [each.written() for each in written.budgets]
    if written.recovery is not None and written.recovery.max_attempts is not None:
        overrides["recovery_attempts"] = written.recovery.max_attempts
    return base.merged(overrides)


def webhook_routes(agent: LoadedAgent, item: AgentConfig) -> list[dict[str, Any]]:
    """Return the webhook routes of an agent: the folder's, and hive.yaml's on top, by path."""
    found: dict[str, dict[str, Any]] = {
        str(route["path"]): dict(route) for route in agent.webhook_routes
    }
    for written in item.webhook_routes:
        found[written.path] = written.written()
    return list(found.values())


def remarks(agent: LoadedAgent, item: AgentConfig) -> list[str]:
    """Return what is legal in the entry points of an agent, and yet sets nothing off, as sentences.

    Raises ConfigError as `entry_points` does.
    """
    sources = {str(route["source_id"]) for route in webhook_routes(agent, item)}
    specs, found = entry_points(agent, item), []
    for spec in specs:
        where = f"entry point {spec.id!r}: trigger_config"
        if _is_idle(spec, item.entry_points.get(spec.id)):
            remedy = "say trigger_type as well: timer, event or webhook"
            found.append(f"{where} has no effect, it is {spec.trigger_type!s}: {remedy}")
        source = spec.trigger_config.get("source_id")
        if spec.trigger_type == TriggerType.WEBHOOK and source and source not in sources:
            near = get_close_matches(source, sources, n=1)
            hint = f"did you mean {near[0]}?" if near else "only a program can set it off"
            found.append(f"{where}.source_id: no webhook route has {source!r}, {hint}")
    heard = {source for spec in specs for source in _heard_by(spec, sources)}
    found += [
        f"webhook route {source!r}: no entry point listens to it, what it takes sets nothing off"
        for source in sorted(sources - heard)
    ]
    return found


def _heard_by(spec: EntryPointSpec, sources: Set[str]) -> Set[str]:
    """Return the sources of webhooks that an entry point may run on."""
    config = spec.trigger_config
    match spec.trigger_type:
        case TriggerType.WEBHOOK:
            return {config.get("source_id", "")}
        case TriggerType.EVENT if EventType.WEBHOOK_RECEIVED in config.get("event_types", ()):
            stream = config.get("filter_stream")
            return {stream} if stream else sources
        case _:
            return frozenset()


def _is_idle(spec: EntryPointSpec, written: EntryPointConfig | None) -> bool:
    """Say whether somebody wrote when it begins, and nothing ever begins it so."""
    if spec.trigger_type not in (TriggerType.MANUAL, TriggerType.API) or not spec.trigger_config:
        return False
    # Who lays `trigger_type: manual` over a timer of the folder means to stop it.
    is_stopped = written is not None and written.trigger_type is not None
    return not is_stopped or bool(written and written.trigger_config)


def written_faults(loaded: LoadedConfig, agents: Sequence[LoadedAgent | None]) -> list[list[str]]:
    """Return for each agent of the configuration, in its order, what hive.yaml itself gets wrong, as sentences.

    `agents` are the folders as they were read, None for one that could not be: of that only what needs no folder to be
    wrong is told.
    """
    return [
        [loaded.sentence(path, text) for path, text in _faults(at, item, agent)]
        for at, (item, agent) in enumerate(zip(loaded.config.agents, agents, strict=True))
    ]


def _faults(at: int, item: AgentConfig, agent: LoadedAgent | None) -> Iterator[tuple[KeyPath, str]]:
    declared = {spec.id: spec for spec in agent.entry_points} if agent is not None else {}
    for name, written in item.entry_points.items():
        if written.enabled is False:
            continue
        where: KeyPath = ("agents", at, "entry_points", name)
        base = declared.get(name)
        spec = merged(base or EntryPointSpec(id=name), written)
        if agent is None:
            yield from _lone_faults(where, spec)
            continue
        known = set() if base is None else set(_problems(base))
        for problem in _problems(spec):
            if problem not in known:
                yield _placed(where, spec, problem)
        if written.entry_node is not None:
            yield from _unknown_node(where, written.entry_node, agent)


def _lone_faults(where: KeyPath, spec: EntryPointSpec) -> Iterator[tuple[KeyPath, str]]:
    """Yield what is wrong with the keys that are written, whatever the folder may add to them."""
    if _TIMES & set(spec.trigger_config):
        spec = spec.merged({"trigger_type": TriggerType.TIMER})
    for problem in _problems(spec):
        path, text = _placed(where, spec, problem)
        if path[-1] in spec.trigger_config or {"concurrency", "flow"} & set(path):
            yield path, text


def _unknown_node(where: KeyPath, name: str, agent: LoadedAgent) -> Iterator[tuple[KeyPath, str]]:
    nodes = [node.id for node in agent.graph.nodes]
    if name not in nodes:
        near = get_close_matches(name, nodes, n=1)
        remedy = f"did you mean {near[0]}?" if near else f"its nodes are {', '.join(nodes)}"
        yield (*where, "entry_node"), f'"{name}" is no node of the agent\'s graph, {remedy}'


def _problems(spec: EntryPointSpec) -> list[str]:
    return [*spec.problems(), *trigger_problems(spec)]


def _placed(where: KeyPath, spec: EntryPointSpec, problem: str) -> tuple[KeyPath, str]:
    """Split the sentence about an entry point into the key that it is about and the rest."""
    told = problem.removeprefix(f"entry point {spec.id!r}: ")
    key, colon, text = told.partition(": ")
    if colon and " " not in key:
        return (*where, *_steps(key)), text
    if told.startswith(f"{_TRIGGER}."):
        return (*where, _TRIGGER), told.removeprefix(f"{_TRIGGER}.")
    return where, told


def _steps(key: str) -> list[str | int]:
    """Split `policy[0].action` into the steps of a path."""
    parts = re.findall(r"\[(\d+)\]|([^.\[\]]+)", key)
    return [int(place) if place else name for place, name in parts]


def secrets_of(agent: LoadedAgent, routes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the secret values that an agent folder brings along, and those of its routes."""
    values = [agent.llm.api_key, *(route.get("secret") for route in routes)]
    values += [secret for route in routes for secret in route.get("secrets") or ()]
    return [str(value) for value in values if value]
