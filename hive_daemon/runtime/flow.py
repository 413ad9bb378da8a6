"""Under which rules an entry point takes triggers in: `concurrency` and `flow`, read once, applied to every trigger.

    concurrency: {max: 2, key: "input.user_id", strategy: interrupt, queue_max: 500, queue_timeout: 10m}
    flow:
      dedupe: {key: "input.order_id", ttl: 1h}
      rate_limit: {limit: 100, per: 1h, key: "input.user_id"}
      debounce: {period: 30s, max_wait: 5m, key: "input.repo"}
      throttle: {limit: 10, per: 1m}

Applied in this order: dedupe, rate_limit, debounce or batch, throttle, concurrency.

A key is an expression (graph/expression.py) over `input`, `source`, `session_id` and `correlation_id`. Laws: a mistake
is refused when it is read, never while a trigger waits for an answer; a key without a value is the empty text, with a
remark, except in `dedupe`, where nothing is taken for a repetition then; equal triggers have equal keys.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from hive_daemon.graph.expression import Expression, ExpressionError
from hive_daemon.storage.admission import Admission, Batch, Debounce, Rate, Strategy

LONGEST_KEY = 200
"""A longer value of a key is replaced by its hash."""

_TAKES_OVER = (Strategy.INTERRUPT, Strategy.ROLLBACK)


@dataclass(frozen=True, slots=True)
class Once:
    """The same value of the key within `seconds` is the same execution."""

    key: Expression
    seconds: float


@dataclass(frozen=True, slots=True)
class KeyedRate:
    """A rate, and what its key is read from; None for one over all."""

    rule: Rate
    key: Expression | None = None


@dataclass(frozen=True, slots=True)
class KeyedHold:
    """What holds triggers back to merge them, and what its key is read from; None for one over all."""

    rule: Debounce | Batch
    key: Expression | None = None


@dataclass(frozen=True, slots=True)
class Admitted:
    """The rules as they apply to one trigger. `once` is its dedupe key, empty for none; `remarks` are for the log."""

    admission: Admission
    once: str = ""
    once_seconds: float = 0.0
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FlowRules:
    """The rules of one entry point. `most` may run; where there is a `key`, `most_by_key` with the same value of it."""

    most: int
    base: Admission
    key: Expression | None = None
    most_by_key: int | None = None
    once: Once | None = None
    rate: KeyedRate | None = None
    hold: KeyedHold | None = None
    throttle: KeyedRate | None = None

    @property
    def takes_over(self) -> bool:
        """Whether a trigger without a free slot goes on in the session of what it cancels."""
        return self.base.strategy in _TAKES_OVER

    @property
    def delays(self) -> bool:
        """Whether what waits may become due, or too old, without anything else happening."""
        return (
            self.hold is not None
            or self.throttle is not None
            or self.base.queue_seconds is not None
        )

    def admit(
        self, context: Mapping[str, object], *, is_joined: bool = False, names_session: bool = False
    ) -> Admitted:
        """Say how the rules apply to a trigger; `context` holds what keys may read.

        One that joins a live session cancels nothing, and one that names its session is not merged with others.
        """
        admission = self.base
        if is_joined and self.takes_over:
            admission = replace(admission, strategy=Strategy.QUEUE)
        has_flow = self.once or self.rate or self.hold or self.throttle
        if self.key is None and not has_flow:
            return Admitted(admission)
        found = _Values(context)
        hold = None if is_joined or names_session else self.hold
        admission = replace(
            admission,
            key=found.text("concurrency.key", self.key),
            rate=found.rate("flow.rate_limit.key", self.rate),
            hold=found.hold(hold),
            throttle=found.rate("flow.throttle.key", self.throttle),
        )
        once = "" if self.once is None else found.text("flow.dedupe.key", self.once.key)
        seconds = 0.0 if self.once is None else self.once.seconds
        return Admitted(admission, once, seconds, tuple(found.remarks))


class _Values:
    """Reads keys off one trigger, and notes what could not be read."""

    def __init__(self, context: Mapping[str, object]) -> None:
        self._context = context
        self.remarks: list[str] = []

    def text(self, where: str, key: Expression | None) -> str:
        if key is None:
            return ""
        try:
            value = key.evaluate(self._context)
        except ExpressionError as error:
            self.remarks.append(f"{where}: {error}")
            return ""
        if value is None:
            self.remarks.append(f"{where}: {key.text} has no value")
            return ""
        return _shortened(value)

    def rate(self, where: str, kept: KeyedRate | None) -> Rate | None:
        return None if kept is None else replace(kept.rule, key=self.text(where, kept.key))

    def hold(self, kept: KeyedHold | None) -> Debounce | Batch | None:
        if kept is None:
            return None
        word = "batch" if isinstance(kept.rule, Batch) else "debounce"
        return replace(kept.rule, key=self.text(f"flow.{word}.key", kept.key))


def _shortened(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    if len(text) <= LONGEST_KEY:
        return text
    return f"sha256:{hashlib.sha256(text.encode('utf-8', 'backslashreplace')).hexdigest()}"
