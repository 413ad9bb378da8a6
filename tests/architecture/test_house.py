"""The code stands as `house.py` says."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

from tests.architecture import house

ROOT = Path(__file__).parents[2]


@cache
def modules() -> dict[str, Path]:
    """Return every module of both packages by its name."""
    found = {}
    for package in ("hive_daemon", "hive_cli"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


@cache
def tree_of(name: str) -> ast.Module:
    """Parse a module once."""
    return ast.parse(modules()[name].read_text(encoding="utf-8"))


@cache
def nodes_of(name: str) -> tuple[ast.AST, ...]:
    """Return every node of a module once."""
    return tuple(ast.walk(tree_of(name)))


@cache
def imports(name: str) -> tuple[tuple[int, str], ...]:
    """Return the line and the module of every import, those for type checkers left out."""
    return tuple(_imports(name))


def _imports(name: str) -> Iterator[tuple[int, str]]:
    skipped = {
        id(inner)
        for node in nodes_of(name)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in nodes_of(name):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield node.lineno, whole if whole in modules() else node.module


@cache
def floor(name: str) -> int:
    """Return the floor of a module of the daemon."""
    for pattern, level in house.FLOORS:
        if re.fullmatch(pattern, name):
            return level
    raise AssertionError(f"{name} stands on no floor: add it to house.FLOORS")


DAEMON = [name for name in modules() if name.startswith("hive_daemon")]


def breaches(names: Iterable[str], found_in: Callable[[str], Iterable[str]]) -> list[str]:
    """Return what breaks a rule, each with its place: no test has less to say than where to look."""
    return [f"{name}: {found}" for name in names for found in found_in(name)]


def test_there_is_a_house_to_look_at() -> None:
    assert len(DAEMON) > 300
    assert len(modules()) > len(DAEMON)


def ups(name: str) -> Iterator[str]:
    for line, target in imports(name):
        if target in modules() and target.startswith("hive_daemon") and floor(target) > floor(name):
            yield f"line {line}: floor {floor(name)} imports {target} (floor {floor(target)})"


def test_imports_go_down_only() -> None:
    assert breaches(DAEMON, ups) == []


def too_near(name: str) -> Iterator[str]:
    for importer, imported, why in house.APART:
        if re.fullmatch(importer, name):
            for line, target in imports(name):
                if re.fullmatch(imported, target):
                    yield f"line {line}: {target}: {why}"


def test_what_is_apart_stays_apart() -> None:
    assert breaches(modules(), too_near) == []


def beside_the_door(name: str) -> Iterator[str]:
    for line, target in imports(name):
        door = house.DOORS.get(target.split(".")[0])
        if door is not None and not re.fullmatch(door, name):
            yield f"line {line}: {target}"


def test_each_package_has_one_door() -> None:
    assert breaches(modules(), beside_the_door) == []


def impure(name: str) -> set[str]:
    allowed = {
        package
        for pattern, packages in house.CORE_MAY.items()
        if re.fullmatch(pattern, name)
        for package in packages
    }
    touched = {target.split(".")[0] for _, target in imports(name)}
    return touched & house.NOT_IN_THE_CORE - allowed


def test_the_core_is_pure() -> None:
    core = [name for name in DAEMON if floor(name) == house.CORE]
    assert len(core) > 50
    assert breaches(core, impure) == []


@cache
def calls(name: str) -> tuple[tuple[int, str], ...]:
    """Return the line and the dotted text of every call."""
    return tuple(
        (node.lineno, ast.unparse(node.func))
        for node in nodes_of(name)
        if isinstance(node, ast.Call)
    )


def tasks_made(name: str) -> Iterator[str]:
    if not re.fullmatch(house.TASK_MAKERS, name):
        yield from (
            f"line {line}: {call}" for line, call in calls(name) if call.endswith("create_task")
        )


def test_tasks_are_made_by_their_owner() -> None:
    assert breaches(DAEMON, tasks_made) == []


WALL = re.compile(r"(time\.time|(datetime\.)?datetime\.(now|utcnow|today)|date\.today)")


def clocks_read(name: str) -> Iterator[str]:
    if not re.fullmatch(house.CLOCK_READERS, name):
        yield from (f"line {line}: {call}" for line, call in calls(name) if WALL.fullmatch(call))


def test_the_clock_is_read_by_the_clock() -> None:
    assert breaches(DAEMON, clocks_read) == []


def caught_too_widely(name: str) -> Iterator[str]:
    if any(re.fullmatch(pattern, name) for pattern in house.BROAD_EXCEPT):
        return
    for node in nodes_of(name):
        if isinstance(node, ast.ExceptHandler) and (
            node.type is None or "Exception" in ast.unparse(node.type).strip("()").split(", ")
        ):
            yield f"line {node.lineno}"


def test_every_exception_is_caught_at_a_boundary_only() -> None:
    assert breaches(modules(), caught_too_widely) == []


def too_long(name: str) -> Iterator[str]:
    lines = len(modules()[name].read_text(encoding="utf-8").splitlines())
    if lines > house.MOST_LINES:
        yield f"{lines} lines"


def test_a_file_is_a_concept() -> None:
    assert breaches(modules(), too_long) == []


def long_functions(name: str) -> Iterator[str]:
    for node in nodes_of(name):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            count = sum(isinstance(inner, ast.stmt) for inner in ast.walk(node)) - 1
            if count > house.MOST_STATEMENTS:
                yield f"line {node.lineno}: {node.name} has {count} statements"


def test_a_function_is_a_sentence() -> None:
    assert breaches(modules(), long_functions) == []


def silent(name: str) -> Iterator[str]:
    if not ast.get_docstring(tree_of(name)):
        yield "no docstring"


def test_a_module_says_what_it_is() -> None:
    assert breaches(modules(), silent) == []
