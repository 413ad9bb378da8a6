"""Which failures of a tool say something about the model's choice."""

import errno
import socket
from urllib.error import HTTPError, URLError

import aiohttp
import pytest

from hive_daemon.errors import ModelUnavailable, NotFound
from hive_daemon.tools.outside import is_outside
from hive_daemon.tools.registry import ToolRegistry
from tests.fakes.loop_world import JumpingClock, PlayedModel, Tools, World, calls, node, says


def foreign(package, name):
    """An exception as an HTTP library defines it."""
    base = type(name, (Exception,), {"__module__": f"{package}.exceptions"})
    return type("Special", (base,), {"__module__": package})("gone")


OUTSIDE = [
    ConnectionRefusedError("nobody there"),
    TimeoutError("late"),
    OSError(errno.EHOSTUNREACH, "no route"),
    socket.gaierror(socket.EAI_AGAIN, "try again"),
    URLError(ConnectionResetError("reset")),
    aiohttp.ClientConnectionError("no connection"),
    aiohttp.ServerDisconnectedError(),
    foreign("httpx", "TransportError"),
    foreign("requests", "ConnectionError"),
    ModelUnavailable("busy"),
]
OWN = [
    ValueError("no number"),
    FileNotFoundError(errno.ENOENT, "no such file"),
    PermissionError(errno.EACCES, "not yours"),
    socket.gaierror(socket.EAI_NONAME, "no such host"),
    HTTPError("http://x", 404, "not found", None, None),
    URLError("unknown url type"),
    NotFound("no such thing"),
    foreign("mine", "TransportError"),
]


@pytest.mark.parametrize("error", OUTSIDE, ids=repr)
def test_what_cannot_be_reached_is_outside(error):
    assert is_outside(error)


@pytest.mark.parametrize("error", OWN, ids=repr)
def test_what_a_tool_refuses_is_not(error):
    assert not is_outside(error)


def raising(error):
    def search(q: str) -> str:
        raise error

    return search


def through_a_registry(error):
    registry = ToolRegistry()
    registry.register_function(raising(error), "search")
    return registry.get_executor()


def plain(error):
    return Tools(search=raising(error))


@pytest.mark.parametrize("way", [through_a_registry, plain])
@pytest.mark.parametrize("error", [OUTSIDE[5], OUTSIDE[7]], ids=repr)
async def test_a_service_that_is_away_is_no_doom_loop_however_often_it_is_called(way, error):
    model = PlayedModel(*[calls(("search", {"q": "a"}))] * 9, says("Done."))
    world = World(model=model, clock=JumpingClock(), tools=way(error))
    result = await world.run(node())
    assert result.success
    assert world.recorder.of("node_tool_doom_loop") == []
    assert "gone" in str(model.requests[1][-1]) or "no connection" in str(model.requests[1][-1])


@pytest.mark.parametrize("way", [through_a_registry, plain])
async def test_a_call_that_a_tool_refuses_again_and_again_is_one(way):
    model = PlayedModel(otherwise=calls(("search", {"q": "a"})))
    world = World(model=model, clock=JumpingClock(), tools=way(ValueError("no number")))
    result = await world.run(node())
    assert result.error_type == "doom_loop"
    assert "search: the same arguments with the same results" in result.error
