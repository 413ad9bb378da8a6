"""Whether an execution gets on: folded from its events, judged by fixed thresholds. Pure.

A `Watch` is all that is remembered of an execution, whatever its length: the events are counted, not kept. Laws:
folding events in portions gives the same watch as folding them at once; what was folded before changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

import orjson

from hive_daemon.monitoring.ticket import EVIDENCE_CHARS, Severity
from hive_daemon.storage.values import StoredEvent

ACCEPT = "ACCEPT"
RETRY = "RETRY"

RECENT_VERDICTS = 40
STALL_MINUTES = 4.0
WARNING_VERDICTS = 5
MEDIUM_VERDICTS = 10
HIGH_VERDICTS = 15
CRITICAL_VERDICTS = 20
QUIET_MINUTES = 1.0
"""From here on a pause between two steps is worth telling."""

STEPS = frozenset({"node_loop_iteration", "tool_call_completed", "node_retry", "node_completed"})
"""Events that show that something was done."""

BEGINNINGS = frozenset(
    {"execution_started", "execution_resumed", "execution_resurrected", "node_started"}
)
"""Events from which on something is to be done."""

WATCHED = (*sorted(STEPS | BEGINNINGS), "judge_verdict", "node_tool_doom_loop")
"""Event types that a watch is folded from."""


class Standing(StrEnum):
    """How an execution gets on, in a word."""

    HEALTHY = "healthy"
    WARNING = "warning"
    DEGRADED = "degraded"
    CRITICAL = "critical"


class Pattern(StrEnum):
    """What is wrong with an execution that does not get on."""

    STALL = "stall"
    DOOM_LOOP = "doom_loop"
    RETRIES = "retries"


@dataclass(frozen=True, slots=True)
class Watch:
    """What is known of one execution as of event `seq`. Times are wall seconds.

    `since_accept` counts the verdicts since the last ACCEPT; `complaint` is what the last one was about and
    `complaints` how often in a row it was that. `error` is what a tool said since then; `has_looped`: the node repeated
    its tool calls. `checks` is how often it was looked at, `told` the pattern and the severity of the last ticket.
    """

    seq: int = 0
    node_id: str = ""
    total_steps: int = 0
    last_step_at: float = 0.0
    verdicts: tuple[str, ...] = ()
    since_accept: int = 0
    complaint: str = ""
    complaints: int = 0
    error: str = ""
    has_looped: bool = False
    checks: int = 0
    told: tuple[str, ...] = ()

    def encode(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**asdict(self), "verdicts": list(self.verdicts), "told": list(self.told)}

    @classmethod
    def decode(cls, kept: dict[str, Any]) -> Watch:
        """Read what `encode` gave."""
        lists = {key: tuple(kept.get(key) or ()) for key in ("verdicts", "told")}
        return cls(**{**kept, **lists})

    @property
    def evidence(self) -> str:
        """What speaks for itself: the last error or complaint."""
        return self.error or self.complaint

    def stall_minutes(self, now: float) -> float | None:
        """Return for how long nothing was done; None below a minute."""
        minutes = (now - self.last_step_at) / 60
        return round(minutes, 1) if minutes >= QUIET_MINUTES else None


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, how urgent it is, and what to do."""

    pattern: Pattern
    severity: Severity
    cause: str
    action: str

    @property
    def mark(self) -> tuple[str, str]:
        """What a watch remembers of it."""
        return self.pattern.value, self.severity.value


# --- folding --------------------------------------------------------------------------------


def fold(watch: Watch, events: Iterable[StoredEvent]) -> Watch:
    """Work events of the execution in, in order of `seq`; those known already, or of other types, are passed over."""
    for event in events:
        if event.seq > watch.seq and event.type in WATCHED:
            watch = replace(_with(watch, event), seq=event.seq)
    return watch


def _with(watch: Watch, event: StoredEvent) -> Watch:
    if event.type in STEPS:
        is_over = watch.told[:1] == (Pattern.STALL.value,)
        told = () if is_over else watch.told
        watch = replace(watch, total_steps=watch.total_steps + 1, told=told)
    if event.type in STEPS | BEGINNINGS:
        watch = replace(watch, last_step_at=event.timestamp, node_id=event.node_id or watch.node_id)
    said: dict[str, Any] = orjson.loads(event.data)
    match event.type:
        case "judge_verdict":
            return _judged(watch, str(said.get("action", "")), str(said.get("feedback", "")))
        case "node_retry":
            return _judged(watch, RETRY, str(said.get("error", "")))
        case "node_completed" if said.get("success"):
            return _judged(watch, ACCEPT, "")
        case "node_completed" if said.get("node_type") != "event_loop":
            # A model loop's failure was told by its verdicts.
            return _judged(watch, RETRY, str(said.get("error") or ""))
        case "tool_call_completed" if said.get("is_error"):
            text = str(said.get("tool_error") or said.get("result", ""))
            return replace(watch, error=text[:EVIDENCE_CHARS])
        case "node_tool_doom_loop":
            text = str(said.get("description", ""))
            return replace(watch, has_looped=True, error=text[:EVIDENCE_CHARS])
    return watch


def _judged(watch: Watch, action: str, text: str) -> Watch:
    verdicts = (*watch.verdicts, action)[-RECENT_VERDICTS:]
    if action == ACCEPT:
        kept = replace(Watch(), checks=watch.checks, total_steps=watch.total_steps)
        return replace(
            kept, verdicts=verdicts, node_id=watch.node_id, last_step_at=watch.last_step_at
        )
    about = watch.error or text[:EVIDENCE_CHARS]
    is_same = bool(about) and about == watch.complaint
    return replace(
        watch,
        verdicts=verdicts,
        since_accept=watch.since_accept + 1,
        complaint=about,
        complaints=watch.complaints + 1 if is_same else 1,
        error="",
    )


# --- judging --------------------------------------------------------------------------------


def standing(watch: Watch, now: float) -> Standing:
    """Say how an execution gets on."""
    if _is_stalled(watch, now) or watch.since_accept >= CRITICAL_VERDICTS:
        return Standing.CRITICAL
    if watch.since_accept >= MEDIUM_VERDICTS:
        return Standing.DEGRADED
    return Standing.WARNING if watch.since_accept >= WARNING_VERDICTS else Standing.HEALTHY


def diagnose(watch: Watch, now: float) -> Finding | None:
    """Say what is wrong with an execution, if anything is.

    Conservative: at least 10 verdicts without an ACCEPT, or 4 minutes without a step; at first sight only the latter.
    """
    if _is_stalled(watch, now):
        minutes = (now - watch.last_step_at) / 60
        return Finding(
            Pattern.STALL,
            Severity.CRITICAL,
            f"Worker stalled: no new iterations in {minutes:.1f} minutes",
            "Look at what the node waits for, then cancel the execution or restart the worker.",
        )
    if watch.checks == 0 or watch.since_accept < MEDIUM_VERDICTS:
        return None
    severity = _severity(watch.since_accept)
    if watch.has_looped or watch.complaints >= MEDIUM_VERDICTS:
        return Finding(
            Pattern.DOOM_LOOP,
            max(severity, Severity.HIGH, key=_rank),
            f"Doom loop: {watch.since_accept} consecutive RETRY verdicts, same error repeated",
            "Cancel the execution: it repeats itself. Mend what the error names before it runs again.",
        )
    return Finding(
        Pattern.RETRIES,
        severity,
        f"High retry rate: {watch.since_accept} consecutive non-ACCEPT verdicts",
        "Look at the feedback of the last verdicts; clarify the node's task or cancel the execution.",
    )


def is_news(watch: Watch, finding: Finding) -> bool:
    """Say whether a finding is worth a ticket: the first, one more severe than the last, or that it stalls now."""
    if not watch.told or finding.severity.rank > Severity(watch.told[1]).rank:
        return True
    return finding.pattern is Pattern.STALL and watch.told[0] != Pattern.STALL


def reviewed(watch: Watch, finding: Finding | None) -> Watch:
    """Return the watch after a look at it."""
    told = watch.told if finding is None else finding.mark
    return replace(watch, checks=watch.checks + 1, told=told)


def _is_stalled(watch: Watch, now: float) -> bool:
    return watch.last_step_at > 0 and now - watch.last_step_at >= STALL_MINUTES * 60


def _severity(verdicts: int) -> Severity:
    if verdicts >= CRITICAL_VERDICTS:
        return Severity.CRITICAL
    return Severity.HIGH if verdicts >= HIGH_VERDICTS else Severity.MEDIUM


def _rank(severity: Severity) -> int:
    return severity.rank
