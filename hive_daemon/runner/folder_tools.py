"""The tools of an agent folder: its `tools.py`, and the MCP servers that it declares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hive_daemon.errors import ConfigError
from hive_daemon.graph.edge import GraphSpec
from hive_daemon.private_package import PrivatePackage
from hive_daemon.runner.agent_export import read_json
from hive_daemon.runner.agent_module import import_failure
from hive_daemon.runner.findings import Findings, failure_of
from hive_daemon.runner.static_names import names_in
from hive_daemon.tools.registry import ToolRegistry

MODULE = "tools"
FILE = "tools.py"
SERVERS_FILE = "mcp_servers.json"
NAMED_SERVERS_FILE = "mcp_registry.json"


def discover(package: PrivatePackage, findings: Findings) -> ToolRegistry:
    """Execute `tools.py` of the folder, if there is one, and note its tools and servers."""
    registry = ToolRegistry()
    if package.has(MODULE):
        try:
            registry.discover(package.load(MODULE))
        except ConfigError as error:
            findings.problems.extend(str(error).splitlines())
        except (Exception, SystemExit) as error:  # noqa: BLE001 # the fifth place: loading an agent
            findings.problems.append(import_failure(package, MODULE, error))
    note_servers(registry, package.folder, findings)
    return registry


def read_statically(folder: Path, findings: Findings) -> ToolRegistry:
    """Note the tools that `tools.py` seems to define, without executing it."""
    registry = ToolRegistry()
    source = folder / FILE
    if source.is_file():
        try:
            found = names_in(source)
        except (SyntaxError, ValueError, OSError) as error:
            findings.add(FILE, f"cannot be read: {failure_of(folder, error)}")
            return registry
        for name in found.tools:
            registry.register_unavailable(name, f"{FILE} was not executed")
        if not found.is_complete:
            findings.warn(FILE, "was not executed, it may define further tools")
    note_servers(registry, folder, findings)
    return registry


def note_servers(registry: ToolRegistry, folder: Path, findings: Findings) -> None:
    """Note the MCP servers that the folder declares; none is started."""
    path = folder / SERVERS_FILE
    if not path.is_file():
        return
    try:
        registry.load_mcp_config(path)
    except ConfigError as error:
        findings.problems.extend(str(error).splitlines())


def expect_the_rest(
    registry: ToolRegistry, graph: GraphSpec, folder: Path, findings: Findings
) -> None:
    """Get ready what the folder does not define: built-in tools, and those that its servers are to offer.

    The latter are unavailable until the agent runs. Servers that are only named cannot be started: a warning.
    """
    wanted = [name for node in graph.nodes for name in node.tools]
    registry.offer_built_ins(wanted)
    named = _named_servers(folder, findings)
    if not registry.mcp_servers and not named:
        return
    missing = registry.expect_from_servers(wanted, named)
    if missing and not registry.mcp_servers:
        findings.warn(
            NAMED_SERVERS_FILE,
            f"names MCP servers that {SERVERS_FILE} does not declare, so these tools are unavailable: "
            + ", ".join(missing),
        )


def _named_servers(folder: Path, findings: Findings) -> list[str]:
    path = folder / NAMED_SERVERS_FILE
    document: Any = read_json(path, findings) if path.is_file() else None
    included = document.get("include", ()) if isinstance(document, dict) else ()
    return [name for name in included if isinstance(name, str)]
