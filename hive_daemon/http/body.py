"""Reading the body of a request, within its limits: as it came, and unpacked.

The two are apart because a signature is made over what came, and because nothing is unpacked for somebody who has not
signed.
"""

from __future__ import annotations

import zlib
from http import HTTPStatus

from aiohttp import HttpVersion11, web
from aiohttp.http import HttpProcessingError

from hive_daemon.http.answers import RequestRefused
from hive_daemon.http.connection import BodyCut, connection_of

GZIP_WINDOW = 16 + zlib.MAX_WBITS
BARE_WINDOW = -zlib.MAX_WBITS
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_NO_PACKING = frozenset({"", "identity"})
_GZIP = frozenset({"gzip", "x-gzip"})


async def read_body(
    request: web.BaseRequest, limit: int | None = None, seconds: float | None = None
) -> bytes:
    """Return the body as it came, at most `limit` bytes, else what the listener takes.

    `seconds`, from the end of the head to the end of the body, replaces the listener's.

    Raises RequestRefused: 413 (announced too long: nothing of it was read), 408, 400, 503; ConnectionError if the peer
    left.
    """
    if limit is None:
        limit = request.client_max_size
    if seconds is not None:
        connection_of(request.protocol).allow_body(seconds)
    length = request.content_length
    if length is not None and length > limit:
        raise _too_large(limit)
    content = request.content
    if not content.is_eof():
        await _invite(request)
    taken = bytearray()
    try:
        while not content.at_eof():
            taken += await content.readany()
            if len(taken) > limit:
                raise _too_large(limit)
    except BodyCut as cut:
        raise cut.refusal from None
    except (web.RequestPayloadError, HttpProcessingError) as error:
        raise RequestRefused(HTTPStatus.BAD_REQUEST, "The body is broken") from error
    return bytes(taken)


async def _invite(request: web.BaseRequest) -> None:
    """Tell a sender that waits for it to send the body. Source: RFC 9110, section 10.1.1."""
    expects = request.headers.get("Expect", "").lower() == "100-continue"
    if expects and request.version >= HttpVersion11:
        await request.writer.write(CONTINUE)


def unpack_body(taken: bytes, packing: str, limit: int) -> bytes:
    """Return the body without its `Content-Encoding`; `packing` is that header, empty for none.

    Never makes more than `limit` bytes. Raises RequestRefused: 415 for what is neither gzip nor deflate, 413, 400.
    """
    name = packing.strip().lower()
    if name in _NO_PACKING:
        return taken
    try:
        if name in _GZIP:
            return _gunzip(taken, limit)
        if name == "deflate":
            return _inflate(taken, limit)
    except zlib.error as error:
        raise _broken_packing(name) from error
    raise RequestRefused(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Only gzip and deflate are unpacked", closes=False
    )


def _gunzip(taken: bytes, limit: int) -> bytes:
    """Unpack all members of a gzip file. Source: RFC 1952, section 2.2."""
    unpacked = b""
    while taken:
        unpacker = zlib.decompressobj(GZIP_WINDOW)
        unpacked += _unpack(unpacker, taken, limit - len(unpacked))
        taken = unpacker.unused_data
    return unpacked


def _inflate(taken: bytes, limit: int) -> bytes:
    """Unpack zlib, or the bare deflate that some send under its name. Source: RFC 9110, section 8.4.1.2."""
    is_zlib = taken[:1] and taken[0] & 0x0F == zlib.DEFLATED
    unpacker = zlib.decompressobj(zlib.MAX_WBITS if is_zlib else BARE_WINDOW)
    unpacked = _unpack(unpacker, taken, limit)
    if unpacker.unused_data:
        raise _broken_packing("deflate")
    return unpacked


def _unpack(unpacker: zlib._Decompress, taken: bytes, limit: int) -> bytes:
    unpacked = unpacker.decompress(taken, limit + 1)
    if len(unpacked) > limit:
        raise _too_large(limit, closes=False)
    if not unpacker.eof:
        raise _broken_packing("compressed")
    return unpacked


def _too_large(limit: int, *, closes: bool = True) -> RequestRefused:
    return RequestRefused(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"The body is larger than {limit} bytes",
        closes=closes,
    )


def _broken_packing(name: str) -> RequestRefused:
    return RequestRefused(HTTPStatus.BAD_REQUEST, f"The {name} body is broken", closes=False)
