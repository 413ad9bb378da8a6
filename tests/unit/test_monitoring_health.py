"""When an execution counts as stuck: the thresholds, one by one."""

import json
from dataclasses import replace

import pytest

from hive_daemon.monitoring.health import (
    Finding,
    Pattern,
    Standing,
    Thresholds,
    Watch,
    diagnose,
    fold,
    is_news,
    reviewed,
    standing,
)
from hive_daemon.monitoring.ticket import Severity
from hive_daemon.storage.values import StoredEvent

NOW = 1_772_442_000.0


def told(seq, kind, at=NOW, node_id="plan", **data):
    """An event of an execution."""
    return StoredEvent(
        seq=seq,
        execution_seq=seq,
        type=kind,
        timestamp=at,
        agent="a",
        graph_id="g",
        stream_id="s",
        node_id=node_id,
        execution_id="x",
        session_id="x",
        correlation_id="",
        causation=(),
        data=json.dumps(data).encode(),
    )


def verdicts(*actions, feedback="answer is missing"):
    return [
        told(seq, "judge_verdict", action=action, feedback=feedback)
        for seq, action in enumerate(actions, 1)
    ]


def seen(**fields):
    """A watch of an execution that was looked at before and did something just now."""
    return Watch(**{"last_step_at": NOW, "checks": 1, **fields})


# --- judging ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("since_accept", "expected"),
    [
        (11, None),
        (12, Severity.MEDIUM),
        (17, Severity.MEDIUM),
        (18, Severity.HIGH),
        (19, Severity.HIGH),
        (20, Severity.CRITICAL),
    ],
)
def test_verdicts_without_an_accept_grow_more_severe(since_accept, expected):
    found = diagnose(seen(since_accept=since_accept), NOW)
    assert (found and found.severity) == expected
    assert found is None or found.pattern is Pattern.RETRIES


@pytest.mark.parametrize(
    ("since_accept", "expected"), [(12, Severity.HIGH), (20, Severity.CRITICAL)]
)
@pytest.mark.parametrize("how", [{"complaints": 10}, {"has_looped": True}], ids=str)
def test_a_loop_is_high_at_least(since_accept, expected, how):
    found = diagnose(seen(since_accept=since_accept, **how), NOW)
    assert found is not None
    assert (found.pattern, found.severity) == (Pattern.DOOM_LOOP, expected)


def test_a_loop_alone_is_not_enough():
    assert diagnose(seen(since_accept=9, complaints=9, has_looped=True), NOW) is None


@pytest.mark.parametrize(("seconds", "is_stalled"), [(239.9, False), (240, True), (3600, True)])
def test_four_minutes_without_a_step_are_a_stall(seconds, is_stalled):
    found = diagnose(seen(), NOW + seconds)
    assert (found is not None) == is_stalled
    assert found is None or (found.pattern, found.severity) == (Pattern.STALL, Severity.CRITICAL)


def test_at_first_sight_only_a_stall_counts():
    assert diagnose(seen(checks=0, since_accept=30, complaints=30), NOW) is None
    assert diagnose(seen(checks=0), NOW + 300) is not None


def test_an_execution_of_which_nothing_is_known_yet_is_not_stalled():
    assert diagnose(Watch(), NOW) is None


@pytest.mark.parametrize(
    ("watch", "later", "expected"),
    [
        (seen(), 0, Standing.HEALTHY),
        (seen(since_accept=4), 0, Standing.HEALTHY),
        (seen(since_accept=5), 0, Standing.WARNING),
        (seen(since_accept=12), 0, Standing.DEGRADED),
        (seen(since_accept=20), 0, Standing.CRITICAL),
        (seen(), 240, Standing.CRITICAL),
    ],
)
def test_how_it_gets_on_is_told_in_a_word(watch, later, expected):
    assert standing(watch, NOW + later) is expected


def test_a_pause_is_told_from_a_minute_on():
    assert seen().stall_minutes(NOW + 59.9) is None
    assert seen().stall_minutes(NOW + 372) == 6.2


# --- telling once -------------------------------------------------------------------------------


def finding(pattern=Pattern.RETRIES, severity=Severity.MEDIUM):
    return Finding(pattern, severity, "why", "what to do")


def test_the_same_trouble_is_told_once_and_again_when_it_grows_worse():
    watch = seen()
    assert is_news(watch, finding())
    watch = reviewed(watch, finding())
    assert not is_news(watch, finding())
    assert is_news(watch, finding(severity=Severity.HIGH))


def test_that_it_stalls_is_news_after_whatever_was_told():
    watch = reviewed(seen(), finding(severity=Severity.CRITICAL))
    stall = finding(Pattern.STALL, Severity.CRITICAL)
    assert is_news(watch, stall)
    assert not is_news(reviewed(watch, stall), stall)


def test_a_stall_that_passed_is_told_again_when_it_comes_again():
    stall = finding(Pattern.STALL, Severity.CRITICAL)
    watch = reviewed(seen(), stall)
    watch = fold(watch, [told(1, "node_loop_iteration", iteration=1)])
    assert is_news(watch, stall)


def test_after_an_accept_everything_is_news_again():
    watch = reviewed(seen(), finding(severity=Severity.CRITICAL))
    assert is_news(fold(watch, verdicts("ACCEPT")), finding())


def test_a_look_that_finds_nothing_counts_as_a_look():
    assert reviewed(Watch(), None) == Watch(checks=1)


# --- folding ------------------------------------------------------------------------------------


def test_verdicts_are_counted_from_the_last_accept_on():
    watch = fold(Watch(), verdicts("RETRY", "ACCEPT", "RETRY", "ESCALATE", "RETRY"))
    assert watch.since_accept == 3
    assert watch.verdicts == ("RETRY", "ACCEPT", "RETRY", "ESCALATE", "RETRY")


def test_attempts_of_any_node_count_like_verdicts():
    watch = fold(
        Watch(),
        [
            told(1, "node_retry", error="no route"),
            told(2, "node_retry", error="no route"),
            told(3, "node_completed", success=False, node_type="function", error="no route"),
        ],
    )
    assert (watch.since_accept, watch.complaints, watch.evidence) == (3, 3, "no route")
    watch = fold(watch, [told(4, "node_completed", success=True, node_type="function")])
    assert (watch.since_accept, watch.evidence) == (0, "")


def test_the_failure_of_a_model_loop_is_not_counted_beside_its_verdicts():
    events = [*verdicts("RETRY"), told(2, "node_completed", success=False, node_type="event_loop")]
    assert fold(Watch(), events).since_accept == 1


def test_tool_calls_that_go_well_are_no_complaints_and_show_life():
    calls = [told(n, "tool_call_completed", at=NOW + n, result="ok") for n in range(1, 30)]
    watch = fold(Watch(), calls)
    assert (watch.since_accept, watch.total_steps, watch.last_step_at) == (0, 29, NOW + 29)


def test_what_a_tool_said_goes_before_what_the_judge_said():
    events = []
    for n in range(1, 21, 2):
        error = {"is_error": True, "tool_error": "File not found"}
        events.append(told(n, "tool_call_completed", **error))
        events.append(told(n + 1, "judge_verdict", action="RETRY", feedback=f"try {n}"))
    watch = fold(Watch(), events)
    assert (watch.complaints, watch.evidence) == (10, "File not found")


def test_different_complaints_are_no_loop():
    events = [
        told(n, "judge_verdict", action="RETRY", feedback=f"number {n}") for n in range(1, 12)
    ]
    watch = fold(Watch(), events)
    assert (watch.since_accept, watch.complaints) == (11, 1)


def test_repeated_tool_calls_are_a_loop_until_the_next_accept():
    loop = told(1, "node_tool_doom_loop", description="three times the same")
    watch = fold(Watch(), [loop])
    assert (watch.has_looped, watch.evidence) == (True, "three times the same")
    assert not fold(watch, [told(2, "judge_verdict", action="ACCEPT")]).has_looped


@pytest.mark.parametrize("kind", ["execution_resumed", "execution_resurrected"])
def test_who_goes_on_after_a_rest_is_not_stalled(kind):
    watch = fold(Watch(), [told(1, "node_completed", at=NOW, success=True)])
    watch = fold(watch, [told(2, kind, at=NOW + 7200, node_id=None)])
    assert diagnose(watch, NOW + 7300) is None
    assert watch.node_id == "plan"


def test_events_of_other_types_change_nothing():
    assert fold(Watch(), [told(1, "edge_traversed")]) == Watch()


def test_long_texts_are_cut_and_verdicts_bounded():
    watch = fold(Watch(), verdicts(*["RETRY"] * 100, feedback="x" * 10_000))
    assert (len(watch.complaint), len(watch.verdicts), watch.since_accept) == (500, 40, 100)


# --- thresholds -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "watch", "expected"),
    [
        (Thresholds(non_accepts=3), {"since_accept": 3}, (Pattern.RETRIES, Severity.MEDIUM)),
        (Thresholds(non_accepts=0), {"since_accept": 99}, None),
        (Thresholds(doom_loop=13), {"since_accept": 13}, (Pattern.RETRIES, Severity.HIGH)),
        (
            Thresholds(same_error=2),
            {"since_accept": 2, "complaints": 2},
            (Pattern.DOOM_LOOP, Severity.HIGH),
        ),
        (Thresholds(same_error=0), {"since_accept": 11, "complaints": 11}, None),
        (Thresholds(cost_usd=1), {"cost_usd": 1.0}, (Pattern.RUNAWAY_COST, Severity.MEDIUM)),
        (Thresholds(cost_usd=1), {"cost_usd": 2.0}, (Pattern.RUNAWAY_COST, Severity.HIGH)),
        (Thresholds(cost_usd=0), {"cost_usd": 1e6}, None),
        (Thresholds(stall_seconds=0), {"last_step_at": NOW - 1e6}, None),
    ],
    ids=str,
)
def test_every_threshold_can_be_moved(limits, watch, expected):
    found = diagnose(seen(**watch), NOW, limits)
    assert (found and (found.pattern, found.severity)) == expected


def test_the_silence_that_a_pulse_shows_goes_before_the_time_since_a_step():
    watch = seen(last_step_at=NOW - 1e6)
    assert diagnose(watch, NOW, quiet_seconds=0.0) is None
    found = diagnose(seen(), NOW, quiet_seconds=300.0)
    assert found is not None
    assert found.pattern is Pattern.STALL


# --- what the world outside does ----------------------------------------------------------------


def test_a_try_of_a_call_is_no_attempt_of_the_node():
    tries = [told(n, "node_retry", error="busy", model="m") for n in range(1, 30)]
    assert fold(Watch(), tries).since_accept == 0


@pytest.mark.parametrize("failure", ["transient", "rate_limited", "quota", "auth"])
def test_an_attempt_that_an_outage_ended_does_not_count(failure):
    outage = [
        event
        for n in range(1, 61, 2)
        for event in (
            told(n, "llm_call_failed", failure=failure),
            told(n + 1, "node_retry", error="no answer"),
        )
    ]
    assert fold(Watch(), outage).since_accept == 0


def test_a_request_that_is_refused_counts():
    events = [told(1, "llm_call_failed", failure="bad_request"), told(2, "node_retry", error="no")]
    assert fold(Watch(), events).since_accept == 1


def test_who_waits_for_a_person_is_not_stalled_until_the_answer_came():
    asked = fold(Watch(), [told(1, "node_started"), told(2, "client_input_requested")])
    assert diagnose(asked, NOW + 86_400) is None
    answered = fold(asked, [told(3, "client_input_received", at=NOW + 86_400)])
    assert diagnose(answered, NOW + 86_400 + 239) is None
    assert diagnose(answered, NOW + 86_400 + 240) is not None


def test_a_node_that_gave_up_because_it_repeats_itself_is_in_a_loop():
    ended = told(1, "node_completed", success=False, exit_status="stalled", error="look: again")
    found = diagnose(replace(fold(Watch(), [ended]), checks=1), NOW)
    assert found is not None
    assert (found.pattern, found.severity) == (Pattern.DOOM_LOOP, Severity.HIGH)


def test_costs_are_added_up_and_told_once_also_after_an_accept():
    calls = [told(n, "llm_turn_complete", cost_usd=3.0) for n in range(1, 5)]
    watch = replace(fold(Watch(), [told(0, "node_started"), *calls]), checks=1)
    assert watch.cost_usd == 12.0
    found = diagnose(watch, NOW)
    assert found is not None
    watch = fold(reviewed(watch, found), [told(9, "judge_verdict", action="ACCEPT")])
    assert not is_news(watch, found)
