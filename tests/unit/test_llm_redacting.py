"""Keys stay out of what a service says."""

import pytest

from hive_daemon.llm.redacting import LONGEST_ERROR, secrets_in, without


@pytest.mark.parametrize(
    ("named", "secrets"),
    [
        ({"api_key": "sk-123456"}, ["sk-123456"]),
        ({"OPENAI_API_KEY": "sk-123456", "HOME": "/home/ann"}, ["sk-123456"]),
        ({"api_key": "short"}, []),
        ({"api_key": None, "max_tokens": 4096}, []),
        ({"extra_headers": {"X-Auth-Token": "abcdefgh", "X-Team": "blueblue"}}, ["abcdefgh"]),
    ],
)
def test_what_is_called_a_secret_is_one(named, secrets):
    assert secrets_in(named) == secrets


def test_the_longest_secret_is_taken_out_first():
    assert without("key sk-123456-long of sk-123456", ["sk-123456", "sk-123456-long"]) == (
        "key *** of ***"
    )


def test_a_text_without_end_is_cut_after_the_secrets_are_gone():
    text = "x" * (LONGEST_ERROR - 4) + "sk-123456"
    assert without(text, ["sk-123456"]) == "x" * (LONGEST_ERROR - 4) + "***"
