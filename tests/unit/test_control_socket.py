"""The file of the control socket: open to nobody else, replaced when stale, respected when live."""

import errno
import os
import socket
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from hive_daemon.control.socket import SocketTaken, bind


@pytest.fixture
def path(tmp_path):
    return tmp_path / "hived.sock"


@pytest.fixture
def umask():
    """Set the umask for one test."""
    old = os.umask(0o022)
    os.umask(old)
    yield os.umask
    os.umask(old)


def mode(path):
    return stat.S_IMODE(path.lstat().st_mode)


def stale(path):
    """Leave a socket behind, as `kill -9` does."""
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o777])
def test_owner_and_group_may_connect_whatever_the_umask_is(path, umask, mask):
    umask(mask)
    bound = bind(path)
    assert mode(path) == 0o660
    bound.socket.close()


def test_the_file_is_never_open_to_others_not_even_for_a_moment(path, umask, monkeypatch):
    seen = []
    chmod = type(path).chmod
    monkeypatch.setattr(
        type(path), "chmod", lambda self, to: (seen.append(mode(self)), chmod(self, to))
    )
    umask(0)
    bind(path).socket.close()
    assert [one & 0o007 for one in seen] == [0]


def test_it_listens_at_once(path):
    bound = bind(path)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    bound.socket.close()


def test_a_stale_socket_is_replaced(path):
    stale(path)
    bound = bind(path)
    assert bound.is_in_place
    bound.socket.close()


def test_a_live_socket_is_respected(path):
    first = bind(path)
    with pytest.raises(SocketTaken, match="another process listens on") as caught:
        bind(path)
    assert caught.value.errno == errno.EADDRINUSE
    assert str(path) in str(caught.value)
    assert first.is_in_place
    first.socket.close()


def test_a_live_socket_with_a_full_queue_is_respected(path):
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as client:
        busy.bind(str(path))
        busy.listen(0)
        client.connect(str(path))
        with pytest.raises(SocketTaken, match="another process listens on"):
            bind(path)


@pytest.mark.parametrize("target", ["elsewhere", "nothing", "socket"])
def test_a_symbolic_link_is_refused_wherever_it_leads(path, tmp_path, target):
    if target == "elsewhere":
        (tmp_path / target).write_text("precious")
    if target == "socket":
        stale(tmp_path / target)
    path.symlink_to(tmp_path / target)
    with pytest.raises(SocketTaken, match="a symbolic link"):
        bind(path)
    assert path.is_symlink()
    if target == "elsewhere":
        assert (tmp_path / target).read_text() == "precious"


def test_a_file_in_the_way_is_refused_and_kept(path):
    path.write_text("precious")
    with pytest.raises(SocketTaken, match="it is a file, not a socket; remove it"):
        bind(path)
    assert path.read_text() == "precious"


def test_a_directory_in_the_way_is_refused(path):
    path.mkdir()
    with pytest.raises(SocketTaken, match="it is a directory"):
        bind(path)


def test_a_missing_directory_is_made_for_the_owner_alone(tmp_path, umask):
    umask(0)
    path = tmp_path / "run" / "hive" / "hived.sock"
    bound = bind(path)
    assert (mode(path.parent), mode(path.parent.parent)) == (0o700, 0o700)
    bound.socket.close()


def test_a_directory_that_exists_keeps_its_mode(tmp_path):
    tmp_path.chmod(0o750)
    bound = bind(tmp_path / "hived.sock")
    assert mode(tmp_path) == 0o750
    bound.socket.close()


def test_the_file_goes_with_the_daemon(path):
    bound = bind(path)
    bound.socket.close()
    bound.remove()
    assert not path.exists()
    bound.remove()


def test_the_file_of_a_successor_stays(path):
    bound = bind(path)
    bound.socket.close()
    path.unlink()
    successor = bind(path)
    assert not bound.is_in_place
    bound.remove()
    assert successor.is_in_place
    successor.socket.close()


def test_a_path_that_is_too_long_is_an_error_of_the_system(tmp_path):
    with pytest.raises(OSError, match="too long"):
        bind(tmp_path / ("x" * 108))


def test_it_is_not_handed_on_to_children(path):
    bound = bind(path)
    assert not os.get_inheritable(bound.socket.fileno())
    listing = "import os; print(len(os.listdir('/proc/self/fd')))"
    shown = subprocess.run([sys.executable, "-c", listing], capture_output=True, check=True)
    assert int(shown.stdout) < 10
    bound.socket.close()


def test_of_many_daemons_that_start_at_once_one_wins(path):
    """Source: reliability.md, R32."""
    stale(path)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: _try(path), range(8)))
    won = [bound for bound in results if bound is not None]
    assert len(won) == 1
    assert won[0].is_in_place
    won[0].socket.close()


def _try(path):
    try:
        return bind(path)
    except SocketTaken:
        return None
