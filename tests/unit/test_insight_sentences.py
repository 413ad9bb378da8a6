"""What `hive why` says of single events, and what `hive ps --filter` refuses."""

import pytest

from hive_daemon.errors import InvalidInput
from hive_daemon.insight.happenings import TELLING, sentence
from hive_daemon.insight.listing import Match
from hive_daemon.status import ExecutionStatus
from tests.unit.test_spans import told


def said(kind, data, node="ask"):
    [event] = told((0, kind, data), node=node)
    return sentence(event, data)


@pytest.mark.parametrize(
    ("measure", "used", "limit", "figures"),
    [
        ("usd", 0.0015975000000000002, 0.0001, "$0.0015975 of $0.0001"),
        ("usd", 20, 20.0, "$20 of $20"),
        ("tool_calls", 5, 5, "5 tool calls of 5 tool calls"),
    ],
)
def test_figures_of_a_budget_are_written_for_people(measure, used, limit, figures):
    data = {"budget": "b", "subject": "global", "measure": measure, "used": used, "limit": limit}
    told_of = said("budget_exceeded", {**data, "on_exceed": "pause"})
    assert told_of == f"the budget b ({figures} of global) is spent (pause)"


def test_a_call_for_help_is_part_of_the_chain():
    assert "escalation_requested" in TELLING
    data = {"reason": "no file", "context": "cause other"}
    assert said("escalation_requested", data) == "it asked for help at node ask: no file"


def test_a_status_that_does_not_exist_is_refused_and_those_that_do_are_named():
    with pytest.raises(InvalidInput, match='there is no status "runing"') as caught:
        Match.read("status=runing")
    assert "running, paused" in caught.value.hint
    with pytest.raises(InvalidInput):
        Match.read("status=x*")


@pytest.mark.parametrize("value", [*ExecutionStatus, "waiting*", "*"])
def test_any_status_and_the_beginning_of_one_is_a_filter(value):
    assert Match.read(f"status={value}").value == value
