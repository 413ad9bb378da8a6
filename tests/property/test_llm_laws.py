"""Laws of the model layer."""

import asyncio
import json
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from hive_daemon.llm.assembly import Assembler, CallFragment, Piece, Usage
from hive_daemon.llm.billing import Bill
from hive_daemon.llm.calling import streamed_answer
from hive_daemon.llm.event_stream import EventStream
from hive_daemon.llm.failures import CallUnavailable
from hive_daemon.llm.fallbacks import in_order
from hive_daemon.llm.limits import Attempts, CallLimits
from hive_daemon.llm.plausible import plausible
from hive_daemon.llm.prices import PriceList, cost_of
from hive_daemon.llm.script import parse_script, pick
from hive_daemon.llm.script_template import TemplateFault, check, fill_text
from hive_daemon.llm.stream_events import (
    StreamResetEvent,
    TextDeltaEvent,
    TextEndEvent,
    ToolCallEvent,
)
from hive_daemon.llm.values import CallContext
from tests.fakes.clock import FakeClock

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.text(max_size=4), JSON, max_size=3)


def split(data, text):
    """Cut a text, or bytes, anywhere."""
    pieces = []
    while text:
        size = data.draw(st.integers(1, len(text)))
        pieces.append(text[:size])
        text = text[size:]
    return pieces


@settings(max_examples=80)
@given(st.data(), st.text(max_size=30), st.lists(OBJECTS, max_size=3))
def test_however_a_service_cuts_its_answer_it_comes_out_the_same(data, text, arguments):
    pieces = [Piece(text=part) for part in split(data, text)]
    queues = [
        [
            CallFragment(index, f"c{index}", "tool"),
            *(CallFragment(index, arguments=part) for part in split(data, json.dumps(given))),
        ]
        for index, given in enumerate(arguments)
    ]
    while any(queues):
        queue = data.draw(st.sampled_from([queue for queue in queues if queue]))
        pieces.append(Piece(fragments=(queue.pop(0),)))
    assembler = Assembler("m")
    events = [event for piece in pieces for event in assembler.feed(piece)]
    events += assembler.finish()
    said = [event.content for event in events if isinstance(event, TextDeltaEvent)]
    ends = [event.full_text for event in events if isinstance(event, TextEndEvent)]
    calls = {e.tool_use_id: e.tool_input for e in events if isinstance(e, ToolCallEvent)}
    assert "".join(said) == text
    assert ends == ([text] if text else [])
    assert calls == {f"c{index}": given for index, given in enumerate(arguments)}


@settings(max_examples=80)
@given(st.text(alphabet="{}| .'\"$abc019_()[]+", max_size=24), OBJECTS)
def test_a_template_either_is_refused_or_fills_or_says_why_not(text, values):
    try:
        check(text)
        filled = fill_text(text, values)
    except TemplateFault:
        return
    assert filled == text or re.search(r"\{\{.*\}\}", text, re.DOTALL)


@settings(max_examples=60)
@given(st.integers(0, 6), st.integers(0, 6))
def test_a_script_goes_on_where_the_conversation_stands_and_nowhere_else(turns, taken):
    script = parse_script({"default": [{"text": str(number)} for number in range(turns)]})
    asked, answered = {"role": "user", "content": "on"}, {"role": "assistant", "content": "…"}
    found = pick(script.default, [asked, *[answered, asked] * taken], CallContext())
    assert (found.text if found else None) == (str(taken) if taken < turns else None)


@settings(max_examples=80)
@given(
    st.data(),
    st.lists(st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), max_size=8)),
    st.sampled_from(["\n", "\r\n"]),
)
def test_however_the_network_cuts_a_stream_its_events_are_the_same(data, texts, line_end):
    lines = [f": note{line_end}data: {text}{line_end}id: 7{line_end}{line_end}" for text in texts]
    stream, events = EventStream(), []
    for part in split(data, "".join(lines).encode()):
        events += stream.feed(part)
    assert events == [text.encode() for text in texts]
    assert stream.end() == []


RATES = st.sampled_from([None, 0.0, 0.5, 2.0])
TOKENS = st.integers(0, 10_000)


@settings(max_examples=80)
@given(RATES, RATES, RATES, st.tuples(TOKENS, TOKENS, TOKENS, TOKENS))
def test_a_price_is_unknown_or_between_the_cheapest_and_the_dearest_rate(into, out, cached, counts):
    given_rates = {
        "input_cost_per_token": into,
        "output_cost_per_token": out,
        "cache_read_input_token_cost": cached,
    }
    entry = {name: rate for name, rate in given_rates.items() if rate is not None}
    usage = Usage(counts[0] + counts[2], counts[1] + counts[3], counts[2], counts[3])
    cost = cost_of(entry, usage)
    if into is None or out is None or not into + out:
        assert cost is None
        return
    total = usage.input_tokens + usage.output_tokens
    assert min(entry.values()) * total <= cost <= max(entry.values()) * total


@settings(max_examples=80)
@given(st.integers(1, 6), st.dictionaries(st.integers(0, 5), st.floats(0, 100)))
def test_every_model_of_a_chain_is_asked_once_the_rested_in_their_order_first(count, resting):
    order = in_order(count, resting, now=50.0)
    assert sorted(order) == list(range(count))
    awake = [place for place in order if resting.get(place, 0.0) <= 50.0]
    assert awake == sorted(awake) == order[: len(awake)]


TRIES = st.lists(
    st.tuples(st.lists(st.text("ab", min_size=1, max_size=3), max_size=4), st.booleans()),
    min_size=1,
    max_size=4,
)
"""The tries of a call: the text that each hands out, and whether it comes to its end."""


@settings(max_examples=80)
@given(TRIES, st.booleans())
def test_however_often_an_answer_breaks_off_its_text_is_that_of_one_try(tries, resets):
    given_tries = iter(tries)

    async def pieces():
        parts, is_complete = next(given_tries)
        for part in parts:
            yield (Piece(text=part, fragments=(CallFragment(0, "c", "tool", "{}"),)),)
        if not is_complete:
            raise CallUnavailable("cut")
        yield (Piece(stop_reason="stop", usage=Usage(1, 1)),)

    async def listen(events):
        limits = CallLimits(max_attempts=len(tries))
        attempts = Attempts("m", limits, FakeClock(), lambda: 0.0)
        bill = Bill("m", {}, PriceList(None))
        async for event in streamed_answer(attempts, bill, pieces, resets=resets):
            events.append(event)

    events = []
    try:
        asyncio.run(listen(events))
        is_answered = True
    except CallUnavailable:
        is_answered = False
    handed_out = [place for place, (parts, _) in enumerate(tries) if parts]
    complete = [place for place, (_, is_complete) in enumerate(tries) if is_complete]
    can_be = bool(complete) and (resets or not handed_out or handed_out[0] >= complete[0])
    assert is_answered == can_be
    marks = [place for place, event in enumerate(events) if isinstance(event, StreamResetEvent)]
    last = events[marks[-1] + 1 if marks else 0 :]
    said = "".join(event.content for event in last if isinstance(event, TextDeltaEvent))
    calls = [event for event in events if isinstance(event, ToolCallEvent)]
    if is_answered:
        assert said == "".join(tries[complete[0]][0])
        assert len(calls) == bool(tries[complete[0]][0])
    else:
        assert calls == []
    assert resets or not marks


SCHEMAS = st.recursive(
    st.sampled_from([{}, {"type": "string"}, {"type": "int"}, {"type": "boolean"}]),
    lambda inner: (
        st.builds(lambda items: {"type": "array", "items": items}, inner)
        | st.builds(
            lambda parts: {"type": "object", "properties": parts},
            st.dictionaries(st.text(min_size=1, max_size=3), inner, max_size=3),
        )
    ),
    max_leaves=5,
)


@settings(max_examples=60)
@given(SCHEMAS, st.integers(1, 3))
def test_a_made_up_value_is_never_empty_and_always_the_same(schema, visit):
    value = plausible("key", schema, visit)
    assert value not in (None, "", [], {})
    assert json.dumps(value) == json.dumps(plausible("key", schema, visit))
