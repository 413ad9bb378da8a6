"""What may be written about an event entry point: everything that is read is honoured, everything else is refused."""

import pytest

from hive_daemon.errors import ConfigError
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.events import AgentEvent, EventFilter, EventType
from hive_daemon.runtime.graph_host import trigger_problems
from hive_daemon.runtime.routing import CancelScope
from hive_daemon.runtime.triggers.event_config import EventConfig

FAILED = {"event_types": ["execution_failed"]}


def refused(config):
    with pytest.raises(ConfigError) as caught:
        EventConfig.read(config)
    return list(caught.value.problems)


def test_a_whole_config_is_read():
    config = EventConfig.read(
        {
            "event_types": ["execution_failed", EventType.CUSTOM],
            "filter_stream": "api",
            "filter_node": None,
            "filter_graph": "g",
            "filter_execution": "",
            "exclude_own_graph": True,
            "where": "event.data.n > 3",
            "cancel_on": {"event_types": "execution_completed", "filter_node": "n", "of": "all"},
            "max_depth": 3,
        }
    )
    route = config.route("e", "a/e", "primary")
    assert route.pattern.wanted == EventFilter(
        frozenset({EventType.EXECUTION_FAILED, EventType.CUSTOM}), stream="api", graph="g"
    )
    assert (route.entry_point, route.lane, route.graph) == ("e", "a/e", "primary")
    assert (route.pattern.exclude_own_graph, route.max_depth) == (True, 3)
    assert route.pattern.where.text == "event.data.n > 3"
    assert route.cancel_on.of is CancelScope.ALL
    assert route.cancel_on.pattern.wanted == EventFilter(
        frozenset({EventType.EXECUTION_COMPLETED}), node="n"
    )


def test_what_is_left_out_means_any_event_once_in_a_chain_and_calls_nothing_back():
    route = EventConfig.read(FAILED).route("e", "a/e", "primary")
    assert (route.max_depth, route.cancel_on, route.pattern.where) == (1, None, None)
    assert route.matches(AgentEvent(EventType.EXECUTION_FAILED, "anywhere", graph_id="primary"))


@pytest.mark.parametrize("short", [["execution_failed"], "execution_failed"])
def test_event_types_alone_may_stand_for_what_calls_back(short):
    rule = EventConfig.read({**FAILED, "cancel_on": short}).cancel_on.rule
    assert rule.of is CancelScope.RELATED
    assert rule.pattern.wanted.types == {EventType.EXECUTION_FAILED}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "event_types: names no event, name at least one, for example execution_failed"),
        ({"event_types": []}, "event_types: names no event, name at least one, for example"),
        (
            {"event_types": ["execution_faild"]},
            "event_types: there is no event type 'execution_faild', did you mean execution_failed?",
        ),
        ({"event_types": [7]}, "event_types: there is no event type 7, docs/events.md lists them"),
        ({"event_types": 7}, "event_types: must be a list of event types, not 7"),
        ({"event_types": ["llm_text_delta"]}, "event_types: llm_text_delta never comes to an"),
        (
            {**FAILED, "filter_streem": "x"},
            "filter_streem: unknown key, did you mean filter_stream?",
        ),
        ({**FAILED, "zzz": 1}, "zzz: unknown key, known are event_types, filter_stream,"),
        ({**FAILED, "filter_node": 3}, "filter_node: must be a text, not 3"),
        ({**FAILED, "exclude_own_graph": "yes"}, "exclude_own_graph: must be true or false, not"),
        ({**FAILED, "max_depth": 0}, "max_depth: must be greater than or equal to 1, not 0"),
        ({**FAILED, "max_depth": 9}, "max_depth: must be less than or equal to 8, not 9"),
        ({**FAILED, "max_depth": True}, "max_depth: must be a whole number, not True"),
        ({**FAILED, "max_depth": "2"}, "max_depth: must be a whole number, not '2'"),
        ({**FAILED, "where": ""}, "where: must be an expression over event, not ''"),
        ({**FAILED, "where": True}, "where: must be an expression over event, not True"),
        ({**FAILED, "where": "event.data.n >"}, "where: "),
        (
            {**FAILED, "where": "amount > 3"},
            "where: 'amount' is not known here, write event.data.amount or event.amount",
        ),
        ({**FAILED, "cancel_on": {}}, "cancel_on.event_types: names no event"),
        ({**FAILED, "cancel_on": []}, "cancel_on.event_types: names no event"),
        (
            {**FAILED, "cancel_on": 3},
            "cancel_on: must be a list of event types, or a mapping with event_types, not 3",
        ),
        (
            {**FAILED, "cancel_on": {**FAILED, "off": "all"}},
            "cancel_on.off: unknown key, did you mean of?",
        ),
        (
            {**FAILED, "cancel_on": {**FAILED, "max_depth": 2}},
            "cancel_on.max_depth: unknown key, known are event_types,",
        ),
        (
            {**FAILED, "cancel_on": {**FAILED, "of": "mine"}},
            "cancel_on.of: must be 'related' or 'all', not 'mine'",
        ),
        (
            {**FAILED, "cancel_on": {**FAILED, "where": "x"}},
            "cancel_on.where: 'x' is not known here",
        ),
    ],
)
def test_a_mistake_is_told_with_its_field_its_value_and_a_way_out(config, said):
    (told,) = refused(config)
    assert told.startswith(said)


def test_every_mistake_is_told_at_once():
    assert len(refused({"event_types": ["x"], "where": "(", "max_depth": 0, "no": 1})) == 4


def test_mistakes_name_the_entry_point():
    spec = EntryPointSpec(id="e", trigger_type="event", trigger_config={**FAILED, "wher": "x"})
    assert trigger_problems(spec) == [
        "entry point 'e': trigger_config.wher: unknown key, did you mean where?"
    ]
