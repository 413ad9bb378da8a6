"""What one call is counted for: the tokens that the service told, else a guess that says so, and their price."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hive_daemon.llm.assembly import Assembler, Usage
from hive_daemon.llm.metering import most_tokens
from hive_daemon.llm.prices import PRICES, PriceList
from hive_daemon.llm.purse import NO_HOLD, Came, Hold, Stand, Wanted, purse
from hive_daemon.llm.stream_events import FinishEvent, StreamEvent
from hive_daemon.llm.values import DEFAULT_MAX_TOKENS, LLMResponse

CHARS_PER_TOKEN = 4
TIERS = frozenset({"flex", "priority"})
"""The service tiers that have prices of their own."""

_CAPS = ("max_tokens", "max_completion_tokens", "max_output_tokens")


@dataclass(frozen=True, slots=True)
class Bill:
    """The bill of a call: `model` as configured, `request` as it is sent, `stand` where the model stands in a chain."""

    model: str
    request: Mapping[str, Any]
    prices: PriceList = PRICES
    stand: Stand = Stand.ALONE

    async def hold(self) -> Hold:
        """Have a try of the call admitted by the budgets. Raises BudgetExceeded, CallRejected."""
        payer = purse.get()
        if not payer.counts:
            return NO_HOLD
        asked = most_tokens([self.request.get("messages"), self.request.get("tools")])
        cap = max((int(self.request.get(name) or 0) for name in _CAPS), default=0)
        said = (cap or DEFAULT_MAX_TOKENS) * int(self.request.get("n") or 1)
        cost = await self._dearest(asked, said)
        return await payer.hold(Wanted(self.model, asked + said, cost, self.stand))

    async def _dearest(self, asked: int, said: int) -> float | None:
        """Return the most dollars that a call may come to, whatever of it is cached or thought."""
        usages = (
            Usage(asked, said),
            Usage(asked, said, cache_write_tokens=asked, long_write_tokens=asked),
            Usage(asked, said, reasoning_tokens=said),
        )
        costs = [await self.prices.cost((self.model,), usage, self._tier) for usage in usages]
        known = [cost for cost in costs if cost is not None]
        return max(known) if len(known) == len(costs) else None

    @property
    def _tier(self) -> str:
        tier = str(self.request.get("service_tier") or "")
        return tier if tier in TIERS else ""

    async def ending(self, answer: Assembler) -> list[StreamEvent]:
        """Return the events that end an answer, counted and priced."""
        usage = answer.usage
        # Some services count 0 and 0, which no answer takes.
        if usage is None or not (usage.input_tokens or usage.output_tokens):
            usage = answer.usage = self._guess(answer)
        names = (self.model, self._as_configured(answer.model))
        cost = await self.prices.cost(names, usage, self._tier)
        return answer.finish(cost)

    def _as_configured(self, answering: str) -> str:
        """Return the name that the service gave itself, under the service's own name: only there it means something."""
        service, slash, _ = self.model.partition("/")
        return f"{service}/{answering}" if slash else answering

    def _guess(self, answer: Assembler) -> Usage:
        asked = json.dumps([self.request.get("messages"), self.request.get("tools")], default=str)
        return Usage(
            input_tokens=_tokens(len(asked)),
            output_tokens=_tokens(answer.heard_chars),
            is_estimated=True,
        )


def came(answer: LLMResponse | FinishEvent) -> Came:
    """Return what an answer came to, for the budgets."""
    return Came(answer.input_tokens + answer.output_tokens, answer.cost_usd)


def _tokens(chars: int) -> int:
    return -(-chars // CHARS_PER_TOKEN)
