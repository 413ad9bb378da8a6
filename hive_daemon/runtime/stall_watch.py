"""The stall watch: it tells when a node of a running execution has given no sign of life for a while.

One task for the process, which sleeps until the first silence could be long enough. It only tells: `node_stalled`,
durable, once for each silence; nothing is stopped (but for a node whose entry point has a ladder that mends stalls,
which is cut off), and the execution counts as no more active for it. Silence that has
a reason is none: waiting for a person, a pause before a further try, a tool call within its time, a store that cannot
be written.
"""

from __future__ import annotations

import logging
import math

from hive_daemon.clock import Clock
from hive_daemon.errors import HiveError
from hive_daemon.graph.facts import NodeStalled
from hive_daemon.pulse import Pulse
from hive_daemon.runtime.execution import Execution

logger = logging.getLogger(__name__)

STALL_SECONDS = 240.0
"""How long a silence may be before it is told, unless somebody says otherwise."""

LEAST_SLEEP_SECONDS = 0.05
"""A silence is looked at again no sooner than that."""


class StallWatch:
    """Watches the executions that run. `seconds` is how long a silence may be, 0: any."""

    def __init__(self, clock: Clock, seconds: float = STALL_SECONDS) -> None:
        self._clock = clock
        self._seconds = seconds or math.inf
        self._watched: dict[str, Execution] = {}

    def follow(self, execution: Execution) -> None:
        """Watch an execution that begins to run."""
        self._watched[execution.execution_id] = execution

    def leave(self, execution: Execution) -> None:
        """Watch it no more."""
        if self._watched.get(execution.execution_id) is execution:
            del self._watched[execution.execution_id]

    @property
    def followed(self) -> tuple[Execution, ...]:
        """The executions that run. Raises RuntimeError if another thread asks while one begins or ends."""
        return tuple(self._watched.values())

    def quiet_seconds(self, execution_id: str) -> float | None:
        """Return the longest silence of an execution's nodes, None if it is not watched here."""
        execution = self._watched.get(execution_id)
        if execution is None:
            return None
        return max((pulse.quiet_seconds for pulse in execution.pulses), default=0.0)

    async def run(self) -> None:
        """Watch, until cancelled."""
        while self._seconds < math.inf:
            await self._clock.sleep(await self.look())

    async def look(self) -> float:
        """Tell of each silence that is too long; return in how many seconds the next one could be."""
        first = self._seconds
        for execution in tuple(self._watched.values()):
            for pulse in execution.pulses:
                if pulse.is_told:
                    continue
                left = self._seconds - pulse.quiet_seconds
                if left <= 0.0:
                    await self._tell(execution, pulse)
                else:
                    first = min(first, left)
        return max(first, LEAST_SLEEP_SECONDS)

    async def _tell(self, execution: Execution, pulse: Pulse) -> None:
        quiet = round(pulse.quiet_seconds, 3)
        pulse.is_told = True
        told = {"node": pulse.node_id, "execution_id": execution.execution_id, "seconds": quiet}
        apart = f"{execution.execution_id} {pulse.node_id}"
        logger.warning("a node makes no progress", extra={**told, "repeat_key": apart})
        reason = f"no sign of life for {quiet:g} s"
        try:
            await execution.remark(NodeStalled(pulse.node_id, reason, quiet))
        except HiveError as error:
            logger.warning(
                "that a node stalls could not be told", extra={**told, "error": str(error)}
            )
        if pulse.cut is not None and pulse.is_told:
            pulse.cut()
