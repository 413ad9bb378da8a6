"""The functions and methods that an expression may call.

Nothing else can be called, none of them takes keyword arguments, and a method runs only when its receiver really is
of the builtin type that owns it. Each takes the evaluation first, checks its operands, pays, then asks Python.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from hive_daemon.graph.expression_values import (
    NUMBERS,
    SCALARS,
    WRITE_SHIFT,
    Evaluation,
    ExpressionError,
    adopt,
    bounded,
    is_container,
    is_integer,
    kind_of,
    refuse,
    survey,
    truth,
)

MAX_NUMERAL: Final = 1300
"""Characters of a text that int() and float() read; about as many digits as MAX_INTEGER_BITS allows."""
MAX_ROUND_DIGITS: Final = 400
_REPR_COST: Final = 8  # writing a value out costs about this many times what walking over it does


@dataclass(frozen=True, slots=True)
class Callee:
    """Something that can be called: what it does, and how many arguments it takes.

    `owner` is the exact type of the receiver of a method (the first argument of `run` after the evaluation), None for
    a function.
    """

    run: Callable[..., object]
    least: int
    most: int
    owner: type | None = None

    def arity(self) -> str:
        """Say in words how many arguments it takes."""
        if self.most >= _MANY:
            return f"{self.least} or more arguments"
        if self.least == self.most:
            return f"{self.least} argument{'' if self.least == 1 else 's'}"
        return f"{self.least} to {self.most} arguments"


def _elements(evaluation: Evaluation, name: str, value: object) -> Collection[object]:
    if type(value) is not str and not is_container(value):
        refuse(f"{name}()", value)
    evaluation.spend(len(value))
    return value


def _surveyed(evaluation: Evaluation, name: str, value: object) -> Collection[object]:
    if not is_container(value):
        return _elements(evaluation, name, value)
    survey(evaluation, value)
    return value


def _numeral(name: str, value: object) -> None:
    if type(value) is str:
        if len(value) > MAX_NUMERAL:
            raise ExpressionError(f"{name}() reads at most {MAX_NUMERAL} characters")
    elif type(value) not in NUMBERS:
        refuse(f"{name}()", value)


def _len(evaluation: Evaluation, value: object) -> int:
    if type(value) is not str and not is_container(value):
        refuse("len()", value)
    return len(value)


def _int(evaluation: Evaluation, value: object = 0, base: object = None) -> int:
    _numeral("int", value)
    if base is None:
        return int(value)  # type: ignore[call-overload,no-any-return]  # a number or a short text
    if type(value) is not str or not is_integer(base):
        refuse("int() with a base", value, base)
    return int(value, base)


def _float(evaluation: Evaluation, value: object = 0.0) -> float:
    _numeral("float", value)
    return float(value)  # type: ignore[arg-type]  # _numeral left numbers and short texts


def _str(evaluation: Evaluation, value: object = "") -> str:
    if type(value) is str:
        return value
    if type(value) not in SCALARS:
        before = evaluation.work
        survey(evaluation, value)
        evaluation.spend(_REPR_COST * (before - evaluation.work))
    return str(bounded(value))


def _bool(evaluation: Evaluation, value: object = False) -> bool:
    return truth(value)


def _list(evaluation: Evaluation, value: object = ()) -> list[object]:
    return list(_elements(evaluation, "list", value))


def _tuple(evaluation: Evaluation, value: object = ()) -> tuple[object, ...]:
    return tuple(_elements(evaluation, "tuple", value))


def _set(evaluation: Evaluation, value: object = ()) -> set[object]:
    return set(_surveyed(evaluation, "set", value))


def _dict(evaluation: Evaluation, value: object = ()) -> dict[object, object]:
    return dict(_surveyed(evaluation, "dict", value))  # type: ignore[arg-type]  # Python says it when these are no pairs


def _sum(evaluation: Evaluation, value: object, start: object = 0) -> object:
    elements = _surveyed(evaluation, "sum", value)
    for number in (start, *elements):
        if type(number) not in NUMBERS:
            refuse("sum()", number)
    return sum(elements, bounded(start))  # type: ignore[call-overload]  # numbers only


def _operands(evaluation: Evaluation, name: str, values: tuple[object, ...]) -> Collection[object]:
    return _surveyed(evaluation, name, values[0] if len(values) == 1 else values)


def _min(evaluation: Evaluation, *values: object) -> object:
    return min(_operands(evaluation, "min", values))  # type: ignore[type-var]  # Python says it


def _max(evaluation: Evaluation, *values: object) -> object:
    return max(_operands(evaluation, "max", values))  # type: ignore[type-var]  # Python says it


def _abs(evaluation: Evaluation, value: object) -> object:
    if type(value) not in NUMBERS:
        refuse("abs()", value)
    return abs(bounded(value))  # type: ignore[arg-type]  # a number


def _round(evaluation: Evaluation, value: object, digits: object = None) -> object:
    if type(value) not in NUMBERS:
        refuse("round()", value)
    if digits is None:
        return round(value)  # type: ignore[call-overload]  # a number
    if not is_integer(digits):
        refuse("the digits of round()", digits)
    if abs(digits) > MAX_ROUND_DIGITS:
        raise ExpressionError(f"round() takes at most {MAX_ROUND_DIGITS} digits")
    return round(bounded(value), digits)  # type: ignore[call-overload]  # a number


def _all(evaluation: Evaluation, value: object) -> bool:
    return all(map(truth, _elements(evaluation, "all", value)))


def _any(evaluation: Evaluation, value: object) -> bool:
    return any(map(truth, _elements(evaluation, "any", value)))


def _lower(evaluation: Evaluation, text: str) -> str:
    evaluation.spend(_cost_of_case(text))
    return text.lower()


def _upper(evaluation: Evaluation, text: str) -> str:
    evaluation.spend(_cost_of_case(text))
    return text.upper()


def _cost_of_case(text: str) -> int:
    return len(text) >> (WRITE_SHIFT if text.isascii() else WRITE_SHIFT // 2)


def _strip(evaluation: Evaluation, text: str, characters: object = None) -> str:
    if characters is None:
        evaluation.spend(len(text) >> WRITE_SHIFT)
        return text.strip()
    if type(characters) is not str:
        refuse("strip()", characters)
    evaluation.spend((len(text) * (len(characters) + 1)) >> WRITE_SHIFT)
    return text.strip(characters)


def _split(
    evaluation: Evaluation, text: str, separator: object = None, most: object = -1
) -> object:
    if separator is not None and type(separator) is not str:
        refuse("split()", separator)
    if not is_integer(most):
        refuse("split()", most)
    evaluation.spend(len(text) >> WRITE_SHIFT)
    limit = most if 0 <= most < evaluation.work else evaluation.work
    parts = text.split(separator, limit)
    evaluation.spend(len(parts))
    return parts


def _startswith(evaluation: Evaluation, text: str, prefix: object) -> bool:
    survey(evaluation, prefix)
    return text.startswith(prefix)  # type: ignore[arg-type]  # Python says it


def _endswith(evaluation: Evaluation, text: str, suffix: object) -> bool:
    survey(evaluation, suffix)
    return text.endswith(suffix)  # type: ignore[arg-type]  # Python says it


def _get(
    evaluation: Evaluation,
    mapping: dict[object, object],
    key: object,
    default: object = None,
) -> object:
    survey(evaluation, key)
    return adopt(mapping.get(key, default))


def _keys(evaluation: Evaluation, mapping: dict[object, object]) -> object:
    return mapping.keys()


def _values(evaluation: Evaluation, mapping: dict[object, object]) -> object:
    return mapping.values()


def _items(evaluation: Evaluation, mapping: dict[object, object]) -> object:
    return mapping.items()


_MANY: Final = 1 << 30

FUNCTIONS: Final[dict[str, Callee]] = {
    "len": Callee(_len, 1, 1),
    "int": Callee(_int, 0, 2),
    "float": Callee(_float, 0, 1),
    "str": Callee(_str, 0, 1),
    "bool": Callee(_bool, 0, 1),
    "list": Callee(_list, 0, 1),
    "dict": Callee(_dict, 0, 1),
    "tuple": Callee(_tuple, 0, 1),
    "set": Callee(_set, 0, 1),
    "min": Callee(_min, 1, _MANY),
    "max": Callee(_max, 1, _MANY),
    "sum": Callee(_sum, 1, 2),
    "abs": Callee(_abs, 1, 1),
    "round": Callee(_round, 1, 2),
    "all": Callee(_all, 1, 1),
    "any": Callee(_any, 1, 1),
}

METHODS: Final[dict[str, Callee]] = {
    "get": Callee(_get, 1, 2, dict),
    "keys": Callee(_keys, 0, 0, dict),
    "values": Callee(_values, 0, 0, dict),
    "items": Callee(_items, 0, 0, dict),
    "lower": Callee(_lower, 0, 0, str),
    "upper": Callee(_upper, 0, 0, str),
    "strip": Callee(_strip, 0, 1, str),
    "split": Callee(_split, 0, 2, str),
    "startswith": Callee(_startswith, 1, 1, str),
    "endswith": Callee(_endswith, 1, 1, str),
}


def check_receiver(name: str, callee: Callee, receiver: object) -> None:
    """Raise ExpressionError unless the receiver is exactly of the type that owns the method."""
    if type(receiver) is not callee.owner:
        owner = "a text" if callee.owner is str else "a mapping"
        raise ExpressionError(f".{name}() belongs to {owner}, not to {kind_of(receiver)}")
