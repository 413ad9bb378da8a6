"""What becomes of a delivery: durable before its answer, known again, filtered, coalesced, taken up after a crash."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from hive_daemon.clock import SYSTEM_CLOCK, Clock
from hive_daemon.errors import (
    BudgetExceeded,
    Busy,
    Draining,
    HiveError,
    NotFound,
    NotRunning,
    QueueFull,
    RateLimited,
    StorageUnavailable,
)
from hive_daemon.runtime.webhook_delivery import UNNAMED_SECONDS, Delivery, Outcome, arrival_of
from hive_daemon.runtime.webhook_desk import KEPT_SECONDS
from hive_daemon.runtime.webhook_memory import MemoryLedger
from hive_daemon.runtime.webhook_reading import Sent, delivery_read
from hive_daemon.runtime.webhook_route import WebhookRoute
from hive_daemon.runtime.webhook_server import WebhookServer, WebhookServerConfig
from hive_daemon.runtime.webhook_trial import Trial, replay, rows_to_replay, try_route
from hive_daemon.storage.webhook_deliveries import (
    DeliveryFilter,
    DeliveryLedger,
    DeliveryStatus,
    Settlement,
)
from tests.fakes.clock import FakeClock
from tests.fakes.raw_http import ask, request
from tests.fakes.store_kit import SetClock
from tests.fakes.webhook_bench import Executions, open_ledger, post, webhooks

OPEN = WebhookRoute("source", "/hook")
COALESCED = WebhookRoute(
    "source", "/hook", coalesce={"key": "$.pr", "window": "10s", "max_wait": "25s"}
)


def body(**payload: Any) -> bytes:
    return json.dumps(payload).encode()


async def statuses(ledger: DeliveryLedger) -> list[str]:
    return [row.status.value for row in await ledger.query(DeliveryFilter())]


# --- durable, once ----------------------------------------------------------------------------


async def test_a_202_means_that_the_delivery_is_on_disk(tmp_path: Path) -> None:
    intake = Executions()
    async with (
        open_ledger(tmp_path) as ledger,
        webhooks(OPEN, intake=intake, ledger=ledger) as server,
    ):
        answer = await post(server, body(n=1), {"Idempotency-Key": "k1"})
        [row] = await ledger.query(DeliveryFilter())
    assert answer.status == 202
    assert row.id == answer.json["delivery_id"]
    assert (row.status, row.key) == (DeliveryStatus.QUEUED, "k1")
    assert list(row.execution_ids) == answer.json["execution_ids"]
    assert json.loads(row.data)["payload"] == {"n": 1}


async def test_three_equal_deliveries_one_after_a_restart_give_one_execution(
    tmp_path: Path,
) -> None:
    intake = Executions()
    answers = []
    for tries in (2, 1):
        async with (
            open_ledger(tmp_path) as ledger,
            webhooks(OPEN, intake=intake, ledger=ledger) as server,
        ):
            for _ in range(tries):
                answers.append(await post(server, body(n=1), {"Idempotency-Key": "k1"}))
    assert [answer.json["status"] for answer in answers] == ["queued", "duplicate", "duplicate"]
    assert len({answer.json["execution_id"] for answer in answers}) == 1
    assert len(intake.deliveries) == 1


async def test_equal_deliveries_at_the_same_time_give_one_execution(tmp_path: Path) -> None:
    intake = Executions(gate=asyncio.Event())
    async with (
        open_ledger(tmp_path) as ledger,
        webhooks(OPEN, intake=intake, ledger=ledger) as server,
    ):
        asking = [asyncio.ensure_future(post(server, body(n=1))) for _ in range(8)]
        while len(await ledger.query(DeliveryFilter())) == 0:
            await asyncio.sleep(0)
        assert intake.gate is not None
        intake.gate.set()
        answers = await asyncio.gather(*asking)
    assert sorted(answer.json["status"] for answer in answers) == ["duplicate"] * 7 + ["queued"]
    assert len({answer.json["execution_id"] for answer in answers}) == 1
    assert len(intake.deliveries) == 1


async def test_the_same_key_with_another_body_is_409(tmp_path: Path) -> None:
    async with open_ledger(tmp_path) as ledger, webhooks(OPEN, ledger=ledger) as server:
        await post(server, body(n=1), {"Idempotency-Key": "k1"})
        answer = await post(server, body(n=2), {"Idempotency-Key": "k1"})
        assert answer.status == 409
        assert await statuses(ledger) == ["queued"]


class SlowToNote(MemoryLedger):
    """A ledger that notes what became of a delivery only when it is let."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(clock)
        self.gate = asyncio.Event()
        self.errors: list[Exception] = []

    async def settle(self, *settled: Settlement) -> None:
        await self.gate.wait()
        if self.errors:
            raise self.errors.pop(0)
        await super().settle(*settled)


async def send(server: WebhookServer, n: int) -> Any:
    """Send a delivery and return its answer, whatever the ledger knows by then."""
    answer = await ask(server.port or 0, request("POST", "/hook", body(n=n)))
    assert answer is not None
    return answer.json


async def test_a_sender_does_not_wait_until_it_is_noted_what_became_of_its_delivery() -> None:
    ledger, intake = SlowToNote(), Executions()
    async with webhooks(OPEN, intake=intake, ledger=ledger) as server:
        first, again, other = [await send(server, n) for n in (1, 1, 2)]
        assert await statuses(ledger) == ["received", "received"]
        assert (first["status"], again["status"], other["status"]) == (
            "queued",
            "duplicate",
            "queued",
        )
        assert again["execution_ids"] == first["execution_ids"]
        ledger.gate.set()
        await server.desk.noted()
        assert await statuses(ledger) == ["queued", "queued"]
    assert intake.payloads == [{"n": 1}, {"n": 2}]


async def test_a_stop_waits_until_it_is_noted() -> None:
    ledger = SlowToNote()
    async with webhooks(OPEN, ledger=ledger) as server:
        await send(server, 1)
        stopping = asyncio.ensure_future(server.stop())
        await asyncio.sleep(0)
        ledger.gate.set()
        await stopping
        assert await statuses(ledger) == ["queued"]


async def test_what_cannot_be_noted_now_is_noted_later() -> None:
    clock = FakeClock(auto=False)
    ledger = SlowToNote(clock)
    ledger.errors.append(StorageUnavailable())
    ledger.gate.set()
    async with webhooks(OPEN, clock=clock, ledger=ledger) as server:
        await send(server, 1)
        await clock.advance(5)
        await server.desk.noted()
        assert await statuses(ledger) == ["queued"]


async def test_what_was_answered_and_not_noted_when_the_process_died_is_the_same_execution(
    tmp_path: Path,
) -> None:
    intake = Executions()
    async with open_ledger(tmp_path) as ledger, webhooks(OPEN, intake=intake) as server:
        given = delivery_read(server.doors["/hook"], Sent("POST"), {"n": 1}, "hash")
        await ledger.admit(arrival_of(server.doors["/hook"], given))
        [name] = await intake(given)
    intake.errors.append(NotRunning())
    async with (
        open_ledger(tmp_path) as ledger,
        webhooks(OPEN, intake=intake, ledger=ledger) as server,
    ):
        door = server.doors["/hook"]
        with pytest.raises(NotRunning):
            await server.desk.take(door, given)
        # Its sender may have been promised it.
        assert await statuses(ledger) == ["received"]
        taken = await server.desk.take(door, given)
    assert (taken.outcome, taken.execution_ids) == (Outcome.DUPLICATE, (name,))
    assert len(intake.deliveries) == 1


async def test_without_a_name_the_body_is_known_again_for_five_minutes() -> None:
    clock, intake = SetClock(), Executions()
    async with webhooks(OPEN, intake=intake, clock=clock, ledger=MemoryLedger(clock)) as server:
        first = await post(server, body(n=1))
        clock.now += UNNAMED_SECONDS - 1
        assert (await post(server, body(n=1))).json["status"] == "duplicate"
        clock.now += 2
        later = await post(server, body(n=1))
    assert (first.json["status"], later.json["status"]) == ("queued", "queued")
    assert later.json["delivery_id"] != first.json["delivery_id"]


@pytest.mark.parametrize(
    ("error", "status"),
    [(Draining(), 503), (NotRunning(), 503), (StorageUnavailable(), 503)],
)
async def test_what_is_refused_is_not_kept_and_may_come_again(
    tmp_path: Path, error: Exception, status: int
) -> None:
    intake = Executions(errors=[error])
    async with (
        open_ledger(tmp_path) as ledger,
        webhooks(OPEN, intake=intake, ledger=ledger) as server,
    ):
        answer = await post(server, body(n=1), {"Idempotency-Key": "k1"})
        assert answer.status == status
        assert answer.headers["retry-after"]
        assert await statuses(ledger) == []
        assert (await post(server, body(n=1), {"Idempotency-Key": "k1"})).json["status"] == "queued"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (QueueFull("4 wait", depth=4), 429),
        (RateLimited("60 a minute"), 429),
        (BudgetExceeded("$5 are spent"), 429),
        (Busy("it runs"), 409),
    ],
)
async def test_what_there_is_no_room_for_is_kept_as_refused_and_has_another_chance(
    tmp_path: Path, error: HiveError, status: int
) -> None:
    intake = Executions(errors=[error, error])
    async with (
        open_ledger(tmp_path) as ledger,
        webhooks(OPEN, intake=intake, ledger=ledger) as server,
    ):
        for _ in range(2):
            answer = await post(server, body(n=1), {"Idempotency-Key": "k1"})
            assert answer.status == status
            assert answer.headers["retry-after"]
            [row] = await ledger.query(DeliveryFilter())
            assert row.status is DeliveryStatus.REFUSED
            assert row.reason == f"{error.code}: {error}"
        conflict = await post(server, body(n=2), {"Idempotency-Key": "k1"})
        third = await post(server, body(n=1), {"Idempotency-Key": "k1"})
        fourth = await post(server, body(n=1), {"Idempotency-Key": "k1"})
        [last] = await ledger.query(DeliveryFilter())
    assert conflict.status == 409
    assert (third.json["status"], fourth.json["status"]) == ("queued", "duplicate")
    assert third.json["execution_id"] == fourth.json["execution_id"]
    assert (last.id, last.status, last.repeats) == (row.id, DeliveryStatus.QUEUED, 3)
    assert len(intake.deliveries) == 1


async def test_what_was_refused_can_be_replayed(tmp_path: Path) -> None:
    intake = Executions(errors=[QueueFull()])
    async with (
        open_ledger(tmp_path) as ledger,
        webhooks(OPEN, intake=intake, ledger=ledger) as server,
    ):
        await post(server, body(n=1))
        [told] = await replay(server, await rows_to_replay(server, since=0))
    assert told["status"] == "queued"
    assert intake.payloads == [{"n": 1}]


async def test_while_the_daemon_starts_or_drains_nothing_is_stored(tmp_path: Path) -> None:
    def draining() -> None:
        raise Draining

    route = WebhookRoute("other", "/other", coalesce={"key": "$.a", "window": "10s"})
    async with open_ledger(tmp_path) as ledger, webhooks(OPEN, ledger=ledger) as server:
        server.add_route(route, ready=draining)
        server.refuse()
        answer = await post(server, body(n=1))
        assert (await post(server, body(n=1), target="/of-an-agent-that-is-gone")).status == 503
        server.accept()
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        assert (await post(server, body(n=1), target="/other")).status == 503
        assert await statuses(ledger) == []
        assert (await post(server, body(n=1))).status == 202


async def test_a_store_that_fails_is_503_and_sets_nothing_off() -> None:
    class Broken(MemoryLedger):
        async def admit(self, arrival: object) -> Any:
            raise StorageUnavailable("/srv/hive.db")

    intake = Executions()
    async with webhooks(OPEN, intake=intake, ledger=Broken()) as server:
        answer = await post(server)
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert b"/srv" not in answer.body
    assert intake.deliveries == []


# --- filters ----------------------------------------------------------------------------------


async def test_what_no_filter_lets_pass_is_kept_as_ignored_and_sets_nothing_off(
    tmp_path: Path,
) -> None:
    intake = Executions()
    route = WebhookRoute("x", "/hook", filters=[{"field": "$.action", "equals": "opened"}])
    async with (
        open_ledger(tmp_path) as ledger,
        webhooks(route, intake=intake, ledger=ledger) as server,
    ):
        ignored = await post(server, body(action="closed"))
        again = await post(server, body(action="closed"))
        assert (await post(server, body(action="opened"))).json["status"] == "queued"
        [_, row] = await ledger.query(DeliveryFilter())
    assert (ignored.status, ignored.json["status"]) == (202, "ignored")
    assert again.json["status"] == "duplicate"
    assert (row.status, row.reason[:26]) == (DeliveryStatus.IGNORED, "filters[0] does not hold: ")
    assert len(intake.deliveries) == 1


# --- coalescing -------------------------------------------------------------------------------


async def test_a_burst_becomes_one_run_on_the_last_payload() -> None:
    clock, intake = FakeClock(auto=False), Executions()
    ledger = MemoryLedger(clock)
    async with webhooks(COALESCED, intake=intake, clock=clock, ledger=ledger) as server:
        for n in range(5):
            answer = await post(server, body(pr=7, n=n))
            assert (answer.status, answer.json["status"]) == (202, "coalesced")
            assert "execution_id" not in answer.json
            await clock.advance(2)
        await post(server, body(pr=8, n=0))
        assert intake.deliveries == []
        await clock.advance(8)
        first = await intake.taken.get()
        assert intake.payloads == [{"pr": 7, "n": 4}]
        assert intake.deliveries[0].event.data["superseded"] == 4
        again = await post(server, body(pr=7, n=1))
        await clock.advance(2)
        await intake.taken.get()
    assert (again.json["status"], again.json["execution_id"]) == ("duplicate", first)
    assert intake.payloads[1] == {"pr": 8, "n": 0}
    assert "superseded" not in intake.deliveries[1].event.data


async def test_a_steady_stream_is_dispatched_by_max_wait() -> None:
    clock, intake = FakeClock(auto=False), Executions()
    async with webhooks(
        COALESCED, intake=intake, clock=clock, ledger=MemoryLedger(clock)
    ) as server:
        for n in range(5):
            await post(server, body(pr=7, n=n))
            await clock.advance(5)
        await intake.taken.get()
        assert intake.payloads == [{"pr": 7, "n": 4}]
        await post(server, body(pr=7, n=5))
        await clock.advance(10)
        await intake.taken.get()
    assert [payload["n"] for payload in intake.payloads] == [4, 5]


async def test_what_was_promised_is_tried_again_until_it_is_taken() -> None:
    clock = FakeClock(auto=False)
    intake = Executions(errors=[QueueFull(), StorageUnavailable(), Busy()])
    ledger = MemoryLedger(clock)
    async with webhooks(COALESCED, intake=intake, clock=clock, ledger=ledger) as server:
        await post(server, body(pr=7))
        await clock.advance(10)
        assert await statuses(ledger) == ["received"]
        await clock.advance(15)
        await intake.taken.get()
        assert await statuses(ledger) == ["queued"]


async def test_what_was_promised_and_never_can_be_taken_has_failed() -> None:
    clock, intake = FakeClock(auto=False), Executions(errors=[NotFound("no such entry point")])
    ledger = MemoryLedger(clock)
    async with webhooks(COALESCED, intake=intake, clock=clock, ledger=ledger) as server:
        await post(server, body(pr=7))
        await clock.advance(10)
        [row] = await ledger.query(DeliveryFilter())
    assert (row.status, row.reason) == (DeliveryStatus.FAILED, "no such entry point")


# --- after a crash ----------------------------------------------------------------------------


async def test_what_was_received_and_not_handed_on_is_taken_up_by_the_next_start(
    tmp_path: Path,
) -> None:
    async def dies(delivery: Delivery) -> list[str]:
        raise asyncio.CancelledError

    intake = Executions()
    async with open_ledger(tmp_path) as ledger:
        async with webhooks(OPEN, intake=dies, ledger=ledger) as server:
            with pytest.raises(AssertionError):
                await post(server, body(n=1), {"Idempotency-Key": "k1"})
        assert await statuses(ledger) == ["received"]
    async with (
        open_ledger(tmp_path) as ledger,
        webhooks(OPEN, intake=intake, ledger=ledger) as server,
    ):
        assert await server.recover() == 1
        await intake.taken.get()
        answer = await post(server, body(n=1), {"Idempotency-Key": "k1"})
    assert (answer.json["status"], len(intake.deliveries)) == ("duplicate", 1)
    assert intake.deliveries[0].delivery_id == "k1"
    assert answer.json["execution_id"] == intake.by_name["k1"]


async def test_the_senders_next_try_hands_on_what_the_crash_left_behind(tmp_path: Path) -> None:
    async def dies(delivery: Delivery) -> list[str]:
        raise asyncio.CancelledError

    intake = Executions()
    async with open_ledger(tmp_path) as ledger:
        async with webhooks(OPEN, intake=dies, ledger=ledger) as server:
            with pytest.raises(AssertionError):
                await post(server, body(n=1))
        async with webhooks(OPEN, intake=intake, ledger=ledger) as server:
            answer = await post(server, body(n=1))
            assert await statuses(ledger) == ["queued"]
    assert (answer.status, answer.json["status"]) == (202, "duplicate")
    assert answer.json["execution_id"] == intake.by_name[intake.deliveries[0].body_hash]


async def test_what_waits_to_be_coalesced_survives_a_restart(tmp_path: Path) -> None:
    clock, intake = SetClock(), Executions()
    async with open_ledger(tmp_path, clock) as ledger:
        slow = FakeClock(clock.now, auto=False)
        async with webhooks(COALESCED, intake=intake, ledger=ledger, clock=slow) as server:
            for n in range(3):
                await post(server, body(pr=7, n=n))
        assert await statuses(ledger) == ["coalesced"] * 3
        clock.now += 60
        async with webhooks(COALESCED, intake=intake, ledger=ledger, clock=clock) as server:
            assert await server.recover() == 3
            await intake.taken.get()
    assert intake.payloads == [{"pr": 7, "n": 2}]
    assert intake.deliveries[0].event.data["superseded"] == 2


async def test_a_delivery_whose_route_is_gone_waits_and_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = FakeClock(auto=False)
    async with open_ledger(tmp_path) as ledger:
        async with webhooks(COALESCED, ledger=ledger, clock=clock) as server:
            await post(server, body(pr=7))
        other = WebhookRoute("other", "/other")
        async with webhooks(other, ledger=ledger, clock=clock) as server:
            await server.recover()
            assert await statuses(ledger) == ["coalesced"]
    assert "a delivery waits for a webhook route that is not there" in caplog.messages


async def test_what_is_old_is_forgotten_from_time_to_time(tmp_path: Path) -> None:
    clock = SetClock()
    async with open_ledger(tmp_path, clock) as ledger:
        slow = FakeClock(clock.now, auto=False)
        async with webhooks(OPEN, ledger=ledger, clock=slow) as server:
            await post(server, body(n=1))
            clock.now += KEPT_SECONDS + 1
            slow.jump(KEPT_SECONDS + 1)
            await server.recover()
            while await statuses(ledger):
                await asyncio.sleep(0)


# --- replays and trials -----------------------------------------------------------------------


async def test_a_replay_is_a_delivery_of_its_own_by_the_rules_of_today(tmp_path: Path) -> None:
    intake = Executions()
    async with (
        open_ledger(tmp_path) as ledger,
        webhooks(OPEN, intake=intake, ledger=ledger) as server,
    ):
        first = await post(server, body(n=1), {"Idempotency-Key": "k1"})
        server.add_route(WebhookRoute("source", "/hook", input={"n": "{$.n}"}))
        rows = await rows_to_replay(server, [first.json["delivery_id"]])
        [done] = await replay(server, rows)
        [newest, _] = await ledger.query(DeliveryFilter())
        assert await rows_to_replay(server, since=0, route="source") == await ledger.query(
            DeliveryFilter(ids=(first.json["delivery_id"],), with_data=False)
        )
        assert await rows_to_replay(server, since=0, statuses=[DeliveryStatus.FAILED]) == []
    assert (done["status"], done["replay_of"]) == ("queued", first.json["delivery_id"])
    assert newest.replay_of == first.json["delivery_id"]
    assert done["execution_ids"] != first.json["execution_ids"]
    assert intake.deliveries[1].inputs == {"n": 1}
    assert intake.payloads == [{"n": 1}, {"n": 1}]


async def test_a_replay_that_is_asked_for_twice_with_one_key_is_taken_once(tmp_path: Path) -> None:
    intake = Executions()
    async with (
        open_ledger(tmp_path) as ledger,
        webhooks(OPEN, intake=intake, ledger=ledger) as server,
    ):
        for n in (1, 2):
            await post(server, body(n=n))
        rows = await rows_to_replay(server, since=0)
        [first, again] = [await replay(server, rows, key="k") for _ in range(2)]
    assert [each["status"] for each in first] == ["queued", "queued"]
    assert [each["status"] for each in again] == ["duplicate", "duplicate"]
    assert [each["execution_ids"] for each in again] == [each["execution_ids"] for each in first]
    assert intake.payloads == [{"n": 1}, {"n": 2}] * 2


async def test_what_is_kept_no_more_cannot_be_replayed_and_says_so() -> None:
    async with webhooks(OPEN) as server:
        await post(server, body(n=1))
        rows = await rows_to_replay(server, since=0)
        for is_dry_run in (True, False):
            [told] = await replay(server, rows, is_dry_run=is_dry_run)
            assert (told["status"], told["code"]) == ("refused", "not_found")
            assert "not kept any more" in told["reason"]


async def test_a_dry_run_says_what_would_be_and_does_nothing(tmp_path: Path) -> None:
    intake = Executions()
    async with (
        open_ledger(tmp_path) as ledger,
        webhooks(OPEN, intake=intake, ledger=ledger) as server,
    ):
        for n in (1, 2):
            await post(server, body(n=n))
        server.add_route(
            WebhookRoute(
                "source",
                "/hook",
                filters=[{"field": "$.n", "equals": 2}],
                input={"n": "{$.n}"},
            )
        )
        told = await replay(server, await rows_to_replay(server, since=0), is_dry_run=True)
        assert await statuses(ledger) == ["queued", "queued"]
    assert [(each["status"], each["input"]) for each in told] == [
        ("ignored", {}),
        ("queued", {"n": 2}),
    ]
    assert len(intake.deliveries) == 2


async def test_a_replay_that_is_refused_does_not_stop_the_others(tmp_path: Path) -> None:
    intake = Executions()
    async with (
        open_ledger(tmp_path) as ledger,
        webhooks(OPEN, intake=intake, ledger=ledger) as server,
    ):
        for n in (1, 2):
            await post(server, body(n=n))
        intake.errors.append(QueueFull())
        told = await replay(server, await rows_to_replay(server, since=0))
        assert [each["status"] for each in told] == ["refused", "queued"]
        assert told[0]["code"] == "queue_full"
        with pytest.raises(NotFound):
            await rows_to_replay(server, ["dlv_none"])
        with pytest.raises(NotFound):
            await rows_to_replay(server, since=0, route="nope")


@pytest.mark.parametrize(
    ("keys", "status"),
    [
        ({"verify": "slack", "secret": "s3cret"}, 202),
        ({"verify": "standard", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, 202),
        ({"verify": "basic", "secret": "a:b"}, 202),
        ({"secret": "s3cret"}, 202),
        ({}, 202),
    ],
)
async def test_a_trial_goes_through_the_real_listener(keys: dict[str, str], status: int) -> None:
    intake = Executions()
    async with webhooks(WebhookRoute("source", "/hook", **keys), intake=intake) as server:  # type: ignore[arg-type]
        told = await try_route(server, "source", Trial(b'{"n": 1}'))
        unsigned = await try_route(server, "/hook", Trial(b'{"n": 2}', is_signed=False))
        with pytest.raises(NotFound):
            await try_route(server, "nope", Trial(b"{}"))
    assert (told["status"], told["answer"]["status"]) == (status, "queued")
    assert unsigned["status"] == (401 if keys else 202)
    assert intake.payloads[0] == {"n": 1}


async def test_a_trial_needs_a_listener() -> None:
    server = WebhookServer(None, WebhookServerConfig(port=0))
    server.add_route(OPEN)
    with pytest.raises(NotRunning):
        await try_route(server, "source", Trial(b"{}"))
