"""What becomes of a tool call that had begun when the process ended, and whose result nobody knows."""

from __future__ import annotations

from enum import StrEnum


class OnUnknown(StrEnum):
    """retry: it is made again, with the same idempotency key. fail: it is not; the model is told that nobody knows what
    became of it. ask: a person decides; until somebody can be asked, the same as fail."""

    RETRY = "retry"
    FAIL = "fail"
    ASK = "ask"
