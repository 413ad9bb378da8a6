"""The entry points of an agent folder: `async_entry_points`, and over them `triggers.json`, key by key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from typing import Any

from pydantic import Field, ValidationError

from hive_daemon.graph.edge import AsyncEntryPointSpec, GraphSpec
from hive_daemon.graph.input_policy import OnInput
from hive_daemon.runner.findings import Findings
from hive_daemon.runtime.entry_point import EntryPointSpec, TriggerType
from hive_daemon.runtime.graph_host import trigger_problems
from hive_daemon.runtime.triggers.timer_config import TimerConfig

DEFAULT = "default"
_KNOWN = frozenset(each.name for each in fields(EntryPointSpec))
_MERGED = ("trigger_config", "concurrency", "flow")


class DeclaredEntryPoint(AsyncEntryPointSpec):
    """An entry point as it is written, with the keys that only Hive knows; `model_fields_set` are those written."""

    max_resurrections: int = 0
    heal: list[str] = Field(default_factory=list)
    session: str = "new"
    timeout: float | None = None
    recovery_attempts: int | None = None
    on_input: str = OnInput.PARK
    input_default: Any = None
    tools: dict[str, Any] = Field(default_factory=dict)
    model: str | None = None
    fallbacks: list[str] | None = None
    max_tokens: int | None = None
    concurrency: dict[str, Any] = Field(default_factory=dict)
    flow: dict[str, Any] = Field(default_factory=dict)
    budgets: list[dict[str, Any]] = Field(default_factory=list)


def read_declared(where: str, declared: Any, findings: Findings) -> dict[str, DeclaredEntryPoint]:
    """Read a list of entry points, by id. Mappings and both spec classes are taken."""
    if not isinstance(declared, list | tuple):
        findings.add(where, f"must be a list of entry points, not {type(declared).__name__}")
        return {}
    found: dict[str, DeclaredEntryPoint] = {}
    for at, item in enumerate(declared):
        entry = _read_one(f"{where}[{at}]", item, findings)
        if entry is None:
            continue
        if entry.id in found:
            findings.add(f"{where}[{at}].id", f"{entry.id!r} is declared twice")
        found[entry.id] = entry
    return found


def _read_one(where: str, item: Any, findings: Findings) -> DeclaredEntryPoint | None:
    written = _written(item)
    if written is None:
        findings.add(where, f"must be an entry point, not {type(item).__name__}")
        return None
    try:
        entry = DeclaredEntryPoint.model_validate(written)
    except ValidationError as error:
        findings.refuse_shape(where, error)
        return None
    findings.warn_of_unknown(where, sorted(set(entry.model_extra or ()) - _KNOWN), sorted(_KNOWN))
    return entry


def _written(item: Any) -> dict[str, Any] | None:
    match item:
        case EntryPointSpec():
            return asdict(item)
        case AsyncEntryPointSpec():
            return item.model_dump(exclude_unset=True)
        case Mapping():
            return {str(key): value for key, value in item.items()}
    return None


def laid_over(
    base: Mapping[str, DeclaredEntryPoint], over: Mapping[str, DeclaredEntryPoint]
) -> list[EntryPointSpec]:
    """Return the entry points of both; of one that both declare, the keys written in `over` win."""
    written = {name: _keys(entry) for name, entry in base.items()}
    for name, entry in over.items():
        below, above = written.get(name, {}), _keys(entry)
        merged = {key: {**below.get(key, {}), **above.get(key, {})} for key in _MERGED}
        written[name] = {**below, **above, **merged}
    return [EntryPointSpec(**keys) for keys in written.values()]


def _keys(entry: DeclaredEntryPoint) -> dict[str, Any]:
    dumped = entry.model_dump(exclude_unset=True)
    return {key: value for key, value in dumped.items() if key in _KNOWN}


def declared_in(graph: GraphSpec) -> list[EntryPointSpec]:
    """Return the entry points that a graph itself declares."""
    return [EntryPointSpec.from_declared(each) for each in graph.async_entry_points]


def with_default(specs: Iterable[EntryPointSpec], graph: GraphSpec) -> tuple[EntryPointSpec, ...]:
    """Return the entry points with `default` first: manual, shared, at the graph's entry, unless it is declared."""
    specs = tuple(specs)
    if any(spec.id == DEFAULT for spec in specs):
        return specs
    return (EntryPointSpec(id=DEFAULT, name="Default", entry_node=graph.entry_node), *specs)


def problems_of(specs: Iterable[EntryPointSpec], graph: GraphSpec) -> list[str]:
    """Return what is wrong with entry points of a graph, as sentences."""
    known = {node.id for node in graph.nodes}
    found: list[str] = []
    for spec in specs:
        node = spec.entry_node or graph.entry_node
        if node not in known:
            found.append(f"entry point {spec.id!r}: there is no node {node!r} in the graph")
        found.extend(spec.problems())
        found.extend(trigger_problems(spec))
    return found


def remarks_on(specs: Iterable[EntryPointSpec]) -> list[str]:
    """Return what is legal in sound timers but has no effect, as sentences."""
    return [
        f"entry point {spec.id!r}: trigger_config.{remark}"
        for spec in specs
        if spec.trigger_type == TriggerType.TIMER and not trigger_problems(spec)
        for remark in TimerConfig.read(spec.trigger_config).remarks
    ]
