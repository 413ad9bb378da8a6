"""How far the goal is reached: counted from what nodes came to and what judges said."""

import pytest

from hive_daemon.graph.goal import Constraint, Goal, SuccessCriterion
from hive_daemon.runtime.event_bus import EventBus
from hive_daemon.runtime.events import AgentEvent, EventType
from hive_daemon.runtime.outcome_aggregator import MAX_VIOLATIONS, OutcomeAggregator


def goal(*criteria, constraints=()):
    return Goal(id="g", name="G", success_criteria=list(criteria), constraints=list(constraints))


def criterion(name="c", **fields):
    return SuccessCriterion(id=name, description=f"about {name}", **fields)


def node(success=True, stream="s"):
    return AgentEvent(EventType.NODE_COMPLETED, stream, data={"success": success})


def verdict(action):
    return AgentEvent(EventType.JUDGE_VERDICT, "s", data={"action": action})


async def progress(aggregator, *events):
    for event in events:
        aggregator.take(event)
    return await aggregator.evaluate_goal_progress()


async def test_before_anything_happened_nothing_is_reached():
    report = await progress(OutcomeAggregator(goal(criterion(target=0.8))))
    assert report["overall_progress"] == 0.0
    assert report["criteria_status"]["c"] == {
        "description": "about c",
        "met": False,
        "progress": 0.0,
        "evidence": [],
    }
    assert report["recommendation"] == "continue"


async def test_nodes_and_verdicts_count_together():
    events = [node(), node(), node(False), verdict("ACCEPT"), verdict("ESCALATE"), verdict("RETRY")]
    report = await progress(OutcomeAggregator(goal(criterion(target=1.0))), *events)
    assert report["metrics"] == {
        "total_decisions": 3,
        "successful_outcomes": 2,
        "failed_outcomes": 1,
        "success_rate": 0.6,
        "streams_active": 1,
        "executions_total": 0,
        "verdicts": {"ACCEPT": 1, "ESCALATE": 1, "RETRY": 1},
    }
    assert report["overall_progress"] == 0.6


@pytest.mark.parametrize(
    ("target", "is_met"),
    [(0.75, True), ("75%", True), (">= 75 %", True), (80, False), ("90%", False), ("good", False)],
)
async def test_a_target_is_a_share_or_a_percentage_80_without_one(target, is_met):
    events = [node(), node(), node(), node(False)]
    report = await progress(OutcomeAggregator(goal(criterion(target=target))), *events)
    assert report["criteria_status"]["c"]["met"] is is_met
    assert (report["recommendation"] == "complete") is is_met


async def test_criteria_count_by_their_weight():
    criteria = [
        criterion("rate", target=0.5, weight=0.75),
        criterion("human", type="human", weight=0.25),
    ]
    report = await progress(OutcomeAggregator(goal(*criteria)), node())
    assert report["overall_progress"] == 0.75
    assert report["criteria_status"]["human"]["evidence"] == ["human: judged by the goal itself"]


async def test_what_the_goal_says_itself_is_believed():
    report = await progress(OutcomeAggregator(goal(criterion(type="human", met=True))))
    assert report["recommendation"] == "complete"


async def test_without_criteria_progress_is_the_success_rate():
    report = await progress(OutcomeAggregator(goal()), node(), node(False))
    assert (report["overall_progress"], report["recommendation"]) == (0.5, "continue")


async def test_after_ten_tries_with_little_success_something_should_change():
    aggregator = OutcomeAggregator(goal(criterion(target=1.0)))
    report = await progress(aggregator, *[node(False)] * 9)
    assert report["recommendation"] == "continue"
    assert (await progress(aggregator, node(False)))["recommendation"] == "adjust"


@pytest.mark.parametrize(("kind", "expected"), [("hard", "adjust"), ("soft", "complete")])
async def test_a_broken_hard_constraint_asks_for_a_change(kind, expected):
    rules = [Constraint(id="no-harm", description="do no harm", constraint_type=kind)]
    aggregator = OutcomeAggregator(goal(criterion(target=0.5), constraints=rules))
    broken = {"constraint_id": "no-harm", "description": "harm was done"}
    event = AgentEvent(EventType.CONSTRAINT_VIOLATION, "s", execution_id="x", data=broken)
    report = await progress(aggregator, node(), event)
    assert report["recommendation"] == expected
    [violation] = report["constraint_violations"]
    assert violation.items() >= {**broken, "stream_id": "s", "execution_id": "x"}.items()


async def test_a_programs_own_decisions_count_too():
    aggregator = OutcomeAggregator(goal())
    aggregator.record_decision("s", "x", object())
    aggregator.record_decision("s", "x", object())
    aggregator.record_outcome("s", "x", "d", True)
    report = await progress(aggregator)
    assert report["metrics"]["total_decisions"] == 2
    assert report["metrics"]["successful_outcomes"] == 1


async def test_executions_and_streams_are_counted():
    ends = [
        AgentEvent(EventType.EXECUTION_COMPLETED, "a"),
        AgentEvent(EventType.EXECUTION_FAILED, "b"),
        AgentEvent(EventType.EXECUTION_CANCELLED, "b"),
        AgentEvent(EventType.EXECUTION_PAUSED, "b"),
    ]
    aggregator = OutcomeAggregator(goal())
    report = await progress(aggregator, *ends, node(stream="a"), node(stream="b"))
    assert report["metrics"]["executions_total"] == 3
    assert report["metrics"]["streams_active"] == 2
    assert aggregator.get_stats().items() >= report["metrics"].items()


async def test_the_bus_is_told_of_progress_each_time_and_of_success_once():
    bus, told = EventBus(), []
    bus.subscribe([], told.append)
    aggregator = OutcomeAggregator(goal(criterion(target=0.5)), bus, graph_id="primary")
    await progress(aggregator)
    await progress(aggregator, node())
    await progress(aggregator, node())
    assert [event.type for event in told] == [
        EventType.GOAL_PROGRESS,
        EventType.GOAL_PROGRESS,
        EventType.GOAL_ACHIEVED,
        EventType.GOAL_PROGRESS,
    ]
    assert {event.graph_id for event in told} == {"primary"}
    assert set(told[0].data) == {"progress", "criteria_status"}


async def test_the_bus_is_told_of_a_violation_that_a_program_found():
    bus, told = EventBus(), []
    bus.subscribe([EventType.CONSTRAINT_VIOLATION], told.append)
    aggregator = OutcomeAggregator(goal(), bus, graph_id="primary")
    aggregator.record_constraint_violation("c", "broken", "badly", "s", "x")
    await bus.drain()
    [event] = told
    assert (event.stream_id, event.execution_id, event.graph_id) == ("s", "x", "primary")
    assert event.data == {"constraint_id": "c", "description": "broken"}


async def test_violations_are_bounded():
    aggregator = OutcomeAggregator(goal())
    for n in range(MAX_VIOLATIONS + 5):
        aggregator.record_constraint_violation(f"c{n}", "broken")
    assert aggregator.get_stats()["constraint_violations"] == MAX_VIOLATIONS
