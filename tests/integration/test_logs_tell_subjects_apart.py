"""Warnings with one message about several things: the log holds repetitions back, never another subject."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from hive_daemon.llm.failures import CallUnavailable
from hive_daemon.llm.limits import Attempts, CallLimits
from hive_daemon.monitoring.alert_rules import Alert, AlertKind
from hive_daemon.monitoring.alerts import LogSink
from hive_daemon.observability.log_repeats import Repeats
from hive_daemon.storage.incident_book import sighted
from hive_daemon.tools.servers import probe_file
from tests.conformance.test_incident_books import SEEN


def written(records: Iterable[logging.LogRecord], message: str) -> int:
    """How many records with this message a log would write, did all of them come in one second."""
    repeats, count = Repeats(), 0
    for record in records:
        if record.message == message:
            record.created = 1_000.0
            count += repeats.admit(record).record is not None
    return count


async def test_every_incident_of_a_bad_minute_is_written(caplog: pytest.LogCaptureFixture) -> None:
    first = sighted(None, SEEN).incident
    second = sighted(None, replace(SEEN, entry_point="weekly")).incident
    assert first.id != second.id
    for kind, incident in (
        (AlertKind.OPENED, first),
        (AlertKind.OPENED, second),
        (AlertKind.OPENED, second),
    ):
        await LogSink().deliver(Alert(kind, incident, 1_000.0))
    assert written(caplog.records, "alert") == 2


async def test_every_tool_server_that_is_away_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    servers = {
        name: {"command": "true", "env": {"KEY": "${HIVE_TEST_VARIABLE_THAT_IS_NOT_SET}"}}
        for name in ("calendar", "mail")
    }
    path = tmp_path / "mcp_servers.json"
    path.write_text(json.dumps(servers), encoding="utf-8")
    await probe_file(path)
    assert written(caplog.records, "tool server is degraded") == 2


def test_every_model_that_fails_is_named(caplog: pytest.LogCaptureFixture) -> None:
    for model in ("openai/one", "openai/two", "openai/two"):
        Attempts(model, CallLimits()).pause_after(CallUnavailable(f"{model}: no answer"))
    assert written(caplog.records, "model call failed, trying again") == 2
