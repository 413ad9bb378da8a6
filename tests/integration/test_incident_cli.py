"""`hive incidents` against the real control API, each command in a process of its own."""

import json
from pathlib import Path

import pytest

from tests.fakes.control_client import Client
from tests.fakes.control_host import running_host
from tests.fakes.hive_command import run_hive

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
async def host(tmp_path):
    """A daemon in which an entry point failed twice in a row."""
    async with running_host(tmp_path) as host:
        await fail_twice(host)
        yield host


async def fail_twice(host):
    """Let `ops/triage` fail twice in a row."""
    host.gate.is_open.set()
    host.gate.fails.add("parse")
    for _ in range(2):
        await run(host)


async def run(host):
    """Run `ops/triage` to its end, and let the desk hear of it."""
    client = Client(host.socket)
    answer = await client.post("/v1/entry-points/ops/triage/trigger", {"input": {"log": "x"}})
    shown = await client.get(f"/v1/executions/{answer.json['execution_id']}?wait=15")
    await host.services.hub.flush()
    await host.incidents.settle()
    return shown.json["status"]


@pytest.fixture
def hive(host):
    """Run a command; answers (exit code, stdout, stderr)."""

    async def command(*arguments):
        return await run_hive(host.socket, *arguments)

    return command


async def test_an_incident_is_listed_shown_acknowledged_and_resolved(host, hive):
    code, out, _ = await hive("incidents", "list", "--agent", "ops")
    (_, line) = out.splitlines()
    assert code == 0
    assert line.split()[1:5] == ["medium", "open", "ops/triage", "1x"]
    name = line.split()[0]
    code, out, _ = await hive("incidents", "show", name)
    assert "It failed 2 times in a row" in out
    code, out, _ = await hive("incidents", "show", name, "--json")
    (*_, last) = json.loads(out)["executions"]
    assert f"`hive why {last}`" in json.loads(out)["action"]
    code, out, _ = await hive("why", name)
    assert (code, f"to do: Look at the last one with `hive why {last}`" in out) == (0, True)
    code, out, _ = await hive("incidents", "ack", name, "--note", "on it", "--json")
    shown = json.loads(out)
    assert (shown["status"], shown["note"]) == ("acknowledged", "on it")
    code, out, _ = await hive("incidents", "resolve", name)
    assert code == 0
    assert "resolved by" in out
    code, _, err = await hive("incidents", "ack", name)
    assert (code, "is resolved" in err) == (4, True)
    code, out, _ = await hive("incidents", "list", "--json")
    assert json.loads(out)["items"] == []
    code, out, _ = await hive("incidents", "list", "--status", "all", "--json")
    assert [each["id"] for each in json.loads(out)["items"]] == [name]


async def test_a_success_ends_it(host, hive):
    host.gate.fails.clear()
    assert await run(host) == "completed"
    _, out, _ = await hive("incidents", "list", "--status", "resolved", "--json")
    [shown] = json.loads(out)["items"]
    assert (shown["entry_point"], shown["by"]) == ("ops/triage", "a success")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("show", "inc_000000000000"), 3, "there is no incident"),
        (("show", "latest"), 2, '"latest" is not the id of an incident'),
        (("list", "--status", "bad"), 2, "status"),
        (("list", "--agent", "nobody"), 3, "nobody"),
    ],
)
async def test_what_is_not_there_is_told(hive, words, code, said):
    found, _, err = await hive("incidents", *words)
    assert found == code
    assert said in err


async def test_incidents_are_read_from_the_store_of_a_daemon_that_is_down(tmp_path):
    async with running_host(tmp_path) as host:
        await fail_twice(host)
        [known] = (await Client(host.socket).get("/v1/incidents")).json["items"]

    async def hive(*words):
        place = {"HIVE_STATE_DIR": str(tmp_path / "state")}
        return await run_hive(host.socket, *words, "--json", **place)

    code, out, err = await hive("incidents", "list", "--agent", "ops")
    assert (code, json.loads(out)["items"]) == (0, [known])
    assert "hived is not running: this is what its store says" in err
    code, out, _ = await hive("incidents", "show", known["id"])
    assert (code, json.loads(out)) == (0, known)
    code, out, _ = await hive("incidents", "list", "--agent", "desk")
    assert (code, json.loads(out)["items"]) == (0, [])
    code, out, _ = await hive("incidents", "ack", known["id"])
    assert (code, json.loads(out)["error"]["code"]) == (5, "unreachable")


async def test_incidents_are_listed_page_by_page(host):
    client = Client(host.socket)
    host.gate.fails.add("report")
    for _ in range(2):
        answer = await client.post("/v1/entry-points/ops/report/trigger", {})
        await client.get(f"/v1/executions/{answer.json['execution_id']}?wait=15")
    await host.services.hub.flush()
    await host.incidents.settle()
    first = (await client.get("/v1/incidents?limit=1")).json
    rest = (await client.get(f"/v1/incidents?limit=1&cursor={first['next_cursor']}")).json
    found = [each["entry_point"] for each in (*first["items"], *rest["items"])]
    assert (found, rest["next_cursor"]) == (["ops/report", "ops/triage"], None)
