"""Keys of every kind, every configured secret: an agent lets them out wherever it can, and nothing shows them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from hive_daemon.control.wire import Route
from tests.fakes.daemon_process import Hived, Place, UnixConnection
from tests.fakes.openai_server import Call, FakeOpenAI, Reply
from tests.unit.test_redaction import KEYS

CONFIGURED = {
    "llm.api_key": "quiet/key+with=signs",
    "webhook": "hush-webhook-7f3a9c",
    "fallback": "a-second-key-of-another-house",
}
SECRETS = {**KEYS, **CONFIGURED}


@contextmanager
def model_server() -> Iterator[FakeOpenAI]:
    """A model that calls the tool, then sets its output; on a loop in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = FakeOpenAI(otherwise=Reply(text="done"))
    server.script(
        Reply(text="I look.", calls=(Call("peek", {}),)),
        Reply(calls=(Call("set_output", {"key": "said", "value": "nothing"}),)),
    )
    try:
        asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(30)
        yield server
        asyncio.run_coroutine_threadsafe(server.__aexit__(), loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture
def server() -> Iterator[FakeOpenAI]:
    with model_server() as server:
        yield server


@pytest.fixture
def daemon(place: Place, server: FakeOpenAI) -> Hived:
    leak = place.path / "leak"
    leak.write_text("\n".join(SECRETS.values()))
    (place.path / "key").write_text(CONFIGURED["llm.api_key"])
    place.write(
        agents=[
            {
                "path": str(place.agent("leaker")),
                "webhook_routes": [
                    {"source_id": "mail", "path": "/mail", "secret": "${env:MAIL_SECRET}"}
                ],
            }
        ],
        llm={
            "model": "openai/fake",
            "api_key": "${file:key}",
            "api_base": server.base_url,
            "transport": "native",
            "fallbacks": [{"model": "openai/other", "api_key": "${env:OTHER_KEY}"}],
        },
        log={"level": "DEBUG", "format": "json"},
    )
    place.environ |= {
        "LEAK": str(leak),
        "MAIL_SECRET": CONFIGURED["webhook"],
        "OTHER_KEY": CONFIGURED["fallback"],
    }
    return place.start(HIVE_DEBUG_EVENTS=str(place.path / "events")).ready()


def shown_by(text: str) -> list[str]:
    """Return the names of the secrets that a text holds."""
    return [name for name, secret in SECRETS.items() if secret in text]


def files_below(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_bytes().decode(errors="replace")
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def asked(place: Place, target: str) -> str:
    """Return what a request is answered, whatever its status and form."""
    connection = UnixConnection(place.socket)
    try:
        connection.request("GET", target)
        return connection.getresponse().read().decode(errors="replace")
    finally:
        connection.close()


def answers(place: Place, name: str) -> dict[str, str]:
    """Return what every route that only reads answers about an execution."""
    names = {"execution": name, "session": name, "id": name, "incident": "latest"}
    names |= {"timer": "none", "delivery": "none", "approval": "none"}
    found = {}
    for route in Route:
        if route.method != "GET":
            continue
        target = route.path(**{key: names[key] for key in names if f"{{{key}}}" in route.template})
        if route in (Route.EVENTS, Route.LOGS, Route.SESSION_EVENTS):
            target += "?until=caught_up"
        found[target] = asked(place, target)
    return found


def errors(place: Place) -> dict[str, str]:
    """Return what mistakes with a secret in them are answered."""
    found = {}
    for about, secret in SECRETS.items():
        target = quote(secret, safe="")
        for path in (f"/v1/{target}", f"/v1/executions/{target}", f"/v1/events?type={target}"):
            found[f"{about}: {path[:20]}"] = asked(place, path)
        _, refused = place.ask("POST", "/v1/entry-points/leaker/leak/trigger", {secret: 1})
        found[f"{about}: body"] = str(refused)
    return found


def commands(place: Place, name: str) -> dict[str, str]:
    """Return what the commands write."""
    words = [
        ("executions", "show", name),
        ("sessions", "show", name),
        ("logs", "--no-color", "--execution", name),
        ("trace", name),
        ("config", "show", "--config", str(place.config)),
        ("doctor", "--config", str(place.config)),
        ("ps", "-a"),
        ("show", name),
        ("why", name),
    ]
    found = {}
    for command in words:
        ran = place.hive("--json", *command)
        found[" ".join(command[:2])] = ran.stdout + ran.stderr
    return found


def test_no_secret_is_found_anywhere(place: Place, daemon: Hived, server: FakeOpenAI) -> None:
    name = place.trigger("leaker/leak")
    failed = place.settled(name)
    assert failed["status"] == "failed"
    assert "it ends with [redacted]" in str(failed["error"])
    prompts = [str(request.body) for request in server.requests]
    assert any("does not open with [redacted]" in prompt for prompt in prompts)
    places = {
        **answers(place, name),
        **errors(place),
        **commands(place, name),
        **{f"prompt {number}": text for number, text in enumerate(prompts)},
    }
    assert '"spilled"' in places["/v1/logs?until=caught_up"]
    assert daemon.terminate() == 0
    places |= files_below(place.state)
    places |= files_below(place.path / "events")
    places["log"] = place.log
    assert {"details.jsonl", "tool_logs.jsonl", "summary.json", "state.json"} <= {
        Path(where).name for where in places
    }
    found = {where: shown for where, text in places.items() if (shown := shown_by(text))}
    assert found == {}
