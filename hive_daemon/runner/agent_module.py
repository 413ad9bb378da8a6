"""The module form of an agent folder: `agent.py`, and what stands beside it.

A name is looked for in the package itself (`__init__.py`), then in `agent.py`, the settings also in `config.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from hive_daemon.config.runtime_config import RuntimeConfig, preferred_model
from hive_daemon.private_package import PrivatePackage
from hive_daemon.runner.declaration import Declaration, graph_name
from hive_daemon.runner.findings import Findings, failure_of
from hive_daemon.runner.loaded_agent import AgentAbout, ModelSettings
from hive_daemon.runtime.runtime_config import AgentRuntimeConfig

FILE = "agent.py"
REQUIRED = ("goal", "nodes", "edges")
GRAPH_KEYS = (
    "nodes",
    "edges",
    "entry_points",
    "terminal_nodes",
    "pause_nodes",
    "loop_config",
    "conversation_mode",
    "identity_prompt",
    "memory_keys",
    "parallel_config",
    "max_steps",
)
"""Names that become fields of the graph as they are."""

_MISSING = object()


def read_module(package: PrivatePackage, findings: Findings) -> Declaration | None:
    """Execute the folder's modules and read what they say; None if that goes wrong."""
    names = _execute(package, findings)
    if names is None:
        return None
    missing = [name for name in REQUIRED if names.get(name) is None]
    for name in missing:
        findings.add(FILE, f"{name} is missing, the module must define goal, nodes and edges")
    if "nodes" in missing or "edges" in missing:
        return None
    config = names.get("default_config")
    return Declaration(
        where=FILE,
        goal=names.get("goal"),
        graph=_graph(names, package.folder.name, config),
        entry_points=names.get("async_entry_points", ()),
        node_registry=_node_registry(names, findings),
        about=_about(names.get("metadata")),
        llm=_model(config),
        runtime_config=_runtime_config(names, findings),
        webhook_routes=names.get("webhook_routes", ()),
        skips_credential_check=bool(names.get("skip_credential_validation", False)),
    )


class _Names:
    """What the folder's modules define; modules themselves do not count (`nodes` is also a subpackage)."""

    def __init__(self, modules: Sequence[ModuleType]) -> None:
        self._modules = modules

    def get(self, name: str, default: Any = None) -> Any:
        for module in self._modules:
            value = vars(module).get(name, _MISSING)
            if value is not _MISSING and not isinstance(value, ModuleType):
                return value
        return default


def _execute(package: PrivatePackage, findings: Findings) -> _Names | None:
    loaded = []
    wanted = ["", "agent", *(["config"] if package.has("config") else [])]
    for module in wanted:
        try:
            loaded.append(package.load(module))
        except (Exception, SystemExit) as error:  # noqa: BLE001 # the fifth place: loading an agent
            findings.problems.append(import_failure(package, module, error))
            return None
    return _Names(loaded)


def import_failure(package: PrivatePackage, module: str, error: BaseException) -> str:
    """Say why a module of the folder cannot be imported, with the remedy where there is one."""
    told = f"{module or '__init__'}.py: cannot be imported: {failure_of(package.folder, error)}"
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return told
    if package.has(error.name):
        return f"{told}; it is a file of this folder, write: from .{error.name} import …"
    return f"{told}; install it where Hive is installed, or take the import out"


def _graph(names: _Names, folder: str, config: Any) -> dict[str, Any]:
    graph = {key: names.get(key) for key in GRAPH_KEYS if names.get(key, None) is not None}
    nodes = graph["nodes"]
    entry = names.get("entry_node")
    if entry is None and isinstance(nodes, list | tuple) and nodes:
        entry = _member(nodes[0], "id")
    goal_id = _member(names.get("goal"), "id") or ""
    graph |= {"id": graph_name(f"{folder}-graph"), "goal_id": goal_id, "entry_node": entry}
    max_tokens = _member(config, "max_tokens")
    if isinstance(max_tokens, int) and max_tokens > 0:
        graph["max_tokens"] = max_tokens
    window = _member(config, "max_context_tokens")
    if isinstance(window, int) and window > 0:
        graph["loop_config"] = {"max_history_tokens": window, **(graph.get("loop_config") or {})}
    return graph


def _member(value: Any, name: str) -> Any:
    """Return a member of an object or of a mapping; settings come as either."""
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def _text(value: Any, name: str) -> str:
    found = _member(value, name)
    return found if isinstance(found, str) else ""


def _about(metadata: Any) -> AgentAbout:
    return AgentAbout(
        name=_text(metadata, "name"),
        description=_text(metadata, "description"),
        version=_text(metadata, "version"),
        intro_message=_text(metadata, "intro_message"),
    )


def _model(config: Any) -> ModelSettings:
    model = _text(config, "model")
    if isinstance(config, RuntimeConfig) and model == preferred_model():
        # RuntimeConfig() took what the machine prefers; the folder itself has no wish.
        model = ""
    options = _member(config, "extra_kwargs")
    return ModelSettings(
        model=model,
        api_key=_text(config, "api_key") or None,
        api_base=_text(config, "api_base") or None,
        options=dict(options) if isinstance(options, Mapping) else {},
    )


def _node_registry(names: _Names, findings: Findings) -> dict[str, Any]:
    found = names.get("node_registry", {})
    if isinstance(found, Mapping):
        return dict(found)
    findings.add(f"{FILE}: node_registry", "must be {node id: node}")
    return {}


def _runtime_config(names: _Names, findings: Findings) -> AgentRuntimeConfig | None:
    found = names.get("runtime_config")
    if isinstance(found, AgentRuntimeConfig):
        return found
    if found is not None and not isinstance(found, RuntimeConfig):
        kind = type(found).__name__
        findings.warn(f"{FILE}: runtime_config", f"is a {kind}, only AgentRuntimeConfig has effect")
    return None
