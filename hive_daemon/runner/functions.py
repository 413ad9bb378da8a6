"""`function: module:attr` of function nodes: found in the agent's folder first, then among what is installed."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hive_daemon.graph.edge import GraphSpec
from hive_daemon.private_package import PrivatePackage
from hive_daemon.runner.findings import Findings, failure_of
from hive_daemon.runner.static_names import names_in


def with_functions(
    graph: GraphSpec, package: PrivatePackage, where: str, findings: Findings
) -> GraphSpec:
    """Return the graph with the callables in place of their names; modules that they are in are executed."""
    nodes = []
    for node in graph.nodes:
        if isinstance(node.function, str):
            found = _resolved(node.function, package)
            if isinstance(found, str):
                findings.add(f"{where}: node {node.id!r}", found)
            else:
                node = node.model_copy(update={"function": found})
        nodes.append(node)
    return graph.model_copy(update={"nodes": nodes})


def check_functions(graph: GraphSpec, folder: Path, where: str, findings: Findings) -> None:
    """Look for the functions without executing anything; those outside the folder are taken to exist."""
    for node in graph.nodes:
        if isinstance(node.function, str):
            problem = _missing(node.function, folder)
            if problem:
                findings.add(f"{where}: node {node.id!r}", problem)


def _split(reference: str, folder: str) -> tuple[str, str]:
    """Return module and attribute; a module that begins with the folder's name is one of the folder's."""
    module, _, attribute = reference.partition(":")
    return module.removeprefix(f"{folder}."), attribute


def _resolved(reference: str, package: PrivatePackage) -> Callable[..., Any] | str:
    """Return the callable, or what is wrong with its name."""
    module, attribute = _split(reference, package.folder.name)
    if not module or not attribute:
        return _malformed(reference)
    try:
        loads = package.load if package.has(module) else importlib.import_module
        found: Any = loads(module)
    except (Exception, SystemExit) as error:  # noqa: BLE001 # the fifth place: loading an agent
        told = failure_of(package.folder, error)
        return f"function {reference!r}: {module} cannot be imported: {told}"
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if found is None:
        return _unknown(reference, module, attribute)
    if not callable(found):
        return f"function {reference!r} is a {type(found).__name__}, not a function"
    function: Callable[..., Any] = found
    return function


def _missing(reference: str, folder: Path) -> str:
    module, attribute = _split(reference, folder.name)
    if not module or not attribute:
        return _malformed(reference)
    place = folder.joinpath(*module.split("."))
    source = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    if not source.is_file():
        return ""
    try:
        names = names_in(source).names
    except (SyntaxError, ValueError, OSError) as error:
        return f"function {reference!r}: {module} cannot be read: {failure_of(folder, error)}"
    return "" if attribute.partition(".")[0] in names else _unknown(reference, module, attribute)


def _malformed(reference: str) -> str:
    return f"function {reference!r} is not of the form module:attr"


def _unknown(reference: str, module: str, attribute: str) -> str:
    return f"function {reference!r}: {module} has no {attribute}"
