"""Laws of the model layer."""

import json
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from hive_daemon.llm.assembly import Assembler, CallFragment, Piece
from hive_daemon.llm.plausible import plausible
from hive_daemon.llm.script import parse_script, pick
from hive_daemon.llm.script_template import TemplateFault, check, fill_text
from hive_daemon.llm.stream_events import TextDeltaEvent, TextEndEvent, ToolCallEvent
from hive_daemon.llm.values import CallContext

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.text(max_size=4), JSON, max_size=3)


def split(data, text):
    """Cut a text anywhere."""
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
