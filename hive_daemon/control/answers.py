"""Answers as bytes: JSON objects with the headers that every answer of the daemon has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

from hive_daemon import __version__
from hive_daemon.control.wire import VERSION_HEADER

Json = dict[str, Any]

HEADERS: Mapping[str, str] = {
    VERSION_HEADER: __version__,
    "Server": "hived",
    "Cache-Control": "no-store",
}


def answer(
    content: Mapping[str, Any] | bytes, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Answer with a JSON object, given as values or already written."""
    body = content if isinstance(content, bytes) else orjson.dumps(content)
    return web.Response(
        status=status,
        body=body,
        content_type="application/json",
        headers={**HEADERS, **(headers or {})},
    )


def listed(items: list[Json], next_cursor: str | None = None) -> web.Response:
    """Answer with one page of a list."""
    return answer({"items": items, "next_cursor": next_cursor})
