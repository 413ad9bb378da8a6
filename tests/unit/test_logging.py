"""What `configure_logging` promises: formats, fields, isolation from the host, and lines that cannot be forged."""

import asyncio
import errno
import io
import json
import logging
import os
import re
import stat
import subprocess
import sys
import threading
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from hive_daemon.errors import ConfigError, InvalidInput
from hive_daemon.observability import (
    clear_trace_context,
    configure_logging,
    get_trace_context,
    set_trace_context,
)
from hive_daemon.observability.log_format import LINE_LIMIT, HumanFormatter
from hive_daemon.observability.log_repeats import TABLE_SIZE, WINDOW_SECONDS, Repeats
from hive_daemon.observability.logging import (
    NOISY_LIBRARIES,
    HiveJsonFormatter,
    LineHandler,
    quiet_libraries,
    reopen_logs,
)
from hive_daemon.observability.rotating_file import RotatingFile
from hive_daemon.observability.secret_patterns import MASK
from hive_daemon.observability.strict_json import CUT, fitted, json_shape, strict_json

logger = logging.getLogger("hive.test")

SESSION = "session_20260302_090000_1a2b3c4d"
TRACE = {
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "execution_id": f"{SESSION}-2",
    "session_id": SESSION,
    "stream_id": "webhook",
}


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch):
    """Give the test its own root handlers and levels, and a plain environment."""
    for name in ("LOG_FORMAT", "ENV", "NO_COLOR", "JOURNAL_STREAM"):
        monkeypatch.delenv(name, raising=False)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in NOISY_LIBRARIES}
    clear_trace_context()
    yield
    for handler in root.handlers:
        if isinstance(handler, LineHandler):
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    clear_trace_context()


@pytest.fixture
def out():
    return io.StringIO()


def records(out):
    """Read what was logged as JSON: strictly, one object per line."""
    return [json.loads(line, parse_constant=pytest.fail) for line in out.getvalue().splitlines()]


def alone():
    """Take away the handlers of pytest, which do not take every record."""
    root = logging.getLogger()
    root.handlers[:] = [handler for handler in root.handlers if isinstance(handler, LineHandler)]


class Broken:
    def __repr__(self):
        raise RuntimeError("no text for you")


# JSON


def test_a_json_line_has_the_documented_fields(out):
    configure_logging("INFO", "json", stream=out)
    set_trace_context(**TRACE)
    logger.info("Processing %s", "request", extra={"duration_seconds": 1.5})
    (record,) = records(out)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", record.pop("timestamp"))
    assert record == {
        "level": "info",
        "logger": "hive.test",
        "message": "Processing request",
        **TRACE,
        "duration_seconds": 1.5,
    }


def test_an_exception_is_text_in_the_record(out):
    configure_logging(format="json", stream=out)
    try:
        raise ValueError("nine o'clock")
    except ValueError:
        logger.exception("the timer failed", stack_info=True)
    (record,) = records(out)
    assert record["exception"].startswith("Traceback (most recent call last):")
    assert record["exception"].endswith("ValueError: nine o'clock")
    assert "test_logging.py" in record["stack"]


def test_exc_info_without_an_exception_adds_nothing(out):
    configure_logging(format="json", stream=out)
    logging.getLogger().handle(record_at(0.0, exc_info=(None, None, None)))
    assert "exception" not in records(out)[0]


def test_an_extra_cannot_take_the_name_of_the_head_or_of_the_trace_context(out):
    configure_logging(format="json", stream=out)
    set_trace_context(execution_id="mine", level="forged")
    logger.info("x", extra={"execution_id": "other", "level": "forged", "logger": "forged"})
    (record,) = records(out)
    assert (record["execution_id"], record["level"], record["logger"]) == (
        "mine",
        "info",
        "hive.test",
    )
    assert record["extra_execution_id"] == "other"
    assert record["extra_level"] == record["extra_logger"] == "forged"


def test_an_extra_that_repeats_the_trace_context_is_written_once(out):
    configure_logging(format="json", stream=out)
    set_trace_context(execution_id="mine")
    logger.info("x", extra={"execution_id": "mine"})
    assert "extra_execution_id" not in records(out)[0]


def test_extras_that_are_not_json_become_json(out):
    configure_logging(format="json", stream=out)
    circle: list[object] = []
    circle.append(circle)
    logger.info(
        "x",
        extra={
            "nan": float("nan"), "infinite": [float("-inf")], "set": {1}, "bytes": b"a\xff", "huge": 10**5000,
            "path": Path("/tmp/x"), "when": datetime(2026, 3, 2, 9, tzinfo=UTC), "cost": Decimal("0.10"),
            "error": OSError(errno.ENOSPC, "disk full"), "broken": Broken(), "circle": circle, 'keys': {1: 2, None: 3},
        },
    )  # fmt: skip
    (record,) = records(out)
    assert record["nan"] is None
    assert record["infinite"] == [None]
    assert record["set"] == [1]
    assert record["bytes"] == "a\\xff"
    assert record["huge"].startswith("0x")
    assert record["path"] == "/tmp/x"
    assert record["when"] == "2026-03-02T09:00:00+00:00"
    assert record["cost"] == "0.10"
    assert record["error"] == "OSError: [Errno 28] disk full"
    assert record["broken"].startswith("<Broken instance")
    assert CUT in json.dumps(record["circle"])
    assert record["keys"] == {"1": 2, "null": 3}


def test_a_record_that_cannot_be_rendered_is_told_in_its_place(out):
    configure_logging(format="json", stream=out)
    alone()
    set_trace_context(broken=Broken())
    logger.info("%d things", "no number")
    logger.info("%s", Broken())
    first, second = records(out)
    assert first["message"] == "a log record could not be written"
    assert (first["record_message"], first["error"]) == ("%d things", "TypeError")
    assert "test_logging.py:" in first["written_at"]
    assert second["error"] == "RuntimeError"


def test_a_message_that_is_a_dict_is_written_as_text(out):
    configure_logging(format="json", stream=out)
    logger.info({"count": 3})
    assert records(out)[0]["message"] == "{'count': 3}"


@pytest.mark.parametrize("format", ["json", "human"])
def test_no_text_can_break_forge_or_colour_a_line(out, format):
    configure_logging(format=format, stream=out)
    alone()
    evil = 'a\r\n{"level":"error"}\u2028\u2029\x1b[31m\x00\x7f\x85\x9b\u202e\ud800\n12:00:00.000 ERROR x'
    set_trace_context(stream_id=evil)
    logger.info(evil, extra={"path": evil, "deep": {evil: [evil]}})
    try:
        raise ValueError(evil)
    except ValueError:
        logging.getLogger(evil).exception(evil)
    text = out.getvalue()
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202e\ud800-\udfff]", text)
    starts = [line for line in text.split("\n") if line and not line.startswith("    | ")]
    assert len(starts) == 2
    if format == "json":
        assert len(records(out)) == 2


def test_a_line_takes_at_most_64_kib_and_says_what_was_cut(out):
    configure_logging(format="json", stream=out)
    set_trace_context(**TRACE)
    logger.error("ü" * 200_000, extra={"body": ["\x00" * 50_000] * 9, "last": "kept"})
    line = out.getvalue()
    (record,) = records(out)
    assert len(line.encode()) <= LINE_LIMIT
    assert record["message"].endswith(CUT)
    assert record["execution_id"] == TRACE["execution_id"]
    assert record["last"] == "kept"
    assert record["cut"] == 0


def test_a_long_human_line_is_cut_too(out):
    configure_logging(format="human", stream=out)
    logger.error("ü" * 200_000)
    assert len(out.getvalue().encode()) <= LINE_LIMIT
    assert out.getvalue().endswith(f"{CUT}\n")


def test_many_fields_are_counted_where_there_is_no_room_for_them():
    fields = {f"field_{n}": "x" * 400 for n in range(300)}
    line = fitted(fields, 4096)
    assert len(line) <= 4096
    record = json.loads(line)
    assert record["field_0"] == "x" * 400
    assert record["cut"] == 300 - (len(record) - 1)


def test_json_for_a_stream_that_is_not_utf_8_is_ascii():
    raw = io.BytesIO()
    configure_logging(
        format="json", stream=io.TextIOWrapper(raw, "ascii", "backslashreplace", "\n")
    )
    logger.info("grüße 😀 %s", "é" * 100_000)
    line = raw.getvalue()
    assert len(line) <= LINE_LIMIT
    assert json.loads(line)["message"].startswith("grüße 😀 é")


# Lines for people


def test_a_human_line_has_time_level_logger_message_and_short_ids(out):
    configure_logging(format="human", stream=out)
    set_trace_context(**TRACE, node_id="plan")
    logger.warning("node slow", extra={"seconds": 2.5, "why": "two words", "count": {"a": 1}})
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d\.\d{3} WARNING hive\.test node slow execution_id=1a2b3c4d-2 stream_id=webhook "
        r'node_id=plan seconds=2\.5 why="two words" count=\{"a":1\}\n',
        out.getvalue(),
    )


def test_a_session_is_named_where_the_execution_does_not_name_it(out):
    configure_logging(format="human", stream=out)
    logger.info("x", extra={"session_id": SESSION, "digest": "ab" * 16})
    assert out.getvalue().endswith("x session_id=1a2b3c4d digest=abababab\n")


def test_the_lines_of_a_traceback_cannot_pass_for_records(out):
    configure_logging(format="human", stream=out)
    try:
        raise ValueError("a\n12:00:00.000 INFO hive forged")
    except ValueError:
        logger.exception("failed")
    first, *rest = out.getvalue().splitlines()
    assert first.endswith("hive.test failed")
    assert rest[-1] == "    | 12:00:00.000 INFO hive forged"
    assert all(line.startswith("    | ") for line in rest)


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_colour_is_for_terminals_without_no_color(monkeypatch, no_color, coloured):
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setenv("TERM", "xterm")
    leader, follower = os.openpty()
    with open(follower, "w", encoding="utf-8") as terminal:
        configure_logging(format="human", stream=terminal)
        logger.error("x")
        shown = os.read(leader, 1000)
    os.close(leader)
    assert (b"\x1b[31mERROR  \x1b[0m" in shown) is coloured


def test_the_journal_gets_a_priority_on_every_line_and_no_time(monkeypatch, tmp_path):
    path = tmp_path / "journal"
    with path.open("w", encoding="utf-8") as journal:
        found = os.fstat(journal.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        configure_logging("DEBUG", "human", stream=journal)
        for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.CRITICAL):
            logger.log(level, "x")
        try:
            raise ValueError("late")
        except ValueError:
            logger.exception("failed")
    lines = path.read_text().splitlines()
    assert lines[:4] == [
        "<7>DEBUG hive.test x",
        "<6>INFO hive.test x",
        "<4>WARNING hive.test x",
        "<2>CRITICAL hive.test x",
    ]
    assert lines[4] == "<3>ERROR hive.test failed"
    assert all(line.startswith("<3>    | ") for line in lines[5:])


def test_the_journal_gets_a_priority_before_a_line_of_json_too(monkeypatch, tmp_path):
    path = tmp_path / "journal"
    with path.open("w", encoding="utf-8") as journal:
        found = os.fstat(journal.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        configure_logging("DEBUG", "json", stream=journal)
        logger.warning("x")
        logger.error("ü" * 200_000)
    first, second = path.read_bytes().splitlines(keepends=True)
    assert first.startswith(b'<4>{"timestamp":')
    assert second.startswith(b"<3>{")
    assert len(second) <= LINE_LIMIT
    assert json.loads(second[3:])["level"] == "error"


def test_a_stream_that_is_not_the_journal_gets_the_time(monkeypatch, out):
    monkeypatch.setenv("JOURNAL_STREAM", "8:12345")
    configure_logging(format="human", stream=out)
    logger.info("x")
    assert re.match(r"\d\d:\d\d:\d\d", out.getvalue())


# Choosing and installing


@pytest.mark.parametrize(
    ("environment", "is_json"),
    [
        ({}, False),
        ({"LOG_FORMAT": "json"}, True),
        ({"ENV": "production"}, True),
        ({"ENV": "development", "LOG_FORMAT": "human"}, False),
    ],
)
def test_auto_is_json_in_production_or_where_it_is_asked_for(
    monkeypatch, out, environment, is_json
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    configure_logging(stream=out)
    logger.info("x")
    assert out.getvalue().startswith("{") is is_json


def test_the_handlers_of_the_host_program_stay_and_hear_the_record_as_it_was(out):
    heard: list[logging.LogRecord] = []
    host = logging.Handler()
    host.emit = heard.append  # type: ignore[method-assign]
    root = logging.getLogger()
    before = [*root.handlers, host]
    root.addHandler(host)
    configure_logging(format="json", stream=out)
    logger.warning("the %s", "word", extra={"password": "hunter22"})
    logger.warning("the %s", "word", extra={"password": "hunter22"})
    assert [h for h in root.handlers if not isinstance(h, LineHandler)] == before
    assert [(r.msg, r.args, r.password) for r in heard] == [("the %s", ("word",), "hunter22")] * 2  # type: ignore[attr-defined]
    assert len(records(out)) == 1


def test_configuring_again_replaces_our_handler_and_doubles_no_line(out):
    first = io.StringIO()
    configure_logging("DEBUG", "json", stream=first)
    configure_logging("INFO", "json", stream=out)
    configure_logging("INFO", "json", stream=out)
    logger.info("once")
    logger.debug("not at all")
    assert first.getvalue() == ""
    assert [record["message"] for record in records(out)] == ["once"]


@pytest.mark.parametrize(
    ("level", "format", "words"), [("LOUD", "json", "LOUD"), ("INFO", "xml", "xml")]
)
def test_an_unknown_level_or_format_is_refused_and_changes_nothing(out, level, format, words):
    configure_logging("INFO", "json", stream=out)
    handlers = logging.getLogger().handlers[:]
    with pytest.raises(InvalidInput, match=words):
        configure_logging(level, format)
    assert logging.getLogger().handlers == handlers


def test_levels_are_read_in_any_case_and_as_numbers(out):
    configure_logging("warning", stream=out)
    assert logging.getLogger().level == logging.WARNING
    configure_logging(logging.DEBUG, stream=out)
    assert logging.getLogger().level == logging.DEBUG


def test_noisy_libraries_are_heard_from_warning_on(out):
    configure_logging("DEBUG", "json", stream=out)
    for name in NOISY_LIBRARIES:
        logging.getLogger(name).info("chatter")
        logging.getLogger(name).warning("trouble")
    assert [record["logger"] for record in records(out)] == list(NOISY_LIBRARIES)
    configure_logging("ERROR", "json", stream=out)
    assert logging.getLogger("httpx").level == logging.ERROR


def test_a_handler_that_litellm_gave_itself_is_taken_away(out):
    library = logging.getLogger("LiteLLM")
    own = logging.StreamHandler(io.StringIO())
    library.addHandler(own)
    quiet_libraries()
    assert own in library.handlers, "nothing happens before configure_logging"
    configure_logging(stream=out)
    assert own not in library.handlers


def test_importing_the_package_does_not_load_the_json_library():
    code = (
        "import sys, hive_daemon.observability as o;"
        "assert 'pythonjsonlogger' not in sys.modules; o.configure_logging;"
        "assert 'pythonjsonlogger' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_there_is_no_other_lazy_name():
    import hive_daemon.observability as package

    with pytest.raises(AttributeError, match="nothing"):
        _ = package.nothing


def test_a_disabled_level_renders_nothing(out):
    configure_logging("INFO", "json", stream=out)
    logger.debug("%s", Broken(), extra={"x": Broken()})
    assert out.getvalue() == ""


# Trace context


async def test_the_trace_context_is_the_same_in_task_thread_and_callback(out):
    configure_logging(format="json", stream=out)
    set_trace_context(trace_id="t", execution_id="e")
    loop = asyncio.get_running_loop()
    called = asyncio.Event()
    loop.call_soon(lambda: (logger.info("callback"), called.set()))
    await asyncio.to_thread(logger.info, "thread")
    await called.wait()
    logger.info("loop")
    assert {record["message"] for record in records(out)} == {"callback", "thread", "loop"}
    assert all((r["trace_id"], r["execution_id"]) == ("t", "e") for r in records(out))
    assert get_trace_context() == {"trace_id": "t", "execution_id": "e"}


# Redaction


@pytest.mark.parametrize("format", ["json", "human"])
def test_no_secret_is_written_from_any_part_of_a_record(out, format):
    secret = "canary/of+the log"
    configure_logging(format=format, stream=out, secrets=[secret])
    alone()
    set_trace_context(stream_id=secret)
    key = "sk-" + "a1B2c3D4" * 4
    try:
        raise ValueError(f"refused {secret} and {key}")
    except ValueError as error:
        logging.getLogger(secret).exception(
            "said %s", secret, extra={"a": [{secret: secret}], "b": error, "api_key": "plainvalue"}
        )
    logger.info({"password": "plainvalue", "x": secret})
    logger.info("%d", secret)
    text = out.getvalue()
    assert secret not in text
    assert json.dumps(secret)[1:-1] not in text
    assert key not in text
    assert "plainvalue" not in text
    assert MASK in text


# Repetition


def record_at(seconds, message="slow", level=logging.WARNING, **extra):
    return logging.makeLogRecord(
        {
            "name": "hive.test",
            "levelno": level,
            "levelname": "X",
            "msg": message,
            "created": seconds,
            **extra,
        }
    )


def test_the_same_warning_passes_once_a_minute_and_the_next_one_has_the_count():
    repeats = Repeats()
    passed = [repeats.admit(record_at(float(second))).record for second in range(0, 121, 20)]
    assert [r is not None for r in passed] == [True, False, False, True, False, False, True]
    assert [vars(r).get("suppressed") for r in passed if r] == [None, 2, 2]


def test_warnings_differ_by_logger_level_message_and_repeat_key():
    repeats = Repeats()
    several = [
        record_at(0.0),
        record_at(0.0, name="hive.other"),
        record_at(0.0, level=logging.ERROR),
        record_at(0.0, "fast"),
        record_at(0.0, repeat_key="execution 1"),
        record_at(0.0, repeat_key="execution 2"),
    ]
    assert [repeats.admit(record).record for record in several] == several


def test_the_values_in_a_message_do_not_make_it_another():
    repeats = Repeats()
    assert repeats.admit(record_at(0.0, "disk %s slow", args=("a",))).record is not None
    assert repeats.admit(record_at(1.0, "disk %s slow", args=("b",))).record is None


def test_errors_are_told_apart_by_the_exception_and_the_line_that_raised_it():
    repeats = Repeats()

    def failing(kind):
        try:
            raise kind("x")
        except Exception as error:
            return record_at(0.0, level=logging.ERROR, exc_info=(kind, error, error.__traceback__))

    admitted = [
        repeats.admit(failing(kind)).record is not None for kind in (OSError, ValueError, OSError)
    ]
    assert admitted == [True, True, False]


def test_debug_and_info_are_never_held_back():
    repeats = Repeats()
    assert all(repeats.admit(record_at(0.0, level=logging.INFO)).record for _ in range(5))


def test_a_count_is_told_by_whatever_comes_after_the_minute():
    repeats = Repeats()
    for _ in range(3):
        repeats.admit(record_at(0.0))
    assert repeats.admit(record_at(59.0, "x", logging.INFO)).counts == ()
    (count,) = repeats.admit(record_at(60.0, "x", logging.INFO)).counts
    assert (count.levelno, vars(count)["repeated"], vars(count)["suppressed"]) == (30, "slow", 2)
    assert repeats.admit(record_at(200.0, "x", logging.INFO)).counts == ()


def test_a_count_that_was_not_told_is_told_at_the_end(out):
    configure_logging(format="json", stream=out)
    set_trace_context(trace_id="of other work")
    for _ in range(4):
        logger.warning("slow")
    configure_logging(format="json", stream=io.StringIO())
    last = records(out)[-1]
    assert (last["repeated"], last["suppressed"]) == ("slow", 3)
    assert "trace_id" not in last


def test_a_clock_that_steps_back_does_not_silence_a_warning():
    repeats = Repeats()
    assert repeats.admit(record_at(10_000.0)).record is not None
    assert repeats.admit(record_at(5.0)).record is not None


def test_the_table_is_bounded_and_an_evicted_count_is_told():
    repeats = Repeats()
    repeats.admit(record_at(0.0, "first"))
    repeats.admit(record_at(0.0, "first"))
    told = [repeats.admit(record_at(0.0, f"message {n}")).counts for n in range(2 * TABLE_SIZE)]
    assert [vars(count)["repeated"] for counts in told for count in counts] == ["first"]
    assert repeats.admit(record_at(0.0, "message 0")).record is not None
    assert WINDOW_SECONDS == 60


def test_a_warning_seen_by_several_threads_is_written_once(out):
    configure_logging(format="json", stream=out)
    threads = [threading.Thread(target=logger.warning, args=("slow",)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(records(out)) == 1


# Streams that fail, and files


class Full(io.StringIO):
    """A stream on a disk that may be full."""

    is_full = False

    def write(self, text):
        if self.is_full:
            raise OSError(errno.ENOSPC, "no space left")
        return super().write(text)


def test_lines_that_could_not_be_written_are_counted_and_told():
    stream = Full()
    configure_logging(format="json", stream=stream)
    stream.is_full = True
    for n in range(3):
        logger.info("lost", extra={"n": n})
    stream.is_full = False
    logger.info("kept")
    first, second = records(stream)
    assert first["lost_lines"] == 3
    assert second["message"] == "kept"


def test_a_closed_stream_raises_nothing_and_prints_nothing(out, capsys):
    configure_logging(format="json", stream=out)
    out.close()
    logger.info("x")
    logger.info("x")
    assert capsys.readouterr() == ("", "")


def test_a_process_without_stderr_logs_nowhere(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    configure_logging(format="human")
    logger.error("x")


def test_a_log_file_is_private_and_reopened_after_it_was_moved(tmp_path):
    path = tmp_path / "logs" / "hived.log"
    configure_logging(format="json", file=path)
    logger.info("before")
    path.rename(tmp_path / "moved")
    reopen_logs()
    logger.info("after")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads((tmp_path / "moved").read_text())["message"] == "before"
    assert json.loads(path.read_text())["message"] == "after"


def test_reopening_stderr_does_nothing(out):
    configure_logging(format="json", stream=out)
    reopen_logs()
    logger.info("x")
    assert len(records(out)) == 1


def test_a_log_file_that_cannot_be_opened_is_a_fault_of_the_configuration(tmp_path):
    handlers = logging.getLogger().handlers[:]
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be opened"):
        configure_logging(file=tmp_path / "file" / "hived.log")
    assert logging.getLogger().handlers == handlers


def test_a_file_is_rotated_by_size_and_the_oldest_goes(tmp_path):
    path = tmp_path / "x.log"
    file = RotatingFile(path, max_bytes=10, files=3)
    for n in range(8):
        file.write(f"line{n}\n")
    file.close()
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {
        "x.log": "line7\n",
        "x.log.1": "line6\n",
        "x.log.2": "line5\n",
    }


def test_rotation_counts_what_the_file_held_before(tmp_path):
    path = tmp_path / "x.log"
    path.write_text("old line\n")
    file = RotatingFile(path, max_bytes=10, files=2)
    file.write("new\n")
    file.close()
    assert (path.read_text(), (tmp_path / "x.log.1").read_text()) == ("new\n", "old line\n")


def test_a_line_after_one_that_was_torn_starts_afresh(tmp_path):
    path = tmp_path / "x.log"
    file = RotatingFile(path)
    path_full = RotatingFile(Path("/dev/full"))
    with pytest.raises(OSError, match="No space left"):
        path_full.write("x\n")
    path_full.close()
    file.write("a\n")
    file.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        file.write("half")
    file.reopen()
    file.write("b\n")
    file.close()
    assert path.read_text() == "a\n\nb\n"


def test_a_directory_that_may_not_be_written_stops_rotation_but_no_line(tmp_path):
    path = tmp_path / "x.log"
    file = RotatingFile(path, max_bytes=4, files=2)
    (tmp_path / "x.log.1").mkdir()  # cannot be deleted as a file
    for n in range(4):
        file.write(f"{n}\n")
    file.close()
    assert path.read_text() == "0\n1\n2\n3\n"


# Formatters by themselves


def test_the_formatters_serve_handlers_of_the_host_too():
    record = record_at(0.0, "password=%s", args=("hunter22",))
    assert json.loads(HiveJsonFormatter().format(record))["message"] == f"password={MASK}"
    assert HumanFormatter().format(record).endswith(f" hive.test password={MASK}")
    assert record.args == ("hunter22",)


@pytest.mark.parametrize("value", [{"a": [1, None, True, "x", 1.5]}, [], "", 2**63, -0.5])
def test_json_stays_what_it_is(value):
    assert json_shape(value) == value
    assert json.loads(strict_json(json_shape(value))) == value
