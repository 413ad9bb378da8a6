"""An embedded runtime whose store fails for a while: nothing is lost, nothing runs twice, everybody is told."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from hive_daemon.clock import SYSTEM_CLOCK
from hive_daemon.errors import Fenced, StorageFull, StorageUnavailable
from hive_daemon.runtime.events import EventType
from tests.fakes.embedded import SECONDS, Heard, Turnstile, function, graph_of, running, services_at


class Flaky:
    """A port of the store that fails as often as it is told to, before doing what is asked or after it."""

    def __init__(self, port, method):
        self._port = port
        self._method = method
        self.errors = []
        self.is_after = False
        self.tries = 0

    def __getattr__(self, name):
        call = getattr(self._port, name)
        return self._failing(call) if name == self._method else call

    def _failing(self, call):
        async def tried(*args):
            self.tries += 1
            if not self.errors:
                return await call(*args)
            error = self.errors.pop(0)
            if self.is_after:
                await call(*args)
            raise error

        return tried


@asynccontextmanager
async def flaky_runtime(path, graph, port, method):
    """A runtime one port of whose store is flaky."""
    async with services_at(path, SYSTEM_CLOCK) as (services, placement):
        flaky = Flaky(getattr(services.store, port), method)
        store = replace(services.store, **{port: flaky})
        placement = replace(placement, services=replace(services, store=store))
        async with running(None, graph, placement=placement) as runtime:
            yield runtime, flaky


def counting():
    visits = []

    async def work(ctx):
        visits.append(ctx.execution_id)
        return len(visits)

    return visits, graph_of(
        function("one", work), function("two", work, outputs=["more"]), edges=[("one", "two")]
    )


@pytest.mark.parametrize("error", [StorageUnavailable("busy"), StorageFull("no space")])
async def test_while_the_store_cannot_be_written_an_execution_waits(tmp_path, error):
    visits, graph = counting()
    async with flaky_runtime(tmp_path, graph, "executions", "commit") as (runtime, flaky):
        flaky.errors = [error, error]
        result = await runtime.trigger_and_wait("default", timeout=SECONDS)
    assert (result.status, result.path) == ("completed", ["one", "two"])
    assert len(visits) == 2


async def test_a_commit_whose_answer_is_lost_counts_once(tmp_path):
    visits, graph = counting()
    async with flaky_runtime(tmp_path, graph, "executions", "commit") as (runtime, flaky):
        heard = Heard.of(runtime)
        flaky.errors, flaky.is_after = [StorageUnavailable("no answer")] * 2, True
        result = await runtime.trigger_and_wait("default", timeout=SECONDS)
        await heard.until(EventType.EXECUTION_COMPLETED)
        seqs = [event.execution_seq for event in heard.events if event.execution_seq is not None]
    assert (result.status, len(visits)) == ("completed", 2)
    assert seqs == list(range(1, len(seqs) + 1))


async def test_an_execution_that_somebody_else_took_over_is_dropped_and_its_slot_is_free(
    tmp_path, caplog
):
    turnstile = Turnstile()
    graph = graph_of(function("start", turnstile.enter))
    async with flaky_runtime(tmp_path, graph, "executions", "commit") as (runtime, flaky):
        flaky.errors = [Fenced("taken over")]
        name = await runtime.trigger("default")
        await turnstile.until(1)
        stream = runtime.get_stream("default")
        task = stream.get_context(name).task
        await turnstile.let_through()
        await asyncio.wait([task], timeout=SECONDS)
        assert stream.get_active_count() == 0
        assert (await runtime.trigger_and_wait("default", timeout=SECONDS)).success
    assert "the execution is dropped here" in caplog.messages


async def test_a_trigger_that_cannot_be_kept_is_refused_and_the_next_one_is_taken(tmp_path):
    _, graph = counting()
    async with flaky_runtime(tmp_path, graph, "queue", "submit") as (runtime, flaky):
        flaky.errors = [StorageFull("no space")]
        with pytest.raises(StorageFull):
            await runtime.trigger("default")
        assert runtime.get_stats()["streams"]["default"]["total_executions"] == 0
        assert (await runtime.trigger_and_wait("default", timeout=SECONDS)).success


async def test_a_cancellation_that_cannot_be_kept_is_an_error(tmp_path):
    _, graph = counting()
    async with flaky_runtime(tmp_path, graph, "inbox", "cancel") as (runtime, flaky):
        done = await runtime.trigger_and_wait("default", timeout=SECONDS)
        flaky.errors = [StorageUnavailable("busy")]
        with pytest.raises(StorageUnavailable):
            await runtime.cancel_execution("default", done.execution_id)
