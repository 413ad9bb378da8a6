"""What goes wrong in front of the daemon: exit code or status, and a sentence that names the thing and the remedy."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.fakes.daemon_process import Place, opened_place, slow_agent
from tests.fakes.gate import Gate
from tests.fakes.relay import opened_relay

NOBODY = "session_20260101_000000_00000000"


# --- no daemon ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("stats",),
        ("trigger", "witness/work"),
        ("sessions", "tail", "-f", "latest"),
        ("timers", "pause"),
        ("health",),
    ],
    ids=" ".join,
)
def test_without_a_daemon_a_command_says_so_and_how_to_start_it(
    place: Place, words: tuple[str, ...]
) -> None:
    ran = place.hive(*words)
    sentence, hint = ran.stderr.splitlines()
    assert (ran.returncode, ran.stdout) == (5, "")
    assert sentence == f"hive: hived is not running: there is no socket at {place.socket}"
    assert hint.startswith("hint: start it with ")


def test_without_a_daemon_json_says_it_in_one_document(place: Place) -> None:
    ran = place.hive("--json", "stats")
    assert ran.returncode == 5
    assert json.loads(ran.stdout)["error"]["code"] == "unreachable"


def test_a_socket_that_nobody_listens_on_any_more_is_unreachable(place: Place) -> None:
    place.start().ready().kill()
    ran = place.hive("stats")
    assert (ran.returncode, str(place.socket) in ran.stderr) == (5, True)


def test_a_command_waits_for_a_daemon_that_is_starting(place: Place, gate: Gate) -> None:
    place.write(agents=[str(slow_agent(place))])
    daemon = place.start()
    loading = gate.guest()
    status, answer = place.ask("GET", "/v1/stats")
    assert (status, answer["error"]["code"]) == (503, "starting")
    way = place.path / "relay"
    with (
        opened_relay(way, place.socket) as relay,
        place.hive_running("--json", "--socket", str(way), "stats") as asking,
    ):
        assert relay.is_used.wait(30)
        loading.let_through()
        answer, said = asking.communicate(timeout=30)
    assert asking.returncode == 0, said
    assert json.loads(answer)["pid"] == daemon.pid


# --- wrong names ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def running() -> Iterator[Place]:
    with opened_place() as place:
        place.write(agents=[str(place.agent("witness"))])
        place.start().ready()
        yield place


@pytest.mark.parametrize(
    ("words", "code", "names", "remedy"),
    [
        (("trigger", "witness/wrok"), 3, '"witness/wrok"', "did you mean witness/work?"),
        (("trigger", "nobody/work"), 3, '"nobody"', "hive agents list"),
        (("executions", "show", NOBODY), 3, NOBODY, "hive executions list"),
        (("executions", "cancel", NOBODY), 3, NOBODY, "hive executions list"),
        (("sessions", "resume", NOBODY), 3, NOBODY, "hive sessions list"),
        (("sessions", "tail", "-f", "zzz"), 3, '"zzz"', "hive sessions list"),
        (("timers", "pause", "nope"), 3, '"nope"', "hive timers list"),
        (("executions", "show", "../../etc/passwd"), 2, "../../etc/passwd", "executions list"),
        (("sessions", "show", "/etc/passwd"), 2, "/etc/passwd", "sessions list"),
        (("trigger", "../x"), 2, '"../x"', "hive agents list"),
        (("trigger", "witness/work", "--input", "/nope.json"), 2, "/nope.json", "JSON file"),
        (("trigger", "witness/work", "--set", "x"), 2, "--set x", "--set topic=disk"),
        (("agents", "validate", "/nope"), 2, "/nope", "does not exist"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_command_names_what_is_wrong_and_what_to_do(
    running: Place, words: tuple[str, ...], code: int, names: str, remedy: str
) -> None:
    ran = running.hive(*words)
    said = ran.stderr + ran.stdout
    assert ran.returncode == code, said
    assert names in said
    assert remedy in said
    assert "Traceback" not in said


TRIGGER = "/v1/entry-points/witness/work/trigger"


@pytest.mark.parametrize(
    ("method", "target", "body", "status", "code", "names"),
    [
        ("POST", TRIGGER, b"n=1", 400, "invalid", "the body is not JSON"),
        ("POST", TRIGGER, b'{"input": {"n": NaN}}', 400, "invalid", "the body is not JSON"),
        ("POST", TRIGGER, b"\xff\xfe", 400, "invalid", "the body is not JSON"),
        ("POST", TRIGGER, b"[1]", 400, "invalid", "a list"),
        ("POST", TRIGGER, {"inptu": {}}, 400, "invalid", '"inptu"'),
        ("POST", TRIGGER, {"input": 3}, 400, "invalid", "input is a number"),
        ("POST", TRIGGER, {"session_id": "../../x"}, 400, "invalid", '"../../x"'),
        ("GET", "/v1/executions/..%2F..%2Fetc%2Fpasswd", None, 400, "invalid", "etc/passwd"),
        ("GET", "/v1/sessions/%2Fetc%2Fpasswd/state", None, 400, "invalid", "/etc/passwd"),
        ("GET", "/v1/sessions/%2e%2e/state", None, 400, "invalid", '".."'),
        ("GET", "/v1/executions/../../etc/passwd", None, 404, "not_found", "etc/passwd"),
        ("GET", f"/v1/executions/{NOBODY}", None, 404, "not_found", NOBODY),
        ("GET", f"/v1/sessions/{NOBODY}/events", None, 404, "not_found", NOBODY),
        ("POST", "/v1/entry-points/nobody/x/trigger", {}, 404, "not_found", '"nobody"'),
        ("GET", "/v1/nothing", None, 404, "not_found", "/v1/nothing"),
        ("DELETE", "/v1/stats", None, 405, "method_not_allowed", "DELETE"),
        ("POST", "/v1/timers/pause", {"ids": []}, 400, "invalid", "ids"),
        ("GET", "/v1/executions?limit=lots", None, 400, "invalid", "limit"),
    ],
)
def test_a_request_is_refused_with_its_status_and_a_sentence(
    running: Place, method: str, target: str, body: object, status: int, code: str, names: str
) -> None:
    answered, answer = running.ask(method, target, body)
    assert (answered, answer["error"]["code"]) == (status, code)
    assert names in answer["error"]["message"]
    assert answer["error"]["hint"]


def test_what_was_refused_has_started_nothing(running: Place) -> None:
    running.ask("POST", TRIGGER, b"n=1")
    running.ask("POST", TRIGGER, {"input": 3})
    assert running.get("/v1/executions")["items"] == []


# --- a configuration that is wrong ----------------------------------------------------------------


WRONG = {
    "unknown key": ("agnets: [{agent}]\n", "agnets: unknown key, did you mean 'agents'?", 1),
    "bad type": (
        "agents: [{agent}]\nmax_concurrent_executions: lots\n",
        'max_concurrent_executions: "lots" is a text, a whole number is needed',
        2,
    ),
    "bad cron of a new entry point": (
        "agents:\n- path: {agent}\n  entry_points:\n    tick:\n      trigger_type: timer\n"
        "      trigger_config:\n        cron: '0 9 * *'\n",
        'agents[0].entry_points.tick.trigger_config.cron: "0 9 * *" has 4 fields, '
        "a cron expression needs 5",
        7,
    ),
    "bad cron over a timer of the folder": (
        "agents:\n- path: {ticker}\n  entry_points:\n    tick:\n      trigger_config:\n"
        "        cron: '61 9 * * *'\n",
        'agents[0].entry_points.tick.trigger_config.cron: "61 9 * * *": '
        'minute "61" is out of range',
        6,
    ),
    "bad cron of an agent whose folder is missing": (
        "agents:\n- path: /nope\n  entry_points:\n    tick:\n      trigger_config:\n"
        "        cron: '61 9 * * *'\n",
        'agents[0].entry_points.tick.trigger_config.cron: "61 9 * * *": '
        'minute "61" is out of range',
        6,
    ),
    "unknown key of a timer": (
        "agents:\n- path: {agent}\n  entry_points:\n    tick:\n      trigger_type: timer\n"
        "      trigger_config:\n        crno: '0 9 * * *'\n",
        "agents[0].entry_points.tick.trigger_config.crno: unknown key, did you mean cron?",
        7,
    ),
    "timer that never fires": (
        "agents:\n- path: {agent}\n  entry_points:\n    tick:\n      trigger_type: timer\n",
        "agents[0].entry_points.tick.trigger_config: "
        "a timer needs one of cron, crons, interval_minutes, every and at",
        4,
    ),
    "unknown event": (
        "agents:\n- path: {agent}\n  entry_points:\n    after:\n      trigger_config:\n"
        "        event_types: [execution_complete]\n",
        "agents[0].entry_points.after.trigger_config.event_types: ",
        6,
    ),
    "unknown node": (
        "agents:\n- path: {agent}\n  entry_points:\n    work:\n      entry_node: frist\n",
        'agents[0].entry_points.work.entry_node: "frist" is no node of the agent\'s graph, '
        "did you mean first?",
        5,
    ),
    "two agents of one name": (
        "agents:\n- {agent}\n- {agent}\n",
        "agents[1]",
        3,
    ),
    "not YAML": ("agents: [\n", "not valid YAML", 2),
    "empty": ("", "is empty", 0),
    "secret that is not there": (
        "llm: {{api_key: '${{env:NOPE}}'}}\n",
        "${env:NOPE} is not set",
        1,
    ),
}


@pytest.fixture(scope="module")
def workshop() -> Iterator[Place]:
    """A place with a good agent, and one with a timer."""
    with opened_place() as place:
        ticker = place.agent("witness").rename(place.path / "agents" / "ticker")
        place.agent("witness")
        entry = {
            "id": "tick",
            "entry_node": "brief",
            "trigger_type": "timer",
            "trigger_config": {"cron": "0 9 * * *"},
        }
        (ticker / "triggers.json").write_text(json.dumps([entry]))
        yield place


def write_mistake(workshop: Place, what: str) -> tuple[str, int]:
    """Write a wrong configuration; return what is said about it, and the line that is named."""
    text, sentence, line = WRONG[what]
    folder = workshop.path / "agents"
    workshop.config.write_text(text.format(agent=folder / "witness", ticker=folder / "ticker"))
    return sentence, line


@pytest.mark.parametrize("what", WRONG)
def test_a_mistake_in_hive_yaml_stops_the_start_with_exit_78(workshop: Place, what: str) -> None:
    sentence, line = write_mistake(workshop, what)
    code, said = workshop.refused()
    assert (code, "Traceback" in said) == (78, False)
    assert f"{workshop.config}: " in said
    assert sentence in said
    assert not line or f"line {line}" in said


@pytest.mark.parametrize(
    "what", ["unknown key", "bad type", "bad cron over a timer of the folder", "unknown node"]
)
def test_every_check_tells_a_mistake_with_the_same_sentence(workshop: Place, what: str) -> None:
    sentence, _ = write_mistake(workshop, what)
    checked, told = workshop.refused("--check")
    assert (checked, sentence in told) == (78, True), told
    asked = workshop.hive("config", "check", "--config", str(workshop.config))
    assert (asked.returncode, sentence in asked.stdout + asked.stderr) == (2, True)


def test_a_budget_of_an_entry_point_that_is_not_there_is_told_by_every_check_and_the_log(
    workshop: Place,
) -> None:
    folder = workshop.path / "agents" / "ticker"
    budget = {"scope": "entry_point:tikc", "usd": 1, "per": "1d"}
    workshop.write(agents=[str(folder)], budgets=[budget])
    sentence = 'budgets[0].scope: "entry_point:tikc" limits nothing: did you mean tick?'
    asked = workshop.hive("config", "check", "--config", str(workshop.config))
    assert (asked.returncode, sentence in asked.stdout) == (0, True), asked.stdout
    daemon = workshop.start().ready()
    assert daemon.terminate() == 0
    assert sentence in workshop.log.replace('\\"', '"')


def test_a_mistake_about_one_agent_starts_no_other_and_runs_nothing(workshop: Place) -> None:
    folder = workshop.path / "agents"
    witness = workshop.path / "witness"
    bad = {"path": str(folder / "witness"), "entry_points": {"work": {"entry_node": "frist"}}}
    eager = {"run_immediately": True, "every": "1h", "cron": None}
    good = {"path": str(folder / "ticker"), "entry_points": {"tick": {"trigger_config": eager}}}
    workshop.write(agents=[good, bad])
    code, _ = workshop.refused(WITNESS=str(witness))
    assert (code, witness.exists()) == (78, False)


def test_a_mistake_of_a_folder_degrades_its_agent_and_the_others_run(place: Place) -> None:
    broken = place.path / "agents" / "broken"
    broken.mkdir()
    (broken / "agent.json").write_text('{"graph": {}}')
    place.write(agents=[str(place.path / "agents" / "witness"), str(broken)])
    daemon = place.start().ready()
    agents = {agent["name"]: agent for agent in place.get("/v1/agents")["items"]}
    assert {name: agent["state"] for name, agent in agents.items()} == {
        "broken": "degraded",
        "witness": "ready",
    }
    assert "agent.json" in agents["broken"]["reason"]
    assert place.settled(place.trigger("witness/brief", n=1))["status"] == "completed"
    assert place.get("/v1/health")["status"] == "degraded"
    assert place.hive("health").returncode == 0
    daemon.hears("STATUS=0 running, 0 queued, 2 agents, degraded: broken")
    assert place.refused("--check")[0] == 78
