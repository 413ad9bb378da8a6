"""What work has cost: of an execution, or of one visit of a node."""

from __future__ import annotations

from dataclasses import dataclass

from hive_daemon.spending import sum_costs


@dataclass(frozen=True, slots=True)
class Totals:
    """What an execution, or a part of it, has cost; an execution's own continue over a resume.

    `cost_usd` is None where the price of a call is not known.
    """

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd: float | None = 0.0
    latency_seconds: float = 0.0
    llm_calls: int = 0
    tool_calls: int = 0
    resurrections: int = 0

    def plus(self, cost: Totals) -> Totals:
        """Return the sum."""
        return Totals(
            self.input_tokens + cost.input_tokens,
            self.cached_tokens + cost.cached_tokens,
            self.output_tokens + cost.output_tokens,
            self.reasoning_tokens + cost.reasoning_tokens,
            sum_costs(self.cost_usd, cost.cost_usd),
            self.latency_seconds + cost.latency_seconds,
            self.llm_calls + cost.llm_calls,
            self.tool_calls + cost.tool_calls,
            self.resurrections + cost.resurrections,
        )


NOTHING = Totals()
"""What no work costs."""
