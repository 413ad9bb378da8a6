"""How many executions run at once: the limit of the entry point, that of the process, and one at a time."""

from __future__ import annotations

import json

import pytest

from tests.fakes.daemon_process import Place
from tests.fakes.gate import Gate, Guest

TRIGGERS = 100


LIMITS = [(3, 5, 3), (10, 5, 5)]


def set_limits(place: Place, *, total: int, each: int) -> None:
    folder = str(place.path / "agents" / "witness")
    limited = {"max_concurrent": each}
    place.write(
        agents=[{"path": folder, "entry_points": {"brief": limited, "hold": limited}}],
        max_concurrent_executions=total,
        log={"level": "WARNING"},
    )


@pytest.mark.parametrize(("total", "each", "most"), LIMITS)
def test_a_hundred_triggers_run_within_the_lower_limit_and_all_complete(
    place: Place, total: int, each: int, most: int
) -> None:
    set_limits(place, total=total, each=each)
    place.start().ready()
    names = [place.trigger("witness/brief", n=n) for n in range(TRIGGERS)]
    assert {place.settled(name)["status"] for name in names} == {"completed"}
    lines = (place.path / "witness").read_text().splitlines()
    assert len(lines) == TRIGGERS
    assert max(int(line.split()[3]) for line in lines) <= most


@pytest.mark.parametrize(("total", "each", "most"), LIMITS)
def test_the_lower_limit_is_used_up_and_a_slot_that_is_free_again_is_filled(
    place: Place, gate: Gate, total: int, each: int, most: int
) -> None:
    set_limits(place, total=total, each=each)
    place.start().ready()
    names = [place.trigger("witness/hold", n=n) for n in range(most + 2)]
    guests = [gate.guest() for _ in range(most)]
    assert place.get("/v1/stats")["running"] == most
    guests += [_next_after(guests[at], gate) for at in range(2)]
    for guest in guests[2:]:
        guest.let_through()
    assert {place.settled(name)["status"] for name in names} == {"completed"}


def _next_after(guest: Guest, gate: Gate) -> Guest:
    guest.let_through()
    return gate.guest()


def test_with_one_slot_a_trigger_cancels_what_runs_and_starts_in_its_session_directory(
    place: Place, gate: Gate
) -> None:
    place.start().ready()
    old = place.trigger("witness/single", n=1)
    first = gate.guest()
    new = place.trigger("witness/single", n=2)
    first.leaves()
    second = gate.guest()
    assert (second.execution_id, second.session_id) == (new, first.session_id)
    second.let_through()
    assert place.settled(new)["status"] == "completed"
    assert place.settled(old)["status"] == "cancelled"
    sessions = place.state / "agents" / "witness" / "sessions"
    assert [path.name for path in sessions.iterdir()] == [first.session_id]
    state = json.loads((sessions / first.session_id / "state.json").read_text())
    assert (state["execution_id"], state["status"]) == (new, "completed")


def test_with_one_slot_the_next_waits_until_the_work_of_the_last_has_really_returned(
    place: Place, gate: Gate
) -> None:
    folder = str(place.path / "agents" / "witness")
    place.write(agents=[{"path": folder, "entry_points": {"deaf": {"max_concurrent": 1}}}])
    place.start().ready()
    old = place.trigger("witness/deaf", n=1)
    stubborn = gate.guest()
    new = place.trigger("witness/deaf", n=2)
    assert place.get(f"/v1/executions/{old}?wait=0.2")["status"] == "running"
    assert place.get(f"/v1/executions/{new}")["status"] == "queued"
    assert gate.is_empty
    stubborn.let_through()
    gate.guest().let_through()
    assert place.settled(new)["status"] == "completed"
    assert place.settled(old)["status"] == "cancelled"
    events = [json.loads(m.data) for m in place.messages("/v1/events?until=caught_up") if m.id]
    order = [(event["execution_id"], event["type"]) for event in events]
    assert order.index((old, "execution_cancelled")) < order.index((new, "execution_started"))
