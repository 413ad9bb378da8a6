"""hive.yaml warns of what is valid and would do nothing, and names the key of an alert that is not."""

import pytest

from tests.fakes.config_place import Place


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.mark.parametrize(
    ("scope", "remedy"),
    [
        ("agent:mial", "did you mean mail?"),
        ("agent:zzz", "no agent of this file is called so"),
        ("entry_point:mial/daily", "did you mean mail?"),
    ],
)
def test_a_budget_of_an_agent_that_is_not_there_is_warned_of(place, scope, remedy):
    text = f"agents: [/a/mail]\nbudgets:\n  - {{scope: '{scope}', usd: 1, per: 1d}}\n"
    [warning] = place.load(text).warnings
    assert warning == f'budgets[0].scope: "{scope}" limits nothing: {remedy} (line 3)'


@pytest.mark.parametrize("scope", ["agent:mail", "entry_point:mail/daily", "entry_point:daily"])
def test_a_budget_of_an_agent_that_is_there_or_of_any_is_not(place, scope):
    text = f"agents: [/a/mail]\nbudgets:\n  - {{scope: '{scope}', usd: 1, per: 1d}}\n"
    assert place.load(text).warnings == ()


def test_an_alert_whose_program_is_not_there_or_cannot_be_run_is_warned_of(place):
    program = place.cwd / "page"
    text = f"alerts:\n  - command: [{program}, now]\n"
    told = (
        f'alerts[0].command: "{program}" cannot be run, so nobody would be told; '
        "correct the path, or make it executable (line 2)"
    )
    assert place.load(text).warnings == (told,)
    program.write_text("#!/bin/sh\n")
    assert place.load(text).warnings == (told,)
    program.chmod(0o755)
    assert place.load(text).warnings == ()


def test_a_program_without_a_folder_is_looked_for_on_the_path(place):
    program = place.cwd / "page"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    text = "alerts:\n  - command: [page]\n"
    assert place.load(text, PATH=str(place.cwd)).warnings == ()
    assert len(place.load(text, PATH=str(place.home)).warnings) == 1


def test_a_secret_of_an_alert_that_is_no_base64_is_named(place):
    text = "alerts:\n  - webhook: {url: 'http://x', secret: '!!'}\n"
    assert place.problem(text).startswith("alerts[0].webhook.secret: ")


def test_a_duration_without_a_unit_is_asked_for_one(place):
    problem = place.problem("alerts:\n  - {to: log, cooldown: 5}\n")
    assert problem == "alerts[0].cooldown: 5 has no unit, write for example 5s or 5m (line 2)"
