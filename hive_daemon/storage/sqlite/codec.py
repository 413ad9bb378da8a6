"""How values are kept in a column: plain when small, compressed when larger, as a blob when large.

The first byte tells: 1 is zlib, 2 is a blob's key; anything else is the value itself (JSON never begins with either).
"""

from __future__ import annotations

import hashlib
import zlib

COMPRESS_OVER = 2_048
BLOB_OVER = 262_144
_ZLIB = b"\x01"
_BLOB = b"\x02"
_MARKS = (_ZLIB, _BLOB)


def is_plain(value: bytes) -> bool:
    """Say whether a column holds the value as it is."""
    return len(value) <= COMPRESS_OVER and value[:1] not in _MARKS


def pack(value: bytes) -> bytes:
    """Return what a column holds for a value, or for the content of a blob."""
    if is_plain(value):
        return value
    return _ZLIB + zlib.compress(value, 1)


def blob_key(content: bytes) -> str:
    """Return the key of a large value: the SHA-256 of its content."""
    return hashlib.sha256(content).hexdigest()


def pack_key(key: str) -> bytes:
    """Return what a column holds for a value kept as a blob."""
    return _BLOB + key.encode()


def key_in(column: bytes) -> str | None:
    """Return the blob's key if the column holds one."""
    return column[1:].decode() if column[:1] == _BLOB else None


def unpack(column: bytes) -> bytes:
    """Return the value that `pack` packed. Raises zlib.error for damaged bytes."""
    return zlib.decompress(column[1:]) if column[:1] == _ZLIB else column
