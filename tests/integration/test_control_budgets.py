"""`hive budget` and its routes: the real command, the real control API, a real store."""

import json
from pathlib import Path

import pytest

from hive_daemon.budgets.rules import Amount
from hive_daemon.graph.node import NodeResult, NodeStats
from hive_daemon.runtime.agent_runtime import AgentRuntime
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.runtime_config import Placement
from hive_daemon.storage.budget_ledger import Asking
from tests.fakes.control_client import Client
from tests.fakes.control_host import GOAL, FakeAgent, chain, node, running_host
from tests.fakes.hive_command import run_hive

ROOT = Path(__file__).parent.parent.parent
DAILY = {"usd": 1.0, "tokens": 1000, "per": "1d", "on_exceed": "reject"}
EACH = {"scope": "execution", "requests": 10}


class Costly:
    """A node whose every execution costs a cent more than the one before."""

    def __init__(self):
        self.ran = 0

    async def execute(self, ctx):
        self.ran += 1
        stats = NodeStats(llm_call_count=1, input_tokens=100, cost_usd=self.ran / 100)
        output = dict.fromkeys(ctx.node_spec.output_keys, "x")
        return NodeResult(True, output, stats=stats)


@pytest.fixture
async def host(tmp_path):
    async with running_host(tmp_path) as host:
        host.gate.is_open.set()
        points = [
            EntryPointSpec(
                id="tell",
                trigger_type="timer",
                trigger_config={"every": "1h"},
                isolation_level="isolated",
                budgets=[DAILY, EACH],
            )
        ]
        await add_payer(host, points)
        yield host


async def add_payer(host, points):
    """Start an agent whose node says what it cost."""
    folder = host.services.settings.state_dir / "agents" / "payer"
    runtime = AgentRuntime(
        chain("payer", node("tell")),
        GOAL,
        node_registry={"tell": Costly()},
        placement=Placement(host.services, "payer", folder, host.webhooks),
    )
    for point in points:
        runtime.register_entry_point(point)
    await runtime.start()
    host.agents.agents["payer"] = FakeAgent("payer", folder, runtime=runtime)


@pytest.fixture
def client(host):
    return Client(host.socket)


@pytest.fixture
def hive(host):
    """Run a command; answers (exit code, stdout, stderr)."""

    async def run(*arguments):
        return await run_hive(host.socket, *arguments, COLUMNS="200")

    return run


async def spend(host, amount, subject="entry_point:payer/tell", *, settles=True):
    ledger, hour = host.services.store.budgets, host.services.budgets.hour()
    name = f"{subject}{amount}"
    assert (await ledger.reserve(Asking(name, (subject,), hour, amount, ()))).is_admitted
    await ledger.settle(name, None) if settles else None


async def test_a_budget_is_shown_with_what_was_spent_of_it(host, client):
    await spend(host, Amount(0.85, 100, 1))
    await spend(host, Amount(0.01, 10, 1), settles=False)
    answer = (await client.get("/v1/budgets")).json
    assert [budget["id"] for budget in answer["budgets"]] == [
        "entry_point:payer/tell 1d usd,tokens",
        "execution of payer/tell execution requests",
    ]
    [standing] = answer["standings"]
    assert (standing["subject"], standing["state"]) == ("entry_point:payer/tell", "warning")
    assert standing["used"] == {"usd": 0.85, "tokens": 100, "requests": 1, "tool_calls": 0}
    assert standing["held"]["tokens"] == 10
    assert standing["lost"]["tokens"] == 100
    assert standing["remaining"] == {"usd": 0.14, "tokens": 890}


async def test_the_execution_that_spent_most_of_its_own_budget_is_named(host, client):
    answer = await client.post("/v1/entry-points/payer/tell/trigger", {})
    name = answer.json["execution_id"]
    await spend(host, Amount(tokens=5, requests=2), f"execution:{name}")
    await spend(host, Amount(tokens=50, requests=2), "execution:session_20260101_000000_00000000")
    standings = (await client.get("/v1/budgets")).json["standings"]
    assert [each["subject"] for each in standings if each["per"] == "execution"] == [
        f"execution:{name}"
    ]


async def test_a_trigger_under_a_spent_budget_is_429_and_exit_7(host, client, hive):
    await spend(host, Amount(1.0, 0, 1))
    refused = await client.post("/v1/entry-points/payer/tell/trigger", {})
    assert (refused.status, refused.json["error"]["code"]) == (429, "budget_exceeded")
    assert int(refused.headers["retry-after"]) > 0
    code, _, err = await hive("trigger", "payer/tell")
    assert code == 7
    assert "$1 of $1" in err


async def test_the_command_shows_budgets(host, hive):
    code, out, err = await hive("budget", "status")
    assert code == 0
    assert "execution of payer/tell execution requests: nothing was spent yet" in err
    await spend(host, Amount(0.5, 100, 1))
    code, out, err = await hive("budget", "status")
    assert (code, "$0.5000" in out, "entry_point:payer/tell" in out) == (0, True, True)
    assert "they count in full" in err
    code, out, _ = await hive("budget", "status", "--json")
    assert json.loads(out)["unpriced"] == "block"


async def test_of_a_budget_with_two_limits_only_the_spent_one_is_shown_as_exceeded(host, hive):
    await spend(host, Amount(1.0, 1, 1))
    code, out, _ = await hive("budget", "status")
    states = {line.split()[-1] for line in out.splitlines() if "1,000 tokens" in line}
    spent = [line for line in out.splitlines() if line.endswith("exceeded")]
    assert (code, states, len(spent)) == (0, {"ok"}, 1)
    assert "1 token " in out


async def test_a_forecast_multiplies_fires_with_what_one_came_to(host, client, hive):
    for _ in range(4):
        answer = await client.post("/v1/entry-points/payer/tell/trigger", {})
        await client.get(f"/v1/executions/{answer.json['execution_id']}?wait=15")
    answer = (await client.get("/v1/budgets/forecast?days=2")).json
    [timer] = [each for each in answer["timers"] if each["timer"] == "payer/tell"]
    assert (timer["fires"], timer["observed"]) == (48, 4)
    assert (timer["usd_p50"], timer["usd_p95"]) == (0.02, 0.04)
    assert (timer["usd_usual"], timer["usd_high"]) == (48 * 0.02, 48 * 0.04)
    assert timer["tokens_p50"] == 100
    [outlook] = answer["budgets"]
    assert (outlook["id"], outlook["exceeded_on_usual"]) == (
        "entry_point:payer/tell 1d usd,tokens",
        None,
    )
    code, out, err = await hive("budget", "forecast", "--days", "2")
    assert (code, "payer/tell" in out) == (0, True)
    # The timers that never ran do not hide what is known of the others.
    assert "Together $0.9600 if all goes as usual, $1.9200 if" in out
    assert "left out: " in err
    assert "payer/tell" not in err


async def test_the_commands_say_when_there_are_no_budgets(tmp_path):
    async with running_host(tmp_path) as host:
        answer = (await Client(host.socket).get("/v1/budgets")).json
    assert answer == {"budgets": [], "standings": [], "unpriced": "block"}
