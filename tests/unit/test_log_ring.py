"""The newest log lines that are kept in memory: bounded, numbered, chosen by execution, level and time."""

import asyncio
import io
import logging
from functools import partial

import pytest

from hive_daemon.observability import clear_trace_context, configure_logging, set_trace_context
from hive_daemon.observability.log_ring import LogChoice, LogRing
from hive_daemon.observability.logging import LineHandler
from tests.fakes.clock import FakeClock

MINE, OTHER = "session_20260302_090000_1a2b3c4d", "session_20260302_090000_ffffffff"


@pytest.fixture(autouse=True)
def as_it_was():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers:
        if isinstance(handler, LineHandler):
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    clear_trace_context()


def texts(ring, choice=None):
    choice = choice or LogChoice()
    return [line.text for line in ring.after(0) if choice.takes(line.text)]


def test_the_oldest_lines_give_way_by_number_and_by_size():
    ring = LogRing(most_lines=3, most_bytes=10)
    for word in ("a", "b", "c", "d"):
        ring.write(f"{word}\n")
    assert texts(ring) == ["b", "c", "d"]
    ring.write("eeeeeeeee\n")
    assert texts(ring) == ["d", "eeeeeeeee"]


def test_numbers_grow_over_a_restart():
    clock = FakeClock()
    first = LogRing(clock=clock)
    first.write("x\n")
    later = LogRing(clock=FakeClock(clock.time() + 1))
    later.write("y\n")
    assert later.after(first.after(0)[-1].seq) == later.after(0)


def test_a_reader_goes_on_after_the_line_it_saw():
    ring = LogRing()
    ring.write("a\n")
    [seen] = ring.after(0)
    ring.write("b\n")
    assert [line.text for line in ring.after(seen.seq)] == ["b"]
    assert ring.after(ring.after(0)[-1].seq) == []


def test_whoever_listens_is_told_of_each_line():
    ring, told = LogRing(), []
    tell = lambda: told.append(len(ring.after(0)))  # noqa: E731
    ring.listen(tell)
    ring.write("a\n")
    ring.unlisten(tell)
    ring.write("b\n")
    assert told == [1]


def test_a_listener_whose_loop_is_gone_breaks_no_logging():
    ring, loop = LogRing(), asyncio.new_event_loop()
    loop.close()
    ring.listen(partial(loop.call_soon_threadsafe, print))
    ring.write("a\n")
    assert texts(ring) == ["a"]


def test_what_is_logged_is_kept_redacted_and_chosen_by_execution_level_and_time():
    ring, out = LogRing(), io.StringIO()
    configure_logging("DEBUG", "human", stream=out, secrets=["hush-hush-1"], recent=ring)
    logger = logging.getLogger("hive.test")
    logger.warning("nobody's hush-hush-1")
    set_trace_context(execution_id=MINE)
    logger.info("mine")
    logger.error("mine too", extra={"about": OTHER})
    set_trace_context(execution_id=OTHER)
    logger.info("another's", extra={"about": MINE})

    def said(choice):
        import json

        return [json.loads(text)["message"] for text in texts(ring, choice)]

    assert said(LogChoice())[0] == "nobody's [redacted]"
    assert said(LogChoice(execution_id=MINE)) == ["mine", "mine too"]
    assert said(LogChoice(execution_id=MINE, level=logging.WARNING)) == ["mine too"]
    assert said(LogChoice(level=logging.WARNING)) == ["nobody's [redacted]", "mine too"]
    assert said(LogChoice(since=0.0)) == said(LogChoice())
    assert said(LogChoice(since=1e11)) == []
    assert out.getvalue().count("\n") == 4


def test_configuring_again_without_it_keeps_no_more_lines():
    ring = LogRing()
    configure_logging(stream=io.StringIO(), recent=ring)
    configure_logging(stream=io.StringIO())
    logging.getLogger("hive.test").error("unheard")
    assert texts(ring) == []
