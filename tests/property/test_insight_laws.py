"""Laws of the stories: whatever the rows and the events hold, there is one. Of the lists: nothing is lost in order."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hive_daemon.insight.executions import Evidence, tell_execution
from hive_daemon.insight.happenings import TELLING
from hive_daemon.insight.listing import Key, Match, Order, chosen
from hive_daemon.insight.story import Cause, Daemon, span
from hive_daemon.insight.timers import TimerEvidence, tell_instant, tell_timer
from hive_daemon.insight.triggers import DeliveryEvidence, tell_delivery, tell_event
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.timer_values import Occurrence, TimerOutcome, TimerRow
from hive_daemon.storage.values import ExecutionRow, StoredEvent
from hive_daemon.storage.waiting import Awaited, described
from hive_daemon.storage.webhook_deliveries import DeliveryRow, DeliveryStatus
from tests.fakes.rows import NAME, execution_row

NOW = 1_772_442_000.0
times = st.floats(NOW - 1e6, NOW + 1e6)
texts = st.text(max_size=30)
maybe_texts = st.none() | texts
datas = st.dictionaries(
    st.sampled_from(
        ["error", "reason", "success", "attempt", "resume_from", "retry_count", "failure", "model"]
    ),
    st.none() | st.booleans() | st.integers() | texts,
)


@st.composite
def rows(draw: st.DrawFn) -> ExecutionRow:
    status = draw(st.sampled_from(list(ExecutionStatus)))
    began = draw(st.none() | times)
    waiting = described([Awaited("waiting_input", "ask", draw(texts))])
    return execution_row(
        status=status,
        source=draw(st.sampled_from(["api", "timer", "event", "webhook"])),
        created_at=draw(times),
        started_at=began,
        updated_at=draw(times),
        ended_at=draw(times) if status.is_terminal else None,
        ordinal=draw(st.integers(1, 3)),
        is_joined=draw(st.booleans()),
        steps=draw(st.integers(0, 9)),
        node_id=draw(maybe_texts),
        error=draw(maybe_texts),
        error_code=draw(st.sampled_from(["", "timeout", "model", "budget_exceeded", "else"])),
        waiting=json.dumps(waiting).encode() if draw(st.booleans()) else None,
        cancel_reason=draw(maybe_texts),
    )


@st.composite
def events(draw: st.DrawFn, types: tuple[str, ...] = TELLING) -> StoredEvent:
    return StoredEvent(
        seq=draw(st.integers(1, 99)),
        execution_seq=1,
        type=draw(st.sampled_from(types)),
        timestamp=draw(times),
        agent="ops",
        graph_id="ops",
        stream_id="run",
        node_id=draw(maybe_texts),
        execution_id=draw(st.sampled_from(["", NAME])),
        session_id=NAME,
        correlation_id="",
        causation=tuple(draw(st.lists(texts, max_size=3))),
        data=json.dumps(draw(datas)).encode(),
    )


@settings(max_examples=100)
@given(rows(), st.lists(events(), max_size=30), st.sampled_from(list(Daemon)), texts)
def test_every_execution_has_a_story(
    row: ExecutionRow, told: list[StoredEvent], daemon: Daemon, trouble: str
) -> None:
    story = tell_execution(Evidence(row, NOW, tuple(told), daemon=daemon, trouble=trouble))
    assert NAME in story.answer
    assert "\n" not in story.remedy
    assert len(story.links) <= 14
    assert story.cause in Cause


@settings(max_examples=60)
@given(events(("trigger_suppressed", "trigger_skipped", *TELLING)))
def test_every_event_has_a_story(event: StoredEvent) -> None:
    assert tell_event(event).answer


@settings(max_examples=60)
@given(st.sampled_from(list(DeliveryStatus)), texts, st.integers(0, 3), st.booleans())
def test_every_delivery_has_a_story(
    status: DeliveryStatus, reason: str, repeats: int, has_begun: bool
) -> None:
    row = DeliveryRow(
        id="dlv_1",
        route="/hook",
        source_id="hook",
        key="k",
        body_hash="",
        status=status,
        reason=reason,
        group="",
        received_at=NOW,
        due_at=NOW + 5,
        settled_at=None,
        execution_ids=(NAME,) if has_begun else (),
        superseded=0,
        superseded_by="",
        repeats=repeats,
        replay_of="",
    )
    assert "dlv_1" in tell_delivery(DeliveryEvidence(row, NOW)).answer


@st.composite
def timer_rows(draw: st.DrawFn) -> TimerRow:
    return TimerRow(
        timer_id="ops/run",
        agent="ops",
        entry_point="run",
        signature="",
        anchor=0.0,
        last_scheduled=None,
        next_at=draw(st.none() | times),
        last_outcome=None,
        last_reason=None,
        last_at=None,
        last_execution_id=None,
        fired=0,
        skipped=0,
        missed=0,
        paused_at=draw(st.none() | times),
        paused_by=draw(st.sampled_from(["", "hived", "config", "uid:0"])),
        note=draw(texts),
        paused_until=draw(st.none() | times),
        remaining=draw(st.none() | st.integers(0, 2)),
        forgotten=draw(st.none() | times),
    )


@st.composite
def instants(draw: st.DrawFn) -> tuple[Occurrence, ...]:
    made = [
        Occurrence(
            "ops/run",
            at,
            at + 1,
            draw(st.sampled_from(list(TimerOutcome))),
            draw(texts),
            draw(st.none() | st.just(NAME)),
            draw(st.floats(0, 100)),
        )
        for at in draw(st.lists(times, max_size=5, unique=True))
    ]
    return tuple(sorted(made, key=lambda row: -row.scheduled_at))


@settings(max_examples=100)
@given(timer_rows(), instants(), times, st.sampled_from(list(Daemon)), st.booleans())
def test_every_timer_and_every_instant_has_a_story(
    row: TimerRow, rows_: tuple[Occurrence, ...], at: float, daemon: Daemon, is_due: bool
) -> None:
    evidence = TimerEvidence("ops/run", NOW, row, rows_, daemon=daemon, is_due=is_due)
    assert tell_timer(evidence).answer
    story = tell_instant(evidence, at)
    assert story.answer
    nearest = min((abs(one.scheduled_at - at) for one in rows_), default=1e9)
    assert (story.cause in (Cause.NOT_DUE, Cause.MISSED)) or nearest < 60


lines = st.fixed_dictionaries(
    {
        "id": texts,
        "session_id": texts,
        "agent": st.sampled_from(["a", "b"]),
        "entry_point": st.sampled_from(["a/x", "b/x"]),
        "status": st.sampled_from(["running", "queued"]),
        "source": texts,
        "node": maybe_texts,
        "model": maybe_texts,
        "held_by": maybe_texts,
        "age_seconds": st.floats(0, 9),
        "duration_seconds": st.none() | st.floats(0, 9),
        "steps": st.integers(0, 9),
        "input_tokens": st.integers(0, 9),
        "output_tokens": st.integers(0, 9),
        "tokens_per_second": st.none() | st.floats(0, 9),
        "cost_usd": st.none() | st.floats(0, 9),
    }
)


@settings(max_examples=60)
@given(st.lists(lines, max_size=8), st.sampled_from(list(Key)), st.booleans())
def test_an_order_loses_nothing_and_puts_what_has_no_value_last(
    given_: list[dict[str, Any]], key: Key, is_descending: bool
) -> None:
    found = Order(key, is_descending).sorted(given_)
    assert len(found) == len(given_)
    values = [key.of(line) for line in found]
    known = [value for value in values if value is not None]
    assert values[: len(known)] == known
    assert known == sorted(known, reverse=is_descending)


@settings(max_examples=60)
@given(st.lists(lines, max_size=8), st.sets(st.sampled_from(["a", "b"]), min_size=1))
def test_values_of_one_key_are_alternatives_and_keys_hold_together(
    given_: list[dict[str, Any]], agents: set[str]
) -> None:
    tests = [Match(Key.AGENT, agent) for agent in agents] + [Match(Key.STATUS, "run*")]
    found = chosen(given_, tests, Order())
    assert all(line["agent"] in agents and line["status"] == "running" for line in found)
    wanted = [line for line in given_ if line["agent"] in agents and line["status"] == "running"]
    assert len(found) == len(wanted)


@given(st.floats(0, 1e7))
def test_a_stretch_of_time_is_told_in_at_most_two_units(seconds: float) -> None:
    assert 2 <= len(span(seconds).split()) <= 4
