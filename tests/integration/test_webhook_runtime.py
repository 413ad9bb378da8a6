"""Webhooks of a running agent: from a request on its port to the input of an execution, and back."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hive_daemon.runtime.agent_runtime import AgentRuntime
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.runtime_config import AgentRuntimeConfig
from hive_daemon.storage.ports import Store
from hive_daemon.storage.values import ExecutionFilter, ExecutionRow
from hive_daemon.storage.webhook_deliveries import DeliveryFilter, DeliveryStatus
from tests.fakes.embedded import Turnstile, function, graph_of, running
from tests.fakes.raw_http import RawAnswer, ask, request, signature

LISTENER = EntryPointSpec(
    id="reviewer",
    entry_node="review",
    trigger_type="event",
    trigger_config={"event_types": ["webhook_received"], "filter_stream": "github"},
    isolation_level="isolated",
)
BOUND = EntryPointSpec(
    id="bound",
    entry_node="review",
    trigger_type="webhook",
    trigger_config={"source_id": "github"},
    isolation_level="isolated",
)
GITHUB = {"source_id": "github", "path": "/hook"}


async def review(event: dict[str, Any]) -> int:
    return int(event["data"]["payload"]["n"])


@asynccontextmanager
async def agent(
    path: Path, *routes: dict[str, Any], spec: EntryPointSpec = LISTENER
) -> AsyncIterator[AgentRuntime]:
    graph = graph_of(function("review", review, inputs=["event"]))
    config = AgentRuntimeConfig(webhook_port=0, webhook_routes=list(routes))
    async with running(path, graph, spec, config=config) as runtime:
        yield runtime


def store_of(runtime: AgentRuntime) -> Store:
    return runtime.running().services.store


async def send(runtime: AgentRuntime, body: object, **headers: str) -> RawAnswer:
    assert runtime.webhook_server is not None
    given = [(name.replace("_", "-"), value) for name, value in headers.items()]
    content = json.dumps(body).encode()
    answer = await ask(runtime.webhook_server.port or 0, request("POST", "/hook", content, given))
    assert answer is not None
    return answer


async def executions(runtime: AgentRuntime) -> list[ExecutionRow]:
    return await store_of(runtime).executions.query(ExecutionFilter())


async def test_input_reaches_the_execution_beside_the_event(tmp_path: Path) -> None:
    route = {
        **GITHUB,
        "input": {"pr": "{$.n}", "note": "PR {$.n}", "event_name": "{X-GitHub-Event}"},
    }
    async with agent(tmp_path, route) as runtime:
        answer = await send(runtime, {"n": 7}, X_GitHub_Event="push")
        await runtime.wait_for_completion(answer.json["execution_id"])
        [row] = await executions(runtime)
    given = json.loads(row.input)
    event = given.pop("event")
    assert given == {"pr": 7, "note": "PR 7", "event_name": "push"}
    assert event["data"]["payload"] == {"n": 7}


async def test_wait_answers_with_what_the_execution_put_out(tmp_path: Path) -> None:
    async with agent(tmp_path, {**GITHUB, "respond": "wait"}) as runtime:
        answer = await send(runtime, {"n": 7})
    assert answer.status == 200
    assert answer.json["result"] == {"success": True, "output": {"answer": 7}, "error": None}


async def test_an_entry_point_may_be_bound_to_a_source_directly(tmp_path: Path) -> None:
    async with agent(tmp_path, GITHUB, spec=BOUND) as runtime:
        answer = await send(runtime, {"n": 7})
        [name] = answer.json["execution_ids"]
        result = await runtime.wait_for_completion(name)
    assert result is not None
    assert result.output["answer"] == 7


@pytest.mark.parametrize(
    ("rules", "status", "told", "code"),
    [
        (
            {"concurrency": {"max": 1, "strategy": "queue", "queue_max": 1}},
            429,
            {"error": "The queue is full", "depth": 1},
            "queue_full",
        ),
        (
            {"concurrency": {"max": 2, "strategy": "reject"}},
            409,
            {"error": "It is busy and takes nothing more"},
            "busy",
        ),
        (
            {"flow": {"rate_limit": {"limit": 2, "per": "1h"}}},
            429,
            {"error": "Too many requests"},
            "rate_limited",
        ),
    ],
)
async def test_a_delivery_that_an_entry_point_has_no_room_for_is_refused_kept_and_taken_later(
    tmp_path: Path, rules: dict[str, Any], status: int, told: dict[str, Any], code: str
) -> None:
    turnstile = Turnstile()
    graph = graph_of(function("review", turnstile.enter))
    spec = replace(LISTENER, max_concurrent=2, **rules)
    config = AgentRuntimeConfig(webhook_port=0, webhook_routes=[GITHUB])
    async with running(tmp_path, graph, spec, config=config) as runtime:
        first = await send(runtime, {"n": 1}, Idempotency_Key="k1")
        await turnstile.until(1)
        await send(runtime, {"n": 2}, Idempotency_Key="k2")
        refused = await send(runtime, {"n": 3}, Idempotency_Key="k3")
        deliveries = store_of(runtime).deliveries
        [row] = await deliveries.query(DeliveryFilter(statuses=(DeliveryStatus.REFUSED,)))
        known = await send(runtime, {"n": 1}, Idempotency_Key="k1")
        await turnstile.let_through()
        for name in (first.json["execution_id"], known.json["execution_id"]):
            await runtime.wait_for_completion(name)
    assert (refused.status, refused.json) == (status, told)
    assert int(refused.headers["retry-after"]) >= 1
    assert row.reason.startswith(f"{code}: ")
    # What was taken is known, however full it is.
    assert (known.status, known.json["status"]) == (202, "duplicate")
    free = replace(LISTENER, max_concurrent=2)
    async with running(tmp_path, graph, free, config=config) as runtime:
        again = await send(runtime, {"n": 3}, Idempotency_Key="k3")
        assert (again.status, again.json["status"]) == (202, "queued")
        assert again.json["delivery_id"] == row.id


async def test_a_delivery_and_its_execution_are_in_the_agents_own_store(tmp_path: Path) -> None:
    async with agent(tmp_path, GITHUB) as runtime:
        first = await send(runtime, {"n": 1}, Idempotency_Key="k1")
        conflict = await send(runtime, {"n": 2}, Idempotency_Key="k1")
    async with agent(tmp_path, GITHUB) as runtime:
        again = await send(runtime, {"n": 1}, Idempotency_Key="k1")
        [row] = await store_of(runtime).deliveries.query(DeliveryFilter())
        [execution] = await executions(runtime)
    assert (first.json["status"], conflict.status) == ("queued", 409)
    assert (again.json["status"], again.json["execution_id"]) == (
        "duplicate",
        execution.execution_id,
    )
    assert row.execution_ids == (execution.execution_id,)


async def test_what_a_filter_stops_costs_no_execution(tmp_path: Path) -> None:
    route = {**GITHUB, "filters": [{"field": "$.n", "in": [1, 2]}]}
    async with agent(tmp_path, route) as runtime:
        answer = await send(runtime, {"n": 7})
        rows = await executions(runtime)
    assert (answer.status, answer.json["status"], rows) == (202, "ignored", [])


async def test_the_first_form_of_a_route_works_as_ever(tmp_path: Path) -> None:
    route = {**GITHUB, "methods": ["POST"], "secret": "s3cret"}
    signed = {"X_Hub_Signature_256": signature(b'{"n": 7}', "s3cret")}
    async with agent(tmp_path, route) as runtime:
        assert (await send(runtime, {"n": 7})).status == 401
        answer = await send(runtime, {"n": 7}, **signed)
        await runtime.wait_for_completion(answer.json["execution_id"])
    assert answer.status == 202
