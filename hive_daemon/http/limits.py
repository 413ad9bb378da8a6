"""What one sender may take from a listener: time, bytes, connections."""

from __future__ import annotations

import resource
from dataclasses import dataclass, field

BACKLOG = 128
"""Connections that the system holds until they are accepted; a burst beyond it waits a second for its next try."""

BURST = 32
"""Connections accepted in one turn of the event loop."""

RESERVED_DESCRIPTORS = 64
MOST_CONNECTIONS = 512
MAX_BODY = 1_048_576


def connection_limit() -> int:
    """Return how many connections leave descriptors for everything else, at most 512.

    Source: RLIMIT_NOFILE, less what is accepted in one turn, less a reserve for the store and the children.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return min(MOST_CONNECTIONS, max(8, soft - BURST - RESERVED_DESCRIPTORS))


@dataclass(frozen=True, slots=True)
class ListenerLimits:
    """What one sender may take. Seconds, bytes, and open connections.

    `head_seconds` runs from the connection, or the first byte of a further request, to the end of its head;
    `body_seconds` from there to the end of its body; `idle_seconds` from an answer to the next request.
    """

    head_seconds: float = 10.0
    body_seconds: float = 30.0
    idle_seconds: float = 30.0
    linger_seconds: float = 1.0
    max_body: int = MAX_BODY
    connections: int = field(default_factory=connection_limit)
