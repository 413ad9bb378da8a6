"""The expression language of edge conditions: what decides where a walk goes.

An expression is a piece of Python without its dangers. It has literals (with `true`, `false`, `null`, `none`), names,
arithmetic, comparison chains, `in`, `is`, `and`, `or`, `not`, `a if b else c`, subscripts, slices, `output.key`, and
the functions and methods of expression_calls.py.

Guarantees. Parsing and evaluating raise ExpressionError and nothing else. `and`, `or` and the choice evaluate only what
decides. Values compare as in Python. A condition over optional data reads naturally: `x.key` is None when the mapping
has no such key and when `x` itself is None; `x["key"]` must be there. Nothing outside the values of the context can be
reached, nothing is changed, no code of a foreign object runs, and work is bounded (expression_values.py). The same
values give the same answer before and after a restart.

A name that is called is one of the functions, whatever the context holds; anywhere else it is read from the context.
A name that the context lacks raises UndefinedName. The caller decides otherwise by the mapping it passes: names are
read by `context[name]` alone, so a mapping with `__missing__`, such as OpenContext, settles them as it likes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from hive_daemon.graph.expression_grammar import compile_expression
from hive_daemon.graph.expression_nodes import Node
from hive_daemon.graph.expression_values import (
    Evaluation,
    ExpressionError,
    UndefinedName,
    shown,
    truth,
)

__all__ = ["Expression", "ExpressionError", "OpenContext", "UndefinedName", "safe_eval"]

_CACHE_SIZE = 512
_REASON_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression, parsed. Two are equal when their texts are.

    `names` are the names that it reads from the context, whether or not an evaluation comes that far; functions that
    are called are not among them.
    """

    text: str
    names: frozenset[str] = field(compare=False, repr=False)
    _tree: Node = field(compare=False, repr=False)

    @staticmethod
    def parse(text: str) -> Expression:
        """Return the expression of a text; the last 512 texts are remembered.

        Raises ExpressionError with a sentence that says what is wrong and at which column.
        """
        if type(text) is not str:
            raise ExpressionError("an expression is a text")
        return _parse(text.strip())

    def evaluate(self, context: Mapping[str, object]) -> object:
        """Return the value of the expression.

        Raises UndefinedName for a name that the context lacks, ExpressionError for anything that cannot be computed.
        """
        try:
            return self._tree.value(Evaluation(context))
        except UndefinedName:
            raise
        except (ArithmeticError, LookupError, TypeError, ValueError, RecursionError) as error:
            raise ExpressionError(
                f"cannot evaluate {shown(self.text)}: {str(error)[:_REASON_SHOWN]}"
            ) from error

    def truth(self, context: Mapping[str, object]) -> bool:
        """Say whether the value of the expression counts as true; raises as `evaluate` does."""
        return truth(self.evaluate(context))


class OpenContext(dict[str, object]):
    """A context in which every missing name is None.

    Those that nobody declared are noted in `undeclared`, in the order read, for the caller to report: a wrong name
    is never silent.
    """

    __slots__ = ("_declared", "undeclared")

    def __init__(self, values: Mapping[str, object], declared: Iterable[str] = ()) -> None:
        super().__init__(values)
        self._declared = declared if isinstance(declared, frozenset) else frozenset(declared)
        self.undeclared: list[str] = []

    def __missing__(self, name: str) -> None:
        if name not in self._declared and name not in self.undeclared:
            self.undeclared.append(name)


@lru_cache(maxsize=_CACHE_SIZE)
def _parse(text: str) -> Expression:
    tree, names = compile_expression(text)
    return Expression(text, names, tree)


def safe_eval(expr: str, context: dict[str, Any] | None = None) -> Any:
    """Return the value of an expression; raises as `Expression.parse` and `Expression.evaluate` do."""
    return Expression.parse(expr).evaluate(context or {})
