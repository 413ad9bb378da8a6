"""The road of a model call that every transport shares: tries, deadlines, and putting the answer together.

A transport gives two things: pieces of a streamed answer, or a whole one; and it raises `CallUnavailable` or
`CallRejected`. Laws, for a streamed answer: the events are those of one try only; a try that failed before it handed
anything out leaves no trace; after that the failure is raised with `delivered` set, and the receiver decides.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

from hive_daemon.llm.assembly import Assembler, Piece
from hive_daemon.llm.failures import HINTS, CallFailure, CallRejected, CallUnavailable, FailureKind
from hive_daemon.llm.limits import Attempts
from hive_daemon.llm.stream_events import StreamEvent

T = TypeVar("T")

OpenPieces = Callable[[], AsyncGenerator[Piece, None]]
"""Sends the request and yields the pieces of the answer; closing the generator gives the connection back."""


async def whole_answer(attempts: Attempts, send: Callable[[], Awaitable[T]]) -> T:
    """Send until an answer comes. Raises CallUnavailable or CallRejected."""
    while True:
        failure: CallFailure
        try:
            return await attempts.within(attempts.limits.answer_timeout, "answer", send())
        except (CallUnavailable, CallRejected) as error:
            failure = error
        await attempts.next(failure)


async def streamed_answer(
    attempts: Attempts, open_pieces: OpenPieces
) -> AsyncGenerator[StreamEvent, None]:
    """Stream until an answer is complete. Raises CallUnavailable or CallRejected."""
    while True:
        answer = _Try(attempts, open_pieces())
        async with aclosing(answer.events()) as events:
            async for event in events:
                yield event
        if answer.failure is None:
            return
        await attempts.next(answer.failure)


class _Try:
    """One try of a streamed answer: its events, and afterwards why it failed, if it did."""

    def __init__(self, attempts: Attempts, pieces: AsyncGenerator[Piece, None]) -> None:
        self.failure: CallFailure | None = None
        self._attempts = attempts
        self._pieces = pieces
        self._assembler = Assembler(attempts.model)

    async def events(self) -> AsyncGenerator[StreamEvent, None]:
        try:
            async with aclosing(self._deltas()) as deltas:
                async for event in deltas:
                    yield event
        except (CallUnavailable, CallRejected) as error:
            self.failure = error
        if self.failure is None and not self._assembler.is_complete:
            self.failure = broken_off(self._attempts.model)
        if isinstance(self.failure, CallUnavailable):
            self.failure.delivered = self._assembler.delivered
        if self.failure is None:
            for event in self._assembler.finish():
                yield event

    async def _deltas(self) -> AsyncGenerator[StreamEvent, None]:
        async with aclosing(self._pieces):
            piece = await self._next("first piece of an answer", self._attempts.limits.ttft_timeout)
            while piece is not None:
                for event in self._assembler.feed(piece):
                    yield event
                piece = await self._next("further piece", self._attempts.limits.stream_idle_timeout)

    async def _next(self, what: str, seconds: float) -> Piece | None:
        """Wait for a piece; no deadline runs while the receiver works on one."""
        return await self._attempts.within(seconds, what, anext(self._pieces, None))


def broken_off(model: str) -> CallUnavailable:
    """Make the error of an answer that came without its end."""
    kind = FailureKind.TRANSIENT
    sentence = f"{model}: the answer broke off before its end"
    return CallUnavailable(sentence, kind=kind, hint=HINTS[kind], subject=model)
