"""Reading what services send, also where they take liberties."""

import pytest

from hive_daemon.llm.assembly import CallFragment, Piece, Usage
from hive_daemon.llm.failures import FailureKind, kind_of_body
from hive_daemon.llm.openai_documents import (
    error_in,
    has_answer,
    piece_of_answer,
    piece_of_chunk,
    read_document,
    usage_of,
)


def chunk(**delta):
    return {"model": "m", "choices": [{"delta": delta, "finish_reason": None}]}


@pytest.mark.parametrize(
    ("document", "piece"),
    [
        (chunk(content="hi"), Piece(text="hi", model="m")),
        (chunk(content=None, role="assistant"), Piece(model="m")),
        (
            chunk(content=[{"type": "text", "text": "a"}, {"type": "x"}, {"text": "b"}]),
            Piece(text="ab", model="m"),
        ),
        (chunk(reasoning_content="hm"), Piece(reasoning="hm", model="m")),
        (chunk(reasoning="hm"), Piece(reasoning="hm", model="m")),
        (chunk(refusal="I will not."), Piece(text="I will not.", model="m")),
        ({"choices": [{"delta": None, "finish_reason": "stop"}]}, Piece(stop_reason="stop")),
        ({"choices": [{}]}, Piece()),
        ({"choices": [None]}, Piece()),
        ({"choices": None, "usage": {"prompt_tokens": 3}}, Piece(usage=Usage(3))),
        ({}, Piece()),
    ],
)
def test_a_chunk_is_read_whatever_it_lacks(document, piece):
    assert piece_of_chunk(document) == piece


def test_fragments_of_calls_are_read_with_the_index_that_they_have():
    calls = [
        {"index": 1, "id": "c", "function": {"name": "add", "arguments": None}},
        {"function": {"arguments": '{"a"'}},
        "nonsense",
    ]
    assert piece_of_chunk(chunk(tool_calls=calls)).fragments == (
        CallFragment(1, "c", "add"),
        CallFragment(None, "", "", '{"a"'),
    )


def test_the_calls_of_a_whole_answer_are_numbered_by_their_places():
    call = {"id": "", "function": {"name": "add", "arguments": {"a": 1}}}
    message = {"content": None, "tool_calls": [call, call]}
    piece = piece_of_answer({"choices": [{"message": message}]})
    assert [fragment.index for fragment in piece.fragments] == [0, 1]
    assert piece.fragments[0].arguments == '{"a": 1}'


@pytest.mark.parametrize(
    ("document", "usage"),
    [
        (None, None),
        ({}, None),
        ("many", None),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 5,
                "prompt_tokens_details": {"cached_tokens": 4},
                "completion_tokens_details": {"reasoning_tokens": 2},
            },
            Usage(9, 5, 4, 2),
        ),
        ({"prompt_tokens": 9, "prompt_tokens_details": None}, Usage(9)),
        ({"prompt_tokens": 9, "prompt_cache_hit_tokens": 7}, Usage(9, 0, 7)),
        ({"prompt_tokens": "9", "completion_tokens": -1}, Usage()),
    ],
)
def test_token_counts_are_read_in_the_shapes_that_services_use(document, usage):
    assert usage_of(document) == usage


@pytest.mark.parametrize("data", [b"", b"[]", b"nonsense", b'"text"', b"\xff"])
def test_what_is_no_object_is_no_document(data):
    with pytest.raises(ValueError, match=r"."):
        read_document(data)


def test_an_error_is_found_in_each_shape():
    assert error_in({"error": {"message": "no"}}) == {"message": "no"}
    assert error_in({"error": "no"}) == {"message": "no"}
    assert error_in({"error": None, "choices": []}) is None


@pytest.mark.parametrize("choices", [None, [], [{}], [{"message": None}]])
def test_an_answer_without_a_message_is_none(choices):
    assert not has_answer({"choices": choices})


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (None, {"type": "server_error"}, FailureKind.TRANSIENT),
        (None, {"code": "rate_limit_exceeded"}, FailureKind.RATE_LIMITED),
        (None, {"type": "insufficient_quota", "code": None}, FailureKind.QUOTA),
        (None, {"type": "invalid_request_error"}, FailureKind.BAD_REQUEST),
        (None, {"type": "authentication_error"}, FailureKind.AUTH),
        (None, {"code": 429}, FailureKind.RATE_LIMITED),
        (None, {"code": 7}, FailureKind.TRANSIENT),
        (None, {}, FailureKind.TRANSIENT),
        (429, {"type": "insufficient_quota"}, FailureKind.QUOTA),
        (400, {"type": "exceed_context_size_error", "code": 400}, FailureKind.CONTEXT_LENGTH),
        (400, {"param": "input_tokens", "code": 400}, FailureKind.CONTEXT_LENGTH),
        (400, {"param": "temperature", "code": 400}, FailureKind.BAD_REQUEST),
        (401, {"code": "rate_limit_exceeded"}, FailureKind.AUTH),
        (307, {}, FailureKind.BAD_REQUEST),
    ],
)
def test_the_kind_of_an_error_as_services_write_it(status, error, kind):
    assert kind_of_body(status, error) is kind
