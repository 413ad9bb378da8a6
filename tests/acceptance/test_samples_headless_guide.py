"""Every sample of the headless guide, in the form needed to run, through the `framework` alias.

| sample of the guide | tests |
|---|---|
| Running Headless: direct runtime execution | `test_direct_runtime_execution` |
| Timer-Based Execution: fixed interval | `test_a_fixed_interval_fires_on_startup_and_again` |
| … it skips while the agent is at work | `test_a_timer_skips_while_the_agent_is_busy` |
| Timer-Based Execution: cron expression | `test_a_cron_expression_fires_on_business_days` |
| Event-Driven Execution: failure guardian | `test_a_guardian_reacts_to_failures_of_other_graphs` |
| Event filters: by stream, by node | `test_an_event_filter_lets_through_only_what_it_names` |
| Event filters: by graph | `test_a_filter_by_graph_watches_the_worker_graph` |
| Webhook Entry Points | `test_a_signed_webhook_starts_its_handler` |
| … HMAC validation | `test_a_webhook_with_a_wrong_signature_starts_nothing` |
| Concurrency: per entry point | `test_an_entry_point_runs_no_more_than_its_limit` |
| Concurrency: global limits | `test_the_global_limit_holds_across_entry_points` |
| Concurrency: single execution mode | `test_single_execution_mode_replaces_what_runs_in_its_session_directory` |
| Lifecycle: graceful shutdown | `test_graceful_shutdown_by_signal` |
| Lifecycle: timer pause and resume | `test_timers_are_paused_and_resumed` |
| Logging configuration (three calls) | `test_logging_is_configured_for_production_and_development` |
| Process management: systemd unit, Dockerfile | no programs; the deployment tests run our own |
| Monitoring headless agents | `test_the_runtime_and_its_streams_tell_their_health` |

Filled in: the graph, the goal, the model, the tools, a free port instead of 8080, limits small enough to reach, and a
clock of the test's own where the guide waits for minutes or for Monday.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest

from hive_daemon.framework_alias import installed
from hive_daemon.llm.scripted import ScriptedProvider
from hive_daemon.llm.values import Tool
from tests.fakes.embedded import GOAL, Heard, Turnstile, function, graph_of, model, services_at
from tests.fakes.still_clock import StillClock

ROOT = Path(__file__).parent.parent.parent
MONDAY = datetime(2026, 3, 2, 8, 59, tzinfo=UTC).timestamp()
DAY = 24 * 3600.0


@pytest.fixture(autouse=True)
def _alias():
    with installed():
        yield


@pytest.fixture
async def made(tmp_path):
    """Makes runtimes and stops them afterwards."""
    runtimes = []

    def make(graph, **given):
        from framework.runtime.agent_runtime import AgentRuntime

        given.setdefault("storage_path", tmp_path / "storage")
        runtimes.append(AgentRuntime(graph=graph, goal=GOAL, **given))
        return runtimes[-1]

    yield make
    for runtime in runtimes:
        await runtime.stop(0.0)


async def say_hello(query: str = "nobody") -> str:
    return f"hello, {query}"


# --- running headless ---------------------------------------------------------------------------


async def test_direct_runtime_execution(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tool_list = [Tool("look_up", "Looks something up.", {"properties": {"what": {}}})]
    looked_up = []
    llm_provider = ScriptedProvider(
        {
            "nodes": {
                "process-request": [
                    {"tool_calls": [{"name": "look_up", "input": {"what": "{{ query }}"}}]},
                    {"set_output": {"answer": "have a look at the manual"}},
                ]
            }
        }
    )

    def tool_executor(use):
        looked_up.append(use.input["what"])
        return "the manual"

    my_graph = graph_of(model("process-request", input_keys=["query"], tools=["look_up"]))
    my_goal = GOAL

    from framework.runtime.agent_runtime import AgentRuntime, AgentRuntimeConfig
    from framework.runtime.execution_stream import EntryPointSpec

    async def main():
        config = AgentRuntimeConfig(
            max_concurrent_executions=100,
            cache_ttl=60.0,
            execution_result_max=1000,
        )
        runtime = AgentRuntime(
            graph=my_graph,
            goal=my_goal,
            storage_path=Path("./storage"),
            llm=llm_provider,
            tools=tool_list,
            tool_executor=tool_executor,
            config=config,
        )
        runtime.register_entry_point(
            EntryPointSpec(
                id="api",
                name="API Handler",
                entry_node="process-request",
                trigger_type="api",
                isolation_level="shared",
                max_concurrent=10,
            )
        )
        await runtime.start()
        exec_id = await runtime.trigger("api", {"query": "help"})
        result = await runtime.wait_for_completion(exec_id, timeout=300.0)
        if result and result.success:
            print(f"Success: {result.output}")
        else:
            print(f"Failed: {result.error if result else 'timeout'}")
        await runtime.stop()
        return exec_id

    exec_id = await main()
    assert looked_up == ["help"]
    assert "Success: " in capsys.readouterr().out
    state = json.loads((tmp_path / "storage" / "sessions" / exec_id / "state.json").read_text())
    assert (state["status"], state["memory"]["answer"]) == (
        "completed",
        "have a look at the manual",
    )


# --- timers -------------------------------------------------------------------------------------


def health_check():
    from framework.runtime.execution_stream import EntryPointSpec

    return EntryPointSpec(
        id="health_check",
        name="System Health Check",
        entry_node="check-health",
        trigger_type="timer",
        trigger_config={
            "interval_minutes": 5,
            "run_immediately": True,
            "idle_timeout_seconds": 300,
        },
        isolation_level="isolated",
    )


def daily_report():
    from framework.runtime.execution_stream import EntryPointSpec

    return EntryPointSpec(
        id="report_generator",
        name="Daily Report",
        entry_node="generate-report",
        trigger_type="timer",
        trigger_config={
            "cron": "0 9 * * 1-5",
            "run_immediately": False,
            "idle_timeout_seconds": 300,
        },
        isolation_level="isolated",
    )


async def test_a_fixed_interval_fires_on_startup_and_again(tmp_path, made):
    from framework.runtime.event_bus import EventType

    clock = StillClock(MONDAY)
    async with services_at(tmp_path, clock) as (_, placement):
        runtime = made(graph_of(function("check-health", say_hello)), placement=placement)
        runtime.register_entry_point(health_check())
        heard = Heard.of(runtime)
        await runtime.start()
        first = await heard.until(EventType.EXECUTION_COMPLETED, "health_check")
        clock.advance(5 * 60)
        second = await heard.until(EventType.EXECUTION_COMPLETED, "health_check", count=2)
        assert first.session_id != second.session_id
        await runtime.stop()


async def test_a_timer_skips_while_the_agent_is_busy(tmp_path, made):
    from framework.runtime.event_bus import EventType
    from framework.runtime.execution_stream import EntryPointSpec

    clock, turnstile = StillClock(MONDAY), Turnstile()
    graph = graph_of(function("check-health", say_hello), function("work", turnstile.enter))
    async with services_at(tmp_path, clock) as (_, placement):
        runtime = made(graph, placement=placement)
        runtime.register_entry_point(health_check())
        runtime.register_entry_point(EntryPointSpec(id="work", entry_node="work"))
        heard = Heard.of(runtime)
        await runtime.start()
        await heard.until(EventType.EXECUTION_COMPLETED, "health_check")
        await runtime.trigger("work")
        await turnstile.until(1)
        clock.advance(5 * 60)
        skipped = await heard.until(EventType.TRIGGER_SKIPPED, "health_check")
        assert skipped.data["outcome"] == "skipped_idle"
        await turnstile.let_through()
        await heard.until(EventType.EXECUTION_COMPLETED, "work")
        clock.advance(5 * 60)
        await heard.until(EventType.EXECUTION_COMPLETED, "health_check", count=2)
        await runtime.stop()


async def test_a_cron_expression_fires_on_business_days(tmp_path, made):
    from framework.runtime.event_bus import EventType

    clock = StillClock(MONDAY)
    async with services_at(tmp_path, clock) as (_, placement):
        runtime = made(graph_of(function("generate-report", say_hello)), placement=placement)
        runtime.register_entry_point(daily_report())
        heard = Heard.of(runtime)
        await runtime.start()
        assert runtime.get_timer_next_fire_in("report_generator") == pytest.approx(60.0)
        for day in range(5):
            clock.advance(60.0 if day == 0 else DAY)
            await heard.until(EventType.EXECUTION_COMPLETED, "report_generator", count=day + 1)
        for _ in range(3):
            clock.advance(DAY)
        await heard.until(EventType.EXECUTION_COMPLETED, "report_generator", count=6)
        started = heard.found(EventType.EXECUTION_STARTED, "report_generator")
        assert [event.data["input"]["event"]["scheduled_for"][:16] for event in started] == [
            *(f"2026-03-{day:02d}T09:00" for day in (2, 3, 4, 5, 6)),
            "2026-03-09T09:00",
        ]
        await runtime.stop()


async def test_timers_are_paused_and_resumed(tmp_path, made):
    from framework.runtime.event_bus import EventType

    clock = StillClock(MONDAY)
    async with services_at(tmp_path, clock) as (_, placement):
        runtime = made(graph_of(function("check-health", say_hello)), placement=placement)
        runtime.register_entry_point(health_check())
        heard = Heard.of(runtime)
        await runtime.start()
        await heard.until(EventType.EXECUTION_COMPLETED, "health_check")

        runtime.pause_timers()
        clock.advance(5 * 60)
        skipped = await heard.until(EventType.TRIGGER_SKIPPED, "health_check")
        assert skipped.data["outcome"] == "skipped_paused"

        runtime.resume_timers()
        clock.advance(5 * 60)
        await heard.until(EventType.EXECUTION_COMPLETED, "health_check", count=2)
        await runtime.stop()


# --- events -------------------------------------------------------------------------------------


def guardian():
    from framework.runtime.event_bus import EventType
    from framework.runtime.execution_stream import EntryPointSpec

    return EntryPointSpec(
        id="guardian",
        name="Failure Guardian",
        entry_node="analyze-failure",
        trigger_type="event",
        trigger_config={
            "event_types": [EventType.EXECUTION_FAILED],
            "exclude_own_graph": True,
        },
        isolation_level="isolated",
    )


async def break_down():
    raise ValueError("out of order")


async def analyze(event):
    return f"{event['graph_id']}: {event['data']['error']}"


async def test_a_guardian_reacts_to_failures_of_other_graphs(made):
    from framework.runtime.event_bus import EventType
    from framework.runtime.execution_stream import EntryPointSpec

    broken = function("work", break_down, max_retries=1)
    runtime = made(graph_of(function("analyze-failure", analyze, ["event"]), broken))
    runtime.register_entry_point(guardian())
    runtime.register_entry_point(EntryPointSpec(id="own", entry_node="work"))
    await runtime.add_graph(
        "worker", graph_of(broken, id="worker"), GOAL, {"run": EntryPointSpec(entry_node="work")}
    )
    heard = Heard.of(runtime)
    await runtime.start()
    assert not (await runtime.trigger_and_wait("own")).success
    assert not (await runtime.trigger_and_wait("worker::run")).success
    done = await heard.until(EventType.EXECUTION_COMPLETED, "guardian")
    result = await runtime.wait_for_completion(done.execution_id)
    assert result.output["answer"] == "worker: ValueError: out of order"
    assert len(heard.found(EventType.EXECUTION_STARTED, "guardian")) == 1


def by_stream():
    from framework.runtime.event_bus import EventType
    from framework.runtime.execution_stream import EntryPointSpec

    return EntryPointSpec(
        trigger_type="event",
        trigger_config={
            "event_types": [EventType.NODE_STALLED],
            "filter_stream": "primary",
        },
    )


def by_node():
    from framework.runtime.event_bus import EventType
    from framework.runtime.execution_stream import EntryPointSpec

    return EntryPointSpec(
        trigger_type="event",
        trigger_config={
            "event_types": [EventType.TOOL_CALL_COMPLETED],
            "filter_node": "critical-operation",
        },
    )


def by_graph():
    from framework.runtime.event_bus import EventType
    from framework.runtime.execution_stream import EntryPointSpec

    return EntryPointSpec(
        trigger_type="event",
        trigger_config={
            "event_types": [EventType.EXECUTION_FAILED],
            "filter_graph": "worker",
        },
    )


@pytest.mark.parametrize(
    ("sample", "passes", "others"),
    [
        (
            by_stream,
            ("node_stalled", "primary", "a"),
            [("node_stalled", "secondary", "a"), ("custom", "primary", "a")],
        ),
        (
            by_node,
            ("tool_call_completed", "s", "critical-operation"),
            [("tool_call_completed", "s", "another"), ("custom", "s", "critical-operation")],
        ),
    ],
)
async def test_an_event_filter_lets_through_only_what_it_names(made, sample, passes, others):
    from framework.runtime.event_bus import AgentEvent, EventType

    runtime = made(graph_of(function("react", analyze_node, ["event"])))
    spec = sample()
    runtime.register_entry_point(spec)
    heard = Heard.of(runtime)
    await runtime.start()
    for kind, stream_id, node_id in [*others, passes]:
        await runtime.event_bus.publish(
            AgentEvent(type=EventType(kind), stream_id=stream_id, node_id=node_id)
        )
    done = await heard.until(EventType.EXECUTION_COMPLETED, spec.id)
    result = await runtime.wait_for_completion(done.execution_id)
    assert result.output["answer"] == list(passes)
    assert len(heard.found(EventType.EXECUTION_STARTED)) == 1


async def analyze_node(event):
    return [event["type"], event["stream_id"], event["node_id"]]


async def test_a_filter_by_graph_watches_the_worker_graph(made):
    from framework.runtime.event_bus import EventType
    from framework.runtime.execution_stream import EntryPointSpec

    broken = function("work", break_down, max_retries=1)
    runtime = made(graph_of(function("analyze-failure", analyze, ["event"]), broken))
    spec = by_graph()
    runtime.register_entry_point(spec)
    runtime.register_entry_point(EntryPointSpec(id="own", entry_node="work"))
    for graph_id in ("worker", "other"):
        await runtime.add_graph(
            graph_id,
            graph_of(broken, id=graph_id),
            GOAL,
            {"run": EntryPointSpec(entry_node="work")},
        )
    heard = Heard.of(runtime)
    await runtime.start()
    for entry_point in ("own", "other::run", "worker::run"):
        assert not (await runtime.trigger_and_wait(entry_point)).success
    await heard.until(EventType.EXECUTION_COMPLETED, spec.id)
    assert len(heard.found(EventType.EXECUTION_STARTED, spec.id)) == 1


# --- webhooks -----------------------------------------------------------------------------------


def webhook_runtime(made):
    from framework.runtime.agent_runtime import AgentRuntimeConfig
    from framework.runtime.event_bus import EventType
    from framework.runtime.execution_stream import EntryPointSpec

    config = AgentRuntimeConfig(
        webhook_host="0.0.0.0",
        webhook_port=0,
        webhook_routes=[
            {
                "source_id": "github",
                "path": "/webhooks/github",
                "methods": ["POST"],
                "secret": "your-webhook-secret",
            },
            {
                "source_id": "slack",
                "path": "/webhooks/slack",
                "methods": ["POST"],
            },
        ],
    )
    runtime = made(graph_of(function("process-github-event", action_of, ["event"])), config=config)
    runtime.register_entry_point(
        EntryPointSpec(
            id="github_handler",
            name="GitHub Webhook Handler",
            entry_node="process-github-event",
            trigger_type="event",
            trigger_config={
                "event_types": [EventType.WEBHOOK_RECEIVED],
                "filter_stream": "github",
            },
            isolation_level="isolated",
        )
    )
    return runtime


async def action_of(event):
    return event["data"]["payload"]["action"]


async def posted(runtime, path, body, signature=None):
    headers = {"Content-Type": "application/json"}
    if signature is not None:
        headers["X-Hub-Signature-256"] = f"sha256={signature}"
    url = f"http://127.0.0.1:{runtime.webhook_server.port}{path}"
    async with (
        aiohttp.ClientSession() as client,
        client.post(url, data=body, headers=headers) as answer,
    ):
        return answer.status


async def test_a_signed_webhook_starts_its_handler(made):
    from framework.runtime.event_bus import EventType

    runtime = webhook_runtime(made)
    heard = Heard.of(runtime)
    await runtime.start()
    body = b'{"action": "opened"}'
    signature = hmac.new(b"your-webhook-secret", body, hashlib.sha256).hexdigest()
    # What another source delivers is none of this handler's business.
    assert await posted(runtime, "/webhooks/slack", b'{"action": "said"}') == 202
    assert await posted(runtime, "/webhooks/github", body, signature) == 202
    done = await heard.until(EventType.EXECUTION_COMPLETED, "github_handler")
    result = await runtime.wait_for_completion(done.execution_id)
    assert result.output["answer"] == "opened"
    assert len(heard.found(EventType.EXECUTION_STARTED)) == 1


async def test_a_webhook_with_a_wrong_signature_starts_nothing(made):
    runtime = webhook_runtime(made)
    await runtime.start()
    assert await posted(runtime, "/webhooks/github", b'{"action": "opened"}', "0" * 64) == 401
    assert runtime.get_stats()["streams"]["github_handler"]["total_executions"] == 0


# --- concurrency --------------------------------------------------------------------------------


async def test_an_entry_point_runs_no_more_than_its_limit(made):
    from framework.runtime.execution_stream import EntryPointSpec

    turnstile = Turnstile()
    runtime = made(graph_of(function("handle-request", turnstile.enter)))
    runtime.register_entry_point(
        EntryPointSpec(
            id="api",
            entry_node="handle-request",
            max_concurrent=50,
        )
    )
    await runtime.start()
    names = [await runtime.trigger("api") for _ in range(60)]
    await turnstile.until(50)
    stats = runtime.get_stats()["streams"]["api"]
    assert (stats["status_counts"], stats["available_slots"]) == ({"running": 50, "queued": 10}, 0)
    await turnstile.let_through()
    results = [await runtime.wait_for_completion(name, 30.0) for name in names]
    assert all(result.success for result in results)
    assert turnstile.most == 50


async def test_the_global_limit_holds_across_entry_points(made):
    from framework.runtime.agent_runtime import AgentRuntimeConfig
    from framework.runtime.execution_stream import EntryPointSpec

    turnstile = Turnstile()
    config = AgentRuntimeConfig(
        max_concurrent_executions=100,
    )
    runtime = made(graph_of(function("work", turnstile.enter)), config=config)
    for name in ("one", "other"):
        runtime.register_entry_point(EntryPointSpec(id=name, entry_node="work", max_concurrent=70))
    await runtime.start()
    names = [await runtime.trigger(name) for name in ("one", "other") for _ in range(70)]
    await turnstile.until(100)
    assert runtime.get_stats()["active_executions"] == 100
    await turnstile.let_through()
    results = [await runtime.wait_for_completion(name, 30.0) for name in names]
    assert all(result.success for result in results)
    assert turnstile.most == 100


async def test_single_execution_mode_replaces_what_runs_in_its_session_directory(made, tmp_path):
    from framework.runtime.execution_stream import EntryPointSpec

    turnstile = Turnstile()
    runtime = made(graph_of(function("exclusive-task", turnstile.enter)))
    runtime.register_entry_point(
        EntryPointSpec(
            id="singleton",
            entry_node="exclusive-task",
            max_concurrent=1,
        )
    )
    await runtime.start()
    old = await runtime.trigger("singleton")
    await turnstile.until_in(old)
    new = await runtime.trigger("singleton")
    await turnstile.until_in(new)
    assert turnstile.log == [("in", old), ("out", old), ("in", new)]
    assert (await runtime.wait_for_completion(old)).status == "cancelled"
    await turnstile.let_through()
    result = await runtime.wait_for_completion(new)
    assert (result.success, result.session_id) == (True, old)
    assert [path.name for path in (tmp_path / "storage" / "sessions").iterdir()] == [old]


# --- lifecycle ----------------------------------------------------------------------------------

SHUTDOWN = """
from hive_daemon.framework_alias import install
install()

import signal
import asyncio
from framework.graph import Goal, NodeSpec
from framework.graph.edge import GraphSpec
from framework.runtime.agent_runtime import AgentRuntime, AgentRuntimeConfig

async def work():
    print("working", flush=True)
    await asyncio.Event().wait()

runtime = None

async def shutdown(sig):
    print(f"Received {sig.name}, shutting down...")
    if runtime:
        await runtime.stop()
    asyncio.get_event_loop().stop()

async def main():
    global runtime
    loop = asyncio.get_event_loop()
    for sig in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(
            sig,
            lambda s=sig: asyncio.create_task(shutdown(s)),
        )
    node = NodeSpec(id="work", name="Work", node_type="function", function=work)
    graph = GraphSpec(id="agent", goal_id="goal", entry_node="work", nodes=[node])
    runtime = AgentRuntime(graph, Goal(id="goal", name="Goal"), "./storage",
                           config=AgentRuntimeConfig(drain_seconds=0.1))
    await runtime.start()
    await runtime.trigger("default")
    while runtime._running:
        await asyncio.sleep(1)

if __name__ == "__main__":
    asyncio.run(main())
"""


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_graceful_shutdown_by_signal(tmp_path, sent):
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", SHUTDOWN],
        cwd=tmp_path,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout.readline() == "working\n"
        program.send_signal(sent)
        out, err = program.communicate(timeout=30)
    assert out == f"Received {sent.name}, shutting down...\n"
    # The guide stops the loop under asyncio.run, which says so and makes Python exit 1.
    assert (program.returncode, "Event loop stopped before Future completed" in err) == (1, True)
    (session,) = (tmp_path / "storage" / "sessions").iterdir()
    assert json.loads((session / "state.json").read_text())["status"] == "interrupted"


# --- logging ------------------------------------------------------------------------------------

LOGGING = """
from hive_daemon.framework_alias import install
install()
import logging, os
from framework.observability import configure_logging

# JSON logs for production
configure_logging(level="INFO", format="json")
logging.getLogger("sample").info("one")
# Human-readable for development
configure_logging(level="DEBUG", format="human")
logging.getLogger("sample").debug("two")
# Auto-detect from environment
for name, value in (("LOG_FORMAT", "json"), ("ENV", "production"), ("NOTHING", "")):
    os.environ.pop("LOG_FORMAT", None)
    os.environ.pop("ENV", None)
    os.environ[name] = value
    configure_logging(level="INFO", format="auto")
    logging.getLogger("sample").info(name)
"""


def test_logging_is_configured_for_production_and_development(tmp_path):
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", LOGGING],
        cwd=tmp_path,
        env=environ,
        check=True,
        capture_output=True,
        text=True,
    )
    lines = (done.stdout + done.stderr).splitlines()
    assert [line.startswith("{") for line in lines] == [True, False, True, True, False]
    assert [json.loads(line)["message"] for line in lines if line.startswith("{")] == [
        "one",
        "LOG_FORMAT",
        "ENV",
    ]
    assert "two" in lines[1]


# --- monitoring ---------------------------------------------------------------------------------


async def test_the_runtime_and_its_streams_tell_their_health(made, capsys):
    turnstile = Turnstile()
    runtime = made(graph_of(function("work", turnstile.enter)))
    await runtime.start()

    def tell():
        stats = runtime.get_stats()
        print(f"Active executions: {stats['active_executions']}")
        print(f"Streams: {stats['streams']}")
        for stream_id, stream in runtime._streams.items():
            stream_stats = stream.get_stats()
            print(f"Stream {stream_id}:")
            print(f"  Running: {stream_stats['status_counts'].get('running', 0)}")
            print(f"  Idle seconds: {stream.agent_idle_seconds:.1f}")
        return [line for line in capsys.readouterr().out.splitlines() if "Streams" not in line]

    assert tell() == [
        "Active executions: 0",
        "Stream default:",
        "  Running: 0",
        "  Idle seconds: inf",
    ]
    await runtime.trigger("default")
    await turnstile.until(1)
    assert tell() == [
        "Active executions: 1",
        "Stream default:",
        "  Running: 1",
        "  Idle seconds: 0.0",
    ]
    await turnstile.let_through()


# --- the table ----------------------------------------------------------------------------------


def test_the_table_names_every_test():
    named = set(re.findall(r"`(test_\w+)`", __doc__))
    written = {name for name in globals() if name.startswith("test_")}
    assert named == written - {"test_the_table_names_every_test"}
