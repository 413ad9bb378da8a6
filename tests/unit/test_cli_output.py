"""What people get to see."""

import io

import pytest

from hive_cli.durations import absolute, brief, parse_duration, relative
from hive_cli.failures import Failure
from hive_cli.narration import BROKE_OFF, Narrator
from hive_cli.render import (
    escape,
    is_coloured,
    one_line,
    painted,
    size,
    status_cell,
    to_json,
    write_facts,
    write_table,
)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_table_is_aligned_and_its_cells_cannot_forge_a_line(capsys):
    write_table(("ID", "STATUS"), [["a\x1b[2J\nb", ("failed", "red")], ["世界", "ok"]])
    assert capsys.readouterr().out.splitlines() == [
        "ID           STATUS",
        "a\\x1b[2J\\nb  failed",
        "世界         ok",
    ]


def test_facts_without_a_value_are_left_out(capsys):
    write_facts([("id", "x"), ("error", ""), ("status", ("failed", "red"))])
    assert capsys.readouterr().out == "id      x\nstatus  failed\n"


@pytest.mark.parametrize(
    ("environ", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_colours_are_for_terminals_that_want_them(monkeypatch, environ, coloured):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert is_coloured(Terminal()) is coloured
    assert not is_coloured(io.StringIO())


def test_paint():
    assert painted("x", "red", True) == "\x1b[31mx\x1b[0m"
    assert painted("x", "red", False) == painted("x", "", True) == "x"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("naïve 世界 👩‍🚀", "naïve 世界 👩‍🚀"),
        ("a\r\nb\tc", "a\\r\\nb\\tc"),
        ("\x9b31m\x7f", "\\x9b31m\\x7f"),
        ("a\u2028b\u202ec\ufeff", "a\\u2028b\\u202ec\\ufeff"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_could_act_on_a_terminal_is_shown_as_an_escape(text, shown):
    assert escape(text) == shown


def test_free_text_keeps_its_lines():
    assert escape("a\nb\x1b", keep="\n") == "a\nb\\x1b"


def test_json_for_a_terminal_keeps_letters_and_escapes_what_acts():
    assert to_json({"a": "ü\x9b\u2028\x7f"}, indent=None) == '{"a": "ü\\u009b\\u2028\\u007f"}'


@pytest.mark.parametrize(
    ("status", "colour"), [("completed", "green"), ("waiting_input", "yellow"), ("x", "")]
)
def test_a_status_has_its_colour(status, colour):
    assert status_cell(status) == (status, colour)


def test_a_long_value_is_one_cut_line():
    assert one_line("a\n  b " + "x" * 200, 10) == "a b xxxxx…"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (12_900_000, "12.3 MiB"), (None, "0 B"), (2**50, "1024.0 TiB")],
)
def test_sizes(count, text):
    assert size(count) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("5m", 300), ("1h30m", 5400), ("1.5h", 5400), ("250ms", 0.25), (" 2D ", 172_800)],
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "5", "m", "-5m", "5 minutes", "30m1h", "5m5m", "٥m", "nan", "1e3s"]
)
def test_what_is_not_a_duration_is_named(text):
    with pytest.raises(Failure, match="is not a duration") as caught:
        parse_duration(text)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"),
        (0.25, "250ms"),
        (7.31, "7.31s"),
        (90, "1m30s"),
        (3605, "1h"),
        (90_000, "1d1h"),
        (2_000_000, "23d"),
    ],
)
def test_brief_durations(seconds, text):
    assert brief(seconds) == text


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        ("2026-03-02T09:00:00.000000Z", "now"),
        ("2026-03-02T08:57:00Z", "3m ago"),
        ("2026-03-02T09:04:00Z", "in 4m"),
        (None, "-"),
        ("soon", "-"),
    ],
)
def test_moments_relative_to_now(moment, text):
    assert relative(moment, now=1772442000.0) == text


def test_a_moment_that_is_none_is_a_dash():
    assert absolute(None) == "-"


def _narrated(*events, **options):
    stream = io.StringIO()
    narrator = Narrator(stream, **options)
    for event in events:
        narrator.tell(event)
    narrator.close()
    return stream.getvalue()


def test_an_event_is_one_line_without_what_is_empty():
    line = _narrated(
        {
            "type": "node_completed",
            "node_id": "parse",
            "timestamp": None,
            "data": {"a": 1, "snapshot": "…", "b": None, "c": {"d": "x\ny\x1b"}},
        }
    )
    assert line == '--:--:--  node_completed            parse  a=1 c={"d": "x\\ny\\u001b"}\n'


def test_an_event_of_many_agents_says_whose_it_is():
    event = {
        "type": "execution_failed",
        "agent": "ops",
        "stream_id": "api",
        "data": {"error": "no"},
    }
    assert (
        _narrated(event, names_origin=True)
        == "--:--:--  execution_failed          ops/api  error=no\n"
    )


def test_text_runs_on_until_something_else_happens():
    delta = {"type": "llm_text_delta", "data": {"content": "Hel\x1b"}}
    rest = {"type": "llm_text_delta", "data": {"content": "lo"}}
    assert _narrated(delta, rest, {"type": "x"}) == "Hel\\x1blo\n--:--:--  x\n"


def test_text_that_nothing_follows_still_ends_its_line():
    assert _narrated({"type": "llm_text_delta", "data": {"content": "Hello"}}) == "Hello\n"


def _written(content, snapshot, node="a", **more):
    data = {"content": content, "snapshot": snapshot, **more}
    return {"type": "llm_text_delta", "execution_id": "s", "node_id": node, "data": data}


def test_text_that_is_written_anew_is_not_taken_for_more_of_it():
    told = _narrated(
        _written("Hel", "Hel"),
        _written("", "", is_reset=True),
        _written("Hel", "Hel"),
        _written("lo.", "Hello."),
        _written("Next.", "Next."),
    )
    assert told == f"Hel\n{BROKE_OFF}\nHello.\nNext.\n"


def test_a_piece_that_was_lost_on_the_way_comes_with_the_next():
    told = _narrated(_written("one ", "one "), _written("three", "one two three"))
    assert told == "one two three\n"


def _continued(content, node="a"):
    """A further piece, as the daemon sends it to who was told the one before."""
    data = {"content": content}
    return {"type": "llm_text_delta", "execution_id": "s", "node_id": node, "data": data}


def test_pieces_without_all_that_came_before_run_on_also_where_one_is_lost():
    thought = {"type": "llm_reasoning_delta", "execution_id": "s", "node_id": "a", "data": {}}
    told = _narrated(
        _written("one ", "one "),
        thought,
        _continued("two "),
        _written("four ", "one two three four "),
        _continued("five"),
        {"type": "x", "execution_id": "s", "node_id": "a", "seq": 1},
        _written("Next", "Next"),
        _continued("."),
    )
    shown = [line for line in told.splitlines() if not line.startswith("--")]
    assert shown == ["one ", "two three four five", "Next."]


def test_who_comes_amid_an_answer_hears_it_from_there_on():
    told = _narrated(_written("two ", "one two "), _written("three", "one two three"))
    assert told == "two three\n"


def test_what_two_nodes_write_at_the_same_time_is_kept_apart():
    told = _narrated(
        _written("one ", "one "),
        _written("eins ", "eins ", node="b"),
        _written("two", "one two"),
        _written("zwei", "eins zwei", node="b"),
    )
    assert told == "one \neins \ntwo\nzwei\n"
