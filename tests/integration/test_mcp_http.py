"""MCP servers over streamable HTTP: a real server on loopback, and peers that break it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from hive_daemon.llm.values import ToolResult
from hive_daemon.tools.mcp_process import MOST_LINE_BYTES
from hive_daemon.tools.mcp_values import ServerState
from hive_daemon.tools.servers import probe_file
from tests.fakes.mcp_world import DEADLINE, World, listening, tiny

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(params=["http", "json"], scope="module", loop_scope="module")
async def address(request):
    """Our server, which starts slowly: one for all tests that do it no harm."""
    async with listening(request.param) as address:
        yield address


@contextlib.asynccontextmanager
async def peer(handler) -> AsyncIterator[str]:
    """Run an HTTP server whose every answer is `handler`'s."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    try:
        yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/mcp"
    finally:
        await runner.cleanup()


async def test_a_tool_is_called_over_http(address):
    async with World({"name": "web", "url": address}) as world:
        assert await world.call("echo", text="hello") == ToolResult("call_1", "hello")
        assert world.view().transport == "http"


async def test_calls_run_side_by_side(address):
    async with World({"name": "web", "url": address}) as world:
        hanging = asyncio.ensure_future(world.call("hang"))
        answers = await asyncio.gather(*(world.call("echo", text=str(n)) for n in range(8)))
        assert [answer.content for answer in answers] == [str(n) for n in range(8)]
        hanging.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await hanging


async def test_a_call_that_hangs_over_http_ends_in_its_time(address):
    async with World({"name": "web", "url": address, "timeout": 0.3}) as world:
        assert (await world.call("hang")).content.startswith("hang gave no result within 0.3 s")
        await world.answers("on", "echo", text="on")


async def test_a_long_answer_comes_over_http(address):
    async with World({"name": "web", "url": address}) as world:
        assert len((await world.call("large", characters=3_000_000)).content) == 3_000_000


async def test_an_answer_that_is_too_long_ends_the_connection_not_the_daemon(address):
    async with World({"name": "web", "url": address}) as world:
        with pytest.raises(ConnectionError, match="web ended during the call"):
            await world.call("large", characters=MOST_LINE_BYTES + 1)
        await world.until(ServerState.READY, starts=2)


async def test_nobody_listening_degrades_the_server():
    async with World({"name": "web", "url": "http://127.0.0.1:1/mcp"}) as world:
        view = await world.until(ServerState.DEGRADED)
    assert view.reason.startswith("ConnectError")


async def test_a_server_that_dies_amid_a_call_is_degraded_and_others_go_on():
    async with listening() as address, World({"name": "web", "url": address}, tiny()) as world:
        with pytest.raises(ConnectionError, match="web ended during the call"):
            await world.call("crash")
        await world.until(ServerState.DEGRADED, "web")
        with pytest.raises(ConnectionError, match="the MCP server web is degraded: "):
            await world.call("echo", text="x")
        assert (await world.call("ok")).content == "ok"


async def test_a_peer_that_never_answers_is_given_up_in_time():
    async def silent(_request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    async with peer(silent) as address:
        declared = {"name": "web", "url": address, "connect_timeout": 0.3}
        async with World(declared) as world:
            view = await world.until(ServerState.DEGRADED)
    assert view.reason == "it gave no list of its tools within 0.3 s"


async def test_headers_with_secrets_do_not_follow_a_redirect():
    seen: list[str] = []

    async def other(request: web.Request) -> web.Response:
        seen.append(request.headers.get("X-Api-Key", ""))
        return web.Response(status=500)

    async with peer(other) as elsewhere:

        async def away(_request: web.Request) -> web.Response:
            raise web.HTTPTemporaryRedirect(elsewhere)

        async with peer(away) as address:
            declared = {"name": "web", "url": address, "headers": {"X-Api-Key": "sk-very-secret"}}
            async with World(declared) as world:
                await world.until(ServerState.DEGRADED)
    assert seen == []


async def test_headers_are_sent_with_their_variables_filled_in(monkeypatch):
    monkeypatch.setenv("WEB_KEY", "sk-from-the-environment")
    seen: list[str] = []

    async def note(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization", ""))
        return web.Response(status=401)

    async with peer(note) as address:
        declared = {
            "name": "web",
            "url": address,
            "headers": {"Authorization": "Bearer ${WEB_KEY}"},
        }
        async with World(declared) as world:
            view = await world.until(ServerState.DEGRADED)
    assert set(seen) == {"Bearer sk-from-the-environment"}
    assert view.reason


class Forgetful:
    """A server of before 2026, with sessions, that forgets them when told."""

    def __init__(self) -> None:
        self.session = 1

    async def answer(self, request: web.Request) -> web.Response:
        if request.method != "POST":
            return web.Response(status=405)
        message = await request.json()
        method, number = message["method"], message.get("id")
        if method not in ("initialize", "server/discover") and self._is_strange(request):
            return web.Response(status=404)
        if number is None:
            return web.Response(status=202)
        answer = {"jsonrpc": "2.0", "id": number, **self._answer(method, message)}
        return web.json_response(answer, headers={"Mcp-Session-Id": f"session-{self.session}"})

    def _is_strange(self, request: web.Request) -> bool:
        return request.headers.get("Mcp-Session-Id") != f"session-{self.session}"

    def _answer(self, method: str, message: dict[str, Any]) -> dict[str, Any]:
        match method:
            case "initialize":
                about = {"name": "forgetful", "version": "1"}
                version = message["params"]["protocolVersion"]
                known = {"protocolVersion": version, "capabilities": {"tools": {}}}
                return {"result": {**known, "serverInfo": about}}
            case "tools/list":
                return {"result": {"tools": [{"name": "ok", "inputSchema": {"type": "object"}}]}}
            case "tools/call":
                return {"result": {"content": [{"type": "text", "text": "ok"}]}}
        return {"error": {"code": -32601, "message": "no such method"}}


async def test_a_session_that_the_server_forgot_is_opened_again():
    server = Forgetful()
    async with peer(server.answer) as address, World({"name": "web", "url": address}) as world:
        assert (await world.call("ok")).content == "ok"
        server.session += 1
        result = await world.call("ok")
        assert result.is_error
        await world.until(ServerState.READY, starts=2)
        assert (await world.call("ok")).content == "ok"


async def test_a_probe_tells_what_each_server_offers_and_what_is_wrong(tmp_path):
    path = tmp_path / "mcp_servers.json"
    tiny_one = tiny()
    async with listening() as address:
        path.write_text(
            json.dumps(
                {
                    "web": {"url": f"{address}?token=abc", "include": ["echo"]},
                    "tiny": tiny_one,
                    "off": {"command": "x", "disabled": True},
                    "bad": {"command": "no-such-server-here"},
                }
            )
        )
        async with asyncio.timeout(DEADLINE):
            views = {view.name: view.to_json() for view in await probe_file(path)}
    assert {name: view["state"] for name, view in views.items()} == {
        "web": "ready",
        "tiny": "ready",
        "off": "disabled",
        "bad": "degraded",
    }
    assert views["web"]["target"] == address
    assert [tool["name"] for tool in views["tiny"]["tools"]] == ["ok", "crash", "hang"]
    offered = [tool["name"] for tool in views["web"]["tools"] if tool["offered"]]
    assert offered == ["echo"]
    assert "cannot be started" in views["bad"]["reason"]
