"""The control API as a client sees it: a real socket, real agents, a real store."""

import asyncio
import json

import pytest

from hive_daemon.control.wire import Status
from hive_daemon.errors import StorageFull, StorageUnavailable
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.lifecycle import RunState
from hive_daemon.storage.sqlite.writer import Writer
from tests.fakes.control_client import Client
from tests.fakes.control_host import running_host

UNKNOWN = "session_20200101_000000_00000000"


@pytest.fixture
async def host(tmp_path):
    async with running_host(tmp_path) as host:
        yield host


@pytest.fixture
def client(host):
    return Client(host.socket)


async def start(client, address="ops/triage", body=None, **options):
    """Trigger, and answer the id."""
    answer = await client.post(f"/v1/entry-points/{address}/trigger", body or {}, **options)
    assert answer.status == 202, answer.content
    return answer.json["execution_id"]


async def settled(client, execution_id):
    """Wait, and answer the execution."""
    return (await client.get(f"/v1/executions/{execution_id}?wait=15")).json


async def held(host, client, **options):
    """Start an execution that stands at the gate, and answer its id."""
    execution_id = await start(client, **options)
    await host.gate.entered.wait()
    return execution_id


# --- triggering -----------------------------------------------------------------------------


async def test_a_trigger_is_accepted_and_runs(host, client):
    host.gate.is_open.set()
    answer = await client.post(
        "/v1/entry-points/ops/triage/trigger",
        {"input": {"log": "disk full"}, "correlation_id": "INC-42", "source": "cli"},
    )
    name = answer.json["execution_id"]
    assert answer.status == 202
    assert answer.json == {
        "execution_id": name,
        "execution_ids": [name],
        "session_id": name,
        "entry_point": "ops/triage",
        "status": "queued",
        "created": True,
        "outcome": "queued",
        "due_at": None,
    }
    execution = await settled(client, name)
    assert execution["status"] == "completed"
    assert execution["input"] == {"log": "disk full"}
    assert execution["output"]["report"] == "report done"
    assert execution["path"] == ["parse", "hold", "report"]
    assert (execution["correlation_id"], execution["source"]) == ("INC-42", "cli")


async def test_an_entry_point_is_triggered_by_its_bare_name(host, client):
    host.gate.is_open.set()
    answer = await client.post("/v1/entry-points/triage/trigger")
    assert answer.json["entry_point"] == "ops/triage"


async def test_the_same_key_starts_an_entry_point_once(host, client):
    host.gate.is_open.set()
    first = await start(client, body={"input": {"n": 1}}, key="nightly")
    await settled(client, first)
    again = await client.post(
        "/v1/entry-points/ops/triage/trigger", b'{ "input" : {"n":1} }', key="nightly"
    )
    assert again.status == 202
    assert again.json["execution_id"] == first
    assert (again.json["created"], again.json["status"]) == (False, "completed")


async def test_simultaneous_requests_with_one_key_start_one_execution(host, client):
    answers = await asyncio.gather(
        *(client.post("/v1/entry-points/ops/triage/trigger", {}, key="same") for _ in range(10))
    )
    assert len({answer.json["execution_id"] for answer in answers}) == 1
    assert [answer.json["created"] for answer in answers].count(True) == 1


async def test_the_same_key_with_another_body_is_a_conflict(host, client):
    await start(client, body={"input": {"n": 1}}, key="nightly")
    answer = await client.post(
        "/v1/entry-points/ops/triage/trigger", {"input": {"n": 2}}, key="nightly"
    )
    assert (answer.status, answer.code) == (409, "idempotency_conflict")


async def test_a_trigger_can_continue_a_session(host, client):
    host.gate.is_open.set()
    first = await start(client, body={"input": {"log": "one"}})
    await settled(client, first)
    answer = await client.post(
        "/v1/entry-points/ops/triage/trigger",
        {"session_id": "latest", "input": {"more": 1}},
        key="k",
    )
    assert answer.json["execution_id"] == f"{first}-2"
    assert answer.json["session_id"] == first
    second = await settled(client, f"{first}-2")
    assert second["output"]["log"] == "one"
    again = await client.post(
        "/v1/entry-points/ops/triage/trigger",
        {"session_id": "latest", "input": {"more": 1}},
        key="k",
    )
    assert (again.json["execution_id"], again.json["created"]) == (f"{first}-2", False)


async def test_an_entry_point_that_does_not_exist_is_named_with_the_nearest(client):
    answer = await client.post("/v1/entry-points/ops/triag/trigger")
    assert (answer.status, answer.code) == (404, "not_found")
    assert '"ops/triag"' in answer.error["message"]
    assert "did you mean ops/triage?" in answer.error["hint"]


async def test_an_entry_point_of_a_degraded_agent_says_why(host, client):
    host.degrade("broken", "agents/broken/agent.json: no nodes")
    answer = await client.post("/v1/entry-points/broken/main/trigger")
    assert (answer.status, answer.code) == (409, "not_running")
    assert "no nodes" in answer.error["message"]
    assert "`hive agents validate /agents/broken`" in answer.error["hint"]


async def test_a_bare_name_that_two_agents_have_is_ambiguous(host, client):
    graph = host.runtime("ops").graph
    spec = host.runtime("ops").get_entry_points()[0]
    await host.add("ops2", graph, spec)
    answer = await client.post("/v1/entry-points/triage/trigger")
    assert (answer.status, answer.code) == (409, "ambiguous")
    assert answer.error["candidates"] == ["ops/triage", "ops2/triage"]


async def test_an_entry_point_of_a_secondary_graph_has_its_graphs_name(host, client):
    judge = host.runtime("ops").graph.model_copy(update={"id": "judge"})
    goal = host.runtime("ops").goal
    await host.runtime("ops").add_graph(
        "judge", judge, goal, {"check": EntryPointSpec(id="check", entry_node="report")}
    )
    answer = await client.post("/v1/entry-points/ops/judge::check/trigger")
    assert (answer.status, answer.json["entry_point"]) == (202, "ops/judge::check")


# --- waiting --------------------------------------------------------------------------------


async def test_an_end_that_is_durable_and_not_told_of_is_not_answered_yet(
    host, client, monkeypatch
):
    name = await held(host, client)
    held_back, is_held = [], asyncio.Event()
    tell = Writer._answer

    def tell_later(writer):
        if not held_back and all(
            job.step is None or not job.step[1].ending for job in writer._done
        ):
            tell(writer)
            return
        held_back.append(writer)
        is_held.set()

    monkeypatch.setattr(Writer, "_answer", tell_later)
    host.gate.is_open.set()
    await is_held.wait()
    waiting = asyncio.create_task(client.get(f"/v1/executions/{name}?wait=60"))
    for _ in range(5):
        shown = await client.get(f"/v1/executions/{name}")
        assert shown.json["status"] == "completed"
    assert not waiting.done()
    monkeypatch.undo()
    tell(held_back[0])
    assert (await waiting).json["status"] == "completed"


async def test_waiting_ends_as_soon_as_the_execution_is_settled(host, client):
    name = await held(host, client)
    waiting = asyncio.create_task(client.get(f"/v1/executions/{name}?wait=60"))
    host.gate.is_open.set()
    assert (await waiting).json["status"] == "completed"


async def test_waiting_ends_unsettled_when_the_time_is_over(host, client):
    name = await held(host, client)
    answer = await client.get(f"/v1/executions/{name}?wait=0.05")
    assert answer.status == 200
    assert (answer.json["status"], answer.json["current_node"]) == ("running", "hold")
    assert answer.json["path"] == ["parse", "hold"]


async def test_waiting_ends_when_the_daemon_stops(host, client):
    name = await held(host, client)
    async with client.connected() as (reader, writer):
        writer.write(f"GET /v1/executions/{name}?wait=60 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await client.get("/v1/health")
        await host.control.stop()
        head = await reader.readuntil(b"\r\n\r\n")
    assert b"200 OK" in head


# --- cancelling -----------------------------------------------------------------------------


async def test_cancelling_what_runs_ends_it(host, client):
    name = await held(host, client)
    answer = await client.post(f"/v1/executions/{name}/cancel", {"reason": "wrong log"})
    assert answer.status == 202
    assert answer.json["execution_id"] == name
    execution = await settled(client, name)
    assert (execution["status"], execution["error"]) == ("cancelled", "wrong log")
    assert host.gate.runs == ["parse", "hold"]


async def test_cancelling_right_after_triggering_is_never_lost(host, client):
    for _ in range(20):
        name = await start(client)
        await client.post(f"/v1/executions/{name}/cancel")
        assert (await settled(client, name))["status"] == "cancelled"


async def test_cancelling_what_is_cancelled_answers_the_same(host, client):
    name = await held(host, client)
    await client.post(f"/v1/executions/{name}/cancel")
    await settled(client, name)
    again = await client.post(f"/v1/executions/{name}/cancel")
    assert (again.status, again.json["status"]) == (202, "cancelled")


async def test_cancelling_what_ended_otherwise_is_an_illegal_move(host, client):
    host.gate.is_open.set()
    name = await start(client)
    await settled(client, name)
    answer = await client.post(f"/v1/executions/{name}/cancel")
    assert (answer.status, answer.code) == (409, "illegal_move")


@pytest.mark.parametrize("entry_point", ["desk/ask", "desk/rest"])
async def test_cancelling_what_waits_is_done_at_once(client, entry_point):
    name = await start(client, entry_point)
    await settled(client, name)
    answer = await client.post(f"/v1/executions/{name}/cancel")
    assert answer.json["status"] == "cancelled"


async def test_a_cancellation_says_by_whom_without_a_reason(host, client):
    name = await held(host, client)
    await client.post(f"/v1/executions/{name}/cancel")
    execution = await settled(client, name)
    assert execution["error"] == f"cancelled by {execution['cancelled_by']}"
    assert execution["cancelled_by"].startswith("uid:")


async def test_a_cancellation_says_by_whom_with_a_reason_too(host, client):
    name = await held(host, client)
    await client.post(f"/v1/executions/{name}/cancel", {"reason": "wrong log"})
    execution = await settled(client, name)
    assert execution["error"] == "wrong log"
    assert execution["cancelled_by"].startswith("uid:")


# --- answers that were lost ---


@pytest.fixture
def lost(host, monkeypatch):
    """Lose what comes after the work itself, once."""

    async def fail(*_):
        monkeypatch.undo()
        raise StorageUnavailable("the disk went away")

    def prepare(method):
        monkeypatch.setattr(host.control._control.once, method, fail)

    return prepare


@pytest.mark.parametrize("entry_point", ["desk/rest", "ops/triage"])
async def test_a_resume_whose_answer_was_lost_is_not_done_twice(host, client, lost, entry_point):
    host.gate.is_open.set()
    host.gate.fails.add("report")
    name = await start(client, entry_point)
    await settled(client, name)
    host.gate.fails.clear()
    lost("complete")
    first = await client.post(f"/v1/sessions/{name}/resume", {}, key="k")
    assert (first.status, first.code) == (503, "storage_unavailable")
    await settled(client, "latest")
    again = await client.post(f"/v1/sessions/{name}/resume", {}, key="k")
    assert (again.status, again.json["created"], again.json["status"]) == (202, False, "completed")
    last = "after" if entry_point == "desk/rest" else "report"
    assert host.gate.runs.count(last) == (1 if last == "after" else 2)


async def test_a_resume_that_was_lost_before_it_began_is_done_the_second_time(host, client, lost):
    name = await start(client, "desk/rest")
    await settled(client, name)
    stream = host.runtime("desk").get_stream("rest")
    submit = stream.submit

    async def fail(call):
        del stream.submit
        raise StorageUnavailable("the disk went away")

    stream.submit = fail
    assert submit is not None
    assert (await client.post(f"/v1/sessions/{name}/resume", {}, key="k")).status == 503
    again = await client.post(f"/v1/sessions/{name}/resume", {}, key="k")
    assert (again.status, again.json["created"]) == (202, True)
    assert (await settled(client, name))["status"] == "completed"


# --- sessions -------------------------------------------------------------------------------


async def test_answering_a_question_goes_on_as_the_same_execution(client):
    name = await start(client, "desk/ask")
    waiting = await settled(client, name)
    assert waiting["status"] == "waiting_input"
    assert waiting["waiting"] == {
        "kind": "input",
        "node_id": "ask",
        "question": "May I go on?",
        "options": [],
        "nodes": [
            {"kind": "input", "node_id": "ask", "question": "May I go on?", "options": []},
        ],
    }
    answer = await client.post(f"/v1/sessions/{name}/input", {"text": "yes"}, key="k")
    assert (answer.status, answer.json["execution_id"], answer.json["created"]) == (202, name, True)
    ended = await settled(client, name)
    assert (ended["status"], ended["output"]["said"]) == ("completed", "yes")


async def test_an_answer_with_a_known_key_is_given_once(client):
    name = await start(client, "desk/ask")
    await settled(client, name)
    await client.post(f"/v1/sessions/{name}/input", {"text": "yes"}, key="k")
    await settled(client, name)
    again = await client.post(f"/v1/sessions/{name}/input", {"text": "yes"}, key="k")
    assert (again.status, again.json["created"]) == (202, False)
    other = await client.post(f"/v1/sessions/{name}/input", {"text": "no"}, key="k")
    assert (other.status, other.code) == (409, "idempotency_conflict")


@pytest.mark.parametrize(
    ("fails", "way"),
    [
        ((), "hive trigger ENTRY_POINT --session {name}"),
        (("report",), "hive sessions resume {name}"),
    ],
)
async def test_input_for_a_session_where_nothing_waits_is_a_conflict(host, client, fails, way):
    host.gate.is_open.set()
    host.gate.fails.update(fails)
    name = await start(client)
    await settled(client, name)
    answer = await client.post(f"/v1/sessions/{name}/input", {"text": "hello"})
    assert (answer.status, answer.code) == (409, "conflict")
    assert answer.error["hint"] == f"go on with it by `{way.format(name=name)}`"


async def test_input_for_a_node_that_does_not_wait_names_the_one_that_does(client):
    name = await start(client, "desk/ask")
    await settled(client, name)
    answer = await client.post(f"/v1/sessions/{name}/input", {"text": "x", "node_id": "last"})
    assert (answer.status, answer.code) == (409, "conflict")
    assert answer.error["hint"] == "ask does"


async def test_a_paused_session_goes_on_as_the_same_execution(client):
    name = await start(client, "desk/rest")
    assert (await settled(client, name))["paused_at"] == "stop"
    answer = await client.post(f"/v1/sessions/{name}/resume", {"input": {"ok": True}}, key="k")
    assert (answer.status, answer.json["execution_id"]) == (202, name)
    ended = await settled(client, name)
    assert ended["status"] == "completed"
    assert ended["path"] == ["before", "stop", "after"]
    assert ended["output"]["ok"] is True
    again = await client.post(f"/v1/sessions/{name}/resume", {"input": {"ok": True}}, key="k")
    assert (again.status, again.json["created"], again.json["status"]) == (202, False, "completed")


async def test_resuming_twice_at_once_resumes_once(host, client):
    name = await start(client, "desk/rest")
    await settled(client, name)
    answers = await asyncio.gather(
        *(client.post(f"/v1/sessions/{name}/resume", {}, key="k") for _ in range(5))
    )
    assert {answer.json["execution_id"] for answer in answers} == {name}
    await settled(client, name)
    assert host.gate.runs.count("after") == 1
    assert (await client.get(f"/v1/sessions/{name}")).json["executions"] == 1


async def test_a_failed_session_goes_on_in_its_next_execution_where_it_failed(host, client):
    host.gate.is_open.set()
    host.gate.fails.add("report")
    name = await start(client, body={"input": {"log": "x"}})
    assert (await settled(client, name))["status"] == "failed"
    host.gate.fails.clear()
    answer = await client.post(f"/v1/sessions/{name}/resume", {}, key="k")
    assert (answer.status, answer.json["execution_id"]) == (202, f"{name}-2")
    ended = await settled(client, f"{name}-2")
    assert (ended["status"], ended["source"]) == ("completed", "resume")
    assert ended["output"]["log"] == "x"
    assert host.gate.runs == ["parse", "hold", "report", "report"]
    again = await client.post(f"/v1/sessions/{name}/resume", {}, key="k")
    assert (again.json["execution_id"], again.json["created"]) == (f"{name}-2", False)


async def test_a_cancelled_session_goes_on_where_it_was_stopped(host, client):
    name = await held(host, client)
    await client.post(f"/v1/executions/{name}/cancel")
    await settled(client, name)
    host.gate.is_open.set()
    answer = await client.post(f"/v1/sessions/{name}/resume")
    ended = await settled(client, answer.json["execution_id"])
    assert ended["status"] == "completed"
    assert host.gate.runs == ["parse", "hold", "hold", "report"]


@pytest.mark.parametrize("is_open", [True, False])
async def test_what_runs_or_is_completed_cannot_be_resumed(host, client, is_open):
    name = await start(client)
    if is_open:
        host.gate.is_open.set()
        await settled(client, name)
    answer = await client.post(f"/v1/sessions/{name}/resume")
    assert (answer.status, answer.code) == (409, "illegal_move")


async def test_a_session_adds_up_its_executions(host, client):
    host.gate.is_open.set()
    name = await start(client)
    await settled(client, name)
    await start(client, body={"session_id": name})
    await settled(client, f"{name}-2")
    session = (await client.get(f"/v1/sessions/{name}")).json
    assert (session["executions"], session["steps"]) == (2, 6)
    assert session["latest_execution_id"] == f"{name}-2"
    assert session["latest_execution"]["id"] == f"{name}-2"
    assert (await client.get("/v1/sessions")).json["items"][0]["steps"] == 6


async def test_the_state_of_a_session_is_what_the_mirror_shows(tmp_path):
    async with running_host(tmp_path, mirror="full") as host:
        client = Client(host.socket)
        host.gate.is_open.set()
        name = await start(client, body={"input": {"log": "x"}})
        await settled(client, name)
        shown = (await client.get(f"/v1/sessions/{name}/state")).json
        directory = host.services.settings.state_dir / "agents" / "ops" / "sessions" / name
        mirrored = json.loads((directory / "state.json").read_text())
        for state in (shown, mirrored):
            # The mirror looks at its own clock when it is told of a commit.
            state["timestamps"] = sorted(state["timestamps"])
            del state["duration_ms"]
        assert mirrored == shown


async def test_checkpoints_are_listed_page_by_page(host, client):
    host.gate.is_open.set()
    name = await start(client)
    await settled(client, name)
    whole = (await client.get(f"/v1/sessions/{name}/checkpoints")).json["items"]
    found, cursor = [], ""
    while cursor is not None:
        page = (await client.get(f"/v1/sessions/{name}/checkpoints?limit=2{cursor}")).json
        found += page["items"]
        cursor = f"&cursor={page['next_cursor']}" if page["next_cursor"] else None
    assert found == whole
    # A beginning has a checkpoint of its own only if its first node took its time.
    nodes = [one["current_node"] for one in whole if one["current_node"]]
    assert nodes == ["parse", "hold", "report"]


# --- lists and references -------------------------------------------------------------------


async def test_lists_are_cut_into_pages_that_miss_nothing(host, client):
    host.gate.is_open.set()
    names = [await start(client) for _ in range(5)]
    found, cursor = [], ""
    while cursor is not None:
        page = (await client.get(f"/v1/executions?limit=2{cursor}")).json
        found += [one["id"] for one in page["items"]]
        await start(client)
        cursor = f"&cursor={page['next_cursor']}" if page["next_cursor"] else None
    assert found == names[::-1]


async def test_a_full_last_page_has_no_cursor(client, host):
    host.gate.is_open.set()
    for _ in range(2):
        await start(client)
    assert (await client.get("/v1/executions?limit=2")).json["next_cursor"] is None


async def test_lists_keep_what_matches(host, client):
    host.gate.is_open.set()
    done = await start(client)
    await settled(client, done)
    asking = await start(client, "desk/ask")
    await settled(client, asking)

    async def ids(path):
        return [one["id"] for one in (await client.get(path)).json["items"]]

    assert await ids("/v1/executions?status=completed") == [done]
    assert await ids("/v1/executions?status=completed&status=waiting_input") == [asking, done]
    assert await ids("/v1/executions?entry_point=ask") == [asking]
    assert await ids("/v1/executions?entry_point=ask&agent=ops") == []
    assert await ids(f"/v1/executions?session_id={done}") == [done]
    assert await ids("/v1/sessions?status=waiting_input") == [asking]
    assert await ids("/v1/sessions?agent=ops") == [done]


async def test_executions_and_sessions_are_found_by_the_beginning_of_their_id(host, client):
    host.gate.is_open.set()
    name = await start(client)
    await settled(client, name)
    await start(client, body={"session_id": name})
    short = name.removeprefix("session_")
    assert (await client.get(f"/v1/executions/{short}")).json["id"] == name
    assert (await client.get(f"/v1/executions/{short}-2")).json["id"] == f"{name}-2"
    assert (await client.get(f"/v1/sessions/{short[:20]}")).json["id"] == name
    assert (await client.get("/v1/executions/latest")).json["id"] == f"{name}-2"
    assert (await client.get("/v1/sessions/latest")).json["id"] == name


async def test_an_ambiguous_reference_gives_its_candidates(host, client):
    names = {await start(client) for _ in range(12)}
    answer = await client.get("/v1/executions/session_2")
    assert (answer.status, answer.code) == (409, "ambiguous")
    assert len(answer.error["candidates"]) == 10
    assert set(answer.error["candidates"]) < names


async def test_the_latest_session_is_the_one_created_last(host, client):
    host.gate.is_open.set()
    first = await start(client)
    second = await start(client)
    await settled(client, first)
    await start(client, body={"session_id": first})
    assert (await client.get("/v1/sessions/latest")).json["id"] == second


# --- timers ---------------------------------------------------------------------------------


async def test_timers_are_paused_and_resumed(host, client):
    paused = await client.post("/v1/timers/pause", {"ids": ["report"], "note": "maintenance"})
    assert paused.status == 200
    (timer,) = paused.json["items"]
    assert timer["id"] == "ops/report"
    assert timer["next_at"] is None
    assert timer["paused"]["by"].startswith("uid:")
    assert timer["paused"]["note"] == "maintenance"
    assert (await client.get("/v1/stats")).json["timers"]["paused"] == 1
    resumed = await client.post("/v1/timers/resume", {"ids": ["ops/report"]})
    assert (resumed.json["items"][0]["paused"], resumed.json["items"][0]["id"]) == (
        None,
        "ops/report",
    )
    assert resumed.json["items"][0]["next_at"] is not None


async def test_without_ids_all_timers_are_meant(client):
    paused = await client.post("/v1/timers/pause")
    assert [timer["id"] for timer in paused.json["items"]] == ["desk/tick", "ops/report"]
    assert all(timer["paused"] for timer in (await client.get("/v1/timers")).json["items"])


async def test_a_pause_takes_over_the_new_note(client):
    for note in ("first", "second"):
        await client.post("/v1/timers/pause", {"note": note})
    timers = (await client.get("/v1/timers")).json["items"]
    assert {timer["paused"]["note"] for timer in timers} == {"second"}


async def test_one_unknown_timer_and_nothing_is_paused(client):
    answer = await client.post("/v1/timers/pause", {"ids": ["ops/report", "ops/nothing"]})
    assert (answer.status, answer.code) == (404, "not_found")
    timers = (await client.get("/v1/timers")).json["items"]
    assert [timer["paused"] for timer in timers] == [None, None]


async def test_an_empty_list_of_timers_is_not_valid(client):
    answer = await client.post("/v1/timers/pause", {"ids": []})
    assert (answer.status, answer.code) == (400, "invalid")


async def test_schedules_are_written_for_people(client):
    timers = (await client.get("/v1/timers")).json["items"]
    assert [timer["schedule"] for timer in timers] == ["every 5m", "0 9 * * 1-5 (Europe/Berlin)"]


# --- agents, figures, health ----------------------------------------------------------------


async def test_a_degraded_agent_is_shown_with_its_reason(host, client):
    host.degrade("broken", "no nodes")
    agents = {one["name"]: one for one in (await client.get("/v1/agents")).json["items"]}
    assert agents["broken"] == {
        "name": "broken",
        "path": "/agents/broken",
        "state": "degraded",
        "reason": "no nodes",
        "graph_id": None,
        "entry_points": 0,
        "entry_point_ids": [],
        "running": 0,
    }
    assert (await client.get("/v1/stats")).json["agents"] == {
        "ready": 2,
        "degraded": 1,
        "loading": 0,
    }
    health = await client.get("/v1/health")
    assert (health.status, health.json["status"]) == (200, "degraded")
    assert (await client.get("/v1/ready")).status == 200


async def test_an_entry_point_shows_the_webhooks_that_reach_it(client):
    points = {
        one["address"]: one
        for one in (await client.get("/v1/entry-points?agent=ops")).json["items"]
    }
    assert set(points) == {"ops/alert", "ops/report", "ops/triage"}
    assert points["ops/alert"]["webhooks"] == [
        {"source_id": "pager", "path": "/hooks/pager", "methods": ["POST"], "verified": True}
    ]
    assert points["ops/triage"]["webhooks"] == []
    assert points["ops/report"]["timer"]["id"] == "ops/report"


async def test_the_figures_follow_what_happens(host, client):
    host.gate.is_open.set()
    await settled(client, await start(client))
    name = await start(client, "desk/ask")
    await settled(client, name)
    stats = (await client.get("/v1/stats")).json
    assert set(stats["executions"]) == set(Status)
    assert stats["executions"]["completed"] == 1
    assert stats["executions"]["waiting_input"] == 1
    assert stats["events"]["published"] == stats["events"]["last_seq"] > 0
    assert stats["limit"] == 100
    assert stats["memory_mb"] > 1


async def test_health_needs_no_store_and_ready_does(host, client):
    assert (await client.get("/v1/health")).json["status"] == "ok"
    ready = (await client.get("/v1/ready")).json
    assert ready["status"] == "ready"
    assert ready["checks"]["store"] == {"ok": True, "detail": "writable"}
    assert set(ready["checks"]) == {
        "store",
        "dispatcher",
        "events",
        "timers",
        "control",
        "http",
        "agents",
    }


async def test_a_daemon_whose_dispatcher_has_died_is_failing(host, client):
    await host.services.dispatcher.stop()
    for path in ("/v1/health", "/v1/ready"):
        answer = await client.get(path)
        assert (answer.status, answer.json["status"]) == (503, "failing")
        assert answer.json["checks"]["dispatcher"]["ok"] is False
        assert answer.headers["retry-after"] == "5"


async def test_a_daemon_whose_socket_file_was_removed_says_so(host, client):
    async with client.connected() as (reader, writer):
        host.socket.unlink()
        writer.write(b"GET /v1/ready HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"503" in await reader.readline()


async def test_a_full_disk_is_told_by_ready_and_by_every_request_that_needs_it(
    host, client, monkeypatch
):
    async def full(*_, **__):
        raise StorageFull("there is no space left on the device")

    monkeypatch.setattr(host.services.store.lease, "heartbeat", full)
    monkeypatch.setattr(host.services.store.queue, "submit", full)
    monkeypatch.setattr(host.services.store.timers, "set_paused", full)
    ready = await client.get("/v1/ready")
    assert (ready.status, ready.json["status"]) == (503, "failing")
    assert "no space left" in ready.json["checks"]["store"]["detail"]
    assert (await client.get("/v1/health")).json["status"] == "degraded"
    trigger = await client.post("/v1/entry-points/ops/triage/trigger")
    assert (trigger.status, trigger.code) == (507, "storage_full")
    paused = await client.post("/v1/timers/pause")
    assert (paused.status, paused.code) == (507, "storage_full")
    assert not host.runtime("ops").timers_paused


# --- starting and draining ------------------------------------------------------------------


async def test_while_the_daemon_starts_only_health_and_ready_answer(host, client):
    host.state = RunState.STARTING
    answer = await client.get("/v1/stats")
    assert (answer.status, answer.code) == (503, "starting")
    assert answer.headers["retry-after"] == "1"
    assert (await client.get("/v1/health")).status == 200
    ready = await client.get("/v1/ready")
    assert (ready.status, ready.json["status"]) == (503, "starting")


async def test_drain_asks_once_and_then_only_tells(host, client):
    first = await client.post("/v1/drain")
    assert (first.status, first.json["state"]) == (202, "draining")
    again = await client.post("/v1/drain")
    assert (again.status, again.json["state"]) == (202, "draining")
    assert len(host.stop.asked) == 1


async def test_a_draining_daemon_reads_and_cancels_but_starts_nothing(host, client):
    name = await held(host, client)
    await client.post("/v1/drain")
    for path in (
        "/v1/entry-points/ops/triage/trigger",
        f"/v1/sessions/{name}/resume",
        f"/v1/sessions/{name}/input",
    ):
        answer = await client.post(path, {"text": "x"} if path.endswith("input") else {})
        assert (answer.status, answer.code) == (503, "draining"), path
        assert answer.headers["retry-after"] == "5"
    assert (await client.get("/v1/executions")).json["items"][0]["id"] == name
    assert (await client.get("/v1/ready")).json["status"] == "draining"
    assert (await client.get("/v1/health")).json["status"] == "ok"
    assert (await client.post(f"/v1/executions/{name}/cancel")).status == 202
    assert (await settled(client, name))["status"] == "cancelled"


async def test_what_was_interrupted_can_be_cancelled_when_its_agent_has_stopped(host, client):
    name = await held(host, client)
    await host.runtime("ops").stop(0.0)
    answer = await client.post(f"/v1/executions/{name}/cancel")
    assert (answer.status, answer.json["status"]) == (202, "cancelled")
    resumed = await client.post(f"/v1/sessions/{name}/resume")
    assert (resumed.status, resumed.code) == (409, "not_running")


# --- over restarts --------------------------------------------------------------------------


async def test_keys_and_pauses_hold_over_a_restart(tmp_path):
    async with running_host(tmp_path) as host:
        client = Client(host.socket)
        host.gate.is_open.set()
        first = await start(client, body={"input": {"n": 1}}, key="a")
        parked = await start(client, "desk/rest")
        await settled(client, parked)
        await client.post(f"/v1/sessions/{parked}/resume", {"input": {"n": 1}}, key="b")
        await settled(client, parked)
        asking = await start(client, "desk/ask")
        await settled(client, asking)
        await client.post(f"/v1/sessions/{asking}/input", {"text": "yes"}, key="c")
        await client.post("/v1/timers/pause", {"ids": ["report"], "note": "holiday"})
    async with running_host(tmp_path) as host:
        client = Client(host.socket)
        again = await client.post(
            "/v1/entry-points/ops/triage/trigger", {"input": {"n": 1}}, key="a"
        )
        assert (again.json["execution_id"], again.json["created"]) == (first, False)
        resumed = await client.post(f"/v1/sessions/{parked}/resume", {"input": {"n": 1}}, key="b")
        assert (resumed.status, resumed.json["created"]) == (202, False)
        answered = await client.post(f"/v1/sessions/{asking}/input", {"text": "yes"}, key="c")
        assert (answered.status, answered.json["created"]) == (202, False)
        timers = (await client.get("/v1/timers")).json["items"]
        assert [timer["paused"] and timer["paused"]["note"] for timer in timers] == [
            None,
            "holiday",
        ]
        assert (await client.get(f"/v1/executions/{UNKNOWN}")).status == 404
