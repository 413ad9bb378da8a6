"""Reading `concurrency` and `flow` of an entry point: what may stand there, and how mistakes in it are told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hive_daemon.durations import parse_duration
from hive_daemon.errors import ConfigError, InvalidInput
from hive_daemon.graph.expression import Expression, ExpressionError
from hive_daemon.runtime.flow import FlowRules, KeyedHold, KeyedRate, Once
from hive_daemon.storage.admission import Admission, Batch, Debounce, Rate, Strategy

NAMES = frozenset({"input", "source", "session_id", "correlation_id"})
"""What the expression of a key may read."""
MOST = 1_000_000
PATIENCE = 10
"""The longest a debounce waits without `max_wait`, in periods."""
QUEUE_MAX = 100_000
"""How many executions may wait at an entry point that says nothing of it."""
CONCURRENCY_KEYS = ("max", "key", "strategy", "queue_max", "queue_timeout")
FLOW_KEYS: Mapping[str, tuple[str, ...]] = {
    "dedupe": ("key", "ttl"),
    "rate_limit": ("limit", "per", "key"),
    "debounce": ("period", "max_wait", "key"),
    "batch": ("max", "wait", "key"),
    "throttle": ("limit", "per", "key"),
}
"""What may stand under `flow`, in the order in which it is applied."""


def read_flow(
    max_concurrent: int, concurrency: Mapping[str, Any], flow: Mapping[str, Any]
) -> FlowRules:
    """Read what an entry point says. Raises ConfigError with every problem, each with its key."""
    reader = _Reader()
    rules = _read(reader, max_concurrent, concurrency, flow)
    if reader.problems:
        raise ConfigError(reader.problems)
    return rules


def _read(
    reader: _Reader, max_concurrent: int, concurrency: Mapping[str, Any], flow: Mapping[str, Any]
) -> FlowRules:
    group = reader.section("concurrency", concurrency, CONCURRENCY_KEYS)
    flows = reader.section("flow", flow, tuple(FLOW_KEYS))
    most, key = group.whole("max"), group.expression("key")
    if key is not None and most is None and not reader.problems:
        reader.refuse("concurrency.key", "bounds nothing by itself, say concurrency.max as well")
    if "debounce" in flows.written and "batch" in flows.written:
        reader.refuse("flow.batch", "cannot stand beside flow.debounce, keep one of them")
    lane = most if most is not None and key is None else max_concurrent
    base = Admission(
        limit=lane if key is None else most,
        slots=None if key is None else lane,
        strategy=_strategy(group, most, max_concurrent),
        queue_max=group.whole("queue_max", otherwise=QUEUE_MAX),
        queue_seconds=group.duration("queue_timeout"),
    )
    return FlowRules(
        most=lane,
        base=base,
        key=key,
        most_by_key=None if key is None else most,
        once=_once(flows),
        rate=_rate(flows, "rate_limit"),
        hold=_debounce(flows) or _batch(flows),
        throttle=_rate(flows, "throttle"),
    )


def _strategy(group: _Section, most: int | None, max_concurrent: int) -> Strategy:
    """Return the strategy in force: the written one; without one, a bare `max_concurrent: 1` takes over."""
    written = group.written.get("strategy")
    if written is None:
        is_single = most is None and max_concurrent == 1
        return Strategy.INTERRUPT if is_single else Strategy.QUEUE
    words = [choice.value for choice in Strategy]
    if not isinstance(written, str) or written not in words:
        group.refuse("strategy", f"{written!r} is unknown, use one of {', '.join(words)}")
        return Strategy.QUEUE
    return Strategy(written)


def _once(flows: _Section) -> Once | None:
    section = flows.below("dedupe")
    if section is None:
        return None
    key, seconds = section.expression("key", is_needed=True), section.duration("ttl", True)
    return None if key is None or seconds is None else Once(key, seconds)


def _rate(flows: _Section, name: str) -> KeyedRate | None:
    section = flows.below(name)
    if section is None:
        return None
    limit, seconds = section.whole("limit", is_needed=True), section.duration("per", True)
    key = section.expression("key")
    return None if limit is None or seconds is None else KeyedRate(Rate(limit, seconds), key)


def _debounce(flows: _Section) -> KeyedHold | None:
    section = flows.below("debounce")
    if section is None:
        return None
    period, longest = section.duration("period", True), section.duration("max_wait")
    key = section.expression("key")
    if period is None:
        return None
    if longest is not None and longest < period:
        section.refuse("max_wait", "must be at least the period")
    return KeyedHold(Debounce(period, PATIENCE * period if longest is None else longest), key)


def _batch(flows: _Section) -> KeyedHold | None:
    section = flows.below("batch")
    if section is None:
        return None
    most, wait = section.whole("max", is_needed=True), section.duration("wait", True)
    key = section.expression("key")
    return None if most is None or wait is None else KeyedHold(Batch(most, wait), key)


class _Reader:
    """Collects what is wrong, a sentence for each."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def refuse(self, where: str, told: str) -> None:
        self.problems.append(f"{where}: {told}")

    def section(self, where: str, written: object, known: tuple[str, ...]) -> _Section:
        if not isinstance(written, Mapping):
            self.refuse(where, f"{written!r} must be a mapping of {', '.join(known)}")
            written = {}
        for key in written:
            if key not in known:
                self.refuse(f"{where}.{key}", f"unknown key, known are {', '.join(known)}")
        return _Section(self, where, {k: v for k, v in written.items() if v is not None})


@dataclass(frozen=True, slots=True)
class _Section:
    reader: _Reader
    where: str
    written: Mapping[str, Any]

    def refuse(self, key: str, told: str) -> None:
        self.reader.refuse(f"{self.where}.{key}", told)

    def below(self, name: str) -> _Section | None:
        if name not in self.written:
            return None
        where, written = f"{self.where}.{name}", self.written[name]
        section = self.reader.section(where, written, FLOW_KEYS[name])
        return section if isinstance(written, Mapping) else None

    def _value(self, key: str, is_needed: bool) -> Any:
        value = self.written.get(key)
        if value is None and is_needed:
            self.refuse(key, "is missing")
        return value

    def whole(
        self, key: str, otherwise: int | None = None, *, is_needed: bool = False
    ) -> int | None:
        value = self._value(key, is_needed)
        if value is None:
            return otherwise
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST:
            return value
        self.refuse(key, f"{value!r} must be a whole number from 1 to {MOST}")
        return None

    def duration(self, key: str, is_needed: bool = False) -> float | None:
        value = self._value(key, is_needed)
        if value is None:
            return None
        try:
            seconds = parse_duration(value) if isinstance(value, str) else 0.0
        except InvalidInput as error:
            self.refuse(key, str(error))
            return None
        if seconds > 0:
            return seconds
        self.refuse(key, f"{value!r} must be a duration such as 30s, 5m or 1h30m")
        return None

    def expression(self, key: str, *, is_needed: bool = False) -> Expression | None:
        value = self._value(key, is_needed)
        if value is None:
            return None
        try:
            found = Expression.parse(value)
        except ExpressionError as error:
            self.refuse(key, f"{value!r} is no expression: {error}")
            return None
        unknown = sorted(found.names - NAMES)
        if unknown:
            known = ", ".join(sorted(NAMES))
            self.refuse(key, f"{value!r} reads {', '.join(unknown)}, it may read {known}")
            return None
        return found
