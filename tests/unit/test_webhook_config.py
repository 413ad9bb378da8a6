"""Webhook routes in hive.yaml: what is refused is told with its key, and no secret is ever shown."""

import json
from pathlib import Path

import pytest

from hive_daemon.config.load import show
from hive_daemon.config.loaded import secret_values
from hive_daemon.runtime.webhook_route import route_of
from hive_daemon.runtime.webhook_schemes import Verify
from tests.fakes.config_place import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def text(route: str, listen: str = "127.0.0.1:8080") -> str:
    return (
        f"http: {{listen: '{listen}'}}\n"
        f"agents: [{{path: /a, webhook_routes: [{{source_id: s, path: /h, {route}}}]}}]\n"
    )


@pytest.mark.parametrize(
    ("route", "sentence"),
    [
        ("verfy: slack", ".verfy: unknown key, did you mean 'verify'?"),
        ("verify: slak, secret: x", '.verify: "slak" is unknown, did you mean slack?'),
        ("verify: slack", ": the value is no valid route: verify: slack needs a secret or secrets"),
        (
            "secret: x, secrets: [y]",
            ": the value is no valid route: write secret or secrets, not both",
        ),
        ("tolerance: 300", ".tolerance: 300 has no unit, write for example 300s or 300m"),
        (
            "tolerance: soon",
            '.tolerance: "soon" is no duration, write for example 30s, 5m or 1h30m',
        ),
        ("max_body: 1TB", '.max_body: "1TB" is no size'),
        ("rate: 60", ".rate: 60 is a number, a text is needed"),
        ("rate: 60/d", '.rate: "60/d" is no rate, write a number and s, m or h'),
        ("allow_ips: [here]", '.allow_ips[0]: "here" is no address or network'),
        ("headers: [Authorization]", '.headers[0]: "Authorization" carries a credential'),
        ("filters: [{field: $.a, equal: 1}]", "did you mean 'equals'?"),
        ("input: {event: 1}", "may not set 'event'"),
        ("dedupe: id", '.dedupe: "id" is no place, write $.id'),
        ("coalesce: {key: $.a, windw: 5s}", "has the unknown key 'windw', did you mean 'window'?"),
        ("respond: later", '.respond: "later" is unknown, write ack or wait'),
    ],
)
def test_a_mistake_is_told_with_its_key(place: Place, route: str, sentence: str) -> None:
    problem = place.problem(text(route))
    assert problem.startswith("agents[0].webhook_routes[0]")
    assert sentence in problem


def test_what_is_written_is_what_the_runtime_reads(place: Place) -> None:
    written = (
        "verify: slack, secrets: [new-secret, old-secret], tolerance: 1m, max_body: 2048, "
        "filters: [{field: $.a, exists: true}], coalesce: {key: $.a, window: 5s}, respond: wait"
    )
    [agent] = place.load(text(written)).config.agents
    route = route_of(agent.webhook_routes[0].written())
    assert (route.scheme, list(route.secrets)) == (Verify.SLACK, ["new-secret", "old-secret"])
    assert (route.tolerance, route.max_body, route.respond) == ("1m", 2048, "wait")
    assert route.coalesce == {"key": "$.a", "window": "5s"}


def test_no_secret_of_a_route_is_shown_and_every_one_is_known_to_the_redactor(
    place: Place,
) -> None:
    loaded = place.load(text("secrets: [hush-new, hush-old]"))
    assert "hush" not in json.dumps(show(loaded))
    assert "hush" not in repr(loaded.config)
    assert {"hush-new", "hush-old"} <= set(secret_values(loaded.config))


@pytest.mark.parametrize("route", ["verify: none", "methods: [POST]"])
def test_what_anybody_may_send_is_refused_where_other_machines_reach(
    place: Place, route: str
) -> None:
    problem = place.problem(text(route, "0.0.0.0:8080"))
    assert "would take unsigned requests on 0.0.0.0:8080" in problem
    assert place.load(text(f"{route}, allow_insecure: true", "0.0.0.0:8080")).warnings == ()
    assert place.load(text(route)).warnings == ()


@pytest.mark.parametrize(
    "route",
    ["secrets: ['${env:NEW}', '${env:OLD}']", "verify: bearer, secret: '${env:NEW}'"],
)
def test_what_is_proved_is_taken_where_other_machines_reach(place: Place, route: str) -> None:
    assert place.load(text(route, "0.0.0.0:8080"), NEW="new", OLD="old").warnings == ()
