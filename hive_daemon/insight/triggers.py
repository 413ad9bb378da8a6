"""Why a webhook delivery, or an event, set off what it did, or nothing: from their rows to a story. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hive_daemon.insight.story import Cause, Link, Story, moment, span
from hive_daemon.storage.values import StoredEvent
from hive_daemon.storage.webhook_deliveries import DeliveryRow, DeliveryStatus

_D = DeliveryStatus


@dataclass(frozen=True, slots=True)
class DeliveryEvidence:
    """A delivery, and what became of the executions that it set off."""

    row: DeliveryRow
    now: float
    executions: tuple[str, ...] = ()
    is_route_there: bool = True


def tell_delivery(evidence: DeliveryEvidence) -> Story:
    """Say what became of a webhook delivery, and why."""
    row = evidence.row
    cause, answer, remedy = _end(evidence)
    links = [Link(f"{row.id} came on {row.route}, known by {row.key}", row.received_at)]
    if row.replay_of:
        links.append(Link(f"it repeats {row.replay_of} on purpose"))
    if row.repeats:
        links.append(
            Link(
                f"it came again {_times(row.repeats)}, and was known again: no repetition starts anything"
            )
        )
    if row.superseded:
        links.append(Link(f"it stands for {row.superseded} deliveries of its group before it"))
    if row.settled_at is not None:
        links.append(Link(f"it was settled as {row.status}{_colon(row.reason)}", row.settled_at))
    links.extend(Link(told) for told in evidence.executions)
    return Story("delivery", row.id, cause, answer, tuple(links), remedy)


def _end(evidence: DeliveryEvidence) -> tuple[Cause, str, str]:
    row, name = evidence.row, evidence.row.id
    show, again = f"hive webhooks show {name}", f"hive webhooks replay {name}"
    match row.status:
        case _D.IGNORED:
            return (
                Cause.FILTERED,
                f"{name} started nothing: the filter of {row.route} kept it out: {row.reason}",
                show,
            )
        case _D.REFUSED:
            return (
                Cause.REFUSED,
                f"{name} was refused, its sender was told to try again: {row.reason}",
                again,
            )
        case _D.FAILED:
            return (
                Cause.NOT_STARTED,
                f"{name} was taken, and could not be handed on: {row.reason}",
                again,
            )
        case _D.SUPERSEDED:
            told = f"{name} started nothing by itself: {row.superseded_by} of the same burst stands for it"
            return Cause.SUPERSEDED, told, f"hive why {row.superseded_by}"
        case _D.COALESCED:
            return Cause.COALESCED, f"{name} waits for its burst to end{_due(evidence)}", show
        case _D.RECEIVED:
            where = (
                "" if evidence.is_route_there else f": no agent has the route {row.route} any more"
            )
            return Cause.RECEIVED, f"{name} was taken and is not handed on yet{where}", show
    if not row.execution_ids:
        return (
            Cause.DELIVERED,
            f"{name} was handed on, and no entry point listens to it",
            "hive webhooks routes",
        )
    ids = ", ".join(row.execution_ids)
    if row.repeats:
        told = f"{name} came {_times(row.repeats + 1)} and started {ids} once: it was known by {row.key}"
        return Cause.DUPLICATE, told, f"hive why {row.execution_ids[0]}"
    return Cause.DELIVERED, f"{name} started {ids}", f"hive why {row.execution_ids[0]}"


def _due(evidence: DeliveryEvidence) -> str:
    due = evidence.row.due_at
    return (
        ""
        if due is None or due <= evidence.now
        else f", for {span(due - evidence.now)} more at least"
    )


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _colon(text: object) -> str:
    return f": {text}" if text else ""


def tell_event(event: StoredEvent) -> Story:
    """Say why an event came about; for a notice, why nothing began."""
    data = _data(event)
    name = f"events/{event.seq}"
    where = f"{event.agent}/{event.stream_id}"
    chain = [*event.causation, *([where] if event.execution_id else [])]
    links = [Link(f"the chain that led here: {' > '.join(chain)}")] if len(chain) > 1 else []
    of = f" of {event.execution_id}" if event.execution_id else ""
    links.append(Link(f"{event.type}{of} at {where}", event.timestamp))
    match event.type:
        case "trigger_suppressed":
            what = f"{data.get('entry_point')} was not set off by {data.get('event_type')}{of}: {data.get('reason')}"
            return Story("event", name, Cause.SUPPRESSED, what, tuple(links), _look(event))
        case "trigger_skipped":
            what = (
                f"timer {data.get('timer')} was due at {data.get('scheduled_for')} and started nothing "
                f"({data.get('outcome')}): {data.get('reason')}"
            )
            return Story(
                "event",
                name,
                Cause.SKIPPED,
                what,
                tuple(links),
                f"hive why timers/{data.get('timer')}",
            )
    said = data.get("error") or data.get("reason")
    node = f" at node {event.node_id}" if event.node_id else ""
    what = f"{event.type}{of}{node}, {moment(event.timestamp)}{_colon(said)}"
    return Story("event", name, Cause.HAPPENED, what, tuple(links), _look(event))


def _look(event: StoredEvent) -> str:
    return (
        f"hive why {event.execution_id}" if event.execution_id else f"hive show events/{event.seq}"
    )


def _data(event: StoredEvent) -> Mapping[str, Any]:
    data = json.loads(event.data)
    return data if isinstance(data, dict) else {}
