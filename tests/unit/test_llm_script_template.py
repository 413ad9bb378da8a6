"""The placeholders of scripts."""

import pytest

from hive_daemon.llm.script_template import TemplateFault, check, fill, fill_text

VALUES = {
    "severity": "high",
    "counts": {"error": 3, "by_host": {"web-1": 2}},
    "lines": ["one", "two"],
    "findings": [{"service": "db", "n": 1}, {"service": "web", "n": 2}],
    "ok": True,
    "nothing": None,
    "$visit": 2,
}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("no placeholder, {not} one", "no placeholder, {not} one"),
        ("{{ severity }}", "high"),
        ("{{severity}}!", "high!"),
        ("{{ counts.error }} errors", "3 errors"),
        ("{{ counts.by_host.web-1 }}", "2"),
        ("{{ lines.1 }}", "two"),
        ("all: {{ lines }}", "all: one, two"),
        ("{{ lines | join '\n- ' }}", "one\n- two"),
        ('{{ findings.service | join "/" }}', "db/web"),
        ("{{ findings | count }} findings", "2 findings"),
        ("{{ counts | json }}", '{"by_host": {"web-1": 2}, "error": 3}'),
        ("{{ counts }}", '{"by_host": {"web-1": 2}, "error": 3}'),
        ("{{ missing | default 'none' }}", "none"),
        ("{{ counts.missing | default '' }}", ""),
        ("{{ nothing | default 'none' }}", "none"),
        ("[{{ nothing }}]", "[]"),
        ("{{ ok }}", "true"),
        ("visit {{ $visit }}", "visit 2"),
        ("{{ severity }}{{ severity }}", "highhigh"),
    ],
)
def test_a_text_is_filled(text, filled):
    assert fill_text(text, VALUES) == filled


def test_a_value_that_is_one_placeholder_keeps_its_type():
    template = {"n": "{{ counts.error }}", "all": ["{{ findings }}", " {{ ok }} ", 7]}
    assert fill(template, VALUES) == {"n": 3, "all": [VALUES["findings"], True, 7]}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{{ missing }}", "no 'missing' among: severity"),
        ("{{ counts.warning }}", "no 'warning' among: error, by_host"),
        ("{{ lines.5 }}", "the list has 2 items"),
        ("{{ severity.upper }}", "'upper' asked of str"),
        ("{{ findings.host }}", "no 'host' among: service, n"),
    ],
)
def test_a_path_that_leads_nowhere_says_where_it_ended(text, says):
    with pytest.raises(TemplateFault, match=says):
        fill_text(text, VALUES)


@pytest.mark.parametrize(
    "text",
    [
        "{{ }}",
        "{{ severity.upper() }}",
        "{{ 1 + 1 }}",
        "{{ severity | upper }}",
        "{{ severity | join }}",
        "{{ a b }}",
        "{{ severity | count 'x' }}",
    ],
)
def test_a_placeholder_of_another_form_is_refused_when_the_script_is_read(text):
    with pytest.raises(TemplateFault):
        check({"deep": [text]})


def test_filled_text_is_not_filled_again():
    assert fill_text("{{ a }}", {"a": "{{ b }}", "b": "no"}) == "{{ b }}"
