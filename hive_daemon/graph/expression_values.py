"""The values of the expression language, and the work that one evaluation may spend on them.

A *plain* value is an exact instance of a JSON type (None, bool, int, float, str, list, dict) or of what the
language makes of them (tuple, set, frozenset, the views of a mapping). A subclass of int, float or str, such as the
member of a StrEnum, is read as its base. Everything else is *foreign*.

Guarantees: no code of a foreign object ever runs, not even its `__eq__`, `__bool__` or `__hash__`. It is true, equal
to itself and to nothing else, and every other operation refuses it. (Taken on trust: the keys of a mapping and the
members of a set, which had to hash when it was made.) Whatever takes longer with the size of its operands is paid for
out of `WORK_LIMIT` beforehand, so one evaluation ends within milliseconds and a few megabytes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import NoneType
from typing import Final, NoReturn, TypeGuard

from hive_daemon.errors import InvalidInput

WORK_LIMIT: Final = 50_000
"""Units per evaluation; one unit is an element looked at, or so many characters written or read."""
MAX_INTEGER_BITS: Final = 4096
READ_SHIFT: Final = 6
"""2**6 characters searched or compared cost one unit."""
WRITE_SHIFT: Final = 4
"""2**4 characters written cost one unit."""

_WIDE: Final = 1 << 64
_WIDE_COST: Final = (
    100  # wide integers can be made to share one hash: few of them, or a set goes quadratic
)
_CONTAINER_COST: Final = 4
_SHOWN: Final = 120

DictKeys: Final[type] = type({}.keys())
DictValues: Final[type] = type({}.values())
DictItems: Final[type] = type({}.items())

NUMBERS: Final[frozenset[type]] = frozenset({bool, int, float})
SCALARS: Final[frozenset[type]] = NUMBERS | {NoneType, str}
SETS: Final[frozenset[type]] = frozenset({set, frozenset, DictKeys, DictItems})
CONTAINERS: Final[frozenset[type]] = SETS | {list, tuple, dict, DictValues}
PLAIN: Final[frozenset[type]] = SCALARS | CONTAINERS

_WEIGHTLESS: Final[frozenset[type]] = frozenset({NoneType, bool, float})
_KINDS: Final[dict[type, str]] = {
    NoneType: "None",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a text",
    list: "a list",
    tuple: "a tuple",
    dict: "a mapping",
    set: "a set",
    frozenset: "a set",
}
# Read through `type` itself: a metaclass may answer `__name__` with code of its own.
_name_of = type.__dict__["__name__"].__get__


class ExpressionError(InvalidInput):
    """The expression is not valid, or cannot be evaluated with these values."""

    code = "expression"


class UndefinedName(ExpressionError):
    """An expression reads a name that the context does not have; `name` says which."""

    code = "undefined_name"

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"cannot evaluate {shown(text)}: {name!r} is not defined", subject=name)
        self.name = name


class Evaluation:
    """One evaluation: where names are looked up, and the work that is left."""

    __slots__ = ("context", "work")

    def __init__(self, context: Mapping[str, object]) -> None:
        self.context = context
        self.work = WORK_LIMIT

    def spend(self, units: int) -> None:
        """Pay for work about to be done, or raise ExpressionError when too little is left."""
        self.work -= units
        if self.work < 0:
            raise ExpressionError("it asks for more work than a condition may do")


def shown(text: str) -> str:
    """Quote an expression for a sentence: at most 120 characters, control characters escaped."""
    return repr(text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…")


def kind_of(value: object) -> str:
    """Name the kind of a value in words, without touching the value."""
    kind = type(value)
    if kind in _KINDS:
        return _KINDS[kind]
    if kind in PLAIN:
        return "a view of a mapping"
    return f"an object of type {_name_of(kind)}, which is not JSON data"


def refuse(operation: str, *values: object) -> NoReturn:
    """Raise ExpressionError: the operation is not for values of these kinds."""
    kinds = " and ".join(kind_of(value) for value in values)
    raise ExpressionError(f"{operation} is not for {kinds}")


def adopt(value: object) -> object:
    """Return a value that came from the context: a str, int or float subclass as its base, the rest as it is."""
    kind = type(value)
    if kind in PLAIN:
        return value
    # issubclass with a builtin looks only at the real type; isinstance would ask the object for `__class__`.
    if issubclass(kind, str):
        return str.__str__(value)
    if issubclass(kind, int):
        return int.__int__(value)  # type: ignore[arg-type]  # issubclass said so
    if issubclass(kind, float):
        return float.__float__(value)  # type: ignore[arg-type]  # issubclass said so
    return value


def truth(value: object) -> bool:
    """Say whether a value counts as true: Python's rule for plain values, True for foreign ones."""
    return bool(value) if type(value) in PLAIN else True


def is_container(value: object) -> TypeGuard[Collection[object]]:
    """Say whether the value is a plain list, tuple, mapping, set or view."""
    return type(value) in CONTAINERS


def is_integer(value: object) -> TypeGuard[int]:
    """Say whether the value is a plain integer or boolean."""
    return type(value) is int or type(value) is bool


def bounded(value: object) -> object:
    """Return a number, or raise ExpressionError when it is an integer of more than MAX_INTEGER_BITS bits."""
    if type(value) is int and value.bit_length() > MAX_INTEGER_BITS:
        raise ExpressionError(f"an integer has more than {MAX_INTEGER_BITS} bits")
    return value


def survey(evaluation: Evaluation, value: object) -> None:
    """Walk a value to its leaves and pay for it.

    Raises ExpressionError at the first foreign object, and when the value is too large (or endless, because it
    contains itself). After it, Python's own operators may be let loose on the value.
    """
    pending: list[Collection[object]] = [(value,)]
    while pending:
        items = pending.pop()
        if len(items) > evaluation.work:
            evaluation.spend(len(items))
        evaluation.spend(_CONTAINER_COST + len(items) + _weigh(items, pending))


def _weigh(items: Collection[object], pending: list[Collection[object]]) -> int:
    cost = 0
    for item in items:
        kind = type(item)
        if kind in _WEIGHTLESS:
            continue
        if type(item) is str:
            cost += len(item) >> WRITE_SHIFT
        elif type(item) is int:
            if not -_WIDE < item < _WIDE:
                cost += _WIDE_COST + (item.bit_length() >> 2)
        elif type(item) is dict:
            pending.append(item.keys())
            pending.append(item.values())
        elif is_container(item):
            pending.append(item)
        else:
            raise ExpressionError(f"it would have to work on {kind_of(item)}")
    return cost
