"""Routes, signatures and refusals: the parts of the webhook server that need no socket."""

import logging

import pytest

from hive_daemon.errors import (
    AgentNotFound,
    BudgetExceeded,
    Draining,
    HiveError,
    IdempotencyConflict,
    InvalidInput,
    NotRunning,
    QueueFull,
    StateConflict,
    StorageCorrupt,
    StorageFull,
    StorageUnavailable,
)
from hive_daemon.runtime.event_bus import EventBus
from hive_daemon.runtime.webhook_answers import refusal_of
from hive_daemon.runtime.webhook_server import WebhookRoute, WebhookServer, WebhookServerConfig


def test_a_route_may_omit_methods_and_secret() -> None:
    route = WebhookRoute("github", "/webhooks/github")
    assert (tuple(route.methods), route.secret) == (("POST",), None)


def test_the_secret_is_not_shown() -> None:
    assert "s3cret" not in repr(WebhookRoute("github", "/hook", secret="s3cret"))


@pytest.mark.parametrize("secret", ["", " ", "\n", "\t \r\n"])
def test_an_empty_secret_is_a_configuration_error_and_no_open_door(secret: str) -> None:
    with pytest.raises(ValueError, match=r"webhook route /hook: the secret is empty"):
        WebhookRoute("github", "/hook", secret=secret)


@pytest.mark.parametrize(
    "path", ["", "hook", "/a b", "/é", "/a?b", "/a#b", '/"', "/a\n", "http://x/a", "/a\\b"]
)
def test_a_path_that_no_request_can_name_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="webhook path"):
        WebhookRoute("github", path)


@pytest.mark.parametrize("methods", [[], (), "POST", ["PO ST"], [""], ["POST", "§"]])
def test_methods_that_are_none_are_refused(methods: list[str]) -> None:
    with pytest.raises(ValueError, match="/hook"):
        WebhookRoute("github", "/hook", methods)


def test_a_second_route_on_a_path_replaces_the_first() -> None:
    server = WebhookServer(EventBus())
    server.add_route(WebhookRoute("one", "/hook"))
    server.add_route(WebhookRoute("two", "/hook"))
    assert [route.source_id for route in server.routes] == ["two"]


def test_a_route_that_was_never_there_may_be_removed() -> None:
    server = WebhookServer(EventBus())
    server.remove_route("/hook")
    assert server.routes == []


async def test_without_routes_start_does_nothing() -> None:
    server = WebhookServer(EventBus(), WebhookServerConfig(port=0))
    await server.start()
    assert (server.is_running, server.port) == (False, None)
    await server.stop()


async def test_an_open_route_for_other_machines_is_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = WebhookServer(EventBus(), WebhookServerConfig("0.0.0.0", 0))
    server.add_route(WebhookRoute("open", "/open"))
    server.add_route(WebhookRoute("signed", "/signed", secret="s"))
    with caplog.at_level(logging.WARNING):
        await server.start()
        server.add_route(WebhookRoute("late", "/late"))
        await server.stop()
    assert [record.__dict__["path"] for record in caplog.records] == ["/open", "/late"]


async def test_an_open_route_for_this_machine_alone_is_fine(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = WebhookServer(EventBus(), WebhookServerConfig("localhost", 0))
    server.add_route(WebhookRoute("open", "/open"))
    await server.start()
    await server.stop()
    assert caplog.records == []


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (Draining(), 503, 5),
        (NotRunning(), 503, 5),
        (StorageUnavailable("/srv/hive.db: disk I/O error"), 503, 5),
        (StorageCorrupt("/srv/hive.db"), 503, 5),
        (StorageFull("/srv: no space"), 507, 60),
        (QueueFull(), 429, 30),
        (BudgetExceeded(), 429, 30),
        (IdempotencyConflict(), 409, 0),
        (StateConflict(), 409, 0),
        (InvalidInput("the input cannot be kept"), 400, 0),
        (AgentNotFound(subject="ops"), 404, 0),
        (HiveError("/srv/secret"), 500, 0),
    ],
)
def test_each_refusal_has_its_status_and_tells_nothing_of_the_inside(
    error: HiveError, status: int, retry_after: int
) -> None:
    refusal = refusal_of(error)
    assert (refusal.status, refusal.retry_after) == (status, retry_after)
    assert "/srv" not in str(refusal)
    assert "ops" not in str(refusal)
