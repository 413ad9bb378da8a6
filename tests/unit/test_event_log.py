"""The debug event log: where it is, what a line is, and that it neither blocks nor loses a count."""

import fcntl
import json
import logging
import os
import stat
import subprocess
import sys
import threading

import pytest

from hive_daemon.observability.redaction import register_secret
from hive_daemon.observability.secret_patterns import MASK
from hive_daemon.runtime.event_log import DROPPED, EventLog, EventLogLimits

EVENT = {
    "type": "tool_call_started",
    "stream_id": "primary",
    "node_id": "plan",
    "execution_id": "session_20260302_090000_1a2b3c4d",
    "data": {"tool_name": "read", "tool_input": {"filePath": "/home/user/file.txt"}},
    "timestamp": "2026-02-06T14:30:25.456789Z",
    "graph_id": "worker",
    "correlation_id": None,
}


class StillClock:
    """A clock that stands still."""

    def time(self):
        return 1_772_442_000.25

    def monotonic(self):
        return 0.0

    async def sleep(self, seconds):
        raise AssertionError("nobody sleeps here")


@pytest.fixture
def logs(tmp_path):
    """Make event logs in the test's directory and close them at its end."""
    made = []

    def make(**limits):
        log = EventLog(tmp_path, limits=EventLogLimits(**limits), clock=StillClock())
        made.append(log)
        return log

    yield make
    for log in made:
        log.close()


def events_in(directory):
    """Read all events in the directory, file by file."""
    text = "".join(path.read_text() for path in sorted(directory.glob("*.jsonl")))
    lines = text.removesuffix("\n").split("\n")
    return [json.loads(line, parse_constant=pytest.fail) for line in lines]


@pytest.mark.parametrize(
    ("value", "directory"),
    [
        ("1", "home/.hive/event_logs"),
        ("true", "home/.hive/event_logs"),
        ("FULL", "home/.hive/event_logs"),
        ("~/events", "home/events"),
        ("{tmp}/elsewhere", "elsewhere"),
    ],
)
def test_the_variable_says_where_events_go(tmp_path, value, directory):
    environ = {"HIVE_DEBUG_EVENTS": value.format(tmp=tmp_path)}
    log = EventLog.from_env(environ, tmp_path / "home")
    assert log.is_on
    assert log.path is None
    log.write(EVENT)
    assert log.close()
    assert events_in(tmp_path / directory) == [EVENT]


@pytest.mark.parametrize(
    "environ", [{}, *({"HIVE_DEBUG_EVENTS": v} for v in ("", "0", "false", " "))]
)
def test_without_the_variable_nothing_is_written(tmp_path, environ):
    log = EventLog.from_env(environ, tmp_path)
    log.write(EVENT)
    assert not log.is_on
    assert log.path is None
    assert log.close()
    assert list(tmp_path.iterdir()) == []


def test_no_file_is_made_before_the_first_event(tmp_path, logs):
    log = logs()
    assert log.close()
    assert list(tmp_path.iterdir()) == []


def test_events_stand_in_order_one_per_line(tmp_path, logs):
    log = logs()
    for n in range(500):
        log.write({**EVENT, "n": n})
    assert log.close()
    assert [event["n"] for event in events_in(tmp_path)] == list(range(500))


def test_file_and_directories_are_private(tmp_path):
    directory = tmp_path / "a" / "b"
    log = EventLog(directory)
    log.write(EVENT)
    assert log.close()
    assert stat.S_IMODE(log.path.stat().st_mode) == 0o600
    assert {stat.S_IMODE(d.stat().st_mode) for d in (directory, directory.parent)} == {0o700}


def test_the_name_tells_time_process_and_part(tmp_path, logs):
    log = logs()
    log.write(EVENT)
    log.close()
    assert log.path == tmp_path / f"20260302_090000_250000-{os.getpid()}-0001.jsonl"


def test_lines_are_strict_json_without_secrets(tmp_path, logs):
    register_secret("canary-event-log")
    log = logs()
    log.write({"type": "x", "data": {"nan": float("nan"), "raw": b"a\nb", "api_key": "plain"}})
    log.write({"type": "canary-event-log", "data": "password=hunter22\u2028"})
    assert log.close()
    assert events_in(tmp_path) == [
        {"type": "x", "data": {"nan": None, "raw": "a\nb", "api_key": MASK}},
        {"type": MASK, "data": f"password={MASK}\u2028"},
    ]
    assert "\u2028" not in log.path.read_text()


def test_an_event_is_written_as_it_was_when_it_was_given(tmp_path, logs):
    log = logs()
    event = {"type": "x", "data": {"words": ["one"]}}
    log.write(event)
    event["data"]["words"].append("two")
    event["type"] = "y"
    assert log.close()
    assert events_in(tmp_path) == [{"type": "x", "data": {"words": ["one"]}}]


def test_a_huge_event_is_cut_to_a_line(tmp_path, logs):
    log = logs(line_bytes=4096)
    log.write({"type": "x", "data": {"text": "y" * 100_000}, "timestamp": "now"})
    assert log.close()
    (event,) = events_in(tmp_path)
    assert (event["type"], event["timestamp"]) == ("x", "now")
    assert log.path.stat().st_size <= 4097


def test_a_full_file_is_followed_by_another_and_the_oldest_go(tmp_path, logs):
    log = logs(file_bytes=100, files=3)
    (tmp_path / "of somebody else.jsonl").write_text("")
    for n in range(30):
        log.write({"n": n, "x": "y" * 30})
    assert log.close()
    (tmp_path / "of somebody else.jsonl").unlink()
    paths = sorted(tmp_path.iterdir())
    assert len(paths) == 3
    assert all(0 < path.stat().st_size <= 100 for path in paths)
    assert [event["n"] for event in events_in(tmp_path)] == [24, 25, 26, 27, 28, 29]


def test_files_of_other_processes_count_but_one_that_is_written_stays(tmp_path, logs):
    ended = tmp_path / "20200101_000000_000000-1-0001.jsonl"
    alive = tmp_path / "20200101_000000_000000-2-0001.jsonl"
    ended.write_text("")
    alive.write_text("")
    with alive.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        log = logs(files=1)
        log.write(EVENT)
        assert log.close()
    assert sorted(tmp_path.iterdir()) == [alive, log.path]


def test_a_planted_link_is_neither_followed_nor_deleted(tmp_path, logs):
    target = tmp_path / "precious"
    target.write_text("kept")
    link = tmp_path / "20200101_000000_000000-1-0001.jsonl"
    link.symlink_to(target)
    log = logs(files=1)
    log.write(EVENT)
    assert log.close()
    assert target.read_text() == "kept"
    assert link.is_symlink()


def test_what_does_not_fit_the_queue_is_dropped_counted_and_reported_in_its_place(tmp_path, logs):
    log = logs(queued_events=3)
    with log._changed:  # the writer can take nothing meanwhile
        for n in range(10):
            log.write({"n": n})
    assert log.close()
    *kept, report = events_in(tmp_path)
    assert [event["n"] for event in kept] == [0, 1, 2]
    assert report == {
        "type": DROPPED,
        "data": {"dropped": 7},
        "timestamp": "2026-03-02T09:00:00.250000Z",
    }


def test_events_that_the_disk_refused_are_told_and_counted_when_it_takes_them_again(tmp_path):
    directory = tmp_path / "events"
    directory.write_text("a file is in the way")
    log = EventLog(directory, clock=StillClock())
    told = Told()
    logging.getLogger("hive_daemon.runtime.event_log").addHandler(told)
    try:
        log.write({"n": 1})
        assert told.first.wait(10)
    finally:
        logging.getLogger("hive_daemon.runtime.event_log").removeHandler(told)
    directory.unlink()
    log.write({"n": 2})
    assert log.close()
    assert told.records[0].events_missing == 1
    assert [event.get("n") or event["data"] for event in events_in(directory)] == [
        2,
        {"dropped": 1},
    ]


class Told(logging.Handler):
    """Keeps what was logged, and says when the first record came."""

    def __init__(self):
        super().__init__()
        self.records = []
        self.first = threading.Event()

    def emit(self, record):
        self.records.append(record)
        self.first.set()


def test_writing_after_the_end_does_nothing(tmp_path, logs):
    log = logs()
    log.write({"n": 1})
    assert log.close()
    log.write({"n": 2})
    assert log.close()
    assert events_in(tmp_path) == [{"n": 1}]


def test_events_of_several_threads_are_all_written(tmp_path, logs):
    log = logs()
    threads = [
        threading.Thread(target=lambda k=k: [log.write({"n": 100 * k + n}) for n in range(100)])
        for k in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.close()
    assert sorted(event["n"] for event in events_in(tmp_path)) == list(range(400))


def test_a_program_that_ends_without_closing_keeps_its_events(tmp_path):
    code = (
        "import sys; from pathlib import Path; from hive_daemon.runtime.event_log import EventLog;"
        "log = EventLog(Path(sys.argv[1]));"
        "[log.write({'n': n}) for n in range(50)]"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert [event["n"] for event in events_in(tmp_path)] == list(range(50))


def test_two_logs_of_one_moment_write_two_files(tmp_path, logs):
    first, second = logs(), logs()
    first.write({"n": 1})
    second.write({"n": 2})
    assert first.close()
    assert second.close()
    assert [event["n"] for event in events_in(tmp_path)] in ([1, 2], [2, 1])
    assert first.path != second.path
