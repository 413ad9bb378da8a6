"""The real `hive` against the real control API, each command in a process of its own."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.clerk import add_clerk
from tests.fakes.control_client import SECONDS, Client
from tests.fakes.control_host import running_host

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
async def host(tmp_path):
    async with running_host(tmp_path) as host:
        host.gate.is_open.set()
        yield host


@pytest.fixture
def hive(host):
    """Run a command; answers (exit code, stdout, stderr)."""

    async def run(*arguments):
        process = await spawned(host, *arguments)
        async with asyncio.timeout(SECONDS):
            out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()

    return run


async def spawned(host, *arguments):
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "hive_cli",
        *arguments,
        cwd=ROOT,
        env={**os.environ, "HIVE_SOCKET": str(host.socket)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


async def test_trigger_and_wait_writes_the_output(hive):
    code, out, err = await hive("trigger", "ops/triage", "--set", "log=disk full", "--wait")
    assert code == 0, err
    assert "report done" in out
    assert "completed" in err


async def test_follow_tells_the_events(hive):
    code, _, err = await hive("trigger", "triage", "--follow")
    assert code == 0, err
    assert "report" in err


async def test_a_run_that_fails_is_exit_1(host, hive):
    host.gate.fails.add("report")
    code, _, err = await hive("trigger", "ops/triage", "--wait")
    assert code == 1
    assert "report does not work" in err


async def test_a_question_is_exit_8_and_answered_by_input(hive):
    code, out, err = await hive("trigger", "desk/ask", "--wait", "--json")
    assert code == 8, err
    session = json.loads(out)["session_id"]
    code, out, err = await hive("sessions", "input", session, "yes")
    assert (code, out.strip()) == (0, session), err
    code, out, err = await hive("executions", "wait", session, "--json")
    assert code == 0, err
    assert json.loads(out)["output"]["said"] == "yes"


async def test_resume_and_tail(hive):
    code, out, err = await hive("trigger", "desk/rest", "--wait", "--json")
    assert code == 8, err
    session = json.loads(out)["session_id"]
    code, _, err = await hive("sessions", "resume", session)
    assert code == 0, err
    code, out, err = await hive("sessions", "tail", "-f", session, "--json")
    assert code == 0, err
    events = [json.loads(line) for line in out.splitlines()]
    seqs = [event["seq"] for event in events]
    assert seqs == sorted(set(seqs))
    assert events[-1]["type"] == "execution_completed"


async def test_lists_and_figures_are_shown(hive):
    await hive("trigger", "ops/triage", "--wait")
    for arguments in (
        ("executions", "list"),
        ("executions", "show", "latest"),
        ("sessions", "list"),
        ("sessions", "show", "latest"),
        ("sessions", "tail", "latest"),
        ("timers", "list"),
        ("agents", "list"),
        ("events",),
        ("stats",),
        ("health",),
        ("version",),
    ):
        code, out, err = await hive(*arguments)
        assert (code, err) == (0, ""), arguments
        assert out, arguments


async def test_timers_are_paused_and_resumed(hive):
    code, out, err = await hive("timers", "pause", "ops/report", "--note", "maintenance")
    assert code == 0, err
    assert "maintenance" in out
    code, out, _ = await hive("timers", "resume", "--json")
    assert code == 0
    assert [timer["paused"] for timer in json.loads(out)["items"]] == [None, None]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("trigger", "ops/triag"), 3, "did you mean ops/triage?"),
        (("trigger", "../etc"), 2, "not an entry point"),
        (("executions", "show", "session_20200101_000000_00000000"), 3, "no execution is called"),
        (("sessions", "resume", "latest"), 3, "there is no session yet"),
        (("timers", "pause", "nothing"), 3, "no timer is called"),
        (("events", "--type", "nonsense"), 2, "no event type"),
        (("events", "--type", "execution_faild"), 2, "did you mean execution_failed?"),
        (("executions", "list", "--status", "done"), 2, "done"),
    ],
)
async def test_a_mistake_has_its_exit_code_and_a_sentence(hive, arguments, code, words):
    found, out, err = await hive(*arguments)
    assert (found, out) == (code, "")
    assert words in err


async def test_a_cancelled_run_is_exit_130(host, hive):
    host.gate.is_open.clear()
    _, out, _ = await hive("trigger", "ops/triage", "--json")
    name = json.loads(out)["execution_id"]
    await host.gate.entered.wait()
    code, out, err = await hive("executions", "cancel", name, "--reason", "wrong log")
    assert code == 0, err
    code, _, err = await hive("executions", "wait", name)
    assert code == 130
    assert "wrong log" in err


async def test_many_at_once_each_start_their_own(host):
    """Source: reliability.md, R41, with fewer of them."""
    processes = await asyncio.gather(
        *(spawned(host, "trigger", "ops/triage", "--json") for _ in range(12))
    )
    answers = await asyncio.gather(*(process.communicate() for process in processes))
    assert [process.returncode for process in processes] == [0] * 12
    assert len({json.loads(out)["execution_id"] for out, _ in answers}) == 12


async def test_drain_is_told_to_the_daemon(host, hive):
    code, out, err = await hive("drain")
    assert code == 0, err
    assert out.startswith("draining")
    assert host.stop.drain.is_set()
    code, _, err = await hive("trigger", "ops/triage")
    assert code == 4
    assert "takes no new work" in err


async def test_a_tail_that_stops_reading_and_goes_on_has_missed_nothing(host):
    """Source: reliability.md, R36 and R37."""
    client = Client(host.socket)
    process = await spawned(host, "events", "-f", "-n", "0", "--json")
    boxes = host.control._control.feed._boxes
    async with asyncio.timeout(SECONDS):
        while not boxes:
            await client.get("/v1/health")
    process.send_signal(19)
    for _ in range(30):
        await client.post("/v1/entry-points/ops/triage/trigger", {"input": {"log": "x" * 5_000}})
    latest = (await client.get("/v1/executions/latest")).json["id"]
    await client.get(f"/v1/executions/{latest}?wait=15")
    process.send_signal(18)
    seen = []
    async with asyncio.timeout(SECONDS):
        while len(seen) < 300:
            seen.append(json.loads(await process.stdout.readline())["seq"])
    assert seen == list(range(1, 301))
    process.send_signal(2)
    await process.communicate()
    assert process.returncode == 130


async def test_approvals_are_listed_shown_and_given(host, hive, tmp_path):
    clerk = await add_clerk(host)
    code, _, err = await hive("trigger", "clerk/pay", "--wait")
    assert code == 8
    assert "hive approvals show session_" in err
    code, out, _ = await hive("approvals", "list")
    (_, line) = out.splitlines()
    assert code == 0
    assert line.split()[1:3] == ["clerk/pay", "send"]
    approval = line.split()[0]
    code, out, _ = await hive("approvals", "show", approval)
    assert out.endswith('arguments\n{\n  "to": "bob",\n  "amount": 120\n}\n')
    edit = tmp_path / "edit.json"
    edit.write_text('{"to": "bob", "amount": 90}')
    code, out, err = await hive("approvals", "approve", approval, "--edit", str(edit))
    assert (code, err) == (0, "")
    code, out, _ = await hive("executions", "wait", out.strip())
    assert code == 0
    assert clerk.sent == [{"to": "bob", "amount": 90}]
    code, _, err = await hive("approvals", "reject", approval)
    assert code == 4
    assert "was decided otherwise before" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("approve", "a b"), '"a b" is not the id of an approval'),
        (("approve", "session_2:work:x:1"), "is not the id of an approval"),
        (("approve", "session_2", "--edit", "nowhere"), "--edit nowhere: there is no such file"),
    ],
)
async def test_a_decision_that_makes_no_sense_is_not_sent(hive, words, said):
    code, _, err = await hive("approvals", *words)
    assert code == 2
    assert said in err


async def test_mcp_servers_and_their_tools_are_listed(host, hive):
    await add_clerk(host)
    code, out, _ = await hive("mcp", "list")
    assert code == 0
    assert out.splitlines()[1].split() == ["clerk", "files", "disabled", "0", "0", "none", "-"]
    code, out, _ = await hive("mcp", "tools", "--agent", "clerk", "--json")
    assert [server["name"] for server in json.loads(out)["items"]] == ["files"]
    code, _, _ = await hive("mcp", "tools", "--agent", "nobody")
    assert code == 3
