"""YAML, read strictly: plain values with the line of each, or one sentence on what is wrong.

Stricter than YAML 1.1 on purpose. Only `true`, `false`, decimal numbers and `null` are not text, so `off`, `on`,
`12:30` and `010` mean what they look like. Tags and merge keys are refused, a key stands once, and size, depth, number
of values and aliases are bounded, so that no file can make the daemon hang. Messages never quote values.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import yaml
from yaml.events import AliasEvent, Event
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from hive_daemon.config.tree import KeyPath, Tree, dotted
from hive_daemon.errors import ConfigError

MAX_BYTES = 1024 * 1024
MAX_VALUES = 10_000
MAX_ALIASES = 100
MAX_DEPTH = 32

_NULL = "tag:yaml.org,2002:null"
_BOOL = "tag:yaml.org,2002:bool"
_INT = "tag:yaml.org,2002:int"
_FLOAT = "tag:yaml.org,2002:float"
_SCALARS = [
    (_NULL, re.compile(r"(?:~|null|Null|NULL|)\Z")),
    (_BOOL, re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")),
    # Longer numbers stay text: none of them is meant as one.
    (_INT, re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})\Z")),
    (_FLOAT, re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})?\.[0-9]{1,18}(?:[eE][-+]?[0-9]{1,3})?\Z")),
]
_TOO_MUCH = f"too much, at most {MAX_VALUES} values and {MAX_ALIASES} aliases are read"
_TOO_DEEP = f"nested more than {MAX_DEPTH} deep"
_NO_TAGS = "YAML tags are not accepted, and a text that begins with '!' needs quotes"
_NO_DANGLING = "a text that begins with '*' or '&' needs quotes, and an alias needs its anchor"
_SYNTAX_HINTS = {
    "mapping values are not allowed here": "check the indentation, and put a text that holds ': ' in quotes",
    "found character '\\t' that cannot start any token": "indent with spaces, not with tabs",
    "found unexpected end of stream": "a quote is not closed",
    "but found another document": "remove the second '---'",
    "second occurrence": "two anchors have the same name",
}


@dataclass(frozen=True, slots=True)
class Document:
    """A file's values, the line (from 1) of each path, and what is wrong but did not stop the reading."""

    tree: Tree = None
    lines: Mapping[KeyPath, int] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def parse(text: str) -> Document:
    """Read one YAML document; an empty one is None. Raises ConfigError with line and column."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        raise ConfigError(_syntax_problem(error)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, int(error.position)) + 1
        raise ConfigError(
            f"line {line}: a character stands here that YAML does not allow"
        ) from None
    builder = _Builder()
    tree = builder.build(node, ()) if node is not None else None
    return Document(tree, builder.lines, tuple(builder.problems))


def parse_value(text: str) -> Tree:
    """Read the YAML value of an environment variable. Raises ConfigError."""
    document = parse(text)
    if document.problems:
        raise ConfigError(document.problems)
    return document.tree


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars of YAML 1.2's core schema, bounded while it composes."""

    # The key None means whatever the text begins with.
    yaml_implicit_resolvers = {None: _SCALARS}  # noqa: RUF012 - PyYAML reads it from the class

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._values = 0
        self._aliases = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        """Compose the next node after a look at its event."""
        event: Event = self.peek_event()  # type: ignore[no-untyped-call]  # absent from the stubs
        self._check(event)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def _check(self, event: Event) -> None:
        self._values += 1
        self._aliases += isinstance(event, AliasEvent)
        if self._values > 2 * MAX_VALUES or self._aliases > MAX_ALIASES:
            raise ConfigError(f"{_where(event)}: {_TOO_MUCH}")
        if self._depth > MAX_DEPTH:
            raise ConfigError(f"{_where(event)}: {_TOO_DEEP}")
        if getattr(event, "tag", None) is not None:
            raise ConfigError(f"{_where(event)}: {_NO_TAGS}")


class _Builder:
    """Turns nodes into plain values and remembers their lines. Aliases count as often as they are used."""

    def __init__(self) -> None:
        self.lines: dict[KeyPath, int] = {}
        self.problems: list[str] = []
        self._values = 0

    def build(self, node: Node, path: KeyPath) -> Tree:
        self._values += 1
        if self._values > MAX_VALUES:
            raise ConfigError(f"{_where(node)}: {_TOO_MUCH}")
        if len(path) > MAX_DEPTH:
            raise ConfigError(f"{_where(node)}: {_TOO_DEEP}")
        self.lines.setdefault(path, node.start_mark.line + 1)
        match node:
            case MappingNode():
                return self._mapping(node, path)
            case SequenceNode():
                return [self.build(item, (*path, at)) for at, item in enumerate(node.value)]
            case _:
                return _scalar(node)

    def _mapping(self, node: MappingNode, path: KeyPath) -> Tree:
        values: dict[str, Tree] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            if key is None:
                continue
            here = (*path, key)
            line = key_node.start_mark.line + 1
            if key in values:
                self.problems.append(
                    f"{dotted(here)}: written twice (lines {self.lines[here]} and {line}), keep one"
                )
                continue
            self.lines[here] = line
            values[key] = self.build(value_node, here)
        return values

    def _key(self, node: Node, path: KeyPath) -> str | None:
        """Return a key as it is written, so that `on:` and `1:` are the keys they look like."""
        if not isinstance(node, ScalarNode):
            self.problems.append(f"{_where(node)}: a key must be plain text")
            return None
        if node.value == "<<":
            self.problems.append(
                f"{dotted((*path, '<<'))}: merge keys are not accepted, write the keys out ({_where(node)})"
            )
            return None
        return str(node.value)


def _scalar(node: Node) -> Tree:
    text = str(node.value)
    if node.tag == _NULL:
        return None
    if node.tag == _BOOL:
        return text.lower() == "true"
    if node.tag == _INT:
        return int(text)
    if node.tag == _FLOAT and math.isfinite(float(text)):
        return float(text)
    return text


def _where(place: Event | Node) -> str:
    mark = place.start_mark
    return f"line {mark.line + 1}" if mark is not None else "line 1"


def _syntax_problem(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    where = f"line {mark.line + 1}, column {mark.column + 1}" if mark is not None else "line 1"
    problem = error.problem or ""
    # These quote the file: an unquoted secret would come back as the name of an alias or a tag.
    if "alias" in problem or "anchor" in problem:
        return f"{where}: {_NO_DANGLING}"
    if "tag" in problem:
        return f"{where}: {_NO_TAGS}"
    hint = _SYNTAX_HINTS.get(
        problem, "a bracket is not closed" if "<stream end>" in problem else ""
    )
    return f"{where}: not valid YAML, {problem}{'; ' if hint else ''}{hint}"
