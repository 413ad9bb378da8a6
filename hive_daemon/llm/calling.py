"""The road of a model call that every transport shares: tries, deadlines, and putting the answer together.

A transport gives two things: the pieces of a streamed answer, or a whole one; and it raises `CallUnavailable` or
`CallRejected`. Laws, for a streamed answer: without resets the events are those of one try only, and a try that failed
after it handed something out is the last; with resets each further try begins with a `StreamResetEvent`. Either way the
calls of a broken try never come out, and an answer whose end was told is complete, whatever the connection does then.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from hive_daemon.llm.assembly import Assembler, Piece
from hive_daemon.llm.billing import Bill, came
from hive_daemon.llm.failures import HINTS, CallFailure, CallRejected, CallUnavailable, FailureKind
from hive_daemon.llm.limits import Attempts
from hive_daemon.llm.provider import Gathered
from hive_daemon.llm.purse import Came, came_of
from hive_daemon.llm.stream_events import FinishEvent, StreamEvent, StreamResetEvent
from hive_daemon.llm.values import LLMResponse
from hive_daemon.pulse import asking

Pieces = AsyncGenerator[tuple[Piece, ...], None]
"""The pieces of an answer, as many at a time as arrived together."""

OpenPieces = Callable[[], Pieces]
"""Sends the request and yields the pieces; closing the generator gives the connection back."""


@dataclass(frozen=True, slots=True)
class Whole:
    """An answer that came at once; `raw` is what the transport received."""

    piece: Piece
    raw: Any = None


async def whole_answer(
    attempts: Attempts, bill: Bill, send: Callable[[], Awaitable[Whole]]
) -> LLMResponse:
    """Send until an answer comes. Raises CallUnavailable or CallRejected, BudgetExceeded."""
    while True:
        failure: CallFailure
        hold = await bill.hold()
        cost: Came | None = None
        try:
            with asking(attempts.model):
                whole = await attempts.within(attempts.limits.answer_timeout, "answer", send())
            response = await _response(attempts.model, bill, whole)
            cost = came(response)
            return response
        except (CallUnavailable, CallRejected) as error:
            failure = error
            cost = came_of(failure, was_heard=False)
        finally:
            hold.settle(cost)
        await attempts.next(failure)


async def _response(model: str, bill: Bill, whole: Whole) -> LLMResponse:
    assembler, gathered = Assembler(model), Gathered()
    for event in [*assembler.feed(whole.piece), *await bill.ending(assembler)]:
        gathered.take(event)
    return gathered.response(whole.raw)


async def streamed_answer(
    attempts: Attempts, bill: Bill, open_pieces: OpenPieces, *, resets: bool
) -> AsyncGenerator[StreamEvent, None]:
    """Stream until an answer is complete. Raises CallUnavailable or CallRejected, BudgetExceeded."""
    while True:
        answer = _Try(attempts, bill, open_pieces())
        async with aclosing(answer.events()) as events:
            async for event in events:
                yield event
        failure = answer.failure
        if failure is None:
            return
        if answer.delivered and not resets:
            raise failure
        pause = attempts.pause_after(failure)
        if resets:
            yield StreamResetEvent(
                attempt=attempts.number + 1,
                model=attempts.model,
                reason=str(failure),
                pause_seconds=round(pause, 3),
            )
        await attempts.wait(pause)


class _Try:
    """One try of a streamed answer: its events, and afterwards why it failed, if it did."""

    def __init__(self, attempts: Attempts, bill: Bill, pieces: Pieces) -> None:
        self.failure: CallFailure | None = None
        self._attempts = attempts
        self._bill = bill
        self._pieces = pieces
        self._assembler = Assembler(attempts.model)
        self._cost: Came | None = None

    @property
    def delivered(self) -> bool:
        """Whether something was handed out."""
        return self._assembler.delivered

    async def events(self) -> AsyncGenerator[StreamEvent, None]:
        hold = await self._bill.hold()
        try:
            with asking(self._attempts.model):
                async with aclosing(self._told()) as told:
                    async for event in told:
                        yield event
        finally:
            hold.settle(self._cost)

    async def _told(self) -> AsyncGenerator[StreamEvent, None]:
        limits = self._attempts.limits
        async with aclosing(self._pieces):
            batch = await self._next("first piece of an answer", limits.ttft_timeout)
            while batch:
                for piece in batch:
                    for event in self._assembler.feed(piece):
                        yield event
                batch = await self._next("further piece", limits.stream_idle_timeout)
        self._judge()
        if self.failure is not None:
            self._cost = came_of(self.failure, was_heard=self._assembler.heard_chars > 0)
            return
        for event in await self._bill.ending(self._assembler):
            if isinstance(event, FinishEvent):
                self._cost = came(event)
            yield event

    async def _next(self, what: str, seconds: float) -> tuple[Piece, ...] | None:
        """Wait for pieces, None at the end; no deadline runs while the receiver works on them."""
        try:
            return await self._attempts.within(seconds, what, anext(self._pieces, None))
        except (CallUnavailable, CallRejected) as error:
            self.failure = error
            return None

    def _judge(self) -> None:
        if self._assembler.is_complete:
            self.failure = None
        elif self.failure is None:
            self.failure = broken_off(self._attempts.model)
        if isinstance(self.failure, CallUnavailable):
            self.failure.delivered = self.delivered


def broken_off(model: str) -> CallUnavailable:
    """Make the error of an answer that came without its end."""
    kind = FailureKind.TRANSIENT
    sentence = f"{model}: the answer broke off before its end"
    return CallUnavailable(sentence, kind=kind, hint=HINTS[kind], subject=model)
