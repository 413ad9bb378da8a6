"""Reading one agent folder: what it says, put together and checked, with everything that is wrong noted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from hive_daemon.errors import ConfigError
from hive_daemon.graph.edge import AsyncEntryPointSpec, GraphSpec
from hive_daemon.graph.goal import Goal
from hive_daemon.private_package import PrivatePackage
from hive_daemon.runner import folder_tools
from hive_daemon.runner.agent_export import read_export, read_json
from hive_daemon.runner.agent_module import read_module
from hive_daemon.runner.declaration import Declaration, graph_name
from hive_daemon.runner.entry_points import (
    DEFAULT,
    DeclaredEntryPoint,
    laid_over,
    problems_of,
    read_declared,
    remarks_on,
    with_default,
)
from hive_daemon.runner.findings import Findings
from hive_daemon.runner.functions import check_functions, with_functions
from hive_daemon.runner.graph_findings import check_graph
from hive_daemon.runner.loaded_agent import AgentForm, LoadedAgent
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.tools.registry import ToolRegistry

TRIGGERS_FILE = "triggers.json"

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Place:
    """The folder, its form, its modules, and whether these may be executed."""

    folder: Path
    form: AgentForm
    package: PrivatePackage
    may_execute: bool


def read_agent(place: Place, findings: Findings) -> LoadedAgent | None:
    """Return the agent; None if its folder says too little to make one of. What is wrong is among the findings."""
    said = _declaration(place, findings)
    tools = _tools(place, findings)
    triggers = _triggers(place.folder, findings)
    if said is None:
        return None
    declared = read_declared(f"{said.where}: async_entry_points", said.entry_points, findings)
    specs = laid_over(declared, triggers)
    has_goal = said.goal is not None
    goal = _shaped(Goal, said.goal, f"{said.where}: goal", findings) if has_goal else None
    graph = _graph(said, specs, findings)
    if graph is None:
        return None
    graph = _checked(place, said, graph, findings)
    folder_tools.expect_the_rest(tools, graph, place.folder, findings)
    entry_points = with_default(specs, graph)
    findings.problems.extend(problems_of(entry_points, graph))
    findings.warnings.extend(remarks_on(entry_points))
    routes = _webhook_routes(said, findings)
    if goal is None:
        return None
    return LoadedAgent(
        name=place.folder.name,
        path=place.folder,
        form=place.form,
        graph=graph,
        goal=goal,
        entry_points=entry_points,
        tools=tools,
        node_registry=said.node_registry,
        about=said.about,
        llm=said.llm,
        runtime_config=said.runtime_config,
        webhook_routes=routes,
        skips_credential_check=said.skips_credential_check,
        warnings=tuple(findings.warnings),
        package=place.package,
    )


def _declaration(place: Place, findings: Findings) -> Declaration | None:
    if place.form is AgentForm.MODULE:
        return read_module(place.package, findings)
    return read_export(place.folder, findings)


def _tools(place: Place, findings: Findings) -> ToolRegistry:
    if place.may_execute:
        return folder_tools.discover(place.package, findings)
    return folder_tools.read_statically(place.folder, findings)


def _triggers(folder: Path, findings: Findings) -> dict[str, DeclaredEntryPoint]:
    path = folder / TRIGGERS_FILE
    document = read_json(path, findings) if path.is_file() else None
    if isinstance(document, dict):
        document = document.get("triggers", document)
    return {} if document is None else read_declared(TRIGGERS_FILE, document, findings)


def _shaped(kind: type[M], value: Any, where: str, findings: Findings) -> M | None:
    if isinstance(value, kind):
        return value
    if not isinstance(value, Mapping):
        findings.add(where, f"must be a {kind.__name__}, not {type(value).__name__}")
        return None
    try:
        return kind.model_validate(dict(value))
    except ValidationError as error:
        findings.refuse_shape(where, error)
        return None


def _graph(said: Declaration, specs: list[EntryPointSpec], findings: Findings) -> GraphSpec | None:
    where = f"{said.where}: {said.at}" if said.at else f"{said.where}: "
    try:
        graph = GraphSpec.model_validate(dict(said.graph))
    except ValidationError as error:
        findings.refuse_shape(where, error)
        return None
    graph_id = graph_name(graph.id)
    if graph_id != graph.id:
        findings.warn(f"{where}.id", f"{graph.id!r} cannot be in an address, {graph_id!r} is used")
    # The graph knows where its entry points begin: nodes are reachable from there.
    declared = [
        AsyncEntryPointSpec(
            id=spec.id,
            name=spec.name,
            entry_node=spec.entry_node or graph.entry_node,
            trigger_type=spec.trigger_type,
            trigger_config=spec.trigger_config,
            isolation_level=spec.isolation_level,
            priority=spec.priority,
            max_concurrent=spec.max_concurrent,
            task=spec.task,
        )
        for spec in specs
        if spec.id != DEFAULT
    ]
    return graph.model_copy(update={"id": graph_id, "async_entry_points": declared})


def _checked(place: Place, said: Declaration, graph: GraphSpec, findings: Findings) -> GraphSpec:
    """Check the graph and bind the functions of its function nodes."""
    ids = {node.id for node in graph.nodes}
    unknown = [name for name in said.node_registry if name not in ids]
    for name in unknown:
        findings.warn(f"{said.where}: node_registry", f"there is no node {name!r} in the graph")
    check_graph(graph, said.node_registry, said.where, findings)
    if place.may_execute:
        return with_functions(graph, place.package, said.where, findings)
    check_functions(graph, place.folder, said.where, findings)
    return graph


def _webhook_routes(said: Declaration, findings: Findings) -> tuple[Mapping[str, Any], ...]:
    configured = said.runtime_config.webhook_routes if said.runtime_config is not None else []
    where = f"{said.where}: webhook_routes"
    if not isinstance(said.webhook_routes, list | tuple):
        findings.add(where, "must be a list of routes")
        return ()
    routes = []
    for at, route in enumerate([*configured, *said.webhook_routes]):
        problem = _route_problem(route)
        if problem:
            findings.add(f"{where}[{at}]", problem)
        else:
            routes.append(dict(route))
    return tuple(routes)


def _route_problem(route: Any) -> str:
    if not isinstance(route, Mapping):
        return "must be a mapping of source_id, path, methods, secret"
    for key in ("source_id", "path"):
        if not isinstance(route.get(key), str) or not route[key]:
            return f"{key} is missing"
    if not route["path"].startswith("/"):
        return "path must begin with '/'"
    # Here: most agents that `hive run` runs have no webhooks, and need none of their rules.
    from hive_daemon.runtime.webhook_route import route_of

    try:
        route_of(route)
    except ConfigError as error:
        return str(error).removeprefix(f"webhook route {route['path']}: ")
    return ""
