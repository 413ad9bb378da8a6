"""Laws of log lines: strict, single, bounded; and of repeated warnings: no count is lost."""

import logging
import re
from itertools import pairwise

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from hive_daemon.observability.log_format import LINE_LIMIT, HumanFormatter
from hive_daemon.observability.log_repeats import WINDOW_SECONDS, Repeats
from hive_daemon.observability.logging import HiveJsonFormatter
from hive_daemon.observability.strict_json import (
    SMALLEST_RECORD,
    ascii_json,
    fitted,
    json_shape,
    strict_json,
)

UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

any_text = st.text(st.characters(), max_size=40) | st.text(
    '\x00\x1b\n\u2028\ud800é😀"\\', max_size=40
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text | st.binary(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(any_text | st.integers() | st.floats(), inner, max_size=4)
        | st.tuples(inner, inner)
    ),
    max_leaves=15,
)


@settings(max_examples=100)
@given(value=anything)
def test_any_value_becomes_strict_json_on_one_safe_line(value):
    line = strict_json(json_shape(value))
    assert not UNSAFE.search(line)
    assert orjson.loads(ascii_json(line)) == orjson.loads(line)
    assert ascii_json(line).isascii()
    assert len(ascii_json(line)) <= 3 * len(line.encode())


@settings(max_examples=100)
@given(value=anything)
def test_shaping_twice_is_shaping_once(value):
    once = json_shape(value)
    assert json_shape(once) == once


@settings(max_examples=100)
@given(
    fields=st.dictionaries(st.text(max_size=20), any_text.map(lambda text: text * 97), max_size=30),
    limit=st.integers(SMALLEST_RECORD, 3 * SMALLEST_RECORD),
)
def test_a_record_fits_its_limit_and_stays_an_object(fields, limit):
    line = fitted(json_shape(fields), limit)
    assert len(line.encode()) <= limit
    assert isinstance(orjson.loads(line), dict)


@settings(max_examples=100)
@given(
    message=any_text,
    name=any_text,
    extra=st.dictionaries(any_text, anything, max_size=5),
    factor=st.sampled_from([1, 1, 5000]),
)
def test_any_record_is_one_line_within_the_limit(message, name, extra, factor):
    record = logging.makeLogRecord(
        {"name": name, "levelname": "INFO", "levelno": 20, "msg": message * factor}
    )
    for key, value in extra.items():
        if key not in vars(record):
            vars(record)[key] = value
    line = HiveJsonFormatter().format(record)
    assert not UNSAFE.search(line)
    assert len(line.encode()) < LINE_LIMIT
    assert isinstance(orjson.loads(line), dict)
    shown = HumanFormatter().format(record)
    assert not UNSAFE.search(shown)
    assert len(shown.encode()) < LINE_LIMIT


@settings(max_examples=100)
@given(steps=st.lists(st.tuples(st.floats(0, 90), st.sampled_from("abc")), max_size=40))
def test_every_warning_is_told_or_counted_and_told_once_a_minute(steps):
    repeats, now = Repeats(), 0.0
    told: dict[str, list[float]] = {"a": [], "b": [], "c": []}
    counted = 0
    for pause, message in steps:
        now += pause
        record = logging.makeLogRecord(
            {"name": "x", "levelno": logging.WARNING, "msg": message, "created": now}
        )
        admitted = repeats.admit(record)
        counted += sum(vars(count)["suppressed"] for count in admitted.counts)
        if admitted.record is not None:
            told[message].append(now)
            counted += vars(admitted.record).get("suppressed", 0)
    counted += sum(vars(count)["suppressed"] for count in repeats.flush(now))
    assert sum(map(len, told.values())) + counted == len(steps)
    for times in told.values():
        assert all(b - a >= WINDOW_SECONDS for a, b in pairwise(times))
