"""How each agent fares: its last success, its failures in a row, and whether the model service takes its key.

A service that refuses the key refuses it for every run: after three refusals in a row the agent is degraded and its
timers are paused, once, with the reason; the first answer of a model after that makes it well again and lets those
timers go on. What a person paused stays paused.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from hive_daemon.llm.failures import FailureKind
from hive_daemon.runtime.events import AgentEvent, EventType

logger = logging.getLogger(__name__)

REFUSALS = 3
"""Refusals of the key in a row after which an agent is degraded."""

BY = "hived"
"""Who paused, where it was the daemon."""

_REFUSED = "refused the key"


def is_refusal(note: str) -> bool:
    """Say whether the note of a pause tells of a key that was refused."""
    return f" {_REFUSED} " in note


@dataclass(slots=True)
class Fortune:
    """How one agent fares since the daemon started. Times are wall seconds.

    `failures` counts the executions in a row that failed, `refusals` the model calls in a row whose key was refused.
    """

    last_success: float | None = None
    last_failure: float | None = None
    failures: int = 0
    refusals: int = 0
    refused_by: str = ""
    refusal: str = ""
    has_called: bool = False
    paused: list[str] = field(default_factory=list)

    @property
    def is_refused(self) -> bool:
        """Whether the model service does not take the key."""
        return self.refusals >= REFUSALS

    @property
    def provider(self) -> str:
        """How things stand with the model service: `ok`, `refused`, or `unknown` before the first call."""
        if self.is_refused:
            return "refused"
        return "ok" if self.has_called else "unknown"

    @property
    def trouble(self) -> str:
        """Why the agent is degraded, empty if it is not."""
        if not self.is_refused:
            return ""
        return f"{self.refused_by} {_REFUSED} {self.refusals} times in a row: {self.refusal}"


Pause = Callable[[str, str], list[str]]
"""Pauses the timers of an agent that are not paused, for a reason; answers which."""
Resume = Callable[[str, Iterable[str]], None]
"""Lets timers of an agent go on."""


class Alarm(Protocol):
    """Who is told of an agent whose key is refused."""

    def refused(self, agent: str, trouble: str) -> None:
        """Hear that the model service does not take the key of an agent."""

    def answered(self, agent: str) -> None:
        """Hear that it takes it again."""


class NoAlarm:
    """Nobody."""

    def refused(self, agent: str, trouble: str) -> None:
        """Do nothing."""

    def answered(self, agent: str) -> None:
        """Do nothing."""


NO_ALARM = NoAlarm()


class AgentWatch:
    """Follows the agents of the daemon by their events."""

    def __init__(self, pause: Pause, resume: Resume, alarm: Alarm = NO_ALARM) -> None:
        self._alarm = alarm
        self._pause = pause
        self._resume = resume
        self._fortunes: dict[str, Fortune] = {}

    def of(self, agent: str) -> Fortune:
        """Return how an agent fares."""
        return self._fortunes.get(agent) or Fortune()

    def tell(self, event: AgentEvent) -> None:
        """Take note of an event."""
        if event.agent is None:
            return
        match event.type:
            case EventType.EXECUTION_COMPLETED:
                fortune = self._fortune(event.agent)
                fortune.last_success, fortune.failures = event.timestamp.timestamp(), 0
            case EventType.EXECUTION_FAILED:
                fortune = self._fortune(event.agent)
                fortune.last_failure = event.timestamp.timestamp()
                fortune.failures += 1
            case EventType.LLM_TURN_COMPLETE:
                self._answered(event.agent)
            case EventType.LLM_CALL_FAILED:
                self._failed(event.agent, event)

    def _fortune(self, agent: str) -> Fortune:
        return self._fortunes.setdefault(agent, Fortune())

    def _answered(self, agent: str) -> None:
        fortune = self._fortune(agent)
        fortune.has_called, was_refused = True, fortune.is_refused
        fortune.refusals = 0
        if was_refused:
            told = {"agent": agent, "repeat_key": agent}
            logger.warning("the model answers again", extra=told)
            paused, fortune.paused = fortune.paused, []
            self._alarm.answered(agent)
            self._resume(agent, paused)

    def _failed(self, agent: str, event: AgentEvent) -> None:
        fortune = self._fortune(agent)
        fortune.has_called = True
        if event.data.get("failure") != FailureKind.AUTH:
            return
        fortune.refusals += 1
        fortune.refused_by = str(event.data.get("model") or "the model")
        fortune.refusal = str(event.data.get("error") or "")
        if fortune.refusals == REFUSALS:
            self._alarm.refused(agent, fortune.trouble)
            fortune.paused = self._pause(agent, fortune.trouble)
            logger.error(
                "agent is degraded",
                extra={
                    "agent": agent,
                    "reason": fortune.trouble,
                    "timers_paused": len(fortune.paused),
                    "repeat_key": agent,
                },
            )
