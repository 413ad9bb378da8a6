"""What model calls come to: tokens, and dollars where the price is known. Pure.

Laws: a cost that is not known is None, never 0; a sum with one unknown cost is unknown; no call costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

_DIGITS = 12
"""Decimals of a cost that count: prices are quoted per million tokens."""


def sum_costs(*costs: float | None) -> float | None:
    """Return the sum in dollars; None if one of them is not known.

    >>> sum_costs(0.1, 0.2), sum_costs(0.1, None), sum_costs()
    (0.3, None, 0.0)
    """
    total = 0.0
    for cost in costs:
        if cost is None:
            return None
        total += cost
    return round(total, _DIGITS)


@dataclass(frozen=True, slots=True)
class Spending:
    """What some model calls came to; `input_tokens` include the cached, `output_tokens` the reasoning ones."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd: float | None = 0.0

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Spending:
        """Read it from what was kept; tokens whose cost was not kept have an unknown one."""
        taken, cached, given, reasoning = (int(kept.get(name) or 0) for name in _TOKENS)
        cost = kept.get("cost_usd")
        if cost is None and "cost_usd" not in kept and not (taken or cached or given or reasoning):
            cost = 0.0
        return cls(taken, cached, given, reasoning, cost)

    def plus(self, other: Spending) -> Spending:
        """Return the sum."""
        return Spending(
            self.input_tokens + other.input_tokens,
            self.cached_tokens + other.cached_tokens,
            self.output_tokens + other.output_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            sum_costs(self.cost_usd, other.cost_usd),
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values, as the control API shows them."""
        return asdict(self)


NO_CALLS = Spending()
"""What no call comes to."""

_TOKENS = ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens")
