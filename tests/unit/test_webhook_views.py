"""What a person sees of webhooks holds everything they wrote, and no secret."""

import json
from dataclasses import replace

import pytest

from hive_daemon.errors import NotFound
from hive_daemon.runtime.webhook_route import WebhookRoute, route_of
from hive_daemon.runtime.webhook_server import WebhookServer
from hive_daemon.runtime.webhook_views import (
    delivery_view,
    doors_named,
    preview,
    route_view,
    trial_headers,
)
from hive_daemon.storage.webhook_deliveries import DeliveryRow, DeliveryStatus

ROW = DeliveryRow(
    id="dlv_1",
    route="/hook",
    source_id="github",
    key="k",
    body_hash="ab",
    status=DeliveryStatus.QUEUED,
    reason="",
    group="",
    received_at=0.5,
    due_at=None,
    settled_at=1.0,
    execution_ids=("e1",),
    superseded=0,
    superseded_by="",
    repeats=2,
    replay_of="",
    data=b'{"payload": {"n": 1}}',
)
FULL = {
    "source_id": "github",
    "path": "/hook",
    "verify": "slack",
    "secrets": ["t0ps3cret-new", "t0ps3cret-old"],
    "tolerance": "90s",
    "max_body": "2MiB",
    "read_timeout": "5s",
    "rate": "60/m",
    "allow_ips": ["192.0.2.0/24"],
    "headers": ["X-Kind"],
    "filters": [{"field": "$.n", "equals": 1}],
    "input": {"n": "{$.n}"},
    "dedupe": "$.id",
    "coalesce": {"key": "$.n", "window": "5s"},
    "respond": "wait",
}
DATA = {"headers": {}, "query_params": {}, "payload": {"n": 1}}


def server(**keys: object) -> WebhookServer:
    made = WebhookServer(None)
    made.add_route(route_of({**FULL, **keys}))
    return made


def test_a_route_is_shown_with_all_it_says_and_no_secret() -> None:
    door = server().doors["/hook"]
    door.answered[401] += 3
    view = route_view(door)
    assert "t0ps3cret" not in json.dumps(view)
    assert view == {
        "path": "/hook",
        "source_id": "github",
        "methods": ["POST"],
        "verify": "slack",
        "secrets": 2,
        "tolerance": "1m30s",
        "max_body": 2 * 2**20,
        "read_timeout": "5s",
        "rate": "60/m",
        "allow_ips": ["192.0.2.0/24"],
        "headers": ["x-kind"],
        "filters": [{"field": "$.n", "equals": 1}],
        "input": {"n": "{$.n}"},
        "dedupe": ["$.id"],
        "coalesce": {"key": "$.n", "window": "5s"},
        "respond": "wait",
        "allow_insecure": False,
        "answered": {"401": 3},
    }


def test_a_route_shows_no_secret_in_its_own_words_either() -> None:
    assert "t0ps3cret" not in repr(route_of(FULL))
    assert "t0ps3cret" not in repr(server().doors["/hook"])


def test_a_delivery_is_shown_with_what_became_of_it_and_what_it_carried_if_asked() -> None:
    view = delivery_view(ROW)
    assert view["received_at"] == "1970-01-01T00:00:00.500000Z"
    assert (view["status"], view["execution_ids"], view["repeats"]) == ("queued", ["e1"], 2)
    assert "data" not in view
    assert delivery_view(ROW, with_data=True)["data"] == {"payload": {"n": 1}}
    held = replace(ROW, due_at=2.0, settled_at=None)
    assert (delivery_view(held)["due_at"], delivery_view(held)["settled_at"]) == (
        "1970-01-01T00:00:02.000000Z",
        None,
    )


@pytest.mark.parametrize(
    ("payload", "would", "key", "inputs"),
    [({"n": 1}, "coalesced", "1", {"n": 1}), ({"n": 2}, "ignored", None, {})],
)
def test_a_preview_says_what_the_rules_make_of_a_delivery(
    payload: object, would: str, key: str | None, inputs: object
) -> None:
    told = preview(server().doors["/hook"], {**DATA, "payload": payload})
    assert (told["would"], told["coalesce_key"], told["input"]) == (would, key, inputs)
    assert bool(told["reason"]) == (would == "ignored")


def test_without_a_burst_a_delivery_would_be_queued() -> None:
    door = server(coalesce=None).doors["/hook"]
    assert preview(door, DATA)["would"] == "queued"


def test_a_route_is_meant_by_its_path_or_its_source() -> None:
    made = server()
    made.add_route(WebhookRoute("github", "/other"))
    assert [door.route.path for door in doors_named(made.doors, "/other")] == ["/other"]
    assert [door.route.path for door in doors_named(made.doors, "github")] == ["/hook", "/other"]
    with pytest.raises(NotFound, match="'nope'"):
        doors_named(made.doors, "nope")


def test_a_trial_is_signed_only_if_asked() -> None:
    door = server().doors["/hook"]
    plain = trial_headers(door, b"{}", 5.0, "t-1", is_signed=False)
    signed = trial_headers(door, b"{}", 5.0, "t-1", is_signed=True)
    assert set(signed) - set(plain) == {
        "Idempotency-Key",
        "X-Slack-Request-Timestamp",
        "X-Slack-Signature",
    }
