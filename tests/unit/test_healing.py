"""The ladder of self-healing: which rung is for which cause, in which order, how often."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hive_daemon.graph.healing import (
    HEALING_TRIES,
    MENDS,
    NO_LADDER,
    Cause,
    Ladder,
    Rung,
    cause_of,
    read_ladder,
)
from hive_daemon.runtime.entry_point import EntryPointSpec

WHOLE = ("retry_node", "restart_from_checkpoint", "fallback_model", "escalate")


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("node_failed", Cause.TRANSIENT),
        ("ConnectionError", Cause.TRANSIENT),
        ("stalled", Cause.STALL),
        ("doom_loop", Cause.LOOP),
        ("model_unavailable", Cause.PROVIDER),
        ("transient", Cause.PROVIDER),
        ("rate_limited", Cause.PROVIDER),
        ("model_rejected", Cause.REFUSED),
        ("auth", Cause.REFUSED),
        ("quota", Cause.REFUSED),
        ("budget_exceeded", Cause.BUDGET),
        ("ValueError", Cause.OTHER),
        (None, Cause.OTHER),
    ],
)
def test_the_code_of_a_failure_names_its_cause(code, cause):
    assert cause_of(code) is cause


@pytest.mark.parametrize(
    ("cause", "taken"),
    [
        (Cause.TRANSIENT, ["retry_node", "restart_from_checkpoint", "escalate", "escalate"]),
        (Cause.STALL, ["restart_from_checkpoint", "fallback_model", "escalate", "escalate"]),
        (Cause.LOOP, ["restart_from_checkpoint", "fallback_model", "escalate", "escalate"]),
        (Cause.PROVIDER, ["retry_node", "fallback_model", "escalate", "escalate"]),
        (Cause.REFUSED, ["fallback_model", "escalate", "escalate", "escalate"]),
        (Cause.BUDGET, [None] * 4),
        (Cause.OTHER, ["escalate"] * 4),
    ],
)
def test_each_further_failure_takes_a_further_rung_that_can_mend_it(cause, taken):
    ladder = read_ladder(WHOLE, 0)
    found = [ladder.rung_for(cause, tries, has_fallback=True) for tries in range(4)]
    assert found == taken


def test_a_fallback_is_passed_over_where_there_is_no_other_model():
    ladder = read_ladder(("fallback_model", "escalate"), 0)
    assert ladder.rung_for(Cause.PROVIDER, 0, has_fallback=False) is Rung.ESCALATE


@given(
    st.lists(st.sampled_from(list(Rung)), unique=True),
    st.integers(0, 5),
    st.sampled_from(list(Cause)),
    st.integers(0, 10),
    st.booleans(),
)
def test_nothing_is_tried_beyond_the_cap_nor_for_a_cause_that_it_cannot_mend(
    rungs, most, cause, tries, has_fallback
):
    rung = Ladder(tuple(rungs), most).rung_for(cause, tries, has_fallback=has_fallback)
    if rung is None:
        return
    assert rung in rungs
    assert cause in MENDS[rung]
    assert rung is Rung.ESCALATE or tries < most


def test_the_older_key_alone_is_a_ladder_of_one_rung():
    assert read_ladder((), 2) == Ladder((Rung.RETRY_NODE,), 2)
    assert read_ladder((), 0) == NO_LADDER
    assert read_ladder(WHOLE, 0).most == HEALING_TRIES
    assert read_ladder(WHOLE, 7).most == 7


@pytest.mark.parametrize(
    ("heal", "sentence"),
    [
        (["retry"], "'retry' is unknown, use some of retry_node"),
        (["retry_node", "retry_node"], "names a rung twice"),
        (["escalate", "retry_node"], "must be the last"),
        ("retry_node", "must be a list"),
    ],
)
def test_a_ladder_that_makes_no_sense_is_a_problem_of_its_entry_point(heal, sentence):
    [problem] = EntryPointSpec(id="e", heal=heal).problems()
    assert problem.startswith("entry point 'e': heal: ")
    assert sentence in problem
