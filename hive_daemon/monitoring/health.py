"""Whether an execution gets on: folded from its events, judged by fixed thresholds. Pure.

A `Watch` is all that is remembered of an execution, whatever its length: the events are counted, not kept. Laws:
folding events in portions gives the same watch as folding them at once; what was folded before changes nothing. What
the world outside does to an execution (a model service that is away, a person who does not answer, the pause before a
further try) never counts against it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
MEDIUM_VERDICTS = 12
HIGH_VERDICTS = 18
CRITICAL_VERDICTS = 20
SAME_ERROR_VERDICTS = 10
RUNAWAY_USD = 10.0
QUIET_MINUTES = 1.0
"""From here on a pause between two steps is worth telling."""

STEPS = frozenset({"node_loop_iteration", "tool_call_completed", "node_retry", "node_completed"})
"""Events that show that something was done."""

BEGINNINGS = frozenset(
    {"execution_started", "execution_resumed", "execution_resurrected", "node_started"}
)
"""Events from which on something is to be done."""

WATCHED = (
    *sorted(STEPS | BEGINNINGS),
    "judge_verdict",
    "node_tool_doom_loop",
    "llm_call_failed",
    "llm_turn_complete",
    "client_input_requested",
    "client_input_received",
)
"""Event types that a watch is folded from."""


OUTAGES = frozenset({"transient", "rate_limited", "quota", "auth"})
"""How a model call fails that says nothing about the execution (`llm.failures.FailureKind`)."""

STUCK = "stalled"
"""How a node ends that repeated itself (`exit_status`)."""


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
    RUNAWAY_COST = "runaway_cost"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From where on something is wrong; 0 turns a detection off.

    `stall_seconds` without a step; `non_accepts` and `doom_loop` verdicts in a row without an ACCEPT (the second is
    high); `same_error`: so many of them about the same; `cost_usd`: what one execution spent.
    """

    stall_seconds: float = STALL_MINUTES * 60
    non_accepts: int = MEDIUM_VERDICTS
    doom_loop: int = HIGH_VERDICTS
    same_error: int = SAME_ERROR_VERDICTS
    cost_usd: float = RUNAWAY_USD

    @property
    def critical(self) -> int:
        """From how many verdicts without an ACCEPT on it is critical."""
        return max(CRITICAL_VERDICTS, self.doom_loop)


USUAL = Thresholds()
"""What holds if nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class Sign:
    """An event, as far as a watch reads it."""

    seq: int
    type: str
    at: float
    node_id: str | None
    said: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Watch:
    """What is known of one execution as of event `seq`. Times are wall seconds.

    `since_accept` counts the verdicts since the last ACCEPT; `complaint` is what the last one was about and
    `complaints` how often in a row it was that. `error` is what a tool said since then; `has_looped`: the node repeated
    its tool calls; `is_stuck`: it gave up because it only repeated itself. `has_outage`: the model service failed, so
    that the next failure is not its own; `is_waiting` for a person. `checks` is how often it was looked at, `told` the
    pattern and the severity of the last ticket.
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
    is_stuck: bool = False
    has_outage: bool = False
    is_waiting: bool = False
    cost_usd: float = 0.0
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
            said = orjson.loads(event.data)
            watch = seen(watch, Sign(event.seq, event.type, event.timestamp, event.node_id, said))
    return watch


def seen(watch: Watch, event: Sign) -> Watch:
    """Work one event in, whose type is in WATCHED and whose `seq` is beyond those before."""
    return replace(_with(watch, event), seq=event.seq)


def _with(watch: Watch, event: Sign) -> Watch:
    if event.type in STEPS:
        is_over = watch.told[:1] == (Pattern.STALL.value,)
        told = () if is_over else watch.told
        watch = replace(watch, total_steps=watch.total_steps + 1, told=told)
    if event.type in STEPS | BEGINNINGS:
        node_id = event.node_id or watch.node_id
        watch = replace(watch, last_step_at=event.at, node_id=node_id, is_waiting=False)
    said = event.said
    match event.type:
        case "llm_turn_complete":
            return replace(watch, cost_usd=watch.cost_usd + (said.get("cost_usd") or 0.0))
        case "llm_call_failed":
            return replace(watch, has_outage=said.get("failure") in OUTAGES)
        case "client_input_requested":
            return replace(watch, is_waiting=True)
        case "client_input_received":
            return replace(watch, is_waiting=False, last_step_at=event.at)
        case "node_retry" if said.get("model"):
            # A try of a call, not of the node.
            return watch
        case "node_retry" | "node_completed" if watch.has_outage and not said.get("success"):
            return replace(watch, has_outage=False)
        case "node_completed" if said.get("exit_status") == STUCK and not said.get("success"):
            text = watch.error or str(said.get("error") or "")
            return replace(watch, is_stuck=True, error=text[:EVIDENCE_CHARS])
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
        is_dear = watch.told[:1] == (Pattern.RUNAWAY_COST.value,)
        told = watch.told if is_dear else ()
        kept = replace(Watch(), checks=watch.checks, total_steps=watch.total_steps, told=told)
        return replace(
            kept,
            verdicts=verdicts,
            node_id=watch.node_id,
            last_step_at=watch.last_step_at,
            cost_usd=watch.cost_usd,
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
        has_outage=False,
    )


# --- judging --------------------------------------------------------------------------------


def standing(
    watch: Watch, now: float, limits: Thresholds = USUAL, quiet_seconds: float | None = None
) -> Standing:
    """Say how an execution gets on; see `diagnose`."""
    quiet = _quiet(watch, now) if quiet_seconds is None else quiet_seconds
    is_stalled = bool(limits.stall_seconds) and quiet >= limits.stall_seconds
    if is_stalled or watch.since_accept >= limits.critical:
        return Standing.CRITICAL
    if _reaches(watch.since_accept, limits.non_accepts):
        return Standing.DEGRADED
    return Standing.WARNING if watch.since_accept >= WARNING_VERDICTS else Standing.HEALTHY


def diagnose(
    watch: Watch, now: float, limits: Thresholds = USUAL, quiet_seconds: float | None = None
) -> Finding | None:
    """Say what is wrong with an execution, if anything is.

    `quiet_seconds` is its silence where somebody feels its pulse, None: the time since the last step. Conservative: at
    least `same_error` verdicts without an ACCEPT, or so long without a step; at first sight only the latter.
    """
    quiet = _quiet(watch, now) if quiet_seconds is None else quiet_seconds
    if limits.stall_seconds and quiet >= limits.stall_seconds:
        minutes = quiet / 60
        return Finding(
            Pattern.STALL,
            Severity.CRITICAL,
            f"Worker stalled: no new iterations in {minutes:.1f} minutes",
            "Look at what the node waits for, then cancel the execution or restart the worker.",
        )
    if watch.checks == 0:
        return None
    return _loop(watch, limits) or _retries(watch, limits) or _cost(watch, limits)


def _loop(watch: Watch, limits: Thresholds) -> Finding | None:
    count = watch.since_accept
    many = _reaches(count, limits.non_accepts) and watch.has_looped
    same = _reaches(watch.complaints, limits.same_error)
    if not (watch.is_stuck or many or same):
        return None
    told = f"{count} consecutive RETRY verdicts" if count else "the same steps again and again"
    return Finding(
        Pattern.DOOM_LOOP,
        max(_severity(count, limits), Severity.HIGH, key=_rank),
        f"Doom loop: {told}, same error repeated",
        "Cancel the execution: it repeats itself. Mend what the error names before it runs again.",
    )


def _cost(watch: Watch, limits: Thresholds) -> Finding | None:
    if not _reaches(watch.cost_usd, limits.cost_usd):
        return None
    return Finding(
        Pattern.RUNAWAY_COST,
        Severity.HIGH if watch.cost_usd >= 2 * limits.cost_usd else Severity.MEDIUM,
        f"Runaway cost: {watch.cost_usd:.2f} USD in one execution, the limit is {limits.cost_usd:g}",
        "Look at what it does; cancel the execution, or give its entry point a budget.",
    )


def _retries(watch: Watch, limits: Thresholds) -> Finding | None:
    if not _reaches(watch.since_accept, limits.non_accepts):
        return None
    return Finding(
        Pattern.RETRIES,
        _severity(watch.since_accept, limits),
        f"High retry rate: {watch.since_accept} consecutive non-ACCEPT verdicts",
        "Look at the feedback of the last verdicts; clarify the node's task or cancel the execution.",
    )


_OF_THEIR_OWN = frozenset({Pattern.STALL, Pattern.RUNAWAY_COST})
"""Patterns that are news after whatever else was told."""


def is_news(watch: Watch, finding: Finding) -> bool:
    """Say whether a finding is worth a ticket: the first, one more severe than the last, one of another kind."""
    if not watch.told or finding.severity.rank > Severity(watch.told[1]).rank:
        return True
    return finding.pattern in _OF_THEIR_OWN and watch.told[0] != finding.pattern


def reviewed(watch: Watch, finding: Finding | None) -> Watch:
    """Return the watch after a look at it."""
    told = watch.told if finding is None else finding.mark
    return replace(watch, checks=watch.checks + 1, told=told)


def _quiet(watch: Watch, now: float) -> float:
    is_over = watch.is_waiting or watch.last_step_at <= 0
    return 0.0 if is_over else now - watch.last_step_at


def _reaches(amount: float, limit: float) -> bool:
    return 0 < limit <= amount


def _severity(verdicts: int, limits: Thresholds) -> Severity:
    if verdicts >= limits.critical:
        return Severity.CRITICAL
    return Severity.HIGH if _reaches(verdicts, limits.doom_loop) else Severity.MEDIUM


def _rank(severity: Severity) -> int:
    return severity.rank
