"""Laws of the watch over executions."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from hive_daemon.monitoring.health import WATCHED, Watch, diagnose, fold, reviewed
from hive_daemon.storage.values import StoredEvent

NOW = 1_772_442_000.0

data = st.fixed_dictionaries(
    {},
    optional={
        "action": st.sampled_from(["ACCEPT", "RETRY", "ESCALATE", "?"]),
        "feedback": st.sampled_from(["", "missing", "wrong"]),
        "error": st.sampled_from([None, "", "broken"]),
        "success": st.booleans(),
        "is_error": st.booleans(),
        "tool_error": st.sampled_from([None, "not found"]),
        "node_type": st.sampled_from(["function", "event_loop"]),
    },
)
told = st.tuples(st.sampled_from([*WATCHED, "edge_traversed", "output_key_set"]), data)


def events(script):
    return [
        StoredEvent(
            seq,
            seq,
            kind,
            NOW + seq,
            "a",
            "g",
            "s",
            "n",
            "x",
            "x",
            "",
            (),
            json.dumps(said).encode(),
        )
        for seq, (kind, said) in enumerate(script, 1)
    ]


@settings(max_examples=100)
@given(st.lists(told, max_size=40), st.lists(st.integers(0, 40), max_size=4))
def test_folding_in_portions_gives_what_folding_at_once_gives(script, cuts):
    whole = events(script)
    watch = Watch()
    for cut in (*sorted(cuts), len(whole)):
        # A portion may hold again what was folded before.
        watch = fold(watch, whole[:cut])
    assert watch == fold(Watch(), whole)


@settings(max_examples=100)
@given(st.lists(told, max_size=40), st.integers(0, 3))
def test_a_watch_survives_being_kept_as_json(script, looks):
    watch = fold(Watch(), events(script))
    for _ in range(looks):
        watch = reviewed(watch, diagnose(watch, NOW + 1000))
    assert Watch.decode(json.loads(json.dumps(watch.encode()))) == watch


@settings(max_examples=100)
@given(st.lists(told, max_size=60))
def test_escalation_is_conservative(script):
    watch = fold(Watch(checks=1), events(script))
    found = diagnose(watch, watch.last_step_at + 239)
    if found is None:
        assert watch.since_accept < 12
    else:
        assert watch.since_accept >= 10 or watch.is_stuck or watch.cost_usd >= 10
