"""Choosing events: any value within one field, all across them, as a naive reading of each filter says."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hive_cli.commands.events import FILTERS, chosen
from hive_cli.failures import Failure
from hive_daemon.control.places import Lane
from hive_daemon.control.selection import EventField, Selection
from hive_daemon.storage.values import StoredEvent

FEW = {
    "type": ("node_started", "node_completed", "execution_failed"),
    "agent": ("ops", "desk"),
    "graph_id": ("g1", "g2", "s1"),
    "stream_id": ("s1", "s2"),
    "node_id": ("n1", "n2"),
    "session_id": ("x1", "x2"),
    "execution_id": ("x1", "x2"),
    "correlation_id": ("c1", "c2"),
}

events = st.builds(
    StoredEvent,
    seq=st.just(1),
    execution_seq=st.just(1),
    timestamp=st.just(0.0),
    causation=st.just(()),
    data=st.just(b"{}"),
    **{name: st.sampled_from(few) for name, few in FEW.items()},
)
filters = st.lists(
    st.sampled_from([(name, value) for name, few in FEW.items() for value in few]), max_size=6
)
lanes = st.frozensets(
    st.builds(Lane, st.sampled_from(FEW["agent"]), st.sampled_from(FEW["stream_id"])), max_size=2
)


def naive(event, wanted, addresses):
    """Read filters one by one, as a person would."""
    for name in {name for name, _ in wanted}:
        accepted = [value for key, value in wanted if key == name]
        have = [getattr(event, name)] + ([event.graph_id] if name == "stream_id" else [])
        if not any(value in accepted for value in have):
            return False
    here = Lane(event.agent, event.stream_id)
    return not addresses or here in addresses


def selection_of(wanted, addresses):
    """Make the selection that a request with these parameters asks for."""
    grouped = {name: frozenset(v for key, v in wanted if key == name) for name, _ in wanted}
    among = tuple((name, grouped[name]) for name in EventField if name in grouped)
    return Selection(types=grouped.get("type", frozenset()), lanes=addresses, among=among)


def passes_store(filter, event):
    """What the store does with a filter."""
    return (
        filter.agent in (None, event.agent)
        and filter.session_id in (None, event.session_id)
        and filter.execution_id in (None, event.execution_id)
        and filter.stream_id in (None, event.stream_id)
        and filter.node_id in (None, event.node_id)
        and (not filter.types or event.type in filter.types)
    )


@settings(max_examples=100, deadline=None)
@given(st.lists(events, min_size=1, max_size=20), filters, lanes)
def test_events_are_chosen_as_a_naive_reading_says(given_events, wanted, addresses):
    selection = selection_of(wanted, addresses)
    stored = selection.stored(0)
    for event in given_events:
        expected = naive(event, wanted, addresses)
        assert selection.matches(event) == expected
        # The store may find more, never less, and nothing more when it is trusted alone.
        assert passes_store(stored, event) or not expected
        if selection.is_exact:
            assert passes_store(stored, event) == expected


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(list(FILTERS)), st.text(min_size=1, max_size=5)), max_size=6)
)
def test_filters_of_the_command_line_are_parameters_of_the_route(wanted):
    found = chosen(f"{key}={value}" for key, value in wanted)
    assert found == {
        FILTERS[key]: [value for other, value in wanted if other == key] for key, _ in wanted
    }


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("typ=x", '--filter: events have no "typ"', "did you mean type?"),
        ("entrypoint=x", '--filter: events have no "entrypoint"', "did you mean entry_point?"),
        ("zzz=x", '--filter: events have no "zzz"', f"choose by {', '.join(FILTERS)}"),
        ("type", '--filter: "type" is not KEY=VALUE', "write it as type=execution_failed"),
        ("type=", '--filter: "type=" is not KEY=VALUE', "write it as type=execution_failed"),
    ],
)
def test_a_filter_that_nobody_has_is_refused(text, said, hint):
    with pytest.raises(Failure) as caught:
        chosen([text])
    assert (caught.value.message, caught.value.hint, caught.value.exit_code) == (said, hint, 2)
