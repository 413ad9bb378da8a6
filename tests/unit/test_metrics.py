"""What the daemon counts: bounded labels, the table, and the page that documents it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hive_daemon.observability.metric_table import METRICS, Kind
from hive_daemon.observability.metrics import MOST_VALUES, OTHER, MetricsBook, Reading

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
ROW = re.compile(r"^\| `(hive_\w+)` \| (\w+) \| (.*?) \| (.*?) \|$", re.MULTILINE)


def test_the_page_lists_every_metric_as_it_is() -> None:
    listed = {name: (kind, labels, meaning) for name, kind, labels, meaning in ROW.findall(PAGE)}
    assert listed == {
        metric.name: (
            str(metric.kind),
            ", ".join(f"`{label}`" for label in metric.labels) or "–",
            metric.meaning,
        )
        for metric in METRICS
    }


def test_names_say_what_kind_a_metric_is() -> None:
    for metric in METRICS:
        assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER), metric.name
        assert metric.kind is not Kind.HISTOGRAM or metric.name.endswith("_seconds"), metric.name


def test_ten_thousand_values_of_a_label_make_two_hundred_series() -> None:
    book = MetricsBook()
    for number in range(10_000):
        book.count("hive_tool_calls_total", "agent", f"tool-{number}", "ok")
    lines = [
        line for line in book.text([]).decode().splitlines() if line.startswith("hive_tool_calls")
    ]
    assert len(lines) == MOST_VALUES + 1
    (rest,) = [line for line in lines if f'tool="{OTHER}"' in line]
    assert float(rest.split()[-1]) == 10_000 - MOST_VALUES


def test_readings_beyond_the_bounds_are_added_up() -> None:
    readings = [Reading("hive_queue_depth", 1, ("a", f"e{n}")) for n in range(300)]
    lines = [
        line
        for line in MetricsBook().text(readings).decode().splitlines()
        if line.startswith("hive_queue_depth{")
    ]
    assert len(lines) == MOST_VALUES + 1
    assert 'hive_queue_depth{agent="a",entry_point="other"} 100.0' in lines


def test_what_the_table_has_not_cannot_be_counted() -> None:
    with pytest.raises(KeyError):
        MetricsBook().count("hive_prompts_total", "tell me a secret")


def test_a_label_cannot_break_out_of_its_line() -> None:
    book = MetricsBook()
    book.count("hive_tool_calls_total", 'a"} 1\nhive_ready 1', "t", "ok")
    assert "\nhive_ready 1" not in book.text([]).decode()
