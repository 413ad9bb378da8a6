"""What can be seen of a stream: what runs, what waits, how long it has been idle, the counts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from hive_daemon.graph.executor import ExecutionResult
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.execution import Execution
from hive_daemon.runtime.flow import FlowRules
from hive_daemon.runtime.intake import Intake
from hive_daemon.runtime.results import ResultShelf
from hive_daemon.runtime.stream_setup import StreamSetup
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.waiting import PAUSE, Awaited

ASKING = frozenset({ExecutionStatus.WAITING_INPUT, ExecutionStatus.WAITING_APPROVAL})
"""How an execution stands that waits for a person's words."""


@dataclass(frozen=True, slots=True)
class Parked:
    """An execution that somebody must go on with; `asking` are its nodes that wait for words, in branch order."""

    status: ExecutionStatus
    asking: tuple[str, ...] = ()

    @classmethod
    def of(cls, status: ExecutionStatus, awaited: Iterable[Awaited]) -> Self:
        """Return how an execution stands that waits for these."""
        return cls(status, tuple(one.node_id for one in awaited if one.kind != PAUSE))


BACKGROUND = frozenset({"timer", "event"})
"""Sources that leave some slots to others."""


class StreamView:
    """The part of a stream that only tells how things stand.

    `_running` are the executions at work, `_ended` those whose end is durable and not yet told, `_parked` those that
    somebody must go on with, `_counts` how many have ended for good since the stream was made.
    """

    setup: StreamSetup
    _intake: Intake
    _running: dict[str, Execution]
    _ended: dict[str, Execution]
    _parked: dict[str, Parked]
    _counts: Counter[ExecutionStatus]
    _results: ResultShelf
    _is_running: bool

    @property
    def stream_id(self) -> str:
        """The entry point's id, on a secondary graph `graph::entry_point`."""
        return self.setup.stream_id

    @property
    def lane(self) -> str:
        """The stream's address in the process."""
        return self.setup.lane

    @property
    def entry_spec(self) -> EntryPointSpec:
        """The entry point."""
        return self.setup.spec

    @property
    def limit(self) -> int:
        """How many of its executions may run."""
        return self._intake.rules.most

    @property
    def rules(self) -> FlowRules:
        """Under which rules its triggers are taken in."""
        return self._intake.rules

    @property
    def takes_over(self) -> bool:
        """Whether a trigger without a free slot goes on in the session of what it cancels."""
        return self._intake.rules.takes_over

    @property
    def group_limit(self) -> int | None:
        """How many of its executions with the same key may run, None if nothing bounds that."""
        return self._intake.rules.most_by_key

    @property
    def background_count(self) -> int:
        """How many of its executions run that timers and events began."""
        return sum(e.claim.source in BACKGROUND for e in self._running.values())

    @property
    def delays(self) -> bool:
        """Whether what waits here may become due, or too old, by itself."""
        return self._intake.rules.delays

    @property
    def queued_count(self) -> int:
        """How many executions wait to be claimed."""
        return self._intake.count

    def get_result(self, execution_id: str) -> ExecutionResult | None:
        """Return the result of an execution that stopped not long ago."""
        return self._results.get(execution_id)

    def get_context(self, execution_id: str) -> Execution | None:
        """Return an execution that runs in this process."""
        return self._running.get(execution_id)

    @property
    def running(self) -> Mapping[str, Execution]:
        """The executions that run now, by id."""
        return self._running

    @property
    def active_execution_ids(self) -> list[str]:
        """The ids of the executions that run now."""
        return list(self._running)

    def get_active_count(self) -> int:
        """Return how many executions run now."""
        return len(self._running)

    @property
    def agent_idle_seconds(self) -> float:
        """Seconds since a running execution last did something; 0 while a node is at work, inf when nothing runs."""
        return min((e.idle_seconds for e in self._running.values()), default=math.inf)

    @property
    def is_awaiting_input(self) -> bool:
        """Whether an execution waits for a person."""
        return any(parked.status in ASKING for parked in self._parked.values())

    def get_waiting_nodes(self) -> list[dict[str, str]]:
        """Return the nodes that wait for a person, as `{node_id, execution_id}`."""
        return [
            {"node_id": node, "execution_id": execution_id}
            for execution_id, parked in self._parked.items()
            if parked.status in ASKING
            for node in parked.asking or ("",)
        ]

    def get_injectable_nodes(self) -> list[dict[str, str]]:
        """Return the nodes that something can be said to, as `{node_id, execution_id}`."""
        running = [
            {"node_id": node, "execution_id": execution.execution_id}
            for execution in self._running.values()
            for node in execution.nodes
        ]
        return [*self.get_waiting_nodes(), *running]

    def holds(self, execution_id: str) -> bool:
        """Say whether an execution is this stream's, as far as it is known here."""
        return (
            self._is_open(execution_id)
            or execution_id in self._parked
            or self._results.get(execution_id) is not None
        )

    def has_begun(self, execution_id: str) -> bool:
        """Say whether an execution runs, or ran and is remembered."""
        return (
            execution_id in self._running
            or execution_id in self._ended
            or self._results.get(execution_id) is not None
        )

    def _is_open(self, execution_id: str) -> bool:
        return (
            execution_id in self._running
            or execution_id in self._ended
            or self._intake.knows(execution_id)
        )

    def get_stats(self) -> dict[str, Any]:
        """Return counts: executions by status, slots, what is queued.

        Law: `total_executions` is the sum of `status_counts`.
        """
        now = Counter(parked.status.value for parked in self._parked.values())
        now.update(e.result.status for e in self._ended.values() if e.result is not None)
        now.update({status.value: n for status, n in self._counts.items()})
        now.update(running=len(self._running), queued=self._intake.count)
        return {
            "stream_id": self.stream_id,
            "entry_point": self.setup.spec.id,
            "running": self._is_running,
            "total_executions": now.total(),
            "completed_executions": now[ExecutionStatus.COMPLETED.value],
            "status_counts": {name: n for name, n in now.items() if n},
            "max_concurrent": self.limit,
            "available_slots": max(0, self.limit - len(self._running)),
            "results_kept": len(self._results),
        }
