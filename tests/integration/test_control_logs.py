"""`/v1/logs` and `hive logs`: the daemon's own lines, of one execution if you like, followed as they come."""

import asyncio
import json
import logging
import sys

import pytest

from hive_daemon.observability import clear_trace_context, configure_logging
from hive_daemon.observability.log_ring import log_ring
from hive_daemon.observability.logging import LineHandler
from tests.fakes.control_client import Client
from tests.fakes.control_host import running_host

logger = logging.getLogger("hive.test")


@pytest.fixture(autouse=True)
def as_it_was(tmp_path):
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure_logging("INFO", "human", file=tmp_path / "log", recent=log_ring())
    yield
    for handler in root.handlers:
        if isinstance(handler, LineHandler):
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    clear_trace_context()


@pytest.fixture
async def world(tmp_path):
    async with running_host(tmp_path) as host:
        host.gate.is_open.set()
        yield host, Client(host.socket)


async def run(client):
    answer = await client.post("/v1/entry-points/ops/triage/trigger", {"input": {"log": "x"}})
    name = answer.json["execution_id"]
    await client.get(f"/v1/executions/{name}?wait=15")
    return name


async def lines(client, query):
    messages = await client.messages(f"/v1/logs?until=caught_up&{query}")
    assert [m.event for m in messages[-2:]] == ["stream.caught_up", "stream.end"]
    return [json.loads(m.data)["message"] for m in messages[:-2] if m.event == "log"]


async def test_the_lines_of_one_execution_are_shown_and_no_others(world):
    _, client = world
    mine, other = await run(client), await run(client)
    logger.warning("about mine", extra={"execution_id": mine})
    logger.warning("about another", extra={"execution_id": other})
    assert "about mine" in await lines(client, f"execution_id={mine}&level=warning")
    assert "about another" not in await lines(client, f"execution_id={mine}")
    assert (await lines(client, "last=1&level=warning")) == ["about another"]


async def test_a_follower_gets_what_comes_and_goes_on_where_it_stopped(world):
    _, client = world
    logger.info("before")
    [seen, *_] = await client.messages("/v1/logs?until=caught_up&last=1")
    logger.info("after")
    assert json.loads(seen.data)["message"] == "before"
    assert "before" not in await lines(client, f"after={seen.id}")
    assert "after" in await lines(client, f"after={seen.id}")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("until=settled", "until=settled"),
        ("level=loud", "level"),
        ("since=yesterday", "since"),
        ("last=-1", "last"),
    ],
)
async def test_what_cannot_be_asked_is_refused(world, query, words):
    _, client = world
    reply = await client.get(f"/v1/logs?{query}")
    assert reply.status == 400
    assert words in reply.error["message"]


async def test_an_execution_that_nobody_knows_is_not_found(world):
    _, client = world
    assert (await client.get("/v1/logs?execution_id=session_2")).status == 404


async def hive(host, *arguments):
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hive_cli", "--socket", str(host.socket), *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_the_command_shows_lines_for_people_and_for_programs(world):
    host, client = world
    name = await run(client)
    logger.error("it went wrong", extra={"execution_id": name, "why": "two words"})
    out, _ = await (await hive(host, "logs", "--execution", name, "--level", "error")).communicate()
    assert (
        out.decode()
        .rstrip()
        .endswith(f"ERROR   hive.test it went wrong execution_id={name} why=two words")
    )
    out, _ = await (await hive(host, "logs", "--json", "-n", "1", "--level", "ERROR")).communicate()
    assert json.loads(out)["message"] == "it went wrong"


async def test_the_command_follows(world):
    host, _ = world
    process = await hive(host, "logs", "-f", "--json", "--level", "error", "-n", "1")
    assert process.stdout is not None
    logger.error("one")
    logger.error("two")
    heard = []
    while heard[-1:] != ["two"]:
        heard.append(json.loads(await process.stdout.readline())["message"])
    process.terminate()
    await process.wait()
    assert heard[-1] == "two"


async def test_without_a_daemon_the_command_says_where_else_to_look(tmp_path):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hive_cli", "--socket", str(tmp_path / "none"), "logs"),
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == 5
    assert "what it said before is in its log" in said.decode()
