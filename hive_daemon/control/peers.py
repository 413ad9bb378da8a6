"""Who is at the other end of a connection, and whether it may talk to the daemon.

Source: unix(7), SO_PEERCRED, and SO_PEERGROUPS since Linux 4.13. The kernel notes who connected; nothing that a peer
sends can change it.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from hive_daemon.errors import Denied

ROOT_UID = 0

_SO_PEERGROUPS = 59
_CREDENTIALS = struct.Struct("iII")
_GROUP = struct.Struct("I")
_MOST_BYTES = 1024
"""What Python lets getsockopt answer: 256 groups. Who has more is known by its own group alone."""


class PeerSocket(Protocol):
    """The part of a socket that tells who is at its other end."""

    def getsockopt(self, level: int, option: int, buffer_size: int) -> bytes:
        """Return a socket option as bytes. Raises OSError."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The process that connected, by the numbers of its user and groups."""

    uid: int
    gid: int
    groups: frozenset[int] = frozenset()

    def __str__(self) -> str:
        return f"uid:{self.uid}"


@dataclass(frozen=True, slots=True)
class Admission:
    """Who may talk to the daemon: root, its own user, and whom the configuration names."""

    own_uid: int = field(default_factory=os.geteuid)
    uids: frozenset[int] = frozenset()
    gids: frozenset[int] = frozenset()

    @classmethod
    def of(cls, uids: Iterable[int], gids: Iterable[int]) -> Admission:
        """Return the admission of this process with what the configuration says."""
        return cls(uids=frozenset(uids), gids=frozenset(gids))

    def check(self, peer: Peer) -> None:
        """Raise Denied unless the peer may talk to the daemon."""
        if peer.uid in (ROOT_UID, self.own_uid) or peer.uid in self.uids:
            return
        if self.gids & {peer.gid, *peer.groups}:
            return
        raise Denied(
            f"user {peer.uid} may not use this daemon",
            hint="name the user in control.allow_uids, or one of its groups in control.allow_gids",
        )


def peer_of(connected: PeerSocket) -> Peer:
    """Return who is at the other end of a Unix socket. Raises OSError."""
    packed = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, gid = _CREDENTIALS.unpack(packed)
    return Peer(uid, gid, _groups(connected))


def _groups(connected: PeerSocket) -> frozenset[int]:
    try:
        packed = connected.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MOST_BYTES)
    except OSError:
        return frozenset()
    return frozenset(number for (number,) in _GROUP.iter_unpack(packed))
