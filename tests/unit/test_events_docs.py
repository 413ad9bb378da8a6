"""docs/events.md says what the code does."""

import re
from pathlib import Path

from hive_daemon.monitoring.health import (
    CRITICAL_VERDICTS,
    HIGH_VERDICTS,
    MEDIUM_VERDICTS,
    RECENT_VERDICTS,
    STALL_MINUTES,
)
from hive_daemon.monitoring.judge import HEALTH_JUDGE_ENTRY_POINT, WorkerEscalated
from hive_daemon.monitoring.ticket import EVIDENCE_CHARS, EscalationTicket, Severity
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.event_history import LIVE_KEPT
from hive_daemon.runtime.events import LIVE, EventType
from hive_daemon.runtime.graph_host import trigger_problems
from hive_daemon.runtime.handlers import MAX_QUEUED
from hive_daemon.runtime.notices import NOTICES
from hive_daemon.runtime.payloads import FACTS, PAYLOADS
from hive_daemon.runtime.routing import MAX_CHAIN, CancelScope
from hive_daemon.runtime.triggers.event_config import CancelConfig, EventConfig
from hive_daemon.storage.ports import KEPT_NOTICES

PAGE = (Path(__file__).parent.parent.parent / "docs" / "events.md").read_text()
ROWS = {
    kind: (how, when, re.findall(r"`(\w+)`", data))
    for kind, how, when, data in re.findall(
        r"^\| `(\w+)` \| (durable|live|bus) \| (.+?) \| (.*?) \|$", PAGE, flags=re.M
    )
}
WORDS = " ".join(PAGE.split())


def cells(heading: str) -> list[str]:
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, flags=re.M | re.S)
    assert section, heading
    names = re.findall(r"^\| (`.*?) \|", section[1], flags=re.M)
    return [name for cell in names for name in re.findall(r"`(\w+)`", cell)]


def test_every_type_is_listed_and_no_other() -> None:
    assert set(ROWS) == {kind.value for kind in EventType}


def test_the_data_of_every_type_are_listed_in_their_order() -> None:
    assert {kind: data for kind, (_, _, data) in ROWS.items()} == {
        kind.value: list(keys) for kind, keys in PAYLOADS.items()
    }


def test_it_is_told_which_types_are_durable() -> None:
    made = {kind.value for kind in FACTS} | {WorkerEscalated.kind, *NOTICES}
    expected = {
        kind.value: "live" if kind in LIVE else "durable" if kind.value in made else "bus"
        for kind in EventType
    }
    assert {kind: how for kind, (how, _, _) in ROWS.items()} == expected


def test_the_keys_of_an_entry_point_that_listens_are_listed() -> None:
    keys = cells("Entry points that listen")
    values = {
        "event_types": ["custom"],
        "exclude_own_graph": True,
        "where": "event.data.n > 3",
        "cancel_on": ["execution_failed"],
        "max_depth": 2,
    }
    config = {key: values.get(key, "x") for key in keys}
    spec = EntryPointSpec(id="e", trigger_type="event", trigger_config=config)
    assert trigger_problems(spec) == []
    assert keys == list(EventConfig.model_fields)


def test_the_keys_of_what_calls_executions_back_are_listed() -> None:
    section = re.search(r"^## Calling executions back\n(.*?)(?=^## )", PAGE, flags=re.M | re.S)
    assert section
    named = re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\| `.*$", section[1], flags=re.M)))
    assert set(named) >= set(CancelConfig.model_fields)
    assert {scope.value for scope in CancelScope} <= set(named)


def test_the_fields_of_a_ticket_are_listed() -> None:
    assert {*cells("The health judge")} >= set(EscalationTicket.model_fields)
    assert ", ".join(f"`{severity}`" for severity in Severity) in PAGE


def test_the_thresholds_of_the_judge_are_those_of_the_code() -> None:
    assert f"| no step for {STALL_MINUTES:.0f} minutes | critical |" in PAGE
    assert f"| {MEDIUM_VERDICTS} verdicts in a row without an ACCEPT | medium |" in PAGE
    assert f"| {HIGH_VERDICTS} | high |" in PAGE
    assert f"| {CRITICAL_VERDICTS} | critical |" in PAGE
    assert f"the last {RECENT_VERDICTS} |" in PAGE
    assert f"at most {EVIDENCE_CHARS} characters" in PAGE
    assert HEALTH_JUDGE_ENTRY_POINT.trigger_config["interval_minutes"] == 2


def test_the_limits_are_those_of_the_code() -> None:
    assert f"at most {MAX_QUEUED:,} events wait" in WORDS
    assert f"of live ones the last {LIVE_KEPT}" in WORDS
    assert f"nor by one of {MAX_CHAIN} entry points" in WORDS
    assert f"the newest {KEPT_NOTICES:,} are kept" in WORDS
