"""hive.yaml is warned of budgets of entry points that are not there, as soon as the agents are read."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from hive_daemon.daemon.budget_names import aimless_budgets
from hive_daemon.daemon.check import check
from hive_daemon.runner.agent_loader import load_agent
from tests.agents.broken import GOOD, STEPS, timer, write
from tests.fakes.config_place import Place

FILES = {"agent.py": GOOD, "steps.py": STEPS, "triggers.json": timer(every="1h")}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    write(tmp_path / "mail", FILES)
    return Place(tmp_path)


def told(place: Place, folder: Path, scope: str, at: str = "") -> list[str]:
    """What is said of a budget at the top of hive.yaml, or at an agent."""
    budgets = f"budgets: [{{scope: '{scope}', usd: 1, per: 1d}}]"
    agent = f"agents:\n  - path: {folder}\n"
    text = f"{agent}    {budgets}\n" if at else f"{agent}{budgets}\n"
    with closing(load_agent(folder)) as loaded:
        return aimless_budgets(place.load(text), [loaded])


@pytest.mark.parametrize(
    ("scope", "remedy"),
    [
        ("entry_point:tt", "did you mean t?"),
        ("entry_point:zzz", "no entry point is called so"),
        ("entry_point:mail/tt", "did you mean mail/t?"),
    ],
)
def test_a_budget_of_an_entry_point_that_is_not_there_is_warned_of(
    place: Place, tmp_path: Path, scope: str, remedy: str
) -> None:
    expected = f'budgets[0].scope: "{scope}" limits nothing: {remedy} (line 3)'
    assert told(place, tmp_path / "mail", scope) == [expected]


def test_so_is_one_that_stands_at_its_agent(place: Place, tmp_path: Path) -> None:
    (sentence,) = told(place, tmp_path / "mail", "entry_point:tt", at="mail")
    assert sentence.startswith('agents[0].budgets[0].scope: "entry_point:tt" limits nothing: ')
    assert told(place, tmp_path / "mail", "entry_point:t", at="mail") == []


@pytest.mark.parametrize(
    "scope", ["entry_point:t", "entry_point:mail/t", "agent:mail", "entry_point:judge::t"]
)
def test_a_budget_of_what_is_there_or_may_be_is_not(
    place: Place, tmp_path: Path, scope: str
) -> None:
    assert told(place, tmp_path / "mail", scope) == []


def test_of_an_agent_that_cannot_be_read_nobody_knows(place: Place, tmp_path: Path) -> None:
    text = "agents: [/a/mail]\nbudgets:\n  - {scope: 'entry_point:zzz', usd: 1, per: 1d}\n"
    assert aimless_budgets(place.load(text), [None]) == []


def test_the_check_of_a_configuration_says_it(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (
        f"agents: [{tmp_path / 'mail'}]\nbudgets: [{{scope: 'entry_point:tt', usd: 1, per: 1d}}]\n"
    )
    assert check(place.load(text)) == 0
    assert 'warning: budgets[0].scope: "entry_point:tt" limits nothing' in capsys.readouterr().out
