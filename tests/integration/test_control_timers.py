"""`hive timers` and its routes: the real command, the real control API, a real store."""

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hive_daemon.control.wire import Route
from hive_daemon.errors import StorageFull
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.storage.timer_values import TimerFire, TimerOutcome, TimerSkip
from tests.fakes.control_client import SECONDS, Client
from tests.fakes.control_host import chain, node, running_host
from tests.fakes.hive_command import run_hive

ROOT = Path(__file__).parent.parent.parent
REPORT = "ops/report"
EVERY_TEN = {"cron": "*/10 * * * *", "timezone": "Europe/Berlin", "note": "ask ann"}


@pytest.fixture
async def host(tmp_path):
    async with running_host(tmp_path) as host:
        host.gate.is_open.set()
        await host.add(
            "clock",
            chain("clock", node("tell")),
            EntryPointSpec(
                id="tell",
                trigger_type="timer",
                trigger_config=EVERY_TEN,
                isolation_level="isolated",
                max_concurrent=1,
            ),
        )
        yield host


def line_of(timer_id, out):
    """The line of a table that is about a timer."""
    [line] = [line.rstrip() for line in out.splitlines() if line.startswith(timer_id)]
    return line


@pytest.fixture
def client(host):
    return Client(host.socket)


@pytest.fixture
def hive(host):
    """Run a command; answers (exit code, stdout, stderr)."""

    async def run(*arguments):
        return await run_hive(host.socket, "timers", *arguments)

    return run


def path(route, timer=REPORT):
    return route.path(timer=timer)


# --- looking ------------------------------------------------------------------------------------


async def test_a_timer_is_described_whole(client):
    shown = (await client.get(path(Route.TIMER, "tell"))).json
    assert shown["timer"]["id"] == "clock/tell"
    assert (shown["timer"]["zone"], shown["timer"]["note"]) == ("Europe/Berlin", "ask ann")
    assert shown["trigger_config"] == EVERY_TEN
    assert (shown["overlap"], shown["catchup"]) == ("cancel_other", "one")
    assert (shown["catchup_window_seconds"], shown["pause_on_failure"]) == (900.0, 5)
    assert len(shown["next"]) == 5
    assert shown["history"] == []


async def test_the_next_fires_are_told_with_the_offset_of_the_zone(client):
    items = (await client.get(path(Route.TIMER_NEXT) + "?n=12")).json["items"]
    assert len(items) == 12
    assert all(re.search(r"T09:00:00\+0[12]:00$", fire["local"]) for fire in items)
    assert all(datetime.fromisoformat(fire["local"]).weekday() < 5 for fire in items)
    assert all(
        datetime.fromisoformat(fire["local"]) == datetime.fromisoformat(fire["begins_at"])
        for fire in items
    )


async def test_what_is_to_come_is_simulated_with_what_begins_together(client):
    seen = (await client.get("/v1/timers/-/simulate?days=2")).json
    by_timer = {fire["timer"] for fire in seen["fires"]}
    assert by_timer >= {"clock/tell", "desk/tick"}
    assert seen["left_out"] == 0
    assert all(len(one["timers"]) == one["count"] >= 2 for one in seen["collisions"])
    begins = [fire["begins_at"] for fire in seen["fires"]]
    assert begins == sorted(begins)
    assert begins[-1] <= seen["end"]


async def test_a_simulation_says_which_timers_are_paused(client):
    await client.post("/v1/timers/pause", {"ids": ["tell"]})
    assert (await client.get("/v1/timers/-/simulate")).json["paused"] == ["clock/tell"]


# --- running ------------------------------------------------------------------------------------


async def test_triggering_answers_an_execution_that_is_there(client):
    answer = await client.ask("POST", path(Route.TIMER_TRIGGER), {}, {"Idempotency-Key": "k"})
    assert answer.status == 202
    name = answer.json["execution_id"]
    execution = (await client.get(f"/v1/executions/{name}?wait=15")).json
    assert (execution["status"], execution["source"]) == ("completed", "manual")
    assert execution["entry_point"] == REPORT
    assert execution["input"]["event"]["timer"] == REPORT
    again = await client.ask("POST", path(Route.TIMER_TRIGGER), {}, {"Idempotency-Key": "k"})
    assert (again.json["execution_id"], again.json["created"]) == (name, False)


async def test_triggering_while_the_daemon_drains_is_refused(host, client):
    host.stop.ask("test")
    answer = await client.post(path(Route.TIMER_TRIGGER))
    assert (answer.status, answer.code) == (503, "draining")


SPAN = {"start": "2026-03-02T09:00", "end": "2026-03-02T09:30"}


async def test_a_backfill_reads_times_without_an_offset_in_the_timers_zone(client):
    body = {**SPAN, "dry_run": True}
    planned = (await client.post(path(Route.TIMER_BACKFILL, "tell"), body)).json
    assert [one["local"] for one in planned["instants"]] == [
        f"2026-03-02T09:{minute}:00+01:00" for minute in ("00", "10", "20", "30")
    ]
    assert {one["execution_id"] for one in planned["instants"]} == {None}
    assert (await client.get("/v1/executions?entry_point=tell")).json["items"] == []


async def test_a_backfill_runs_each_instant_once_and_the_history_tells_it(client):
    done = (await client.post(path(Route.TIMER_BACKFILL, "tell"), SPAN)).json
    again = (await client.post(path(Route.TIMER_BACKFILL, "tell"), SPAN)).json
    names = [one["execution_id"] for one in done["instants"]]
    assert [one["began"] for one in done["instants"]] == [True] * 4
    assert [one["began"] for one in again["instants"]] == [False] * 4
    assert [one["execution_id"] for one in again["instants"]] == names
    for name in names:
        execution = (await client.get(f"/v1/executions/{name}?wait=15")).json
        assert execution["status"] == "completed"
        assert execution["input"]["event"]["reason"] == "backfill"
    pages, query = [], "?limit=3"
    while query:
        page = (await client.get(path(Route.TIMER_HISTORY, "tell") + query)).json
        pages.append(page["items"])
        query = page["next_cursor"] and f"?limit=3&cursor={page['next_cursor']}"
    assert [len(items) for items in pages] == [3, 1]
    rows = [row for items in pages for row in items]
    assert [row["execution_id"] for row in rows] == names[::-1]
    assert {row["ended"] for row in rows} == {"completed"}
    missed = await client.get(path(Route.TIMER_HISTORY, "tell") + "?outcome=missed")
    assert missed.json["items"] == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "start is missing"),
        ({"start": "noon"}, 'start is "noon"'),
        ({"start": "2026-03-02", "end": "2026-03-01"}, "before the start"),
        ({"start": "2026-03-02", "end": "2999-01-01"}, "in the future"),
        ({"start": "2026-01-01", "end": "2026-03-01"}, "at most 500 run at once"),
    ],
)
async def test_a_backfill_that_makes_no_sense_is_refused(client, body, words):
    answer = await client.post(path(Route.TIMER_BACKFILL, "tell"), body)
    assert (answer.status, answer.code) == (400, "invalid")
    assert words in answer.error["message"]


# --- pausing ------------------------------------------------------------------------------------


async def test_a_pause_may_have_an_end(host, client):
    paused = await client.post("/v1/timers/pause", {"ids": ["tell"], "for": "2h"})
    (timer,) = paused.json["items"]
    until = datetime.fromisoformat(timer["paused"]["until"])
    assert (until - datetime.fromisoformat(timer["paused"]["at"])).total_seconds() == (
        pytest.approx(7_200, abs=5)
    )
    assert datetime.fromisoformat(timer["next_at"]) >= until
    (row,) = await host.services.store.timers.rows("clock")
    assert row.paused_until == pytest.approx(until.timestamp())


@pytest.mark.parametrize("text", ["2", "0s", "-1h", "soon", ""])
async def test_a_pause_for_no_time_at_all_is_refused(client, text):
    answer = await client.post("/v1/timers/pause", {"for": text})
    assert (answer.status, answer.code) == (400, "invalid")
    assert all(one["paused"] is None for one in (await client.get("/v1/timers")).json["items"])


async def test_resuming_may_catch_up(host, client):
    await client.post("/v1/timers/pause", {"ids": ["tell"]})
    answer = await client.post("/v1/timers/resume", {"ids": ["tell"], "catch_up": True})
    (timer,) = answer.json["items"]
    assert (answer.status, timer["paused"], timer["fired"]) == (200, None, 0)


async def test_resuming_catches_up_what_the_pause_passed_over(host, client):
    ledger = host.services.store.timers
    await client.post("/v1/timers/pause", {"ids": ["tell"]})
    (row,) = await ledger.rows("clock")
    instant = row.paused_at + 0.001
    held = TimerSkip(TimerOutcome.SKIPPED_PAUSED, "the timer was paused")
    await ledger.fire(TimerFire("clock/tell", instant, None, held))
    answer = await client.post("/v1/timers/resume", {"ids": ["tell"], "catch_up": True})
    (timer,) = answer.json["items"]
    assert (timer["fired"], timer["skipped"]) == (1, 0)
    (done,) = (await client.get(path(Route.TIMER_HISTORY, "tell"))).json["items"]
    assert (done["outcome"], done["reason"]) == ("fired", "caught up after a pause")


async def test_the_history_is_shown_though_nothing_can_be_written(host, client, monkeypatch):
    async def full(*_):
        raise StorageFull

    await client.post(path(Route.TIMER_BACKFILL, "tell"), SPAN)
    monkeypatch.setattr(host.services.store.timers, "account", full)
    assert len((await client.get(path(Route.TIMER_HISTORY, "tell"))).json["items"]) == 4


async def test_pausing_is_told_as_an_event_with_who_and_why(host, client):
    heard = []
    host.runtime("clock").subscribe_to_events(["timer_paused"], heard.append)
    await client.post("/v1/timers/pause", {"ids": ["tell"], "note": "deploy"})
    async with asyncio.timeout(SECONDS):
        while not heard:
            await asyncio.sleep(0)
    assert (heard[0].data["timer"], heard[0].data["reason"]) == ("clock/tell", "deploy")
    assert heard[0].data["by"].startswith("uid:")


async def test_a_resume_of_what_is_not_paused_is_no_news(host, client):
    heard = []
    host.runtime("clock").subscribe_to_events(["timer_resumed", "timer_paused"], heard.append)
    for order in ("resume", "pause", "resume", "resume", "pause"):
        assert (await client.post(f"/v1/timers/{order}", {"ids": ["tell"]})).status == 200
    async with asyncio.timeout(SECONDS):
        while len(heard) < 3:
            await asyncio.sleep(0)
    assert [event.type for event in heard] == ["timer_paused", "timer_resumed", "timer_paused"]


@pytest.mark.parametrize("route", [Route.TIMER, Route.TIMER_NEXT, Route.TIMER_HISTORY])
async def test_a_timer_that_is_not_there_is_not_found(client, route):
    answer = await client.get(path(route, "ops/reprot"))
    assert (answer.status, answer.code) == (404, "not_found")
    assert "did you mean ops/report?" in answer.error["hint"]


# --- the command --------------------------------------------------------------------------------


async def test_every_command_works_and_speaks_json(hive):
    for arguments in (
        ("list",),
        ("describe", REPORT),
        ("next", REPORT, "-n", "3"),
        ("history", REPORT),
        ("simulate", "--days", "1"),
        ("pause", "--all", "--note", "n", "--for", "2h"),
        ("resume", "--catch-up"),
        ("trigger", REPORT),
        ("backfill", "tell", "--start", SPAN["start"], "--end", SPAN["end"], "--dry-run"),
    ):
        code, out, err = await hive(*arguments, "--json")
        assert (code, err) == (0, ""), arguments
        assert json.loads(out), arguments
        code, out, _ = await hive(*arguments)
        assert (code, bool(out)) == (0, True), arguments


async def test_a_person_reads_times_with_their_zone(hive):
    _, out, _ = await hive("describe", "tell")
    assert "zone        Europe/Berlin" in out
    assert "note        ask ann" in out
    assert re.search(r"[A-Z][a-z]{2} \d{4}-\d\d-\d\d \d\d:\d0:00 \+0[12]:00", out)
    _, out, _ = await hive("next", REPORT, "-n", "2")
    assert len(re.findall(r" 09:00:00 \+0[12]:00", out)) == 2


async def test_the_instants_of_a_paused_timer_are_not_shown_as_fires_to_come(hive, client):
    await client.post("/v1/timers/pause", {"ids": ["tell"]})
    _, out, _ = await hive("describe", "tell")
    assert "\nnext, as if it were not paused\n" in out
    await client.post("/v1/timers/resume", {"ids": ["tell"]})
    _, out, _ = await hive("describe", "tell")
    assert "\nnext\n" in out


async def test_what_became_of_the_last_instant_is_not_told_as_what_is(host, hive, client):
    await client.post("/v1/timers/pause", {"ids": ["tell"]})
    held = TimerSkip(TimerOutcome.SKIPPED_PAUSED, "the timer was paused")
    await host.services.store.timers.fire(TimerFire("clock/tell", 10.0, 20.0, held))
    _, out, _ = await hive("list")
    assert "paused by uid:" in line_of("clock/tell", out)
    await client.post("/v1/timers/resume", {"ids": ["tell"]})
    _, out, _ = await hive("list")
    assert line_of("clock/tell", out).endswith("last skipped_paused: the timer was paused")


async def test_a_timer_that_is_never_due_again_says_so(host, hive):
    await host.add(
        "past",
        chain("past", node("once")),
        EntryPointSpec(
            id="once",
            trigger_type="timer",
            trigger_config={"at": "2020-01-01T00:00Z", "idle_timeout_seconds": 300},
        ),
    )
    _, out, _ = await hive("list")
    assert line_of("past/once", out).endswith("done: its schedule is over")
    _, out, _ = await hive("describe", "past/once")
    assert "idle gate   skips while its graph was active in the last 5m" in out


async def test_trigger_writes_the_id_of_an_execution_that_is_there(hive, client):
    code, out, err = await hive("trigger", REPORT)
    assert code == 0, err
    assert (await client.get(f"/v1/executions/{out.strip()}")).json["entry_point"] == REPORT


async def test_a_backfill_without_an_end_goes_up_to_now(client):
    start = datetime.now(UTC) - timedelta(hours=1)
    body = {"start": start.isoformat(), "dry_run": True}
    planned = await client.post(path(Route.TIMER_BACKFILL, "tell"), body)
    assert planned.status == 200
    assert len(planned.json["instants"]) in (6, 7)


async def test_a_backfill_says_what_it_did(hive):
    arguments = ("backfill", "tell", "--start", SPAN["start"], "--end", SPAN["end"])
    code, out, err = await hive(*arguments)
    assert (code, out.count("begun")) == (0, 4)
    assert "4 of 4 instants run now" in err
    _, out, err = await hive(*arguments)
    assert (out.count("fired before"), "0 of 4 instants run now" in err) == (4, True)
    _, out, _ = await hive("history", "tell")
    assert out.count("backfill") == 4


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("describe", "ops/reprot"), 3, "did you mean ops/report?"),
        (("trigger", "nothing"), 3, "no timer is called"),
        (("describe", "../x"), 2, "not a timer's id"),
        (("next", REPORT, "-n", "x"), 2, "not a whole number"),
        (("next", REPORT, "-n", "501"), 2, "from 1 to 500"),
        (("pause", "--for", "2"), 2, "not a duration"),
        (("pause", REPORT, "--all"), 2, "--all means every timer"),
        (("backfill", REPORT), 2, "--start"),
        (("backfill", REPORT, "--start", "noon"), 2, 'start is "noon"'),
        (("simulate", "--days", "0"), 2, "from 1 to 366"),
    ],
)
async def test_a_mistake_has_its_exit_code_and_a_sentence(hive, arguments, code, words):
    found, out, err = await hive(*arguments)
    assert (found, out) == (code, "")
    assert words in err
