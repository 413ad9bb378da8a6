"""Budgets as they are written, and what timers will make of them."""

import re
from datetime import date
from pathlib import Path

import pytest
import yaml

from hive_daemon.budgets.outlook import Cost, Prospect, percentile, runs_out
from hive_daemon.budgets.rules import Limits, OnExceed, Per, Rule, Scope
from hive_daemon.budgets.written import BudgetKeys, Place, budget_problems, read_rules
from hive_daemon.config.model import HiveConfig
from hive_daemon.errors import ConfigError
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.runtime_config import AgentRuntimeConfig

MAIL, DAILY = Place("mail"), Place("mail", "daily")


def test_a_budget_is_read_with_its_defaults():
    assert read_rules([{"scope": "global", "usd": 5, "per": "1d"}]) == (
        Rule(Scope.GLOBAL, Per.DAY, Limits(usd=5.0), warn_at=0.8, on_exceed=OnExceed.PAUSE),
    )


@pytest.mark.parametrize(
    ("place", "written", "target", "per"),
    [
        (MAIL, {"per": "1h"}, "agent:mail", Per.HOUR),
        (DAILY, {"per": "1h"}, "entry_point:mail/daily", Per.HOUR),
        (MAIL, {"scope": "execution"}, "execution", Per.EXECUTION),
        (DAILY, {"scope": "session"}, "session", Per.SESSION),
        (MAIL, {"scope": "entry_point:daily", "per": "1d"}, "entry_point:mail/daily", Per.DAY),
        (Place(), {"scope": "entry_point:daily", "per": "1d"}, "entry_point:daily", Per.DAY),
        (Place(), {"scope": "agent:mail", "per": "execution"}, "agent:mail", Per.EXECUTION),
    ],
)
def test_where_it_is_written_says_whom_it_limits(place, written, target, per):
    [rule] = read_rules([{"tokens": 1, **written}], place)
    assert (rule.target, rule.per) == (target, per)
    assert (rule.agent, rule.entry_point) == (place.agent, place.entry_point)


@pytest.mark.parametrize(
    ("place", "written", "words"),
    [
        (Place(), {"usd": 1}, "scope is missing"),
        (Place(), {"scope": "global", "usd": 1}, "per is missing"),
        (Place(), {"scope": "global", "per": "1d"}, "limits nothing"),
        (Place(), {"scope": "planet", "usd": 1, "per": "1d"}, "is no scope"),
        (Place(), {"scope": "global:x", "usd": 1, "per": "1d"}, "is no scope"),
        (Place(), {"scope": "agent", "usd": 1, "per": "1d"}, "needs a name"),
        (Place(), {"scope": "global", "usd": -1, "per": "1d"}, "usd"),
        (Place(), {"scope": "global", "usd": "5", "per": "1d"}, "usd"),
        (Place(), {"scope": "global", "usd": 1, "per": "2d"}, "per"),
        (Place(), {"scope": "global", "usd": 1, "per": "1d", "on_exceed": "cry"}, "on_exceed"),
        (Place(), {"scope": "global", "usd": 1, "per": "1d", "warn_at": 2}, "warn_at"),
        (Place(), {"scope": "global", "dollars": 1, "per": "1d"}, "dollars"),
        (MAIL, {"scope": "global", "usd": 1, "per": "1d"}, "at the top"),
        (MAIL, {"scope": "agent:news", "usd": 1, "per": "1d"}, "another place"),
        (MAIL, {"scope": "entry_point:news/x", "usd": 1, "per": "1d"}, "another agent"),
        (DAILY, {"scope": "entry_point:other", "usd": 1, "per": "1d"}, "another entry point"),
        (DAILY, {"scope": "agent:mail", "usd": 1, "per": "1d"}, "another place"),
    ],
)
def test_a_fault_is_told_with_its_place(place, written, words):
    with pytest.raises(ConfigError) as told:
        read_rules([written], place)
    assert words in str(told.value)
    assert "budgets[0]" in str(told.value)


def test_every_fault_is_told_at_once():
    assert len(budget_problems([{"usd": -1, "per": "2d"}, {"usd": "x"}])) == 3
    assert budget_problems("usd: 5") == ["budgets: must be a list of budgets"]


def test_an_entry_point_tells_what_is_wrong_with_its_budgets():
    [problem] = EntryPointSpec(id="a", budgets=[{"per": "1d"}]).problems()
    assert "budgets[0]: limits nothing" in problem


def test_a_runtime_refuses_faulty_budgets():
    with pytest.raises(ConfigError, match="budgets") as told:
        AgentRuntimeConfig(budgets=[{"per": "1d"}], unpriced="maybe")
    assert len(told.value.problems) == 2


PAGE = (Path(__file__).parents[2] / "docs" / "budgets.md").read_text()


def test_the_sample_of_the_documentation_is_valid(tmp_path):
    [sample] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    tree = yaml.safe_load(sample)
    config = HiveConfig(state_dir=tmp_path, socket=tmp_path / "s", **tree)
    assert [len(config.budgets), len(config.agents[0].budgets or ())] == [2, 2]


def test_the_documentation_has_every_key_and_every_action():
    rows = re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE)
    named = {word for row in rows for word in re.findall(r"`(\w+)`", row)}
    assert named == {*BudgetKeys.model_fields, *OnExceed} | {"on_exceed"}


def test_two_budgets_have_two_names():
    written = [{"usd": 1, "per": "1d"}, {"usd": 1, "per": "1h"}, {"scope": "execution", "usd": 1}]
    assert [rule.id for rule in read_rules(written, MAIL)] == [
        "agent:mail 1d usd",
        "agent:mail 1h usd",
        "execution of mail execution usd",
    ]


# --- what timers will spend -------------------------------------------------------------------


def days(*counts):
    return {date(2026, 3, n + 1): count for n, count in enumerate(counts)}


def prospect(fires, usual=1.0, high=2.0):
    subjects = frozenset({"global", "agent:mail"})
    return Prospect("mail/daily", subjects, fires, 5, Cost(usual), Cost(high))


def rule(per, usd):
    return Rule(Scope.AGENT, per, Limits(usd=usd), "mail")


def test_a_budget_for_a_month_adds_the_days_up():
    made = prospect(days(3, 3, 3, 3))
    assert runs_out(rule(Per.MONTH, 10), "agent:mail", 2.0, [made]) == date(2026, 3, 3)
    assert runs_out(rule(Per.MONTH, 10), "agent:mail", 2.0, [made], high=True) == date(2026, 3, 2)
    assert runs_out(rule(Per.MONTH, 15), "agent:mail", 2.0, [made]) is None


def test_a_budget_for_a_day_begins_anew_each_day():
    made = prospect(days(1, 1, 4, 1))
    assert runs_out(rule(Per.DAY, 4), "agent:mail", 2.0, [made]) == date(2026, 3, 3)
    assert runs_out(rule(Per.DAY, 3), "agent:mail", 2.0, [made]) == date(2026, 3, 1)


def test_what_others_spend_does_not_count():
    made = prospect(days(100))
    assert runs_out(rule(Per.DAY, 4), "agent:news", 0.0, [made]) is None


def test_a_percentile_is_one_of_the_values():
    assert percentile([], 0.5) is None
    assert percentile([5.0], 0.95) == 5.0
    assert percentile([float(n) for n in range(1, 101)], 0.95) == 95.0
