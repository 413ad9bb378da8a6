"""What a call costs, by the price list that litellm ships.

The list is a file in litellm's folder, found without importing the package and searched for the one model asked for, in
a worker thread; what was found is kept. Laws: an unknown price is None, never 0; a list price of zero for both sides of
a conversation counts as unknown, because the list says so of models whose price it does not know.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hive_daemon.llm.assembly import Usage
from hive_daemon.tasks import to_thread

FILE_NAME = "model_prices_and_context_window_backup.json"

MOST_MODELS = 256

Entry = Mapping[str, Any]
"""What the list says of one model: dollars per token under names such as `input_cost_per_token`."""

_ABOVE = re.compile(r"input_cost_per_token_above_(\d+)k_tokens")


def cost_of(entry: Entry, usage: Usage, tier: str = "") -> float | None:
    """Return dollars; None where the entry lacks a price of tokens that were used.

    Input includes what was read from the cache and what was written to it, output includes reasoning. Long inputs have
    prices of their own (`…_above_200k_tokens`), and so has a service tier (`flex`, `priority`).
    """
    rate = _Rates(entry, _above(entry, usage.input_tokens), f"_{tier}" if tier else "")
    price_in, price_out = rate("input_cost_per_token"), rate("output_cost_per_token")
    if price_in is None or price_out is None or not (price_in or price_out):
        return None
    price_cached = rate("cache_read_input_token_cost")
    written = rate("cache_creation_input_token_cost")
    price_written = price_in if written is None else written
    price_long, long = rate("cache_creation_input_token_cost_above_1hr"), usage.long_write_tokens
    price_thought = rate("output_cost_per_reasoning_token")
    fresh = max(0, usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens)
    said = max(0, usage.output_tokens - usage.reasoning_tokens)
    return (
        fresh * price_in
        + usage.cached_tokens * (price_in if price_cached is None else price_cached)
        + (usage.cache_write_tokens - long) * price_written
        + long * (price_written if price_long is None else price_long)
        + said * price_out
        + usage.reasoning_tokens * (price_out if price_thought is None else price_thought)
    )


@dataclass(frozen=True, slots=True)
class _Rates:
    entry: Entry
    above: str
    tier: str

    def __call__(self, name: str) -> float | None:
        """Return the narrowest price that the entry has."""
        for suffix in (self.above + self.tier, self.above, self.tier, ""):
            price = self.entry.get(name + suffix)
            if isinstance(price, int | float):
                return float(price)
        return None


def _above(entry: Entry, input_tokens: int) -> str:
    marks = [int(found[1]) for name in entry if (found := _ABOVE.fullmatch(name))]
    passed = [mark for mark in marks if input_tokens > mark * 1000]
    return f"_above_{max(passed)}k_tokens" if passed else ""


def find_entry(text: str, model: str) -> Entry | None:
    """Find a model in the text of the list; `service/model` also under `model`, if that entry is the service's.

    Only the entry is decoded: the whole list would take tens of megabytes.
    """
    service, slash, name = model.partition("/")
    for entry in _entries(text, model):
        return entry
    if slash:
        for entry in _entries(text, name):
            if str(entry["litellm_provider"]).startswith(service):
                return entry
    return None


def _entries(text: str, name: str) -> Iterator[Entry]:
    for found in re.finditer(rf"{re.escape(json.dumps(name))}\s*:\s*(?=\{{)", text):
        entry, _ = json.JSONDecoder().raw_decode(text, found.end())
        if "litellm_provider" in entry:
            yield entry


def _price_file() -> Path | None:
    spec = importlib.util.find_spec("litellm")
    folders = spec.submodule_search_locations if spec is not None else None
    return Path(folders[0]) / FILE_NAME if folders else None


@dataclass(slots=True, eq=False)
class PriceList:
    """The prices of the models asked for so far. `path` is None where there is no list."""

    path: Path | None = field(default_factory=_price_file)
    _found: dict[str, Entry | None] = field(default_factory=dict)

    async def cost(self, models: Iterable[str], usage: Usage, tier: str = "") -> float | None:
        """Return the dollars of a call, by the first of the names that has a price."""
        for model in filter(None, models):
            if model not in self._found:
                await self._remember(model)
            entry = self._found.get(model)
            cost = None if entry is None else cost_of(entry, usage, tier)
            if cost is not None:
                return cost
        return None

    async def _remember(self, model: str) -> None:
        entry = await to_thread(self._look_up, model)
        if len(self._found) >= MOST_MODELS:
            # Names come from services too, and one could make up a new one for each answer.
            self._found.clear()
        self._found[model] = entry

    def _look_up(self, model: str) -> Entry | None:
        try:
            text = "" if self.path is None else self.path.read_text(encoding="utf-8")
        except OSError:
            # A litellm without its list: nothing is known, which is what None says.
            return None
        return find_entry(text, model)


PRICES = PriceList()
"""The price list of this process."""
