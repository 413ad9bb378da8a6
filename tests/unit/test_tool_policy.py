"""The tool policy of an entry point."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hive_daemon.errors import ConfigError
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.tools.policy import (
    ALLOWED,
    NO_POLICY,
    Action,
    OnAsk,
    Ruling,
    ToolPolicy,
    on_ask_by,
    refusal,
)


def policy(*rules, **keys) -> ToolPolicy:
    return ToolPolicy.parse({"policy": list(rules), **keys})


def test_without_rules_every_call_runs():
    assert NO_POLICY.settle("send_mail", {"to": "all"}, "timer") == ALLOWED


def test_the_first_matching_rule_settles_a_call():
    rules = policy(
        {"tool": "send_mail", "action": "allow"},
        {"tool": "send_*", "action": "deny"},
    )
    assert rules.decide("send_mail", {}) == Ruling(Action.ALLOW, 0)
    assert rules.decide("send_letter", {}).action is Action.DENY
    assert rules.decide("read", {}) == ALLOWED


def test_a_rule_may_name_several_tools():
    rules = policy({"tool": ["a", "b*"], "action": "deny"})
    denied = [name for name in ("a", "ab", "b", "bc") if rules.decide(name, {}).rule == 0]
    assert denied == ["a", "b", "bc"]


def test_names_are_matched_with_their_case():
    assert policy({"tool": "send", "action": "deny"}).decide("Send", {}) == ALLOWED


def test_a_condition_looks_at_the_arguments():
    rules = policy({"tool": "pay", "when": "args.amount > 100", "action": "ask"})
    assert rules.decide("pay", {"amount": 100}) == ALLOWED
    assert rules.decide("pay", {"amount": 101}).action is Action.ASK


def test_a_condition_that_cannot_be_evaluated_asks_even_in_a_rule_that_allows():
    rules = policy({"tool": "pay", "when": "args.amount < 100", "action": "allow"})
    ruling = rules.decide("pay", {"amount": "lots"})
    assert ruling.action is Action.ASK
    assert ruling.told.startswith("rule 1 cannot be evaluated: ")


def test_an_argument_that_is_missing_asks():
    rules = policy({"tool": "pay", "when": "args.amount < 100", "action": "allow"})
    assert rules.decide("pay", {}).action is Action.ASK


def test_a_name_that_is_unknown_asks():
    assert policy({"tool": "*", "when": "nonsense", "action": "allow"}).decide("x", {}).rule == 0


@pytest.mark.parametrize("trigger", ["timer", "event", "webhook"])
def test_where_nobody_is_there_asking_is_denied_and_says_so(trigger):
    rules = policy({"tool": "pay", "action": "ask", "message": "money leaves the house"})
    ruling = rules.settle("pay", {}, trigger)
    assert ruling.action is Action.DENY
    assert refusal("pay", ruling) == (
        "pay was not called: it needs the approval of a person, and nobody is there to give it "
        "(money leaves the house). Go on without it, or say what is missing."
    )


@pytest.mark.parametrize("trigger", ["api", "manual"])
def test_where_somebody_called_asking_stays_asking(trigger):
    rules = policy({"tool": "pay", "action": "ask"})
    assert rules.settle("pay", {}, trigger) == Ruling(
        Action.ASK, 0, "rule 1 of the tool policy says ask"
    )


def test_what_is_declared_goes_before_the_trigger():
    ask = {"tool": "pay", "action": "ask"}
    assert policy(ask, on_ask="park").settle("pay", {}, "timer").action is Action.ASK
    assert policy(ask, on_ask="deny").settle("pay", {}, "api").action is Action.DENY


def test_everything_wrong_is_told_at_once():
    with pytest.raises(ConfigError) as caught:
        ToolPolicy.parse(
            {
                "rules": [],
                "on_ask": "shrug",
                "policy": [
                    "deny",
                    {"tool": [], "action": "allow"},
                    {"tool": ["a", 1], "action": "maybe", "unless": 1},
                    {"tool": "a", "action": "deny", "when": "1 +", "message": 3},
                ],
            },
            "pay.tools",
        )
    heads = [problem.split(" is ")[0].split(" must")[0] for problem in caught.value.problems]
    assert heads[:7] == [
        "pay.tools.rules: unknown key",
        "pay.tools.on_ask: 'shrug'",
        "pay.tools.policy[0]:",
        "pay.tools.policy[1].tool:",
        "pay.tools.policy[2].unless: unknown key",
        "pay.tools.policy[2].tool:",
        "pay.tools.policy[2].action: 'maybe'",
    ]
    assert heads[7:8] == ["pay.tools.policy[3].message:"]
    assert heads[8].startswith("pay.tools.policy[3].when: ")
    assert len(heads) == 9


def test_a_policy_that_is_no_list_is_refused():
    with pytest.raises(ConfigError, match=r"tools\.policy: must be a list of rules"):
        ToolPolicy.parse({"policy": {"tool": "x"}})


# --- laws ---------------------------------------------------------------------------------------

NAMES = st.sampled_from(["read", "send_mail", "send_letter", "pay", "a"])
GLOBS = st.sampled_from(["*", "send_*", "pay", "read", "?", "[ab]"])
CONDITIONS = st.sampled_from(
    [None, "true", "false", "args.amount > 10", "args.amount", "tool == 'pay'", "1 / 0", "missing"]
)
RULES = st.fixed_dictionaries(
    {"tool": GLOBS, "action": st.sampled_from(list(Action)), "when": CONDITIONS}
)
ARGUMENTS = st.dictionaries(
    st.sampled_from(["amount", "to"]), st.integers() | st.text() | st.none() | st.lists(st.none())
)
TRIGGERS = st.sampled_from(["manual", "api", "timer", "event", "webhook"])


@given(st.lists(RULES, max_size=5), NAMES, ARGUMENTS, TRIGGERS)
def test_a_call_runs_only_where_a_sound_rule_allows_it_or_none_matches(rules, name, args, trigger):
    found = policy(*rules)
    ruling = found.settle(name, args, trigger)
    if ruling.action is Action.ALLOW:
        assert ruling.rule is None or found.rules[ruling.rule].action is Action.ALLOW
    else:
        assert ruling.told


@given(st.lists(RULES, max_size=5), NAMES, ARGUMENTS, TRIGGERS)
def test_nobody_is_asked_where_nobody_is_there(rules, name, args, trigger):
    ruling = policy(*rules).settle(name, args, trigger)
    assert ruling.action is not Action.ASK or on_ask_by(trigger) is OnAsk.PARK


@given(st.lists(RULES, max_size=5), st.lists(RULES, max_size=3), NAMES, ARGUMENTS)
def test_rules_behind_the_one_that_settles_change_nothing(rules, more, name, args):
    ruling = policy(*rules).decide(name, args)
    if ruling.rule is not None:
        assert policy(*rules, *more).decide(name, args) == ruling


@given(st.lists(RULES, max_size=5), NAMES, ARGUMENTS)
def test_a_last_rule_for_everything_leaves_nothing_unsettled(rules, name, args):
    assert policy(*rules, {"tool": "*", "action": "deny"}).decide(name, args).rule is not None


@given(st.lists(RULES, max_size=5), NAMES, ARGUMENTS)
def test_deciding_again_decides_the_same(rules, name, args):
    assert policy(*rules).decide(name, args) == policy(*rules).decide(name, dict(args))


def test_an_entry_point_says_what_is_wrong_with_its_policy():
    declared = {"policy": [{"tool": "send", "action": "perhaps"}], "on_ask": "wait"}
    assert EntryPointSpec(id="pay", tools=declared).problems() == [
        "entry point 'pay': tools.on_ask: 'wait' is unknown, use park or deny",
        "entry point 'pay': tools.policy[0].action: 'perhaps' is unknown, use allow, deny or ask",
    ]
    assert EntryPointSpec(id="pay", tools=["send"]).problems() == [
        "entry point 'pay': tools: ['send'] must be a mapping with policy and on_ask"
    ]
