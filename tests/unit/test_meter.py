"""The meter times an execution from its start to its stop, whatever it went through between."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from hive_daemon.control.meter import Meter
from hive_daemon.runtime.events import AgentEvent, EventType

BEGAN = datetime(2026, 3, 2, 9, tzinfo=UTC)


def counted(*events):
    """Return the sum and the count of the durations that these events, `(second, type)`, come to."""
    meter = Meter(SimpleNamespace())
    for second, kind in events:
        meter.tell(
            AgentEvent(
                kind,
                "go",
                agent="ops",
                execution_id="session_1",
                timestamp=BEGAN + timedelta(seconds=second),
            )
        )
    lines = meter.text([]).decode().splitlines()
    [total] = [line for line in lines if line.startswith("hive_execution_seconds_sum")]
    [count] = [line for line in lines if line.startswith("hive_execution_seconds_count")]
    return float(total.split()[-1]), float(count.split()[-1])


def test_one_that_goes_on_by_itself_is_timed_from_its_start():
    assert counted(
        (0, EventType.EXECUTION_STARTED),
        (2, EventType.EXECUTION_RESURRECTED),
        (4, EventType.EXECUTION_RESURRECTED),
        (5, EventType.EXECUTION_COMPLETED),
    ) == (5, 1)


def test_one_that_was_put_away_is_timed_from_its_resumption():
    assert counted(
        (0, EventType.EXECUTION_STARTED),
        (1, EventType.EXECUTION_PAUSED),
        (60, EventType.EXECUTION_RESUMED),
        (63, EventType.EXECUTION_COMPLETED),
    ) == (4, 2)


def test_one_that_a_new_process_took_up_is_timed_from_there():
    assert counted(
        (0, EventType.EXECUTION_RESURRECTED),
        (3, EventType.EXECUTION_FAILED),
    ) == (3, 1)


def test_calls_that_failed_and_their_tries_are_counted_under_the_name_of_those_that_did_not():
    meter = Meter(SimpleNamespace())
    told = [
        (EventType.LLM_TURN_COMPLETE, {"model": "gpt-4o", "stop_reason": "stop"}),
        (EventType.NODE_RETRY, {"model": "openai/gpt-4o"}),
        (EventType.LLM_CALL_FAILED, {"model": "openai/gpt-4o", "failure": "auth"}),
    ]
    for kind, data in told:
        meter.tell(AgentEvent(kind, "go", agent="ops", timestamp=BEGAN, data=data))
    lines = meter.text([]).decode().splitlines()
    for series in (
        'hive_model_calls_total{agent="ops",model="gpt-4o",stop_reason="stop"} 1.0',
        'hive_model_calls_total{agent="ops",model="gpt-4o",stop_reason="auth"} 1.0',
        'hive_model_retries_total{agent="ops",model="gpt-4o"} 1.0',
    ):
        assert series in lines
