"""`concurrency` and `flow` of an entry point: what they mean for one trigger, and how mistakes in them are told."""

from __future__ import annotations

from typing import Any

import pytest

from hive_daemon.errors import ConfigError
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.flow import LONGEST_KEY, FlowRules
from hive_daemon.runtime.flow_reading import CONCURRENCY_KEYS, FLOW_KEYS, QUEUE_MAX, read_flow
from hive_daemon.storage.admission import Admission, Batch, Debounce, Rate, Strategy


def rules(
    concurrency: dict[str, Any] | None = None,
    flow: dict[str, Any] | None = None,
    max_concurrent: int = 10,
) -> FlowRules:
    return read_flow(max_concurrent, concurrency or {}, flow or {})


def context(source: str = "api", **inputs: Any) -> dict[str, object]:
    return {"input": inputs, "source": source, "session_id": "", "correlation_id": "c"}


# --- concurrency ----------------------------------------------------------------------------


def test_an_entry_point_that_says_nothing_queues_up_to_a_bound():
    found = rules()
    assert (found.most, found.most_by_key) == (10, None)
    assert found.admit(context()).admission == Admission(limit=10, queue_max=QUEUE_MAX)


def test_a_bare_max_concurrent_of_one_takes_over():
    found = rules(max_concurrent=1)
    assert found.takes_over
    assert found.admit(context()).admission.strategy is Strategy.INTERRUPT


@pytest.mark.parametrize("strategy", list(Strategy))
def test_a_written_strategy_overrides_what_one_slot_means(strategy: Strategy):
    found = rules({"strategy": strategy.value}, max_concurrent=1)
    assert found.admit(context()).admission.strategy is strategy


def test_max_without_a_key_stands_in_for_max_concurrent_and_queues():
    found = rules({"max": 1}, max_concurrent=5)
    assert (found.most, found.most_by_key) == (1, None)
    assert found.admit(context()).admission == Admission(limit=1, queue_max=QUEUE_MAX)


def test_max_with_a_key_bounds_each_key_and_max_concurrent_the_whole():
    found = rules({"max": 2, "key": "input.user"}, max_concurrent=5)
    assert (found.most, found.most_by_key) == (5, 2)
    admission = found.admit(context(user="ann")).admission
    assert (admission.key, admission.limit, admission.slots) == ("ann", 2, 5)


def test_the_bounds_of_the_queue_travel_with_each_trigger():
    found = rules({"queue_max": 7, "queue_timeout": "10m"})
    assert found.admit(context()).admission == Admission(limit=10, queue_max=7, queue_seconds=600.0)
    assert found.delays


def test_a_key_reads_the_input_the_source_and_the_session():
    found = rules({"max": 1, "key": "source + ':' + input.user"})
    assert found.admit(context("timer", user="ann")).admission.key == "timer:ann"


@pytest.mark.parametrize(
    ("value", "text"), [("7", "7"), (7, "7"), (True, "true"), ([1, 2], "[1, 2]")]
)
def test_the_value_of_a_key_is_a_text(value: Any, text: str):
    assert rules({"max": 1, "key": "input.k"}).admit(context(k=value)).admission.key == text


def test_a_long_value_of_a_key_is_replaced_by_its_hash():
    found = rules({"max": 1, "key": "input.k"})
    one = found.admit(context(k="x" * (LONGEST_KEY + 1))).admission.key
    other = found.admit(context(k="x" * LONGEST_KEY + "y")).admission.key
    assert one != other
    assert one.startswith("sha256:")
    assert found.admit(context(k="x" * LONGEST_KEY)).admission.key == "x" * LONGEST_KEY


@pytest.mark.parametrize("key", ["input.user", "input.user.name", "input['user']", "1 / 0"])
def test_a_key_without_a_value_is_empty_and_said(key: str):
    admitted = rules({"max": 1, "key": key}).admit(context())
    assert admitted.admission.key == ""
    assert admitted.remarks[0].startswith("concurrency.key: ")


def test_a_trigger_that_joins_a_session_interrupts_nothing():
    found = rules({"strategy": "interrupt"})
    assert found.admit(context(), is_joined=True).admission.strategy is Strategy.QUEUE


# --- flow -----------------------------------------------------------------------------------


def test_each_part_of_flow_carries_its_own_key():
    found = rules(
        flow={
            "rate_limit": {"limit": 100, "per": "1h", "key": "input.user"},
            "debounce": {"period": "30s", "max_wait": "5m", "key": "input.repo"},
            "throttle": {"limit": 10, "per": "1m"},
        }
    )
    assert found.admit(context(user="ann", repo="hive")).admission == Admission(
        limit=10,
        queue_max=QUEUE_MAX,
        rate=Rate(100, 3600.0, "ann"),
        hold=Debounce(30.0, 300.0, "hive"),
        throttle=Rate(10, 60.0),
    )
    assert found.delays


def test_a_debounce_without_max_wait_waits_ten_periods():
    found = rules(flow={"debounce": {"period": "30s"}})
    assert found.admit(context()).admission.hold == Debounce(30.0, 300.0)


def test_a_batch_gathers_by_its_key():
    found = rules(flow={"batch": {"max": 50, "wait": "10s", "key": "input.repo"}})
    assert found.admit(context(repo="hive")).admission.hold == Batch(50, 10.0, "hive")


def test_a_trigger_that_names_or_joins_a_session_is_merged_with_no_other():
    found = rules(flow={"batch": {"max": 50, "wait": "10s"}})
    assert found.admit(context(), names_session=True).admission.hold is None
    assert found.admit(context(), is_joined=True).admission.hold is None


def test_dedupe_names_the_trigger_by_its_key():
    admitted = rules(flow={"dedupe": {"key": "input.order", "ttl": "1h"}}).admit(context(order=7))
    assert (admitted.once, admitted.once_seconds) == ("7", 3600.0)


def test_a_missing_dedupe_key_is_never_a_repetition():
    admitted = rules(flow={"dedupe": {"key": "input.order", "ttl": "1h"}}).admit(context())
    assert admitted.once == ""
    assert admitted.remarks


# --- mistakes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("concurrency", "flow", "told"),
    [
        ({"max": 0}, {}, "concurrency.max: 0 must be a whole number from 1 to 1000000"),
        ({"max": True}, {}, "concurrency.max: True must be a whole number from 1 to 1000000"),
        ({"queue_max": "9"}, {}, "concurrency.queue_max: '9' must be a whole number"),
        ({"queue_timeout": 90}, {}, "concurrency.queue_timeout: 90 must be a duration such as"),
        ({"queue_timeout": "0s"}, {}, "concurrency.queue_timeout: '0s' must be a duration such as"),
        ({"strategy": "drop"}, {}, "concurrency.strategy: 'drop' is unknown, use one of queue, "),
        ({"max": 1, "key": "input."}, {}, "concurrency.key: 'input.' is no expression"),
        ({"max": 1, "key": 7}, {}, "concurrency.key: 7 is no expression"),
        ({"max": 1, "key": "user.id"}, {}, "concurrency.key: 'user.id' reads user, it may read "),
        ({"key": "input.user"}, {}, "concurrency.key: bounds nothing by itself"),
        ({"maximum": 1}, {}, "concurrency.maximum: unknown key, known are max, key, "),
        ({}, {"debouce": {}}, "flow.debouce: unknown key, known are dedupe, rate_limit, "),
        (
            {},
            {"debounce": {"period": "1s", "perod": "1s"}},
            "flow.debounce.perod: unknown key, known are period",
        ),
        ({}, {"debounce": "30s"}, "flow.debounce: '30s' must be a mapping of period"),
        ({}, {"debounce": {}}, "flow.debounce.period: is missing"),
        (
            {},
            {"debounce": {"period": "5m", "max_wait": "1m"}},
            "flow.debounce.max_wait: must be at least the period",
        ),
        ({}, {"dedupe": {"ttl": "1h"}}, "flow.dedupe.key: is missing"),
        ({}, {"dedupe": {"key": "input.id"}}, "flow.dedupe.ttl: is missing"),
        ({}, {"rate_limit": {"limit": 5}}, "flow.rate_limit.per: is missing"),
        ({}, {"rate_limit": {"per": "1h"}}, "flow.rate_limit.limit: is missing"),
        ({}, {"throttle": {"limit": 5, "per": "soon"}}, 'flow.throttle.per: "soon" is not a'),
        ({}, {"batch": {"max": 5}}, "flow.batch.wait: is missing"),
        (
            {},
            {"batch": {"max": 5, "wait": "1s"}, "debounce": {"period": "1s"}},
            "flow.batch: cannot stand beside flow.debounce, keep one of them",
        ),
    ],
)
def test_a_mistake_is_told_with_its_key_and_value(
    concurrency: dict[str, Any], flow: dict[str, Any], told: str
):
    spec = EntryPointSpec(id="api", concurrency=concurrency, flow=flow)
    (problem,) = spec.problems()
    assert problem.startswith(f"entry point 'api': {told}")
    with pytest.raises(ConfigError):
        rules(concurrency, flow)


def test_something_other_than_a_mapping_is_refused():
    spec = EntryPointSpec(id="api", concurrency="queue", flow=[1])  # type: ignore[arg-type]
    assert [problem.split(": ", 2)[1] for problem in spec.problems()] == ["concurrency", "flow"]


def test_a_null_takes_a_key_away():
    assert rules({"strategy": None, "queue_max": None}, {"batch": None}) == rules()


def test_every_mistake_is_told_at_once():
    spec = EntryPointSpec(
        id="api",
        concurrency={key: [] for key in CONCURRENCY_KEYS},
        flow={key: [] for key in FLOW_KEYS},
    )
    assert len(spec.problems()) >= len(CONCURRENCY_KEYS) + len(FLOW_KEYS)
