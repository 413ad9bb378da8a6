"""Laws of the command line's pure parts."""

import io
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from hive_cli.durations import parse_duration
from hive_cli.http1 import Response
from hive_cli.render import escape, to_json
from hive_daemon import durations
from hive_daemon.control import wire
from hive_daemon.control.wire import Message, MessageReader

LINES = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=100)
@given(
    st.lists(
        st.builds(
            Message,
            st.from_regex(r"[a-z_.]{1,20}", fullmatch=True),
            st.lists(LINES, min_size=1, max_size=3).map("\n".join),
            st.none() | st.integers(0).map(str),
        ),
        max_size=5,
    )
)
def test_messages_come_out_of_a_stream_as_they_went_in(messages):
    stream = b"".join(wire.KEEPALIVE + message.encode() for message in messages)
    reader = MessageReader()
    read = [reader.feed(line + b"\n") for line in stream.split(b"\n")]
    assert [message for message in read if message is not None] == messages


@settings(max_examples=100)
@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.booleans())
def test_a_body_is_the_same_whole_and_by_lines(pieces, is_chunked):
    body = b"".join(pieces)
    if is_chunked:
        wire_bytes = (
            b"".join(b"%x;x=1\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        )
        headers = {"transfer-encoding": "chunked"}
    else:
        wire_bytes, headers = body, {"content-length": str(len(body))}
    whole = Response(200, headers, io.BufferedReader(io.BytesIO(wire_bytes)))
    lines = Response(200, headers, io.BufferedReader(io.BytesIO(wire_bytes)))
    assert whole.read() == body
    assert b"".join(lines.lines()) == body[: body.rfind(b"\n") + 1]


@settings(max_examples=100)
@given(st.text())
def test_nothing_that_is_shown_acts_on_a_terminal(text):
    shown = escape(text)
    assert not any(character < " " or "\x7f" <= character <= "\x9f" for character in shown)
    assert not set(shown) & set("\u2028\u2029\u202e\u2066\ufeff")
    assert escape(shown) == shown


@settings(max_examples=100)
@given(VALUES)
def test_json_says_the_same_and_acts_on_no_terminal(value):
    text = to_json(value, indent=None)
    assert json.loads(text) == value
    assert escape(text) == text


@settings(max_examples=100)
@given(
    st.integers(1, 10**10).map(lambda milliseconds: durations.format_duration(milliseconds / 1000))
)
def test_durations_mean_here_what_they_mean_to_the_daemon(text):
    assert parse_duration(text) == durations.parse_duration(text)


@settings(max_examples=100)
@given(
    st.lists(
        st.from_regex(r"session_2026030[1-3]_0900[0-5]0_[0-9a-f]{8}(-[2-4])?", fullmatch=True),
        max_size=8,
        unique=True,
    ),
    st.data(),
)
def test_an_id_always_means_itself_and_an_ambiguity_names_every_candidate(ids, data):
    for id in ids:
        assert wire.choose(id, ids) == [id]
    start = data.draw(st.sampled_from(["session_", "2026", "20260302", "session_20260301_0900"]))
    full = start if start.startswith("session_") else f"session_{start}"
    assert wire.choose(start, ids) == [id for id in ids if id.startswith(full)]
