"""The code stands as `house.py` says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

from tests.architecture import house

ROOT = Path(__file__).parents[2]


@lru_cache
def modules() -> dict[str, Path]:
    """Return every module of both packages by its name."""
    found = {}
    for package in ("hive_daemon", "hive_cli"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


@lru_cache
def tree_of(name: str) -> ast.Module:
    """Parse a module once."""
    return ast.parse(modules()[name].read_text(encoding="utf-8"))


def imports(name: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the module of every import, those for type checkers left out."""
    skipped = {
        id(inner)
        for node in ast.walk(tree_of(name))
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree_of(name)):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield node.lineno, whole if whole in modules() else node.module


def floor(name: str) -> int:
    """Return the floor of a module of the daemon."""
    for pattern, level in house.FLOORS:
        if re.fullmatch(pattern, name):
            return level
    raise AssertionError(f"{name} stands on no floor: add it to house.FLOORS")


DAEMON = [name for name in modules() if name.startswith("hive_daemon")]


@pytest.mark.parametrize("name", DAEMON)
def test_imports_go_down_only(name: str) -> None:
    ups = [
        f"line {line}: {target} (floor {floor(target)})"
        for line, target in imports(name)
        if target in modules() and target.startswith("hive_daemon") and floor(target) > floor(name)
    ]
    assert ups == [], f"{name} stands on floor {floor(name)}"


@pytest.mark.parametrize("name", list(modules()))
def test_what_is_apart_stays_apart(name: str) -> None:
    breaches = [
        f"line {line}: {target}: {why}"
        for importer, imported, why in house.APART
        if re.fullmatch(importer, name)
        for line, target in imports(name)
        if re.fullmatch(imported, target)
    ]
    assert breaches == []


@pytest.mark.parametrize("name", list(modules()))
def test_each_package_has_one_door(name: str) -> None:
    breaches = [
        f"line {line}: {target}"
        for line, target in imports(name)
        for package, door in house.DOORS.items()
        if target.split(".")[0] == package and not re.fullmatch(door, name)
    ]
    assert breaches == []


@pytest.mark.parametrize("name", [name for name in DAEMON if floor(name) == house.CORE])
def test_the_core_is_pure(name: str) -> None:
    allowed = {
        package
        for pattern, packages in house.CORE_MAY.items()
        if re.fullmatch(pattern, name)
        for package in packages
    }
    touched = {target.split(".")[0] for _, target in imports(name)}
    assert touched & house.NOT_IN_THE_CORE - allowed == set()


def calls(name: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the dotted text of every call."""
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func)


@pytest.mark.parametrize("name", [n for n in DAEMON if not re.fullmatch(house.TASK_MAKERS, n)])
def test_tasks_are_made_by_their_owner(name: str) -> None:
    made = [f"line {line}: {call}" for line, call in calls(name) if call.endswith("create_task")]
    assert made == []


@pytest.mark.parametrize("name", [n for n in DAEMON if not re.fullmatch(house.CLOCK_READERS, n)])
def test_the_clock_is_read_by_the_clock(name: str) -> None:
    wall = re.compile(r"(time\.time|(datetime\.)?datetime\.(now|utcnow|today)|date\.today)")
    read = [f"line {line}: {call}" for line, call in calls(name) if wall.fullmatch(call)]
    assert read == []


@pytest.mark.parametrize("name", list(modules()))
def test_every_exception_is_caught_at_a_boundary_only(name: str) -> None:
    broad = [
        f"line {node.lineno}"
        for node in ast.walk(tree_of(name))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or "Exception" in ast.unparse(node.type).strip("()").split(", "))
        and not any(re.fullmatch(pattern, name) for pattern in house.BROAD_EXCEPT)
    ]
    assert broad == []


@pytest.mark.parametrize("name", list(modules()))
def test_a_file_is_a_concept(name: str) -> None:
    assert len(modules()[name].read_text(encoding="utf-8").splitlines()) <= house.MOST_LINES


@pytest.mark.parametrize("name", list(modules()))
def test_a_function_is_a_sentence(name: str) -> None:
    long = [
        f"line {node.lineno}: {node.name} has {count} statements"
        for node in ast.walk(tree_of(name))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (count := sum(isinstance(inner, ast.stmt) for inner in ast.walk(node)) - 1)
        > house.MOST_STATEMENTS
    ]
    assert long == []


@pytest.mark.parametrize("name", list(modules()))
def test_a_module_says_what_it_is(name: str) -> None:
    assert ast.get_docstring(tree_of(name))
