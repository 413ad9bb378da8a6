"""Events through a real daemon: loops that stop and say so, and a tail of everything over a restart."""

from __future__ import annotations

import json
import signal
import sqlite3
from contextlib import closing
from typing import IO, Any

from tests.fakes.daemon_process import Place


def reacting(where: str) -> dict[str, Any]:
    """Return an entry point that fails after each failure for which a condition holds."""
    return {
        "trigger_type": "event",
        "entry_node": "say",
        "isolation_level": "isolated",
        "trigger_config": {"event_types": ["execution_failed"], "where": where, "max_depth": 8},
    }


def configured(place: Place, **entry_points: Any) -> None:
    """Write the configuration of a daemon with the witness agent and further entry points."""
    folder = str(place.path / "agents" / "witness")
    place.write(agents=[{"path": folder, "entry_points": entry_points}])


def told(place: Place, *words: str) -> list[Any]:
    """Return what `hive events` shows."""
    ran = place.hive("--json", "events", *words)
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


def read_until_completed(lines: IO[str], shown: list[Any]) -> None:
    """Read events until an execution is completed."""
    for line in lines:
        shown.append(json.loads(line))
        if shown[-1]["type"] == "execution_completed":
            return
    raise AssertionError(f"the tail ended: {shown}")


def test_entry_points_that_react_to_each_others_failures_stop_at_the_cap_and_say_so(
    place: Place,
) -> None:
    configured(
        place,
        left=reacting('event.stream_id in ["say", "right"]'),
        right=reacting('event.stream_id == "left"'),
    )
    place.start().ready()
    tail = ("--json", "events", "-f", "--from-seq", "1", "--filter", "type=trigger_suppressed")
    with place.hive_running(*tail) as process:
        assert process.stdout is not None
        first = place.trigger("witness/say", text="x", raises=True)
        suppressed = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
    assert suppressed["data"]["reason"] == "the chain is 8 entry points long"
    assert suppressed["data"]["entry_point"] == "witness/right"
    names = [name.removeprefix("witness/") for name in suppressed["causation"]]
    assert names == ["say", *["left", "right"] * 3, "left"]
    failed = told(place, "--filter", "type=execution_failed", "--filter", f"correlation={first}")
    assert [event["stream_id"] for event in failed] == names
    assert len(told(place, "--filter", "type=trigger_suppressed")) == 1


def test_a_tail_of_events_shows_each_once_over_a_kill_and_a_restart(place: Place) -> None:
    daemon = place.start().ready()
    shown: list[Any] = []
    mine = ("--filter", "entry_point=witness/work")
    with place.hive_running("--json", "events", "-f", "--from-seq", "1", *mine) as process:
        assert process.stdout is not None
        for how in (signal.SIGKILL, signal.SIGTERM):
            place.settled(place.trigger("witness/work", n=1))
            read_until_completed(process.stdout, shown)
            daemon.signal(how)
            daemon.ended()
            daemon = place.start().ready()
            place.settled(place.trigger("witness/work", n=2))
            read_until_completed(process.stdout, shown)
        process.send_signal(signal.SIGINT)
    with closing(sqlite3.connect(place.state / "hive.db")) as db:
        stored = [
            seq
            for (seq,) in db.execute(
                "SELECT events.seq FROM events JOIN executions ON n = x WHERE entry_point = 'work'"
                " ORDER BY events.seq"
            )
        ]
    assert [event["seq"] for event in shown] == stored
    assert [event["seq"] for event in told(place, "--since", "1h", *mine)] == stored
    assert told(place, "--since", "2999-01-01T00:00Z") == []


def test_a_faulty_event_entry_point_is_refused_with_the_way_out(place: Place) -> None:
    faulty = reacting("event.data.n > 1")
    faulty["trigger_config"]["event_types"] = ["execution_fialed"]
    faulty["trigger_config"]["cancel_onn"] = ["custom"]
    configured(place, left=faulty)
    code, said = place.refused()
    assert code == 78
    assert "there is no event type 'execution_fialed', did you mean execution_failed?" in said
    assert "trigger_config.cancel_onn: unknown key, did you mean cancel_on?" in said
