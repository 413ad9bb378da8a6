"""Writing the steps of one execution, each until it is known to be durable or refused.

Laws: a step is sent only when the one before is settled; a step whose fate is not known, because its writer was
cancelled or the store failed, is sent again, which the store takes as the success that it was. Whoever wants to know
what became durable is told in the order of the commits, whichever execution they are of.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from hive_daemon.clock import Clock
from hive_daemon.errors import (
    AlreadyRegistered,
    Fenced,
    HiveError,
    StorageFull,
    StorageUnavailable,
)
from hive_daemon.ids import new_session_id
from hive_daemon.runtime.execution import Execution
from hive_daemon.storage.ports import ExecutionStore
from hive_daemon.storage.values import StepCommit, Submission, Submitted

logger = logging.getLogger(__name__)

Answers = tuple[Submitted | None, ...]
"""What became of each execution that a step spawned."""

RETRY_SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0)
"""Pauses between tries while the store cannot be written; the last one repeats."""


class Pen:
    """What an execution writes its steps with."""

    def __init__(
        self,
        executions: ExecutionStore,
        clock: Clock,
        execution: Execution,
        durable: Callable[[StepCommit, Answers], None],
    ) -> None:
        self._executions = executions
        self._clock = clock
        self._execution = execution
        self._durable = durable
        self._step: StepCommit | None = None
        self._sent: asyncio.Future[Answers] | None = None

    @property
    def is_settled(self) -> bool:
        """Whether everything sent is durable or was refused."""
        return self._step is None

    def send(self, step: StepCommit) -> None:
        """Send a step off; `settle` waits for it. Everything before must be settled."""
        self._step = step
        self._sent = self._send(step)

    async def write(self, step: StepCommit) -> None:
        """Send a step and settle it; raises like `settle`."""
        self.send(step)
        await self.settle()

    async def settle(self) -> None:
        """Wait until what was sent is durable; while the store cannot be written, wait and try again.

        Raises what the store refuses it with: nothing of it is written then. After a cancellation it is still open.
        """
        tries = 0
        while self._step is not None:
            if self._sent is None or self._sent.cancelled():
                self._sent = self._send(self._step)
            try:
                await self._sent
            except AlreadyRegistered:
                # A session that an event begins drew an id that is taken: draw again.
                self._step, self._sent = self._redrawn(self._step), None
            except (StorageFull, StorageUnavailable) as error:
                self._sent = None
                await self._wait(tries, error)
                tries += 1
            except HiveError:
                self._step = self._sent = None
                raise
            else:
                self._step = self._sent = None

    def _send(self, step: StepCommit) -> asyncio.Future[Answers]:
        if self._execution.is_abandoned:
            raise Fenced(
                f"{self._execution.execution_id} was given up: the process has stopped without it"
            )
        sent = asyncio.ensure_future(self._executions.commit(self._execution.claim.fence, step))
        if step.state or step.spawn or step.cancels:
            # Callbacks of the writer's own futures run in the order of its commits; waiting tasks do not.
            sent.add_done_callback(partial(self._tell, step))
        return sent

    def _tell(self, step: StepCommit, sent: asyncio.Future[Answers]) -> None:
        if not sent.cancelled() and sent.exception() is None:
            self._durable(step, sent.result())

    async def _wait(self, tries: int, error: HiveError) -> None:
        pause = RETRY_SECONDS[min(tries, len(RETRY_SECONDS) - 1)]
        logger.warning(
            "the store cannot be written, the execution waits",
            extra={"error": str(error), "retry_in_seconds": pause, "tries": tries + 1},
        )
        await self._clock.sleep(pause)

    def _redrawn(self, step: StepCommit) -> StepCommit:
        now = self._clock.time()
        return replace(step, spawn=tuple(_drawn_again(item, now) for item in step.spawn))


def _drawn_again(submission: Submission, now: float) -> Submission:
    if not submission.is_new_session:
        return submission
    return replace(submission, session_id=new_session_id(now))
