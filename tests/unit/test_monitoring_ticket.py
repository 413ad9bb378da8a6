"""Escalation tickets, and what the package offers."""

import json
from datetime import UTC, datetime
from uuid import UUID

import pytest
from pydantic import ValidationError

import hive_daemon.monitoring
from hive_daemon.framework_alias import installed
from hive_daemon.graph.validation import errors_of
from hive_daemon.monitoring import (
    HEALTH_JUDGE_ENTRY_POINT,
    EscalationTicket,
    Severity,
    judge_goal,
    judge_graph,
    model_judge_graph,
)
from hive_daemon.runtime.graph_host import trigger_problems

NEEDED = {
    "worker_agent_id": "a",
    "worker_session_id": "session_20260302_090000_0000abcd",
    "worker_node_id": "plan",
    "worker_graph_id": "primary",
    "severity": "high",
    "cause": "it repeats itself",
    "judge_reasoning": "ten times the same",
    "suggested_action": "cancel it",
}


def test_a_ticket_has_an_id_and_a_time_of_its_own():
    ticket, other = EscalationTicket(**NEEDED), EscalationTicket(**NEEDED)
    assert UUID(ticket.ticket_id) != UUID(other.ticket_id)
    assert datetime.fromisoformat(ticket.created_at).tzinfo == UTC


def test_a_ticket_becomes_json_with_everything_in_it():
    shown = json.loads(json.dumps(EscalationTicket(**NEEDED).model_dump()))
    assert shown.items() >= NEEDED.items()
    assert shown["recent_verdicts"] == []
    assert shown["stall_minutes"] is None


@pytest.mark.parametrize("missing", NEEDED)
def test_an_incomplete_ticket_is_refused(missing):
    with pytest.raises(ValidationError, match=missing):
        EscalationTicket(**{k: v for k, v in NEEDED.items() if k != missing})


@pytest.mark.parametrize(
    "wrong", [{"severity": "terrible"}, {"cause": ""}, {"more": 1}, {"total_steps_checked": -1}]
)
def test_a_wrong_ticket_is_refused(wrong):
    with pytest.raises(ValidationError):
        EscalationTicket(**{**NEEDED, **wrong})


def test_severities_have_an_order():
    assert sorted(Severity, key=lambda severity: severity.rank) == [
        Severity.LOW,
        Severity.MEDIUM,
        Severity.HIGH,
        Severity.CRITICAL,
    ]


@pytest.mark.parametrize("graph", [judge_graph, model_judge_graph], ids=["plain", "model"])
def test_the_judges_are_valid_graphs_for_one_goal_and_entry_point(graph):
    assert errors_of(graph, ()) == []
    assert graph.goal_id == judge_goal.id == "worker-health-monitor"
    assert graph.get_node(HEALTH_JUDGE_ENTRY_POINT.entry_node) is not None


def test_the_judge_looks_every_two_minutes_and_at_once_whatever_the_agent_does():
    spec = HEALTH_JUDGE_ENTRY_POINT
    assert spec.problems() == trigger_problems(spec) == []
    assert (spec.id, spec.isolation_level, spec.session) == ("health_check", "isolated", "reuse")
    config = {"interval_minutes": 2, "run_immediately": True, "idle_timeout_seconds": 0}
    assert spec.trigger_config.items() >= config.items()


def test_the_judges_constraints_are_hard():
    assert [rule.is_hard for rule in judge_goal.constraints] == [True, True]


def test_the_names_are_found_through_the_alias_too():
    names = [name for name in dir(hive_daemon.monitoring) if not name.startswith("_")]
    assert {"judge_graph", "judge_goal", "judge_node", "HEALTH_JUDGE_ENTRY_POINT"} <= set(names)
    with installed():
        import framework.monitoring

        assert framework.monitoring is hive_daemon.monitoring
        assert framework.monitoring.judge_graph is judge_graph
        assert framework.monitoring.ticket.EscalationTicket is EscalationTicket


def test_a_name_that_is_not_there_is_refused():
    with pytest.raises(AttributeError, match="nobody"):
        hive_daemon.monitoring.nobody  # noqa: B018
