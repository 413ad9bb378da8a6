"""The tree that an expression is compiled into: small frozen nodes, each of which knows its own value.

The tree is made once per text (expression_grammar.py) and evaluated at every step of an execution, so the nodes hold
everything that can be decided beforehand: the operator's function, the method's owner, the literal itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final, Protocol

from hive_daemon.graph.expression_calls import Callee, check_receiver
from hive_daemon.graph.expression_operators import Operation, Relation
from hive_daemon.graph.expression_values import (
    PLAIN,
    SCALARS,
    Evaluation,
    ExpressionError,
    UndefinedName,
    adopt,
    is_integer,
    refuse,
    survey,
    truth,
)

_KEY_SHOWN: Final = 40


class Node(Protocol):
    """A part of an expression."""

    def value(self, evaluation: Evaluation) -> object:
        """Return the value of this part; raises ExpressionError or an error of Python's operators."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """A literal."""

    constant: object

    def value(self, evaluation: Evaluation) -> object:
        """Return the literal."""
        return self.constant


@dataclass(frozen=True, slots=True)
class Name:
    """A name, looked up in the context. `text` is the whole expression, for the sentence when it is missing."""

    name: str
    text: str

    def value(self, evaluation: Evaluation) -> object:
        """Look the name up; raises UndefinedName when the context does not have it."""
        try:
            value = evaluation.context[self.name]
        except KeyError:
            raise UndefinedName(self.name, self.text) from None
        return value if type(value) in PLAIN else adopt(value)


@dataclass(frozen=True, slots=True)
class Attribute:
    """`owner.key`: the mapping's value under the key, None when it has none, None also of None."""

    owner: Node
    key: str

    def value(self, evaluation: Evaluation) -> object:
        """Read the key."""
        owner = self.owner.value(evaluation)
        if type(owner) is dict:
            value = owner.get(self.key)
            return value if type(value) in PLAIN else adopt(value)
        if owner is None:
            return None
        return refuse(f"the attribute .{self.key}", owner)


@dataclass(frozen=True, slots=True)
class Item:
    """`owner[index]`: a member of a list, tuple or text, or a mapping's value under a key that must be there."""

    owner: Node
    index: Node

    def value(self, evaluation: Evaluation) -> object:
        """Read the member."""
        owner = self.owner.value(evaluation)
        index = self.index.value(evaluation)
        if type(owner) is dict:
            survey(evaluation, index)
            try:
                return adopt(owner[index])
            except KeyError:
                raise ExpressionError(f"there is no key {_brief(index)}") from None
        if (type(owner) is list or type(owner) is tuple or type(owner) is str) and is_integer(
            index
        ):
            return adopt(owner[index])
        return refuse("a subscript [ ]", owner, index)


@dataclass(frozen=True, slots=True)
class Cut:
    """`owner[start:stop:step]` of a list, tuple or text."""

    owner: Node
    start: Node
    stop: Node
    step: Node

    def value(self, evaluation: Evaluation) -> object:
        """Copy the part, paid for by its length."""
        owner = self.owner.value(evaluation)
        if type(owner) is not list and type(owner) is not tuple and type(owner) is not str:
            return refuse("a slice [ : ]", owner)
        bounds = (
            _bound(self.start.value(evaluation)),
            _bound(self.stop.value(evaluation)),
            _bound(self.step.value(evaluation)),
        )
        cut = slice(*bounds)
        evaluation.spend(len(range(*cut.indices(len(owner)))))
        return owner[cut]


@dataclass(frozen=True, slots=True)
class And:
    """`a and b and …`: the first value that is not true, else the last; what follows it is not evaluated."""

    parts: tuple[Node, ...]
    last: Node

    def value(self, evaluation: Evaluation) -> object:
        """Return the deciding value."""
        for part in self.parts:
            value = part.value(evaluation)
            if value is not True and not truth(value):
                return value
        return self.last.value(evaluation)


@dataclass(frozen=True, slots=True)
class Or:
    """`a or b or …`: the first value that is true, else the last; what follows it is not evaluated."""

    parts: tuple[Node, ...]
    last: Node

    def value(self, evaluation: Evaluation) -> object:
        """Return the deciding value."""
        for part in self.parts:
            value = part.value(evaluation)
            if value is not False and truth(value):
                return value
        return self.last.value(evaluation)


@dataclass(frozen=True, slots=True)
class Not:
    """`not x`."""

    operand: Node

    def value(self, evaluation: Evaluation) -> object:
        """Return the opposite."""
        return not truth(self.operand.value(evaluation))


@dataclass(frozen=True, slots=True)
class Choice:
    """`a if test else b`; only the chosen one is evaluated."""

    test: Node
    chosen: Node
    otherwise: Node

    def value(self, evaluation: Evaluation) -> object:
        """Return the chosen value."""
        is_chosen = truth(self.test.value(evaluation))
        return (self.chosen if is_chosen else self.otherwise).value(evaluation)


@dataclass(frozen=True, slots=True)
class Sign:
    """`-x`, `+x`, `~x`."""

    operate: Callable[[object], object]
    operand: Node

    def value(self, evaluation: Evaluation) -> object:
        """Apply the sign."""
        return self.operate(self.operand.value(evaluation))


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`left operator right`."""

    left: Node
    operate: Operation
    right: Node

    def value(self, evaluation: Evaluation) -> object:
        """Apply the operator."""
        return self.operate(evaluation, self.left.value(evaluation), self.right.value(evaluation))


@dataclass(frozen=True, slots=True)
class Comparison:
    """`left relation right`."""

    left: Node
    relation: Relation
    right: Node

    def value(self, evaluation: Evaluation) -> object:
        """Say whether the relation holds."""
        return self.relation(evaluation, self.left.value(evaluation), self.right.value(evaluation))


@dataclass(frozen=True, slots=True)
class Chain:
    """`a < b <= c …`: every operand is evaluated once, and none after the first relation that does not hold."""

    first: Node
    links: tuple[tuple[Relation, Node], ...]

    def value(self, evaluation: Evaluation) -> object:
        """Say whether every relation holds."""
        left = self.first.value(evaluation)
        for relation, node in self.links:
            right = node.value(evaluation)
            if not relation(evaluation, left, right):
                return False
            left = right
        return True


@dataclass(frozen=True, slots=True)
class Among:
    """`x in ["a", "b"]` or `not in`, over scalar literals: the collection is made once and never handed out."""

    needle: Node
    collection: Collection[object]
    expects: bool

    def value(self, evaluation: Evaluation) -> object:
        """Say whether the needle is in the collection, or is not, as `expects` asks."""
        needle = self.needle.value(evaluation)
        if type(needle) not in SCALARS:
            survey(evaluation, needle)
        return (needle in self.collection) is self.expects


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list literal."""

    elements: tuple[Node, ...]

    def value(self, evaluation: Evaluation) -> object:
        """Make a new list."""
        return [element.value(evaluation) for element in self.elements]


@dataclass(frozen=True, slots=True)
class TupleOf:
    """A tuple literal."""

    elements: tuple[Node, ...]

    def value(self, evaluation: Evaluation) -> object:
        """Make the tuple."""
        return tuple([element.value(evaluation) for element in self.elements])


@dataclass(frozen=True, slots=True)
class SetOf:
    """A set literal."""

    elements: tuple[Node, ...]

    def value(self, evaluation: Evaluation) -> object:
        """Make a new set."""
        elements = [element.value(evaluation) for element in self.elements]
        survey(evaluation, elements)
        return set(elements)


@dataclass(frozen=True, slots=True)
class MappingOf:
    """A dict literal."""

    keys: tuple[Node, ...]
    elements: tuple[Node, ...]

    def value(self, evaluation: Evaluation) -> object:
        """Make a new mapping."""
        keys = [key.value(evaluation) for key in self.keys]
        survey(evaluation, keys)
        return dict(
            zip(keys, [element.value(evaluation) for element in self.elements], strict=True)
        )


@dataclass(frozen=True, slots=True)
class Call:
    """A function of the table, called."""

    callee: Callee
    arguments: tuple[Node, ...]

    def value(self, evaluation: Evaluation) -> object:
        """Call the function."""
        return self.callee.run(evaluation, *[each.value(evaluation) for each in self.arguments])


@dataclass(frozen=True, slots=True)
class MethodCall:
    """A method of the table, called on a receiver that must own it."""

    receiver: Node
    name: str
    callee: Callee
    arguments: tuple[Node, ...]

    def value(self, evaluation: Evaluation) -> object:
        """Call the method."""
        receiver = self.receiver.value(evaluation)
        check_receiver(self.name, self.callee, receiver)
        arguments = [each.value(evaluation) for each in self.arguments]
        return self.callee.run(evaluation, receiver, *arguments)


def _bound(value: object) -> int | None:
    if value is None or is_integer(value):
        return value
    return refuse("the bound of a slice", value)


def _brief(key: object) -> str:
    text = repr(key) if type(key) is str or type(key) is int else "like that"
    return text if len(text) <= _KEY_SHOWN else f"{text[:_KEY_SHOWN]}…"
