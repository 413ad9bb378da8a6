"""The JSON form of an agent folder: `agent.json`, as the older system exported it. Reading it executes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hive_daemon.graph.edge import EdgeCondition
from hive_daemon.runner.declaration import Declaration, graph_name
from hive_daemon.runner.findings import Findings
from hive_daemon.runner.loaded_agent import AgentAbout, ModelSettings

FILE = "agent.json"
MAX_BYTES = 8 * 1024 * 1024


def read_json(path: Path, findings: Findings) -> Any:
    """Return what a JSON file of the folder holds; None, and a problem, if it cannot be read."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            findings.add(path.name, f"is larger than {MAX_BYTES // 1024**2} MiB")
            return None
        return json.loads(content)
    except OSError as error:
        findings.add(path.name, f"cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        findings.add(path.name, "is not UTF-8 text")
    except json.JSONDecodeError as error:
        findings.add(path.name, f"line {error.lineno}: is not valid JSON: {error.msg.lower()}")
    except RecursionError:
        findings.add(path.name, "is nested too deeply")
    return None


def read_export(folder: Path, findings: Findings) -> Declaration | None:
    """Read `agent.json`; None if it is not an agent at all."""
    document = read_json(folder / FILE, findings)
    if document is None:
        return None
    if not isinstance(document, dict):
        findings.add(FILE, "must be an object with agent, graph and goal")
        return None
    graph, goal = _part(document, "graph", findings), _part(document, "goal", findings)
    if graph is None:
        return None
    about, metadata = document.get("agent"), document.get("metadata")
    shape = _graph(graph, goal or {}, folder.name)
    return Declaration(
        where=FILE,
        goal=goal,
        graph=shape,
        at="graph",
        entry_points=graph.get("async_entry_points", ()),
        about=_about(about, metadata),
        llm=ModelSettings(model=str(shape.get("default_model") or "")),
        webhook_routes=document.get("webhook_routes", ()),
    )


def _part(document: Mapping[str, Any], name: str, findings: Findings) -> dict[str, Any] | None:
    found = document.get(name)
    if isinstance(found, dict):
        return found
    findings.add(f"{FILE}: {name}", "is missing" if found is None else "must be an object")
    return None


def _graph(graph: Mapping[str, Any], goal: Mapping[str, Any], folder: str) -> dict[str, Any]:
    shape = {key: value for key, value in graph.items() if value is not None}
    shape.pop("async_entry_points", None)
    shape.setdefault("id", graph_name(f"{folder}-graph"))
    shape.setdefault("goal_id", goal.get("id", ""))
    nodes = shape.get("nodes")
    if isinstance(nodes, list) and nodes and isinstance(nodes[0], dict):
        shape.setdefault("entry_node", nodes[0].get("id"))
    edges = shape.get("edges")
    if isinstance(edges, list):
        shape["edges"] = [_edge(edge, at) for at, edge in enumerate(edges)]
    return shape


def _edge(edge: Any, at: int) -> Any:
    """Return an edge with what it leaves out: in this form it is followed on success, and may have no id."""
    if not isinstance(edge, dict):
        return edge
    return {"id": f"edge-{at}", "condition": EdgeCondition.ON_SUCCESS.value, **edge}


def _about(*parts: Any) -> AgentAbout:
    known: dict[str, str] = {}
    for part in parts:
        for key in ("name", "description", "version", "intro_message"):
            value = part.get(key) if isinstance(part, dict) else None
            if isinstance(value, str) and value:
                known.setdefault(key, value)
    return AgentAbout(**known)
