"""The contract's own tables and rules."""

from pathlib import Path

import pytest

from hive_daemon import errors
from hive_daemon.control import wire
from hive_daemon.control.wire import ErrorCode, ExitCode, Message, MessageReader, Route, Status
from hive_daemon.status import ExecutionStatus


def _codes() -> set[str]:
    """The codes of errors.py: what a room adds for itself travels as the nearest kind that stands there."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    return {kind.code for kind in kinds if issubclass(kind, errors.HiveError)}


def test_every_error_of_the_daemon_has_a_meaning_at_both_edges():
    assert _codes() <= set(map(str, ErrorCode))


@pytest.mark.parametrize("status", Status)
def test_statuses_are_those_of_the_daemon(status):
    assert status.is_terminal == ExecutionStatus(status.value).is_terminal
    assert (status.is_settled and not status.is_terminal) == ExecutionStatus(status.value).is_parked


def test_the_daemon_has_no_status_that_the_contract_lacks():
    assert [str(status) for status in ExecutionStatus] == [str(status) for status in Status]


@pytest.mark.parametrize(
    ("code", "http", "exit"),
    [
        ("invalid", 400, ExitCode.USAGE),
        ("denied", 403, ExitCode.DENIED),
        ("not_found", 404, ExitCode.NOT_FOUND),
        ("fenced", 409, ExitCode.CONFLICT),
        ("queue_full", 429, ExitCode.CONFLICT),
        ("budget_exceeded", 429, ExitCode.BUDGET),
        ("draining", 503, ExitCode.CONFLICT),
        ("storage_full", 507, ExitCode.FAILED),
    ],
)
def test_the_decided_meanings(code, http, exit):
    assert (wire.http_status(code), wire.exit_code(code)) == (http, exit)


@pytest.mark.parametrize(
    ("http", "exit"), [(400, 2), (403, 6), (404, 3), (409, 4), (429, 4), (500, 1), (503, 1)]
)
def test_a_code_of_a_newer_daemon_is_judged_by_its_http_status(http, exit):
    assert wire.exit_code("out_of_cheese", http) == exit


def test_a_code_that_never_travels_would_be_an_internal_error():
    assert wire.http_status("unreachable") == 500


@pytest.mark.parametrize(
    ("status", "error_code", "exit"),
    [
        ("completed", None, 0),
        ("failed", "dead_end", 1),
        ("failed", "budget_exceeded", 7),
        ("paused", None, 8),
        ("waiting_approval", None, 8),
        ("cancelled", None, 130),
        ("recovery_exhausted", None, 1),
    ],
)
def test_how_a_run_ended_is_its_exit_code(status, error_code, exit):
    assert wire.run_exit_code(status, error_code) == exit


def test_a_path_quotes_what_it_is_given():
    assert (
        Route.EXECUTION.path(execution="../../etc/passwd")
        == "/v1/executions/..%2F..%2Fetc%2Fpasswd"
    )


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("triage", "/v1/entry-points/triage/trigger"),
        ("ops/triage", "/v1/entry-points/ops/triage/trigger"),
        ("ops/judge::check", "/v1/entry-points/ops/judge::check/trigger"),
    ],
)
def test_an_address_is_triggered_bare_or_with_its_agent(address, path):
    assert wire.trigger_path(address) == path


@pytest.mark.parametrize("text", ["api", "ops/api", "ops/graph::api", "graph::api", "a.b-c_d"])
def test_addresses(text):
    assert wire.is_address(text)


@pytest.mark.parametrize(
    "text", ["", "a/b/c", "../x", "a b", "-x", "a::b::c", "a/", "x" * 65, "a\n"]
)
def test_what_is_not_an_address(text):
    assert not wire.is_address(text)


@pytest.mark.parametrize("text", ["", "../etc", "a/b", "a.b", "-1", "x" * 65, "latest\n", "é"])
def test_what_is_not_a_reference(text):
    assert not wire.is_reference(text)


IDS = [
    "session_20260302_090000_1a2b3c4d",
    "session_20260302_090000_1a2b3c4d-2",
    "session_20260302_100000_ffffffff",
]


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        (IDS[0], [IDS[0]]),
        (IDS[1], [IDS[1]]),
        ("session_20260302_10", [IDS[2]]),
        ("20260302_10", [IDS[2]]),
        ("20260302_090000_1a2b3c4d", [IDS[0]]),
        ("20260302_09", IDS[:2]),
        ("session_2027", []),
        ("ffffffff", []),
    ],
)
def test_a_reference_is_exact_or_the_beginning_of_an_id(reference, found):
    assert wire.choose(reference, IDS) == found


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({"HIVE_SOCKET": "/a.sock", "RUNTIME_DIRECTORY": "/r"}, "/a.sock"),
        ({"RUNTIME_DIRECTORY": "/r:/s", "XDG_RUNTIME_DIR": "/x"}, "/r/hived.sock"),
        ({"XDG_RUNTIME_DIR": "/x"}, "/x/hive/hived.sock"),
        ({}, "/state/hived.sock"),
    ],
)
def test_the_daemon_binds_the_first_path_that_is_named(environ, path):
    assert wire.socket_to_bind(environ, "/state") == path


@pytest.mark.parametrize(
    ("environ", "paths"),
    [
        ({"HIVE_SOCKET": "/a.sock", "XDG_RUNTIME_DIR": "/x"}, ["/a.sock"]),
        (
            {"XDG_RUNTIME_DIR": "/x", "HIVE_STATE_DIR": "/state"},
            ["/run/hive/hived.sock", "/x/hive/hived.sock", "/state/hived.sock"],
        ),
        ({"STATE_DIRECTORY": "/s:/t"}, ["/run/hive/hived.sock", "/s/hived.sock"]),
        ({}, ["/run/hive/hived.sock", str(Path("~/.hive/hived.sock").expanduser())]),
    ],
)
def test_the_command_line_looks_where_the_daemon_binds(environ, paths):
    assert wire.sockets_to_try(environ) == paths


def _read(stream: bytes) -> list[Message]:
    reader = MessageReader()
    messages = (reader.feed(line) for line in stream.splitlines(keepends=True))
    return [message for message in messages if message is not None]


def test_comments_and_unknown_fields_of_a_stream_are_skipped():
    stream = wire.KEEPALIVE + b"retry: 5\nid: 7\nevent: x\ndata: {}\n\n"
    assert _read(stream) == [Message("x", "{}", "7")]


def test_a_live_event_after_a_durable_one_has_no_id():
    stream = Message("a", "1", "7").encode() + Message("b", "2").encode()
    assert [message.id for message in _read(stream)] == ["7", None]


def test_a_message_that_was_cut_off_never_appears():
    assert _read(Message("a", "1", "7").encode()[:-1]) == []
