"""The operators of the expression language: Python's meaning, with operands checked before Python sees them.

Each takes the evaluation and two operands and answers like Python's operator does, or raises ExpressionError (or
the ArithmeticError, LookupError, TypeError, ValueError of Python itself, which `Expression.evaluate` puts into words).
Three meanings differ on purpose. `%` is for numbers only: a text on its left would format. `is` compares type and
value, because identity does not outlive the store: an execution must take the same way before and after a restart. A
negative number to a fractional power is refused instead of becoming complex.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from hive_daemon.graph.expression_values import (
    CONTAINERS,
    MAX_INTEGER_BITS,
    NUMBERS,
    READ_SHIFT,
    SCALARS,
    SETS,
    WRITE_SHIFT,
    DictItems,
    DictKeys,
    DictValues,
    Evaluation,
    ExpressionError,
    bounded,
    is_container,
    is_integer,
    refuse,
    survey,
)

Relation = Callable[[Evaluation, object, object], bool]
"""Answers whether two values stand in a relation."""
Operation = Callable[[Evaluation, object, object], object]
"""Makes one value of two."""
Native = Callable[[Any, Any], object]
"""An operator of Python itself, which takes anything: its operands were checked before."""

_LONG = 1 << 12


def equal(evaluation: Evaluation, left: object, right: object) -> bool:
    """`==`. A foreign object equals itself only."""
    if type(left) in SCALARS and type(right) in SCALARS:
        if type(left) is str and len(left) > _LONG:
            evaluation.spend(len(left) >> READ_SHIFT)
        return left == right
    if left is right:
        return True
    if not is_container(left) or not is_container(right) or len(left) != len(right):
        return False
    survey(evaluation, left)
    survey(evaluation, right)
    return left == right


def unequal(evaluation: Evaluation, left: object, right: object) -> bool:
    """`!=`."""
    return not equal(evaluation, left, right)


def same(evaluation: Evaluation, left: object, right: object) -> bool:
    """`is`: the same type and value. Containers are refused unless the other side is of another type."""
    kind = type(left)
    if kind is not type(right):
        return False
    if kind in CONTAINERS:
        raise ExpressionError("`is` is not for two containers, compare them with ==")
    return left is right or (kind in SCALARS and equal(evaluation, left, right))


def different(evaluation: Evaluation, left: object, right: object) -> bool:
    """`is not`."""
    return not same(evaluation, left, right)


def within(evaluation: Evaluation, left: object, right: object) -> bool:
    """`in`: part of a text, key of a mapping, member of anything else."""
    kind = type(right)
    if type(right) is str:
        if type(left) is not str:
            refuse("looking into a text", left)
        evaluation.spend(len(right) >> READ_SHIFT)
        return left in right
    if not is_container(right):
        refuse("`in`", right)
    survey(evaluation, left)
    if kind in (list, tuple, DictValues, DictItems):
        survey(evaluation, right)
    return left in right


def outside(evaluation: Evaluation, left: object, right: object) -> bool:
    """`not in`."""
    return not within(evaluation, left, right)


def _order(
    native: Native, symbol: str, evaluation: Evaluation, left: object, right: object
) -> bool:
    if type(left) in NUMBERS and type(right) in NUMBERS:
        return native(left, right) is True
    kind = type(left)
    alike = kind is type(right) and kind in (str, list, tuple)
    if not alike and not (kind in SETS and type(right) in SETS):
        refuse(f"`{symbol}`", left, right)
    survey(evaluation, left)
    survey(evaluation, right)
    return native(left, right) is True


def _numeric(
    native: Native, symbol: str, evaluation: Evaluation, left: object, right: object
) -> object:
    if type(left) not in NUMBERS or type(right) not in NUMBERS:
        refuse(f"`{symbol}`", left, right)
    return native(bounded(left), bounded(right))


def _bitwise(
    native: Native, symbol: str, evaluation: Evaluation, left: object, right: object
) -> object:
    if is_integer(left) and is_integer(right):
        return native(bounded(left), bounded(right))
    mappings = type(left) is dict and type(right) is dict and symbol == "|"
    sets = type(left) in SETS and type(right) in SETS
    if not mappings and not sets and not _has_view(left, right):
        refuse(f"`{symbol}`", left, right)
    for operand in (left, right):
        evaluation.spend(
            len(operand) if type(operand) is str else 0
        )  # a view takes it letter by letter
        survey(evaluation, operand)
    return native(left, right)


def _has_view(left: object, right: object) -> bool:
    """Say whether one is a view of a mapping that takes the other's members, as in `x.keys() - ["a"]`."""
    views = (DictKeys, DictItems)
    if type(left) in views:
        return is_container(right) or type(right) is str
    return type(right) in views and (is_container(left) or type(left) is str)


def add(evaluation: Evaluation, left: object, right: object) -> object:
    """`+`: the sum of numbers, or two texts, lists or tuples joined."""
    if type(left) is str and type(right) is str:
        evaluation.spend((len(left) + len(right)) >> WRITE_SHIFT)
        return left + right
    if type(left) is type(right) and is_container(left) and is_container(right):
        evaluation.spend(len(left) + len(right))
        return operator.add(left, right)
    return _numeric(operator.add, "+", evaluation, left, right)


def subtract(evaluation: Evaluation, left: object, right: object) -> object:
    """`-`: the difference of numbers or of sets."""
    if type(left) in SETS or type(right) in SETS:
        return _bitwise(operator.sub, "-", evaluation, left, right)
    return _numeric(operator.sub, "-", evaluation, left, right)


def multiply(evaluation: Evaluation, left: object, right: object) -> object:
    """`*`: the product of numbers, or a text, list or tuple repeated."""
    if type(left) in NUMBERS and type(right) in NUMBERS:
        return _numeric(operator.mul, "*", evaluation, left, right)
    row, count = (right, left) if is_integer(left) else (left, right)
    if not is_integer(count):
        refuse("`*`", left, right)
    times = max(count, 0)
    if type(row) is str:
        evaluation.spend(len(row) * times >> WRITE_SHIFT)
        return row * times
    if type(row) is list or type(row) is tuple:
        evaluation.spend(len(row) * times)
        return row * times
    return refuse("`*`", left, right)


def power(evaluation: Evaluation, left: object, right: object) -> object:
    """`**`, refused when an integer would grow beyond MAX_INTEGER_BITS."""
    if is_integer(left) and is_integer(right) and abs(left) > 1:
        bounded(right)
        if right * left.bit_length() > MAX_INTEGER_BITS:
            raise ExpressionError(f"a power has more than {MAX_INTEGER_BITS} bits")
    result = _numeric(operator.pow, "**", evaluation, left, right)
    if type(result) not in NUMBERS:
        raise ExpressionError("a negative number has no real fractional power")
    return result


def shift_left(evaluation: Evaluation, left: object, right: object) -> object:
    """`<<`, refused when the integer would grow beyond MAX_INTEGER_BITS."""
    if not is_integer(left) or not is_integer(right):
        refuse("`<<`", left, right)
    if left.bit_length() + right > MAX_INTEGER_BITS:
        raise ExpressionError(f"a shift has more than {MAX_INTEGER_BITS} bits")
    return left << right


def shift_right(evaluation: Evaluation, left: object, right: object) -> object:
    """`>>`."""
    if not is_integer(left) or not is_integer(right):
        refuse("`>>`", left, right)
    return operator.rshift(bounded(left), right)


def positive(value: object) -> object:
    """`+x`."""
    if type(value) not in NUMBERS:
        refuse("`+`", value)
    return +bounded(value)  # type: ignore[operator]  # a number


def negative(value: object) -> object:
    """`-x`."""
    if type(value) not in NUMBERS:
        refuse("`-`", value)
    return -bounded(value)  # type: ignore[operator]  # a number


def inverted(value: object) -> object:
    """`~x`."""
    if not is_integer(value):
        refuse("`~`", value)
    return ~int(bounded(value))  # type: ignore[call-overload]  # an integer  # of a boolean, `~` is deprecated in later Pythons


RELATIONS: Final[dict[type[ast.cmpop], Relation]] = {
    ast.Eq: equal,
    ast.NotEq: unequal,
    ast.Lt: partial(_order, operator.lt, "<"),
    ast.LtE: partial(_order, operator.le, "<="),
    ast.Gt: partial(_order, operator.gt, ">"),
    ast.GtE: partial(_order, operator.ge, ">="),
    ast.In: within,
    ast.NotIn: outside,
    ast.Is: same,
    ast.IsNot: different,
}

OPERATIONS: Final[dict[type[ast.operator], Operation]] = {
    ast.Add: add,
    ast.Sub: subtract,
    ast.Mult: multiply,
    ast.Div: partial(_numeric, operator.truediv, "/"),
    ast.FloorDiv: partial(_numeric, operator.floordiv, "//"),
    ast.Mod: partial(_numeric, operator.mod, "%"),
    ast.Pow: power,
    ast.LShift: shift_left,
    ast.RShift: shift_right,
    ast.BitAnd: partial(_bitwise, operator.and_, "&"),
    ast.BitOr: partial(_bitwise, operator.or_, "|"),
    ast.BitXor: partial(_bitwise, operator.xor, "^"),
}

SIGNS: Final[dict[type[ast.unaryop], Callable[[object], object]]] = {
    ast.UAdd: positive,
    ast.USub: negative,
    ast.Invert: inverted,
}
