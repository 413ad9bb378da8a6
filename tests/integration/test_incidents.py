"""Incidents of a running agent: what opens one, what ends it, and who is told, also over restarts."""

from __future__ import annotations

import pytest

from hive_daemon.llm.scripted import ScriptedProvider
from hive_daemon.monitoring.agent_watch import AgentWatch
from hive_daemon.monitoring.alerts import AlertRule
from hive_daemon.monitoring.ticket import Severity
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.events import AgentEvent, EventType
from hive_daemon.storage.incident_book import IncidentStatus
from tests.fakes.clock import FakeClock
from tests.fakes.embedded import function, graph_of, model
from tests.fakes.vigil_world import Ears, watched

OPENED, RESOLVED = "incident.opened", "incident.resolved"
CONTINUES = "incident.continues"


@pytest.fixture
def clock():
    return FakeClock(auto=False)


class Moody:
    """A node that fails while it is told to."""

    def __init__(self, error="file 17 is missing"):
        self.error = error
        self.count = 0

    async def work(self) -> str:
        self.count += 1
        if self.error:
            raise ValueError(f"{self.error} ({self.count})")
        return "done"

    @property
    def graph(self):
        return graph_of(function("w", self.work, max_retries=1))


async def test_the_second_failure_in_a_row_opens_an_incident_and_a_success_ends_it(tmp_path, clock):
    moody = Moody()
    async with watched(tmp_path, clock, moody.graph) as made:
        assert await made.run() == "failed"
        assert await made.incidents() == []
        await made.run()
        [incident] = await made.incidents()
        assert (incident.pattern, incident.entry_point, incident.severity) == (
            "failures",
            "api",
            "medium",
        )
        assert "failed 2 times in a row" in incident.cause
        await made.run()
        [incident] = await made.incidents()
        assert (incident.count, len(incident.executions)) == (2, 2)
        moody.error = ""
        await made.run()
        [incident] = await made.incidents()
        assert (incident.status, incident.by) == (IncidentStatus.RESOLVED, "a success")
    assert made.ears.kinds == [(OPENED, "failures"), (RESOLVED, "failures")]
    told = [event.data["incident"]["id"] for event in made.heard.found(EventType.INCIDENT_OPENED)]
    over = [event.data["incident"]["id"] for event in made.heard.found(EventType.INCIDENT_RESOLVED)]
    assert told == over == [incident.id]


@pytest.mark.parametrize(("failures", "expected"), [(0, [0, 0, 0]), (1, [1, 1, 1]), (3, [0, 0, 1])])
async def test_so_many_failures_in_a_row_are_an_incident_as_are_written(
    tmp_path, clock, failures, expected
):
    found = []
    async with watched(tmp_path, clock, Moody().graph, failures=failures) as made:
        for _ in expected:
            await made.run()
            found.append(len(await made.incidents()))
    assert found == expected


async def test_failures_are_counted_over_a_restart(tmp_path, clock):
    moody = Moody()
    async with watched(tmp_path, clock, moody.graph) as made:
        await made.run()
    async with watched(tmp_path, clock, moody.graph) as made:
        await made.run()
        assert len(await made.incidents()) == 1
    moody.error = ""
    async with watched(tmp_path, clock, moody.graph) as made:
        await made.run()
        [incident] = await made.incidents()
    assert incident.is_over


async def test_nobody_is_told_again_within_the_cooldown_also_after_a_restart(tmp_path, clock):
    moody = Moody()
    for _ in range(2):
        async with watched(tmp_path, clock, moody.graph) as made:
            for _ in range(3):
                await made.run()
    assert made.ears.kinds == []
    async with watched(tmp_path, clock, moody.graph) as made:
        clock.jump(3600)
        await made.run()
    assert made.ears.kinds == [(CONTINUES, "failures")]


async def test_what_is_acknowledged_is_silent_until_it_is_over(tmp_path, clock):
    moody = Moody()
    async with watched(tmp_path, clock, moody.graph) as made:
        await made.run()
        await made.run()
        [incident] = await made.incidents()
        await made.vigil.desk.acknowledge(incident.id, "ann", "I know")
        clock.jump(7200)
        await made.run()
        assert made.ears.kinds == [(OPENED, "failures")]
        moody.error = ""
        await made.run()
    assert made.ears.kinds[1:] == [(RESOLVED, "failures")]


async def test_a_person_may_say_that_it_is_over(tmp_path, clock):
    moody = Moody()
    async with watched(tmp_path, clock, moody.graph) as made:
        await made.run()
        await made.run()
        [incident] = await made.incidents()
        over = await made.vigil.desk.resolve(incident.id, "ann")
        assert (over.is_over, over.by) == (True, "ann")
        await made.run()
        await made.settle()
        [incident] = await made.incidents()
        assert (incident.is_over, incident.openings) == (False, 2)


async def test_another_entry_point_has_an_incident_of_its_own(tmp_path, clock):
    moody = Moody()
    specs = [EntryPointSpec(id=name) for name in ("one", "two")]
    async with watched(tmp_path, clock, moody.graph, *specs) as made:
        for name in ("one", "two", "one", "two"):
            await made.run(name)
        assert {each.entry_point for each in await made.incidents()} == {"one", "two"}


async def test_a_sink_is_told_of_what_is_severe_enough(tmp_path, clock):
    moody, urgent = Moody(), Ears()
    rules = [AlertRule("urgent", urgent, "urgent", Severity.HIGH)]
    async with watched(tmp_path, clock, moody.graph, rules=rules) as made:
        for _ in range(4):
            await made.run()
        assert urgent.kinds == []
        await made.run()
    assert urgent.kinds == [(CONTINUES, "failures")]


async def test_a_node_that_asks_for_help_is_an_incident_at_once(tmp_path, clock):
    script = {
        "nodes": {"m": [{"tool_calls": [{"name": "escalate", "input": {"reason": "no access"}}]}]}
    }
    async with watched(tmp_path, clock, graph_of(model("m")), llm=ScriptedProvider(script)) as made:
        await made.run()
        patterns = {each.pattern for each in await made.incidents()}
    assert patterns == {"escalation"}


async def test_three_refused_keys_are_one_alert_and_an_answer_ends_it(tmp_path, clock):
    refused = {"error": {"kind": "auth", "message": "wrong key"}}
    script = {"nodes": {"m": [{**refused, "when": "input.bad"}, {"text": "well"}]}}
    node = model("m", outputs=(), max_retries=1)
    paused, resumed = [], []
    async with watched(tmp_path, clock, graph_of(node), llm=ScriptedProvider(script)) as made:
        fortunes = AgentWatch(
            lambda agent, reason: paused.append(agent) or ["t"],
            lambda agent, timers: resumed.append(agent),
            made.vigil.watchman,
        )
        for _ in range(3):
            for event in _refusals():
                fortunes.tell(event)
        await made.settle()
        [incident] = await made.incidents()
        assert (incident.pattern, incident.entry_point, incident.severity) == (
            "provider_auth",
            "",
            "critical",
        )
        fortunes.tell(_event(EventType.LLM_TURN_COMPLETE))
        await made.settle()
        assert (await made.incidents())[0].is_over
    assert (paused, resumed) == (["agent"], ["agent"])
    assert made.ears.kinds == [(OPENED, "provider_auth"), (RESOLVED, "provider_auth")]


def _event(kind, **data):
    return AgentEvent(kind, "api", agent="agent", data=data)


def _refusals():
    return [_event(EventType.LLM_CALL_FAILED, failure="auth", model="m", error="401")]
