"""Laws of how values are kept in columns."""

from __future__ import annotations

import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from hive_daemon.storage.sqlite.codec import (
    BLOB_OVER,
    COMPRESS_OVER,
    blob_key,
    is_plain,
    key_in,
    pack,
    pack_key,
    unpack,
)

small = st.binary(max_size=64)
sizes = st.sampled_from([0, 1, COMPRESS_OVER - 1, COMPRESS_OVER, COMPRESS_OVER + 1, BLOB_OVER])
values = small | st.builds(lambda head, size: (head + bytes(size))[:size], small, sizes)


@settings(max_examples=300)
@given(values)
def test_what_was_packed_is_unpacked(value: bytes) -> None:
    assert unpack(pack(value)) == value


@settings(max_examples=300)
@given(values)
def test_a_packed_value_is_never_taken_for_a_blob_s_key(value: bytes) -> None:
    assert key_in(pack(value)) is None


@given(values)
def test_a_small_value_is_kept_as_it_is(value: bytes) -> None:
    if is_plain(value):
        assert pack(value) == value
    assert is_plain(b"{" + value[: COMPRESS_OVER - 1])


@given(values)
def test_a_key_is_the_hash_of_the_content_and_is_found_again(value: bytes) -> None:
    key = blob_key(value)
    assert key == hashlib.sha256(value).hexdigest()
    assert key_in(pack_key(key)) == key


@given(st.binary(min_size=1, max_size=20))
def test_packing_never_grows_a_value_by_much(value: bytes) -> None:
    for content in (value, value * 4_000):
        assert len(pack(content)) <= len(content) + 64
