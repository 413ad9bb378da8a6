"""Where alerts go: a command that reads JSON, a webhook that proves who sent it, the log; the rules of hive.yaml."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import sys
from dataclasses import replace

import pytest
import uvloop
from aiohttp import web

from hive_daemon.config.alert_keys import AlertConfig
from hive_daemon.daemon.alert_sinks import alert_rules
from hive_daemon.http.outbound import WebhookSink
from hive_daemon.monitoring.alert_command import CommandSink, hand_over
from hive_daemon.monitoring.alert_rules import Alert, AlertKind
from hive_daemon.monitoring.alerts import AlertFailed, AlertRule, Alerts, LogSink
from hive_daemon.monitoring.ticket import Severity
from hive_daemon.observability.log_repeats import Repeats
from hive_daemon.runtime.webhook_schemes import Check, Request, Verdict, Verify
from hive_daemon.storage.incident_book import sighted
from hive_daemon.tasks import Scope
from tests.conformance.test_incident_books import SEEN
from tests.fakes.clock import FakeClock
from tests.fakes.memory_incidents import MemoryIncidents
from tests.fakes.vigil_world import Ears

ALERT = Alert(AlertKind.OPENED, sighted(None, SEEN).incident, 1_772_442_000.0)
KEY = base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()


@pytest.fixture
async def receiver():
    """A webhook on loopback: what it took, and how it answers."""
    taken, answers = [], []

    async def take(request):
        taken.append((request.path, dict(request.headers), await request.read()))
        return answers.pop(0) if answers else web.Response(status=204)

    runner = web.ServerRunner(web.Server(take))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    yield f"http://127.0.0.1:{port}/hook", taken, answers
    await runner.cleanup()


def rule(clock=None, **written):
    """The rule that a piece of hive.yaml makes."""
    return alert_rules([AlertConfig.model_validate(written)], clock or FakeClock())[-1]


async def test_a_webhook_is_posted_and_proves_who_sent_it(receiver):
    url, taken, _ = receiver
    clock = FakeClock()
    await rule(clock, webhook={"url": url, "secret": f"whsec_{KEY}"}).sink.deliver(ALERT)
    [(path, headers, body)] = taken
    assert path == "/hook"
    check = Check(Verify.STANDARD, (base64.b64decode(KEY),))
    lower = {name.lower(): [value.encode()] for name, value in headers.items()}
    assert check.judge(Request(lower, body, clock.time())) is Verdict.GENUINE
    assert headers["webhook-id"] == ALERT.id
    assert json.loads(body) == ALERT.document()


async def test_without_a_secret_it_is_not_signed(receiver):
    url, taken, _ = receiver
    await rule(webhook={"url": url}).sink.deliver(ALERT)
    assert not any(name.lower().startswith("webhook-") for name in taken[0][1])


@pytest.mark.parametrize("status", [301, 400, 500])
async def test_a_webhook_that_does_not_take_it_says_so_and_no_redirect_is_followed(
    receiver, status
):
    url, taken, answers = receiver
    answers.append(web.Response(status=status, headers={"Location": "/elsewhere"}))
    with pytest.raises(AlertFailed, match=str(status)):
        await WebhookSink(url, FakeClock()).deliver(ALERT)
    assert len(taken) == 1


async def test_a_webhook_that_is_away_says_so():
    with pytest.raises(AlertFailed, match="could not be reached"):
        await WebhookSink("http://127.0.0.1:9/hook", FakeClock()).deliver(ALERT)


async def test_a_command_reads_the_alert_as_json(tmp_path):
    place = tmp_path / "told $HOME.json"
    code = "import sys; open(sys.argv[1], 'w').write(sys.stdin.read())"
    await rule(command=[sys.executable, "-c", code, str(place)]).sink.deliver(ALERT)
    assert json.loads(place.read_text()) == ALERT.document()


async def test_a_command_that_fails_says_what_it_wrote():
    code = "import sys; sys.exit('no pager here')"
    with pytest.raises(AlertFailed, match=r"ended with 1: no pager here"):
        await CommandSink((sys.executable, "-c", code)).deliver(ALERT)


LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


@pytest.mark.parametrize("loop", LOOPS)
def test_a_command_that_ends_without_reading_has_taken_it(loop):
    with asyncio.Runner(loop_factory=loop) as runner:
        for _ in range(5):
            runner.run(CommandSink(("true",)).deliver(ALERT))


@pytest.mark.parametrize("loop", LOOPS)
def test_a_document_is_given_to_a_command_that_has_ended(loop):
    async def work():
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec("true", stdin=pipe, stderr=pipe)
        await process.wait()
        hand_over(process, b"{}")
        assert await process.communicate() == (None, b"")

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(work())


@pytest.mark.parametrize("loop", LOOPS)
def test_a_long_alert_reaches_the_command_as_a_whole(loop, tmp_path):
    place = tmp_path / "told.json"
    code = "import sys; open(sys.argv[1], 'w').write(sys.stdin.read())"
    long = replace(ALERT, incident=replace(ALERT.incident, evidence="x" * 300_000))
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(CommandSink((sys.executable, "-c", code, str(place))).deliver(long))
    assert json.loads(place.read_text())["data"]["evidence"] == "x" * 300_000


async def test_a_command_that_is_not_there_says_so(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        await CommandSink((str(tmp_path / "nothing"),)).deliver(ALERT)


async def test_a_command_that_does_not_end_is_killed_in_its_time(tmp_path):
    mark = tmp_path / "pid"
    code = f"import os, time; open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    made = rule(command=[sys.executable, "-c", code], timeout="1s")
    clock = FakeClock()
    alerts, scope = Alerts([made], MemoryIncidents(clock), clock), Scope("test")
    alerts.start(scope)
    alerts.offer(ALERT)
    await alerts.settle(20)
    await scope.close()
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)


async def test_a_sink_that_fails_is_tried_again_and_then_given_up(caplog):
    slow, dead = Ears(failures=2), Ears(failures=100)
    clock = FakeClock()
    book = MemoryIncidents(clock)
    await book.report(SEEN)
    rules = [AlertRule("slow", slow, "slow"), AlertRule("dead", dead, "dead")]
    alerts, scope = Alerts(rules, book, clock), Scope("test")
    alerts.start(scope)
    alerts.offer(ALERT)
    await alerts.settle(20)
    await scope.close()
    assert (slow.tries, slow.told, dead.tries, dead.told) == (3, [ALERT], 4, [])
    assert sorted(clock.slept) == [1.0, 1.0, 10.0, 10.0, 60.0]
    assert [each.message for each in caplog.records if each.levelno >= logging.ERROR] == [
        "an alert could not be delivered"
    ]


class Broken:
    """A sink with a mistake in it: it breaks on the first alert, however often that comes, and takes all others."""

    def __init__(self):
        self.first, self.told = None, []

    async def deliver(self, alert):
        self.first = self.first or alert
        if alert is self.first:
            raise RuntimeError("a mistake")
        self.told.append(alert)


async def test_a_sink_that_breaks_in_a_way_nobody_expected_takes_the_next_alert(caplog):
    clock, sink, scope = FakeClock(), Broken(), Scope("test")
    alerts = Alerts([AlertRule("broken", sink, "broken")], MemoryIncidents(clock), clock)
    alerts.start(scope)
    later = replace(ALERT, incident=replace(ALERT.incident, id="incident_later"))
    alerts.offer(ALERT)
    alerts.offer(later)
    await alerts.settle(20)
    await scope.close()
    assert sink.told == [later]
    [lost] = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert (lost.message, lost.error) == ("an alert could not be delivered", "a mistake")
    assert lost.exc_info is not None


class LostBook(MemoryIncidents):
    """A book that breaks when it is asked for a cooldown."""

    async def may_alert(self, id, rule, cooldown_seconds):
        raise RuntimeError("a mistake")


async def test_an_alert_is_told_though_its_cooldown_is_not_known():
    clock, ears, scope = FakeClock(), Ears(failures=0), Scope("test")
    alerts = Alerts([AlertRule("ears", ears, "ears")], LostBook(clock), clock)
    alerts.start(scope)
    alerts.offer(ALERT)
    await alerts.settle(20)
    await scope.close()
    assert ears.told == [ALERT]


async def test_each_sink_that_fails_is_named_in_the_log(caplog):
    made = [rule(command=[f"/nowhere/{name}"]) for name in ("page", "mail")]
    clock, scope = FakeClock(), Scope("test")
    alerts = Alerts(made, MemoryIncidents(clock), clock)
    alerts.start(scope)
    alerts.offer(ALERT)
    await alerts.settle(20)
    await scope.close()
    repeats = Repeats()
    lost = [each for each in caplog.records if each.message == "an alert could not be delivered"]
    assert {repeats.admit(record).record for record in lost} == set(lost)
    assert len(lost) == 2


async def test_the_log_has_one_line_for_an_alert(caplog):
    with caplog.at_level(logging.INFO):
        await LogSink().deliver(ALERT)
    [record] = [each for each in caplog.records if each.message == "alert"]
    assert (record.incident, record.severity, record.levelno) == (
        SEEN.incident_id,
        "medium",
        logging.WARNING,
    )


def test_the_log_is_told_also_if_nobody_wrote_that():
    rules = alert_rules([AlertConfig(command=("page",))], FakeClock())
    assert [each.shown for each in rules] == ["log", "command page"]


def test_what_is_written_of_a_rule_holds():
    [made] = alert_rules(
        [AlertConfig.model_validate({"to": "log", "min_severity": "high", "cooldown": "2h"})],
        FakeClock(),
    )
    assert isinstance(made, AlertRule)
    assert (made.name, made.min_severity, made.cooldown_seconds, made.timeout_seconds) == (
        "log",
        Severity.HIGH,
        7200.0,
        10.0,
    )


@pytest.mark.parametrize(
    "written",
    [
        {},
        {"to": "log", "command": ["page"]},
        {"command": []},
        {"command": [""]},
        {"webhook": {"url": "ftp://x"}},
        {"webhook": {"url": "http://x", "secret": "not base64!"}},
        {"to": "log", "cooldown": "soon"},
        {"to": "log", "min_severity": "huge"},
    ],
    ids=str,
)
def test_a_rule_that_makes_no_sense_is_refused(written):
    with pytest.raises(ValueError, match=r"validation error"):
        AlertConfig.model_validate(written)


def test_the_name_of_a_rule_stays_and_gives_its_address_away_to_nobody():
    one, again = (rule(webhook={"url": "https://x.example/s3cret"}) for _ in range(2))
    assert one.name == again.name
    assert "s3cret" not in one.name + one.shown
