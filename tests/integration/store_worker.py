"""A process that works on a store as hard as it can, and says what was acknowledged: to be killed."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from pathlib import Path

from hive_daemon.clock import SYSTEM_CLOCK
from hive_daemon.ids import new_session_id
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.ports import Store
from hive_daemon.storage.sqlite.store import open_sqlite
from hive_daemon.storage.values import Claim, Dedupe, Limits
from tests.fakes.store_kit import LANE, Ear, checkpoint, ending, event, step, submission

LAST_STEP = 4


class Worker:
    """Submits and commits, a number of executions at once."""

    def __init__(self, store: Store, pipe: int, life: str) -> None:
        self._store = store
        self._pipe = pipe
        self._life = life

    def say(self, *words: object) -> None:
        """Write a line to whoever counts."""
        os.write(self._pipe, (" ".join(map(str, words)) + "\n").encode())

    async def submit(self, key: str) -> None:
        """Submit under a key and say which execution it is."""
        self.say("trying", key)
        given = submission(
            session_id=new_session_id(SYSTEM_CLOCK.time()),
            input=key.encode(),
            dedupe=Dedupe("kill", key, key, 3_600),
        )
        submitted = await self._store.queue.submit(given)
        self.say("submitted", key, submitted.execution_id)

    async def submit_on(self, worker: int) -> None:
        """Submit one after the other, for ever."""
        for number in itertools.count():
            await self.submit(f"{self._life}-{worker}-{number}")

    async def perform(self, claim: Claim) -> None:
        """Commit the steps that are left."""
        for seq in range(claim.seq + 1, LAST_STEP + 1):
            given = step(
                seq,
                checkpoint=checkpoint(seq, is_snapshot=seq == 3),
                events=tuple(event(data=b"%d" % seq) for _ in range(3)),
                records={"last": b"%d" % seq},
                ending=ending(ExecutionStatus.COMPLETED) if seq == LAST_STEP else None,
                keep=2 if seq == LAST_STEP else None,
            )
            await self._store.executions.commit(claim.fence, given)
            self.say("committed", claim.execution_id, seq)

    async def claim_on(self, workers: int) -> None:
        """Claim and perform, a number at once, for ever."""
        limits = Limits(total=workers, lanes={LANE: workers})
        async with asyncio.TaskGroup() as group:
            while True:
                for claim in await self._store.queue.claim(self._life, limits):
                    group.create_task(self.perform(claim))


async def main(directory: Path, pipe: int, life: str, workers: int, again: list[str]) -> None:
    """Work until killed."""
    async with open_sqlite(directory, Ear()) as store:
        worker = Worker(store, pipe, f"life-{life}")
        await store.lease.sweep(f"life-{life}", 1_000)
        async with asyncio.TaskGroup() as group:
            for key in again:
                group.create_task(worker.submit(key))
            for number in range(workers):
                group.create_task(worker.submit_on(number))
            group.create_task(worker.claim_on(workers))


if __name__ == "__main__":
    asyncio.run(
        main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), sys.argv[5:])
    )
