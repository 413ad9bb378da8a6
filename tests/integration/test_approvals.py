"""Tool calls that wait for a person: how they are shown and decided, and what becomes of the run."""

import asyncio

import pytest

from hive_daemon.runtime.events import AgentEvent, EventType
from tests.fakes.clerk import FIRST, Clerk, add_clerk, twice
from tests.fakes.control_client import Client
from tests.fakes.control_host import running_host


@pytest.fixture
async def world(tmp_path):
    """A daemon with the clerk, and one payment that waits."""
    async with running_host(tmp_path) as host:
        clerk = await add_clerk(host)
        client = Client(host.socket)
        yield host, clerk, client, await pay(client)


async def pay(client):
    answer = await client.post("/v1/entry-points/clerk/pay/trigger", {})
    name = answer.json["execution_id"]
    execution = await settled(client, name)
    assert execution["status"] == "waiting_approval"
    return name


async def settled(client, name):
    return (await client.get(f"/v1/executions/{name}?wait=15")).json


async def decide(client, name, **body):
    return await client.post(f"/v1/approvals/{name}", body)


async def test_a_call_that_waits_is_shown_with_its_arguments(world):
    _, clerk, client, name = world
    (one,) = (await client.get("/v1/approvals")).json["items"]
    assert one == (await client.get(f"/v1/approvals/{name}")).json
    assert one == (await client.get(f"/v1/approvals/{one['id']}")).json
    asked = {key: one[key] for key in ("id", "entry_point", "node_id", "tool", "arguments")}
    assert asked == {
        "id": f"{name}:work:1:1",
        "entry_point": "clerk/pay",
        "node_id": "work",
        "tool": "send",
        "arguments": FIRST,
    }
    assert one["reason"] == "much"
    assert clerk.sent == []


async def test_an_approved_call_is_made(world):
    _, clerk, client, name = world
    reply = await decide(client, f"{name}:work:1:1", decision="approve")
    assert (reply.status, reply.json["execution_id"]) == (202, name)
    execution = await settled(client, name)
    assert execution["status"] == "completed"
    assert execution["output"]["said"] == "sent 120 to bob"
    assert clerk.sent == [FIRST]
    assert (await client.get("/v1/approvals")).json["items"] == []


async def test_a_call_is_made_with_the_arguments_of_the_person(world):
    _, clerk, client, name = world
    await decide(client, name, decision="approve", arguments={"to": "bob", "amount": 90})
    execution = await settled(client, name)
    assert clerk.sent == [{"to": "bob", "amount": 90}]
    assert "a person changed the arguments" in execution["output"]["said"]


async def test_a_rejected_call_is_not_made_and_the_run_goes_on(world):
    _, clerk, client, name = world
    await decide(client, name, decision="reject", message="too much")
    execution = await settled(client, name)
    assert execution["status"] == "completed"
    assert execution["output"]["said"] == (
        "ERROR: send was not called: a person rejected the call: too much"
    )
    assert clerk.sent == []


async def test_the_same_decision_again_changes_nothing_and_another_is_refused(world):
    _, clerk, client, name = world
    approval = f"{name}:work:1:1"
    first = await decide(client, approval, decision="approve")
    again = await decide(client, approval, decision="approve")
    other = await decide(client, approval, decision="reject")
    assert (first.status, again.status, other.status) == (202, 202, 409)
    assert (first.json["created"], again.json["created"]) == (True, False)
    assert other.error["code"] == "idempotency_conflict"
    await settled(client, name)
    late = await decide(client, approval, decision="approve")
    assert (late.status, late.json["status"]) == (202, "completed")
    assert clerk.sent == [FIRST]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"decision": "perhaps"},
        {"decision": "approve", "arguments": [1]},
        {"decision": "approve", "message": "fine"},
        {"decision": "reject", "arguments": {}},
        {"decision": "approve", "by": "me"},
    ],
)
async def test_what_is_no_decision_is_refused(world, body):
    _, clerk, client, name = world
    assert (await decide(client, name, **body)).status == 400
    assert clerk.sent == []


@pytest.mark.parametrize("reference", ["{}:work:1:2", "{}:rest:1:1", "session_19990101_000000_00"])
async def test_what_is_no_approval_is_not_found(world, reference):
    _, _, client, name = world
    reply = await client.get(f"/v1/approvals/{reference.format(name)}")
    assert (reply.status, reply.error["code"]) == (404, "not_found")


async def test_words_said_to_a_run_that_waits_reject_the_call(world):
    _, clerk, client, name = world
    await client.post(f"/v1/sessions/{name}/input", {"text": "yes"})
    execution = await settled(client, name)
    assert execution["output"]["said"].endswith("a person rejected the call: yes")
    assert clerk.sent == []


async def test_a_resume_without_words_goes_on_waiting(world):
    _, clerk, client, name = world
    await client.post(f"/v1/sessions/{name}/resume", {})
    assert (await settled(client, name))["status"] == "waiting_approval"
    await decide(client, name, decision="approve")
    assert (await settled(client, name))["status"] == "completed"
    assert clerk.sent == [FIRST]


async def test_a_cancelled_run_asks_nobody_any_more(world):
    _, _, client, name = world
    await client.post(f"/v1/executions/{name}/cancel", {})
    assert (await client.get("/v1/approvals")).json["items"] == []
    assert (await decide(client, name, decision="approve")).status == 404


async def test_a_cancelled_run_that_is_resumed_asks_anew(world):
    _, clerk, client, name = world
    await client.post(f"/v1/executions/{name}/cancel", {})
    again = (await client.post(f"/v1/sessions/{name}/resume", {})).json["execution_id"]
    assert again == f"{name}-2"
    assert (await settled(client, again))["status"] == "waiting_approval"
    (asked,) = (await client.get("/v1/approvals")).json["items"]
    assert asked["id"] == f"{again}:work:1:1"
    await decide(client, again, decision="approve")
    assert (await settled(client, again))["status"] == "completed"
    assert clerk.sent == [FIRST]


async def test_a_run_that_waits_holds_no_slot(world):
    host, _, client, _ = world
    await pay(client)
    assert host.runtime("clerk").find_stream("pay").get_active_count() == 0
    assert len((await client.get("/v1/approvals?agent=clerk")).json["items"]) == 2
    assert (await client.get("/v1/approvals?agent=ops")).json["items"] == []


async def test_a_run_that_an_event_began_asks_nobody(world):
    host, clerk, client, _ = world
    runtime = host.runtime("clerk")
    await runtime.event_bus.publish(AgentEvent(EventType.CUSTOM, "outside"))
    (row,) = (await client.get("/v1/executions?entry_point=clerk/heard")).json["items"]
    execution = await settled(client, row["id"])
    assert execution["status"] == "completed"
    assert "nobody is there to give it (much)" in execution["output"]["said"]
    assert clerk.sent == []


@pytest.mark.parametrize("order", [("left", "right"), ("right", "left")])
async def test_two_branches_are_decided_on_in_any_order(tmp_path, order):
    async with running_host(tmp_path) as host:
        clerk = await add_clerk(host, Clerk(*twice()))
        client = Client(host.socket)
        name = await pay(client)
        assert (await decide(client, name, decision="approve")).status == 409
        for node in order:
            reply = await decide(client, f"{name}:{node}:1:1", decision="approve")
            assert reply.status == 202
        async with asyncio.timeout(20):
            while (await settled(client, name))["status"] == "waiting_approval":
                await asyncio.sleep(0.01)
        assert (await settled(client, name))["status"] == "completed"
        assert sorted(one["to"] for one in clerk.sent) == ["left", "right"]
