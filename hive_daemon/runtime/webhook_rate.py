"""How many requests a route takes: a bucket of tokens. Pure: the time is an argument.

Law: in no stretch of t seconds are more than `count * (1 + t / period)` requests let in.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_RATE = re.compile(r"\s*([1-9][0-9]{0,6})\s*/\s*(s|m|h)\s*")
_ROUNDING = 1e-9
_PERIODS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests in a period of that many seconds; all of them may come at once."""

    count: int
    period: float

    @classmethod
    def read(cls, text: object) -> Rate:
        """Read `60/m`. Raises ValueError with the predicate of a sentence.

        >>> Rate.read("60/m")
        Rate(count=60, period=60.0)
        """
        match = _RATE.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise ValueError("is no rate, write a number and s, m or h, for example 60/m")
        return cls(int(match[1]), _PERIODS[match[2]])

    def __str__(self) -> str:
        unit = next(name for name, seconds in _PERIODS.items() if seconds == self.period)
        return f"{self.count}/{unit}"


@dataclass(frozen=True, slots=True)
class Bucket:
    """The tokens that were left at a moment, on a clock that never steps."""

    tokens: float
    at: float

    def take(self, rate: Rate, now: float) -> tuple[Bucket, int]:
        """Take a token; answer the bucket after that, and in how many seconds to come again: 0 if there was one."""
        grown = min(float(rate.count), self.tokens + (now - self.at) * rate.count / rate.period)
        if grown >= 1 - _ROUNDING:
            return Bucket(max(0.0, grown - 1), now), 0
        return Bucket(grown, now), max(1, math.ceil((1 - grown) * rate.period / rate.count))
