"""What stays of an error: the same trouble has one signature, another trouble another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hive_daemon.monitoring.signature import MOST_CHARS, normalise


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("File 17 of 20 not found", "file 3 of 9  not found"),
        ("timeout after 30.5 s", "timeout after 4 s"),
        ("at 2026-03-02T09:00:00.000Z it broke", "at 2026-11-21T14:05:09.123Z it broke"),
        (
            "no session_20260302_090000_0000abcd here",
            "no session_20261121_140500_ffff1234-2 here",
        ),
        (
            "request 7f9c1a2b-1234-4c3d-9e8f-001122334455 failed",
            "request 00112233-4455-6677-8899-aabbccddeeff failed",
        ),
        ("commit 4bf92f3577b34da6a3ce929d is gone", "commit 0af7651916cd43dd8448eb21 is gone"),
        ("object at 0x7f0a9c3b1d30 is dead", "object at 0x55aa00ff1122 is dead"),
    ],
)
def test_what_differs_from_time_to_time_does_not_count(one, other):
    assert normalise(one) == normalise(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("File not found", "Permission denied"),
        ("no route to host alpha", "no route to host beta"),
        ("/etc/one is missing", "/etc/two is missing"),
    ],
)
def test_another_trouble_is_another_one(one, other):
    assert normalise(one) != normalise(other)


def test_words_that_look_like_numbers_in_hex_stay():
    assert normalise("the decade was faced") == "the decade was faced"


@given(st.text(max_size=400))
def test_normalising_again_changes_nothing_and_it_is_bounded(error):
    once = normalise(error)
    assert normalise(once) == once
    assert len(once) <= MOST_CHARS
