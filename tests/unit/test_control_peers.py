"""Who is at the other end, and who may talk to the daemon."""

import os
import socket

import pytest

from hive_daemon.control.peers import Admission, Peer, peer_of
from hive_daemon.errors import Denied

ADMISSION = Admission(own_uid=1000, uids=frozenset({1001}), gids=frozenset({500}))


def test_the_kernel_says_who_connected():
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        peer = peer_of(ours)
    assert (peer.uid, peer.gid) == (os.geteuid(), os.getegid())
    assert peer.groups == frozenset(os.getgroups())
    assert str(peer) == f"uid:{os.geteuid()}"


@pytest.mark.parametrize(
    "peer",
    [
        Peer(0, 0),
        Peer(1000, 1000),
        Peer(1001, 1001),
        Peer(4000, 500),
        Peer(4000, 4000, frozenset({4001, 500})),
    ],
)
def test_these_may_talk_to_the_daemon(peer):
    ADMISSION.check(peer)


@pytest.mark.parametrize(
    "peer",
    [Peer(4000, 4000), Peer(65534, 65534), Peer(500, 1001), Peer(4000, 0), Peer(4000, 1000)],
)
def test_others_may_not(peer):
    with pytest.raises(Denied, match=f"user {peer.uid} may not") as caught:
        ADMISSION.check(peer)
    assert "allow_uids" in caught.value.hint


def test_the_daemons_own_user_needs_no_configuration():
    Admission.of((), ()).check(Peer(os.geteuid(), 4000))


class Older:
    """A kernel that does not know SO_PEERGROUPS."""

    def getsockopt(self, level, option, size):
        if option != socket.SO_PEERCRED:
            raise OSError(92, "Protocol not available")
        return bytes(4) + (7).to_bytes(4, "little") + (8).to_bytes(4, "little")


def test_a_kernel_that_does_not_tell_the_groups_tells_the_own_one():
    assert peer_of(Older()) == Peer(7, 8)
