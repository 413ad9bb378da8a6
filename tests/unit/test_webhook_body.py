"""Unpacking the body of a request within its limit."""

import gzip
import zlib
from http import HTTPStatus

import pytest

from hive_daemon.http.answers import RequestRefused
from hive_daemon.http.body import unpack_body

BODY = b'{"action": "opened", "numbers": [1, 2, 3]}' * 20
LIMIT = 10_000


def bare_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


def gzipped(body: bytes) -> bytes:
    """Pack without the time of day, so that the tests are called the same in every process."""
    return gzip.compress(body, mtime=0)


def refusal(taken: bytes, packing: str, limit: int = LIMIT) -> HTTPStatus:
    with pytest.raises(RequestRefused) as refused:
        unpack_body(taken, packing, limit)
    return refused.value.status


@pytest.mark.parametrize(
    ("taken", "packing"),
    [
        (BODY, ""),
        (BODY, "identity"),
        (gzipped(BODY), "gzip"),
        (gzipped(BODY), " GZip "),
        (gzipped(BODY), "x-gzip"),
        (gzipped(BODY[:100]) + gzipped(BODY[100:]), "gzip"),
        (zlib.compress(BODY), "deflate"),
        (bare_deflate(BODY), "deflate"),
        (b"", "gzip"),
    ],
)
def test_what_was_packed_is_unpacked(taken: bytes, packing: str) -> None:
    assert unpack_body(taken, packing, LIMIT) == (BODY if taken else b"")


@pytest.mark.parametrize(
    "packing", ["br", "zstd", "compress", "gzip, gzip", "gzip,deflate", "\xff"]
)
def test_another_packing_is_named_as_unsupported(packing: str) -> None:
    assert refusal(BODY, packing) is HTTPStatus.UNSUPPORTED_MEDIA_TYPE


@pytest.mark.parametrize(
    ("taken", "packing"),
    [
        (b"not packed", "gzip"),
        (b"\xf8not packed", "deflate"),
        (gzipped(BODY)[:-1], "gzip"),
        (gzipped(BODY)[:-4] + b"\0\0\0\0", "gzip"),
        (gzipped(BODY) + b"tail", "gzip"),
        (zlib.compress(BODY) + b"tail", "deflate"),
        (zlib.compress(BODY)[:-1], "deflate"),
        (b"", "deflate"),
    ],
)
def test_a_broken_packing_is_a_bad_request(taken: bytes, packing: str) -> None:
    assert refusal(taken, packing) is HTTPStatus.BAD_REQUEST


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, bare_deflate])
def test_a_bomb_is_refused_when_the_limit_is_passed(pack) -> None:  # type: ignore[no-untyped-def]
    packing = "gzip" if pack is gzip.compress else "deflate"
    taken = pack(b"0" * 50_000_000)
    assert refusal(taken, packing) is HTTPStatus.REQUEST_ENTITY_TOO_LARGE


def test_the_limit_holds_over_all_members_of_a_file() -> None:
    member = gzip.compress(b"x" * 600)
    assert len(unpack_body(member, "gzip", 1000)) == 600
    assert refusal(member * 2, "gzip", 1000) is HTTPStatus.REQUEST_ENTITY_TOO_LARGE


def test_a_body_of_exactly_the_limit_is_unpacked() -> None:
    assert len(unpack_body(gzip.compress(b"x" * 1000), "gzip", 1000)) == 1000
    assert refusal(gzip.compress(b"x" * 1001), "gzip", 1000) is HTTPStatus.REQUEST_ENTITY_TOO_LARGE
