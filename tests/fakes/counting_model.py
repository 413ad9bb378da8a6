"""The agent `counter` in a real daemon, and the strict model that it works with.

The model uses one tool, sets the output and says goodbye; the tool writes down each use.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

from tests.fakes.daemon_process import Hived, Place
from tests.fakes.openai_server import Answer, Break, Call, FakeOpenAI, Reply, Request

SUMMARY = "The tool was used, it counted."


class Model(FakeOpenAI):
    """Uses the tool once, sets the output, says goodbye; strict. `holds` says which request is never answered."""

    def __init__(self, tool: str) -> None:
        super().__init__(strict=True, otherwise=self._think)
        self.tool = tool
        self.holds: Callable[[Request], bool] = lambda request: False
        self.is_cut_off = False
        self.held = asyncio.Event()

    def _think(self, request: Request) -> Answer:
        if self.holds(request):
            return Reply(breaks=Break.STALL_BEFORE_HEADERS)
        if is_summary(request):
            return Reply(text=SUMMARY)
        if results_of(request, "set_output"):
            return Reply(text="Goodbye.")
        if results_of(request, self.tool) or SUMMARY in str(request.messages):
            return Reply(calls=(Call("set_output", {"key": "said", "value": "counted"}),))
        if self.is_cut_off:
            return Reply(calls=(Call(self.tool),), breaks=Break.STALL, break_after=4)
        return Reply(calls=(Call(self.tool),))

    async def _complete(self, http: web.Request) -> web.StreamResponse:
        if self.holds(Request(http.path, {}, await http.json())):
            self.held.set()
        return await super()._complete(http)

    async def _break(self, http: web.Request, response: web.StreamResponse, how: Break) -> None:
        self.held.set()
        await super()._break(http, response, how)

    def calm(self) -> None:
        """Answer everything from now on."""
        self.holds, self.is_cut_off = lambda request: False, False


def is_summary(request: Request) -> bool:
    return "Summarise a working conversation" in str(request.messages[0])


def results_of(request: Request, tool: str) -> list[str]:
    """Return what the calls of a tool came to, in the history that a request shows."""
    ids = {
        call["id"]
        for message in request.messages
        for call in message.get("tool_calls") or ()
        if call["function"]["name"] == tool
    }
    return [m["content"] for m in request.messages if m.get("tool_call_id") in ids]


def start(place: Place, model: Model, **extra: str) -> Hived:
    place.write(
        agents=[str(place.path / "agents" / "counter")],
        llm={
            "model": "openai/fake",
            "api_key": "k",
            "api_base": model.base_url,
            "transport": "native",
        },
    )
    return place.start(**extra).ready()


def uses(place: Place) -> list[str]:
    """Return the keys of all uses of the tool, in their order."""
    path = place.path / "uses"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.partition(" ")[2] for line in lines]
