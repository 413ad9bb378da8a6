"""Our own client of the OpenAI chat completions protocol; the only module of `llm` that opens sockets.

All providers of an event loop share one session, with connections kept alive and no limit on their number (the daemon
bounds its executions); the last provider that is closed closes it. No redirect is followed, so that a key goes only
where the configuration sends it, and no answer may be larger than `MOST_BYTES`. Whatever goes wrong is raised as
`CallUnavailable` or `CallRejected`. Deadlines are the caller's.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass
from weakref import WeakKeyDictionary

import aiohttp

from hive_daemon import __version__
from hive_daemon.clock import SYSTEM_CLOCK, Clock
from hive_daemon.llm.assembly import Piece
from hive_daemon.llm.calling import Whole, broken_off
from hive_daemon.llm.event_stream import EventStream
from hive_daemon.llm.failures import (
    CallFailure,
    CallRejected,
    CallUnavailable,
    FailureKind,
    call_failure,
    kind_of_body,
    retry_after_seconds,
)
from hive_daemon.llm.loop_users import LoopUsers
from hive_daemon.llm.openai_documents import (
    DONE,
    Document,
    error_in,
    has_answer,
    piece_of_answer,
    piece_of_chunk,
    read_document,
)
from hive_daemon.llm.redacting import secrets_in, without

MOST_BYTES = 64 * 2**20
"""The largest answer that is read; the text of a model is a thousandth of it."""
MOST_ERROR_BYTES = 64 * 2**10
LINGER_SECONDS = 0.2
JSON = "application/json"
AGENT = f"hive/{__version__}"

_users = LoopUsers()
_sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.ClientSession] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Post:
    """A request to be sent. `model` is the name for messages, as configured."""

    model: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: Mapping[str, Any] = field(repr=False)
    clock: Clock = SYSTEM_CLOCK


def enter(user: object) -> None:
    """Count a provider that uses the session of the running loop."""
    _users.enter(user)


async def leave(user: object) -> None:
    """Count it no more; the last one closes the session."""
    if _users.leave(user):
        await close_session()


async def close_session() -> None:
    """Close the session of the running loop, whoever uses it; the next call opens a new one."""
    _users.clear()
    session = _sessions.pop(asyncio.get_running_loop(), None)
    if session is not None:
        await session.close()


async def whole(post: Post) -> Whole:
    """Send a request and read the whole answer."""
    async with _answered(post) as response:
        document = _document(post, await _body(post, response))
        if not has_answer(document):
            raise broken_off(post.model)
        return Whole(piece_of_answer(document), document)


async def pieces(post: Post) -> AsyncGenerator[tuple[Piece, ...], None]:
    """Send a request and read the answer piece by piece; closing the generator drops the connection."""
    async with _answered(post) as response:
        if response.content_type == JSON:
            # The service does not stream, whatever it was asked for.
            document = _document(post, await _body(post, response))
            yield (piece_of_answer(document),)
            return
        reading = _Reading(post)
        async for data in response.content.iter_any():
            if batch := reading.take(data):
                yield batch
            if reading.failure is not None:
                raise reading.failure
            if reading.is_over:
                await _linger(response)
                return
        if batch := reading.end():
            yield batch


class _Reading:
    """A streamed answer on its way in: what came before a fault is handed out before the fault is raised."""

    def __init__(self, post: Post) -> None:
        self.failure: CallFailure | None = None
        self.is_over = False
        self._post = post
        self._stream = EventStream()
        self._bytes = 0

    def take(self, data: bytes) -> tuple[Piece, ...]:
        """Read what arrived together."""
        self._bytes += len(data)
        if self._bytes > MOST_BYTES:
            self.failure = _too_large(self._post)
            return ()
        return self._read(self._stream.feed(data))

    def end(self) -> tuple[Piece, ...]:
        """Read what the end of the body completes."""
        return self._read(self._stream.end())

    def _read(self, events: Iterable[bytes]) -> tuple[Piece, ...]:
        found: list[Piece] = []
        for data in events:
            if data == DONE:
                self.is_over = True
                break
            try:
                found.append(piece_of_chunk(_document(self._post, data)))
            except (CallUnavailable, CallRejected) as error:
                self.failure = error
                break
        return tuple(found)


async def _body(post: Post, response: aiohttp.ClientResponse) -> bytes:
    read = bytearray()
    async for received in response.content.iter_any():
        read += received
        if len(read) > MOST_BYTES:
            raise _too_large(post)
    return bytes(read)


async def _linger(response: aiohttp.ClientResponse) -> None:
    """Wait a moment for the end of an answer that is complete: only then can its connection be used again."""
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            async for _ in response.content.iter_any():
                pass
    except TimeoutError:
        response.close()


@asynccontextmanager
async def _answered(post: Post) -> AsyncIterator[aiohttp.ClientResponse]:
    """Give a good answer, its body still to be read."""
    failure: CallFailure
    try:
        async with _session().post(
            post.url,
            data=json.dumps(post.body).encode(),
            headers=post.headers,
            allow_redirects=False,
            proxy=_proxy_of(post.url),
        ) as response:
            if response.status != HTTPStatus.OK:
                raise await _refusal(post, response)
            yield response
            return
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
        failure = _failure(post, FailureKind.BAD_REQUEST, f"no address to call: {error}")
    except aiohttp.ClientPayloadError:
        failure = broken_off(post.model)
    except (aiohttp.ClientError, OSError) as error:
        failure = _failure(post, FailureKind.TRANSIENT, str(error) or type(error).__name__)
    # Outside the handler: the original, whose text may hold the key, must not hang on as its context.
    raise failure


def _session() -> aiohttp.ClientSession:
    loop = asyncio.get_running_loop()
    session = _sessions.get(loop)
    if session is None or session.closed:
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            cookie_jar=aiohttp.DummyCookieJar(),
            # Compressed streams come late, and cost what they save.
            headers={"User-Agent": AGENT, "Accept-Encoding": "identity"},
        )
        _sessions[loop] = session
    return session


def _proxy_of(url: str) -> str | None:
    """Return the proxy that the environment names for an address, as other programs read it."""
    proxies = getproxies()
    parts = urlsplit(url)
    if not proxies or proxy_bypass(parts.netloc):
        return None
    return proxies.get(parts.scheme) or None


def _document(post: Post, data: bytes) -> Document:
    try:
        document = read_document(data)
    except ValueError:
        raise broken_off(post.model) from None
    error = error_in(document)
    if error is not None:
        raise _refused(post, None, error, {})
    return document


async def _refusal(post: Post, response: aiohttp.ClientResponse) -> CallFailure:
    read = bytearray()
    async for received in response.content.iter_any():
        read += received
        if len(read) > MOST_ERROR_BYTES:
            break
    try:
        document = read_document(bytes(read))
    except ValueError:
        document = {}
    error = error_in(document) or document
    headers = {name.lower(): value for name, value in response.headers.items()}
    return _refused(post, response.status, error, headers)


def _refused(
    post: Post, status: int | None, error: Document, headers: Mapping[str, str]
) -> CallFailure:
    said = error.get("message") or error.get("detail") or "no reason given"
    failure = _failure(
        post,
        kind_of_body(status, error),
        f"{said} (HTTP {status})" if status is not None else str(said),
    )
    if isinstance(failure, CallUnavailable):
        failure.retry_after_seconds = retry_after_seconds(headers, post.clock.time())
    if status == HTTPStatus.NOT_FOUND:
        failure.hint = f"no such model, or no such address: {post.url}"
    return failure


def _failure(post: Post, kind: FailureKind, text: str) -> CallFailure:
    bare = post.headers.get("Authorization", "").removeprefix("Bearer ")
    secrets = secrets_in(os.environ, post.headers, {"key": bare})
    return call_failure(kind, f"{post.model}: {without(text, secrets)}", subject=post.model)


def _too_large(post: Post) -> CallFailure:
    return _failure(
        post, FailureKind.BAD_REQUEST, f"the answer is larger than {MOST_BYTES >> 20} MiB"
    )
