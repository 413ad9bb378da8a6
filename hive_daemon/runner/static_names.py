"""What a Python file defines, read without executing it: for checking folders that must not be run."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class StaticNames:
    """The names at the top of a module, and the tools among them.

    `is_complete` is false when tools may be defined in ways that only running the file would show.
    """

    names: frozenset[str] = frozenset()
    tools: frozenset[str] = frozenset()
    is_complete: bool = True


def names_in(path: Path) -> StaticNames:
    """Read a Python file. Raises SyntaxError, OSError, ValueError."""
    tree = ast.parse(path.read_bytes(), str(path))
    names: set[str] = set()
    tools: set[str] = set()
    is_complete = True
    for statement in tree.body:
        names.update(_bound(statement))
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef() if _is_marked(statement):
                tools.add(_tool_name(statement))
            case ast.Assign(value=value) | ast.AnnAssign(value=value) if "TOOLS" in _bound(
                statement
            ):
                keys = _keys(value)
                is_complete = is_complete and keys is not None
                tools.update(keys or ())
    return StaticNames(frozenset(names), frozenset(tools), is_complete)


def _bound(statement: ast.stmt) -> list[str]:
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return [statement.name]
        case ast.Import() | ast.ImportFrom():
            return [(each.asname or each.name).partition(".")[0] for each in statement.names]
        case ast.Assign():
            return [each.id for each in statement.targets if isinstance(each, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
    return []


def _is_marked(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(_decorator(each) == "tool" for each in function.decorator_list)


def _decorator(node: ast.expr) -> str:
    match node:
        case ast.Call(func=function):
            return _decorator(function)
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _tool_name(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call) and _decorator(decorator) == "tool":
            for keyword in decorator.keywords:
                if keyword.arg == "name" and isinstance(keyword.value, ast.Constant):
                    return str(keyword.value.value or function.name)
    return function.name


def _keys(value: ast.expr | None) -> list[str] | None:
    """Return the keys of a dict that is written out; None if there are others."""
    if not isinstance(value, ast.Dict):
        return None
    keys = [key.value for key in value.keys if isinstance(key, ast.Constant)]
    return [str(key) for key in keys] if len(keys) == len(value.keys) else None
