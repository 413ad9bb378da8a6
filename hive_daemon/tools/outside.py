"""Telling failures of the world outside from a tool's own: only these say something about the model's choice."""

from __future__ import annotations

import errno
import socket
from urllib.error import URLError

from hive_daemon.errors import ModelUnavailable

_UNREACHABLE = frozenset(
    {
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENETRESET,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ETIMEDOUT,
    }
)

_KINDS = frozenset(
    {
        ("aiohttp", "ClientConnectionError"),
        ("httpx", "TransportError"),
        ("httpx2", "TransportError"),
        ("requests", "ConnectionError"),
        ("requests", "Timeout"),
        ("urllib3", "TimeoutError"),
        ("urllib3", "NewConnectionError"),
        ("urllib3", "MaxRetryError"),
    }
)
"""Package and class of what HTTP libraries raise when no answer came; they are not imported for it."""


def is_outside(error: BaseException) -> bool:
    """Say whether a network, a server or a service could not be reached, or gave no answer in time."""
    if isinstance(error, ConnectionError | TimeoutError | ModelUnavailable):
        return True
    if isinstance(error, URLError):
        return isinstance(error.reason, BaseException) and is_outside(error.reason)
    if isinstance(error, socket.gaierror):
        return error.errno == socket.EAI_AGAIN
    if isinstance(error, OSError) and error.errno in _UNREACHABLE:
        return True
    kinds = ((kind.__module__.partition(".")[0], kind.__name__) for kind in type(error).__mro__)
    return not _KINDS.isdisjoint(kinds)
