"""From text to tree: which constructs the expression language has, and how large an expression may be.

Python's own parser reads the text; every part of what it read must be one of the constructs named here, anything
else is refused with its place in the text. The limits on characters, parts and nesting bound what a tree can cost.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable
from typing import Final, NoReturn

from hive_daemon.graph.expression_calls import FUNCTIONS, METHODS, Callee
from hive_daemon.graph.expression_nodes import (
    Among,
    And,
    Arithmetic,
    Attribute,
    Call,
    Chain,
    Choice,
    Comparison,
    Cut,
    Fixed,
    Item,
    ListOf,
    MappingOf,
    MethodCall,
    Name,
    Node,
    Not,
    Or,
    SetOf,
    Sign,
    TupleOf,
)
from hive_daemon.graph.expression_operators import OPERATIONS, RELATIONS, SIGNS
from hive_daemon.graph.expression_values import SCALARS, ExpressionError, bounded, shown

MAX_CHARACTERS: Final = 4096
MAX_PARTS: Final = 500
MAX_DEPTH: Final = 50

ALIASES: Final[dict[str, object]] = {"true": True, "false": False, "null": None, "none": None}
"""Names that are literals, for those who write JSON."""

_SOURCE: Final = "<condition>"
_HINT: Final = "conditions are written as in Python: == and != compare; and, or, not, in combine"
_FOREIGN_CONSTRUCTS: Final[dict[type[ast.expr], str]] = {
    ast.Await: "await",
    ast.DictComp: "a comprehension",
    ast.FormattedValue: "an f-string",
    ast.GeneratorExp: "a comprehension",
    ast.JoinedStr: "an f-string",
    ast.Lambda: "a lambda",
    ast.ListComp: "a comprehension",
    ast.NamedExpr: "an assignment",
    ast.SetComp: "a comprehension",
    ast.Slice: "a slice among other subscripts",
    ast.Starred: "unpacking with *",
    ast.Yield: "yield",
    ast.YieldFrom: "yield",
}

# Python's parser warns of `"\d"` and `1if x else 2`. In a daemon nobody reads that, so for our source, and for it
# alone, a warning becomes a syntax error. Set once here because warnings.catch_warnings is not safe between threads.
warnings.filterwarnings("error", module=re.escape(_SOURCE))


def compile_expression(text: str) -> tuple[Node, frozenset[str]]:
    """Return the tree of an expression and the names it reads.

    Raises ExpressionError: not Python's syntax, a construct that the language does not have, or too large.
    """
    if len(text) > MAX_CHARACTERS:
        raise ExpressionError(
            f"expression {shown(text)} has {len(text)} characters, at most {MAX_CHARACTERS} are allowed"
        )
    if not text:
        raise ExpressionError("the expression is empty")
    compiler = _Compiler(text)
    tree = compiler.compile(_read(text))
    return tree, frozenset(compiler.names)


def _read(text: str) -> ast.expr:
    try:
        return ast.parse(text, _SOURCE, mode="eval").body
    except SyntaxError as error:
        where = _place(error.lineno or 1, error.offset or 1)
        raise ExpressionError(
            f"expression {shown(text)} is not valid at {where}: {error.msg}", hint=_HINT
        ) from None
    except ValueError:
        raise ExpressionError(
            f"expression {shown(text)} holds a character that is no text"
        ) from None
    except (MemoryError, RecursionError):
        raise ExpressionError(f"expression {shown(text)} is nested too deeply") from None


def _place(line: int, column: int) -> str:
    return f"column {column}" if line == 1 else f"line {line}, column {column}"


class _Compiler:
    """Compiles the parts of one expression, counting them and noting the names they read."""

    def __init__(self, text: str) -> None:
        self.names: set[str] = set()
        self._text = text
        self._parts = 0
        self._depth = 0

    def compile(self, part: ast.expr) -> Node:
        """Compile one part with everything below it."""
        self._parts += 1
        if self._parts > MAX_PARTS:
            self._refuse(part, f"it has more than {MAX_PARTS} parts")
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._refuse(part, f"it is nested more than {MAX_DEPTH} levels deep")
        node = self._node(part)
        self._depth -= 1
        return node

    def _node(self, part: ast.expr) -> Node:
        match part:
            case ast.Constant():
                return self._constant(part)
            case ast.Name():
                return self._name(part)
            case ast.Attribute():
                return Attribute(self.compile(part.value), self._attribute_name(part))
            case ast.Subscript():
                return self._subscript(part)
            case ast.Compare():
                return self._comparison(part)
            case ast.BoolOp(op=op):
                *parts, last = self._all(part.values)
                return (
                    And(tuple(parts), last) if isinstance(op, ast.And) else Or(tuple(parts), last)
                )
            case ast.UnaryOp(op=ast.Not()):
                return Not(self.compile(part.operand))
            case ast.UnaryOp():
                return Sign(SIGNS[type(part.op)], self.compile(part.operand))
            case ast.BinOp():
                return self._arithmetic(part)
            case ast.IfExp():
                test = self.compile(part.test)
                return Choice(test, self.compile(part.body), self.compile(part.orelse))
            case ast.Call():
                return self._call(part)
            case ast.List():
                return ListOf(self._all(part.elts))
            case ast.Tuple():
                return TupleOf(self._all(part.elts))
            case ast.Set():
                return SetOf(self._all(part.elts))
            case ast.Dict():
                return self._mapping(part)
        construct = _FOREIGN_CONSTRUCTS.get(type(part), "this")
        return self._refuse(part, f"{construct} is not part of the expression language")

    def _all(self, parts: Iterable[ast.expr]) -> tuple[Node, ...]:
        return tuple([self.compile(part) for part in parts])

    def _constant(self, part: ast.Constant) -> Node:
        if type(part.value) not in SCALARS:
            self._refuse(part, "only numbers, texts, True, False and None can be written out")
        try:
            return Fixed(bounded(part.value))
        except ExpressionError as error:
            self._refuse(part, str(error))

    def _name(self, part: ast.Name) -> Node:
        if part.id in ALIASES:
            return Fixed(ALIASES[part.id])
        if part.id.startswith("__"):
            self._refuse(part, f"{part.id} is not a name that a condition may read")
        self.names.add(part.id)
        return Name(part.id, self._text)

    def _attribute_name(self, part: ast.Attribute) -> str:
        if part.attr.startswith("_"):
            self._refuse(part, f".{part.attr} begins with an underscore, read such a key with [ ]")
        return part.attr

    def _subscript(self, part: ast.Subscript) -> Node:
        owner = self.compile(part.value)
        if not isinstance(part.slice, ast.Slice):
            return Item(owner, self.compile(part.slice))
        start, stop, step = part.slice.lower, part.slice.upper, part.slice.step
        return Cut(owner, self._bound(start), self._bound(stop), self._bound(step))

    def _bound(self, part: ast.expr | None) -> Node:
        return Fixed(None) if part is None else self.compile(part)

    def _comparison(self, part: ast.Compare) -> Node:
        relations = [RELATIONS[type(op)] for op in part.ops]
        left = self.compile(part.left)
        if len(relations) > 1:
            return Chain(left, tuple(zip(relations, self._all(part.comparators), strict=True)))
        right = self.compile(part.comparators[0])
        literal = _scalar_literals(right)
        if literal is not None and isinstance(part.ops[0], ast.In | ast.NotIn):
            return Among(left, literal, expects=isinstance(part.ops[0], ast.In))
        return Comparison(left, relations[0], right)

    def _arithmetic(self, part: ast.BinOp) -> Node:
        operation = OPERATIONS.get(type(part.op))
        if operation is None:
            self._refuse(part, "the operator @ is not part of the expression language")
        return Arithmetic(self.compile(part.left), operation, self.compile(part.right))

    def _mapping(self, part: ast.Dict) -> Node:
        keys = [key for key in part.keys if key is not None]
        if len(keys) < len(part.keys):
            self._refuse(part, "unpacking with ** is not part of the expression language")
        return MappingOf(self._all(keys), self._all(part.values))

    def _call(self, part: ast.Call) -> Node:
        if part.keywords:
            self._refuse(part, "keyword arguments are not part of the expression language")
        if isinstance(part.func, ast.Attribute):
            name = self._attribute_name(part.func)
            callee = self._callee(part, METHODS, name)
            receiver = self.compile(part.func.value)
            return MethodCall(receiver, name, callee, self._all(part.args))
        if isinstance(part.func, ast.Name):
            callee = self._callee(part, FUNCTIONS, part.func.id)
            return Call(callee, self._all(part.args))
        return self._refuse(part, "only functions and methods can be called")

    def _callee(self, part: ast.Call, table: dict[str, Callee], name: str) -> Callee:
        callee = table.get(name)
        dot = "." if table is METHODS else ""
        if callee is None:
            known = ", ".join(f"{dot}{each}" for each in table)
            self._refuse(part, f"{dot}{name}() cannot be called, only {known} can")
        if not callee.least <= len(part.args) <= callee.most:
            self._refuse(part, f"{dot}{name}() takes {callee.arity()}, not {len(part.args)}")
        return callee

    def _refuse(self, part: ast.expr, why: str) -> NoReturn:
        line = self._text.encode().splitlines()[part.lineno - 1]
        column = len(line[: part.col_offset].decode()) + 1
        where = _place(part.lineno, column)
        raise ExpressionError(f"expression {shown(self._text)} is not valid at {where}: {why}")


def _scalar_literals(node: Node) -> list[object] | set[object] | None:
    if not isinstance(node, ListOf | TupleOf | SetOf):
        return None
    constants = [element.constant for element in node.elements if isinstance(element, Fixed)]
    if len(constants) < len(node.elements):
        return None
    return set(constants) if isinstance(node, SetOf) else constants
