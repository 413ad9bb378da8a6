"""The expression language under random text: it reaches nothing, raises one error, and agrees with Python."""

from __future__ import annotations

import copy
import re
import warnings
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hive_daemon.graph.expression import Expression, ExpressionError, OpenContext
from hive_daemon.graph.expression_values import CONTAINERS, WORK_LIMIT, WRITE_SHIFT

FUNCTIONS = ["len", "int", "float", "str", "bool", "list", "dict", "tuple", "set", "min", "max"]
FUNCTIONS += ["sum", "abs", "round", "all", "any"]
METHODS = [
    "get",
    "keys",
    "values",
    "items",
    "lower",
    "upper",
    "strip",
    "split",
    "startswith",
    "endswith",
]


def _touched(*_: object, **__: object) -> NoReturn:
    raise AssertionError("an expression touched an object that is not its own")


_DUNDERS = [
    *("__getattribute__", "__getattr__", "__setattr__", "__delattr__", "__call__", "__hash__"),
    *("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__bool__", "__len__"),
    *("__iter__", "__next__", "__reversed__", "__contains__", "__getitem__", "__setitem__"),
    *("__missing__", "__str__", "__repr__", "__format__", "__int__", "__float__", "__index__"),
    *("__neg__", "__pos__", "__invert__", "__abs__", "__round__", "__trunc__", "__length_hint__"),
    *("__add__", "__radd__", "__sub__", "__rsub__", "__mul__", "__rmul__", "__truediv__"),
    *("__rtruediv__", "__floordiv__", "__rfloordiv__", "__mod__", "__rmod__", "__pow__"),
    *("__rpow__", "__lshift__", "__rlshift__", "__rshift__", "__rrshift__", "__and__"),
    *("__rand__", "__or__", "__ror__", "__xor__", "__rxor__", "__matmul__", "__rmatmul__"),
    *("get", "keys", "values", "items", "lower", "upper", "strip", "split", "a", "startswith"),
]


class Watchful(type):
    """A metaclass whose classes may not be asked for anything either."""

    __instancecheck__ = __subclasscheck__ = __getattribute__ = _touched


def _canary(base: type, *made_of: object) -> object:
    made = base.__new__(base, *made_of) if base is not object else None
    traps = dict.fromkeys(_DUNDERS, _touched)
    cls = type.__new__(Watchful, f"Canary_{base.__name__}", (base,), {**traps, "__slots__": ()})
    return base.__new__(cls, *made_of) if made is not None else object.__new__(cls)


CANARIES = {
    "canary": _canary(object),
    "canary_str": _canary(str, "abc"),
    "canary_int": _canary(int, 5),
    "canary_float": _canary(float, 0.5),
    "canary_list": _canary(list),
    "canary_dict": _canary(dict),
    "canary_tuple": _canary(tuple, (1, 2)),
    "canary_set": _canary(set),
}

JSON_CONTEXT: dict[str, object] = {
    "t": "Some text, with words",
    "u": "",
    "i": 7,
    "j": -2,
    "x": 0.5,
    "b": True,
    "n": None,
    "l": [3, 1, 2],
    "m": ["a", "b", "", "Some"],
    "e": [],
    "d": {"a": 1, "b": [1, {"c": None}], "get": "g", "t": "x"},
    "r": [[1, 2], [1, 3], []],
}

FULL_CONTEXT: dict[str, object] = {
    **JSON_CONTEXT,
    **CANARIES,
    "hidden": [1, CANARIES["canary"], "a"],
    "box": {"a": CANARIES["canary"], "s": CANARIES["canary_str"], "l": [CANARIES["canary_dict"]]},
}

Texts = st.SearchStrategy[str]

# `$n` stands for a number, `$t` a text, `$l` a list, `$d` a mapping, `$b` a truth, `$a` anything.
LEAVES = {
    "$n": ["0", "1", "-1", "2", "3", "1.5", "10", "i", "j", "x", "d['a']", "l[0]"],
    "$t": ["''", "'a'", "'Some'", "' '", "'c,a'", "t", "u", "d['get']", "m[0]"],
    "$l": ["[]", "[1, 2, 3]", "['a', 'b']", "(1, 'a')", "l", "m", "e", "r", "r[0]", "d['b']"],
    "$d": ["{}", "{'a': 1}", "{'a': 2, 'c': []}", "d", "d['b'][1]"],
    "$b": ["True", "False", "b", "i > 3", "t == 'Some'", "n is None", "'a' in d"],
    "$a": ["None", "n", "{1, 2}", "d.keys()"],
}


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(";")]


ORDERS = ["==", "!=", "<", "<=", ">", ">="]
TEMPLATES = {
    "$n": _listed(
        """($n + $n); ($n - $n); ($n * $n); ($n / $n); ($n // $n); ($n % $n); ($n & $n); ($n | $n); ($n ^ $n);
        (-$n); (+$n); (~$n); ($n ** 2); (2 ** $n); ($n << 3); ($n >> 1); len($t); len($l); len($d); int($t); int($n);
        int($t, 16); float($n); sum($l); sum($l, $n); sum($d.values()); abs($n); round($n); round($n, 1); min($n, $n);
        max($n, $n, $n); max($l); $l[$n]; $d[$t]; $d.get($t, $n); ($n if $b else $n); ($n or $n); ($n and $n)"""
    ),
    "$t": _listed(
        """($t + $t); ($t * 2); (3 * $t); $t.lower(); $t.upper(); $t.strip(); $t.strip($t); $t[$n:]; $t[:$n];
        $t[$n:$n]; $t[::$n]; $t[$n]; str($a); ($t if $b else $t); min($t, $t); max($t); ($t or $t); $d.get($t, $t)"""
    ),
    "$l": _listed(
        """($l + $l); ($l * 2); $t.split(); $t.split($t); $t.split($t, $n); [$a, $a]; list($t); list($l); list($d);
        list($d.items()); tuple($l); $l[$n:]; $l[$n:$n]; $l[::$n]; ($a, $a); [$n, $n, $n]; [$t, $t];
        ($l if $b else $l)"""
    ),
    "$d": _listed(
        """{$t: $a}; {$t: $n, $t: $t}; dict($d); ($d | $d); dict([[$t, $a]]); ($d if $b else $d); dict($d.items())"""
    ),
    "$b": _listed(
        """($d == $d); ($a == $a); ($a != $a); ($a < $a); ($n < $n <= $n); ($t in $t); ($t not in $t); ($a in $l);
        ($a not in $l); ($t in $d); ($a in $a); ($t in ['a', 'Some']); ($a in {1, 'a'}); ($a in $d.values());
        (not $a); ($b and $b); ($b or $b); ($b and $b or $b); bool($a); all($l); any($l); $t.startswith($t);
        $t.endswith(($t, 'e')); ($a is None); ($a is not None); ($b is True); (set($l) <= set($l));
        ($d.keys() == set($l))"""
    )
    + [f"({kind} {order} {kind})" for kind in ("$n", "$t", "$l") for order in ORDERS],
    "$a": _listed(
        """$n; $t; $l; $d; $b; $l[$n]; $d[$t]; $d.get($t); ($a or $a); ($a and $a); ($a if $a else $a); set($l);
        {$n, $t}; (set($l) | {$n}); ($a + $a); ($a * $a); ($a - $a); $a[$a]; (-$a); len($a); str($a).lower();
        ({1, 2} & set($l)); ({$n} - {1}); ({1} ^ {$n, 2}); $d.items(); $d.values()"""
    ),
}
WILD_LEAVES = [*FULL_CONTEXT, "undefined", "__name__", "10**9", "2**4000", "'x' * 99999", "1e308"]
WILD_LEAVES += ["[0] * 9999", "1j", "b'a'", "...", "lambda: 1", "f'{t}'", "[y for y in l]"]
WILD_OPERATORS = ["+", "-", "*", "/", "//", "%", "**", "<<", ">>", "&", "|", "^", *ORDERS, "in"]
WILD_OPERATORS += ["not in", "is", "is not", "and", "or", "@", ":=", ","]
WILD_TEMPLATES = [
    *[f"($a {operator} $a)" for operator in WILD_OPERATORS],
    *[f"{function}($a)" for function in FUNCTIONS],
    *[f"{function}($a, $a)" for function in ("max", "min", "sum", "round", "int")],
    *[f"$a.{method}()" for method in METHODS],
    *[f"$a.{method}($a)" for method in METHODS],
    *_listed(
        """$a.a; $a.s; $a.l; $a.get; $a.__class__; $a.format($a); $a(); $a.a.b; $a[$a]; $a[::2]; $a[$a:$a];
        [$a, $a]; ($a,); {$a: $a}; {$a, $a}; {**$a}; [*$a]; max($a, key=$a); ($a if $a else $a); (not $a); (-$a);
        (~$a)"""
    ),
]


def _filled(template: str, sources: dict[str, Texts]) -> Texts:
    parts = re.split(r"(\$[a-z])", template)
    return st.tuples(*[sources.get(part, st.just(part)) for part in parts]).map("".join)


def _deeper(below: dict[str, Texts], templates: dict[str, list[str]]) -> dict[str, Texts]:
    return {
        kind: st.one_of(below[kind], *[_filled(each, below) for each in templates[kind]])
        for kind in below
    }


def _deep(
    leaves: dict[str, list[str]], templates: dict[str, list[str]], levels: int
) -> dict[str, Texts]:
    texts: dict[str, Texts] = {kind: st.sampled_from(each) for kind, each in leaves.items()}
    for _ in range(levels):
        texts = _deeper(texts, templates)
    return texts


HONEST = _deep(LEAVES, TEMPLATES, levels=4)["$a"]
WILD = st.one_of(
    _deep({"$a": WILD_LEAVES}, {"$a": WILD_TEMPLATES}, levels=4)["$a"],
    _deep(
        {**LEAVES, "$a": [*LEAVES["$a"], *WILD_LEAVES]},
        {**TEMPLATES, "$a": [*TEMPLATES["$a"], *WILD_TEMPLATES]},
        levels=3,
    )["$a"],
)

TOKENS = [*FULL_CONTEXT, *WILD_OPERATORS, *LEAVES["$n"], *LEAVES["$t"], *FUNCTIONS, *METHODS]
TOKENS += _listed(
    "( ; ) ; [ ; ] ; { ; } ; . ; , ; : ; not ; lambda ; for ; if ; else ; * ; = ; __class__"
)
TOKENS += [
    "f'",
    "'",
    '"',
    "\\",
    "\n",
    "\r",
    "\f",
    "\0",
    "é",
    "\ud800",
    "#",
    "await",
    "1j",
    "'''",
    ";",
]
SOUP = st.lists(st.sampled_from(TOKENS), max_size=25).map(" ".join) | st.text(max_size=40)

# The strategies draw small parts only; a slow draw on a loaded machine says nothing about the language.
RELAXED = settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def _measure(value: object) -> int:
    if type(value) is str:
        return len(value) >> WRITE_SHIFT
    return len(value) if type(value) in (list, tuple, dict, set) else 0  # type: ignore[arg-type]


def _canonical(value: object) -> str:
    """Write a value out with the types of its parts, sets in an order of our own."""
    kind = type(value)
    if kind in (set, frozenset):
        return f"{kind.__name__}{sorted(map(_canonical, value))}"  # type: ignore[call-overload]
    if kind is dict:
        return f"dict{[_canonical(pair) for pair in value.items()]}"  # type: ignore[attr-defined]
    if kind in CONTAINERS:
        return f"{kind.__name__}{[_canonical(each) for each in value]}"  # type: ignore[attr-defined]
    return repr(value)


def _survives(text: str) -> None:
    try:
        result = Expression.parse(text).evaluate(FULL_CONTEXT)
    except ExpressionError:
        return
    assert _measure(result) <= WORK_LIMIT


@given(WILD)
@RELAXED
def test_a_wild_expression_ends_in_a_bounded_value_or_in_an_expression_error(text: str) -> None:
    _survives(text)


@given(SOUP)
@RELAXED
def test_any_text_ends_in_a_bounded_value_or_in_an_expression_error(text: str) -> None:
    _survives(text)


@pytest.mark.parametrize("name", CANARIES)
def test_the_canaries_do_sing(name: str) -> None:
    for touch in (bool, hash, repr, len, iter, int, lambda it: it == 1, lambda it: it.a, vars):
        with pytest.raises(AssertionError):
            touch(CANARIES[name])


@pytest.mark.parametrize("name", [*CANARIES, "hidden", "box", "box.a", "box.s", "hidden[1]"])
def test_no_single_construct_touches_a_foreign_object(name: str) -> None:
    others = ["1", "'a'", "None", "[1]", "{'a': 1}", "canary", name]
    texts = [f"{sign}{name}" for sign in ("-", "+", "~", "not ")]
    texts += [f"{name} {op} {other}" for op in WILD_OPERATORS for other in others]
    texts += [f"{other} {op} {name}" for op in WILD_OPERATORS for other in others]
    texts += [f"{function}({name})" for function in FUNCTIONS]
    texts += [f"{function}(1, {name})" for function in ("int", "min", "max", "sum", "round")]
    texts += [f"{name}.{method}()" for method in METHODS]
    texts += [f"{name}.{method}('a')" for method in METHODS]
    texts += [f"'abc'.{method}({name})" for method in METHODS]
    texts += [f"d.get({name}), d[{name}], {{{name}: 1}}, {{{name}}}, l[{name}:], {name}[0:1]"]
    texts += [f"d.get({name})", f"d[{name}]", f"{{{name}: 1}}", f"{{{name}}}", f"l[{name}:]"]
    texts += [f"{name}[0:1]", f"{name}[0]", f"{name}.a", f"{name}['a']", f"l[{name}]"]
    texts += [
        f"[{name}] == [{name}, 1]",
        f"[{name}] == [1]",
        f"1 if {name} else 2",
        f"str([{name}])",
    ]
    for text in texts:
        _survives(text)


@given(WILD)
@RELAXED
def test_the_truth_of_an_expression_is_the_truth_of_its_value(text: str) -> None:
    context = OpenContext(JSON_CONTEXT)
    try:
        value = Expression.parse(text).evaluate(context)
    except ExpressionError:
        return
    assert Expression.parse(text).truth(context) is bool(value)


@given(WILD)
@RELAXED
def test_evaluating_changes_nothing_and_answers_the_same_again(text: str) -> None:
    context = copy.deepcopy(JSON_CONTEXT)
    try:
        first = _canonical(Expression.parse(text).evaluate(context))
    except ExpressionError:
        return
    assert _canonical(Expression.parse(text).evaluate(context)) == first
    assert context == JSON_CONTEXT


def _python(text: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of `1 is None` and the like
        return _canonical(eval(text, {}, copy.deepcopy(JSON_CONTEXT)))


@given(HONEST)
@settings(RELAXED, max_examples=600)
def test_an_honest_expression_answers_what_python_answers(text: str) -> None:
    try:
        expected = _python(text)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        with pytest.raises(ExpressionError):
            Expression.parse(text).evaluate(JSON_CONTEXT)
        return
    assert _canonical(Expression.parse(text).evaluate(JSON_CONTEXT)) == expected
