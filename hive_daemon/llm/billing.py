"""What one call is counted for: the tokens that the service told, else a guess that says so, and their price."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hive_daemon.llm.assembly import Assembler, Usage
from hive_daemon.llm.prices import PRICES, PriceList
from hive_daemon.llm.stream_events import StreamEvent

CHARS_PER_TOKEN = 4
TIERS = frozenset({"flex", "priority"})
"""The service tiers that have prices of their own."""


@dataclass(frozen=True, slots=True)
class Bill:
    """The bill of a call: `model` as configured, `request` as it is sent."""

    model: str
    request: Mapping[str, Any]
    prices: PriceList = PRICES

    async def ending(self, answer: Assembler) -> list[StreamEvent]:
        """Return the events that end an answer, counted and priced."""
        usage = answer.usage
        # Some services count 0 and 0, which no answer takes.
        if usage is None or not (usage.input_tokens or usage.output_tokens):
            usage = answer.usage = self._guess(answer)
        tier = str(self.request.get("service_tier") or "")
        names = (self.model, self._as_configured(answer.model))
        cost = await self.prices.cost(names, usage, tier if tier in TIERS else "")
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


def _tokens(chars: int) -> int:
    return -(-chars // CHARS_PER_TOKEN)
