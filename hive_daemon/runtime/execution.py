"""One execution that this process runs: its claim, its task, what it is doing, what it came to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hive_daemon.clock import Clock
from hive_daemon.graph.executor import ExecutionResult
from hive_daemon.graph.facts import Fact
from hive_daemon.graph.walk_state import Phase, Step
from hive_daemon.pulse import Pulse, felt
from hive_daemon.storage.values import Claim, InboxItem

_NOTHING: Mapping[str, Any] = {}


async def _nothing_to_put_away() -> None:
    """Stand for an execution whose journal is not open yet."""


async def _nobody_to_tell(fact: Fact) -> None:
    """Stand for an execution whose journal is not open yet."""


class StopReason(StrEnum):
    """Why an execution is being stopped from outside."""

    NONE = ""
    CANCEL = "cancel"
    PAUSE = "pause"
    DRAIN = "drain"
    TIMEOUT = "timeout"
    BUDGET = "budget"
    OUT_OF_BUDGET = "out_of_budget"


@dataclass(slots=True)
class Execution:
    """An execution in progress.

    `pause` is set to stop it at the next node boundary. `step` is where its walk stands. `result` is set once its end
    is on its way to the store, `is_published` once everybody knows; from `is_ending` on nothing stops it any more.
    `is_left_behind`: nobody waits for its work any longer; `is_abandoned`: it may not write either. `put_away` makes
    durable how it ends without its work having returned; `remark` makes a fact about it durable. `pulses` are those of
    the nodes at work.
    """

    claim: Claim
    clock: Clock
    pause: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    stop_reason: StopReason = StopReason.NONE
    stop_text: str = ""
    step: Step | None = None
    inbox: list[InboxItem] = field(default_factory=list)
    is_started: bool = False
    is_ending: bool = False
    is_published: bool = False
    is_left_behind: bool = False
    is_abandoned: bool = False
    put_away: Callable[[], Awaitable[None]] = _nothing_to_put_away
    remark: Callable[[Fact], Awaitable[None]] = _nobody_to_tell
    result: ExecutionResult | None = None
    pulses: tuple[Pulse, ...] = ()
    _last_active: float = 0.0

    def __post_init__(self) -> None:
        self._last_active = self.clock.monotonic()

    @property
    def execution_id(self) -> str:
        """The execution's id."""
        return self.claim.execution_id

    @property
    def session_id(self) -> str:
        """The session it belongs to."""
        return self.claim.session_id

    @property
    def values(self) -> Mapping[str, Any]:
        """What its memory holds now."""
        return self.step.memory.root if self.step is not None else _NOTHING

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes at work in it."""
        if self.step is None:
            return ()
        branches = self.step.state.branches
        return tuple(branch.node for branch in branches if branch.phase is Phase.RUNNING)

    @property
    def idle_seconds(self) -> float:
        """Seconds since it last did something; 0 while a node is at work."""
        return 0.0 if self.pulses else self.clock.monotonic() - self._last_active

    @property
    def record_prefix(self) -> str:
        """What the keys of its session records begin with: nothing for the session's writer."""
        return f"joined/{self.claim.ordinal}/" if self.claim.is_joined else ""

    def hear(self, item_id: int, node_id: str, content: str) -> None:
        """Keep what was said to it until a node takes it."""
        self.inbox.append(InboxItem(item_id, node_id, content, self.clock.time()))

    def runs(self, node_id: str) -> bool:
        """Say whether a node is at work in it."""
        return node_id in self.nodes

    def active(self) -> None:
        """Note that it did something."""
        self._last_active = self.clock.monotonic()

    @contextmanager
    def busy(self, node_id: str = "") -> Iterator[None]:
        """Mark a stretch in which it is at work at a node, however long it says nothing."""
        pulse = Pulse(node_id, self.clock.monotonic)
        self.pulses = (*self.pulses, pulse)
        try:
            with felt(pulse):
                yield
        finally:
            self.pulses = tuple(each for each in self.pulses if each is not pulse)
            self._last_active = self.clock.monotonic()

    def stop(self, reason: StopReason, text: str = "") -> None:
        """Stop it now; the first reason counts, and its work is cancelled once.

        A task that has not begun looks at the reason itself; a node that overhears the cancellation is the last one to
        run, because `pause` is set too.
        """
        if self.stop_reason is not StopReason.NONE or self.is_ending:
            return
        self.stop_reason, self.stop_text = reason, text
        self.pause.set()
        if self.task is not None and self.is_started:
            self.task.cancel()

    def abandon(self) -> None:
        """Give it up: its task did not end in time. What it still writes is refused."""
        self.is_abandoned = True
