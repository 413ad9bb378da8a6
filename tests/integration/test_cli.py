"""The command line against a real HTTP server on a real socket."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hive_cli import follow
from hive_cli.app import main
from hive_cli.client import AnswerLate, Client, Request, Unreachable
from hive_cli.commands.trigger import Payload, Watch, trigger
from hive_cli.failures import Failure
from hive_cli.grammar import Hive
from hive_daemon.control import wire
from hive_daemon.control.wire import ErrorCode, ExitCode, Message, Route, StreamEvent, Until
from tests.fakes.control_server import (
    SESSION,
    Answer,
    ControlServer,
    agent,
    control_server,
    error,
    execution,
    running,
    timer,
)

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def server(tmp_path, monkeypatch):
    with control_server(tmp_path) as server:
        monkeypatch.setenv("HIVE_SOCKET", str(server.path))
        yield server


@pytest.fixture
def hive(capsys):
    """Run a command in this process; returns (exit code, stdout, stderr)."""

    def run(*arguments):
        code = main(list(arguments))
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def hive_json(hive):
    """Run a command with --json; returns (exit code, document)."""

    def run(*arguments):
        code, out, _ = hive(*arguments, "--json")
        return code, json.loads(out)

    return run


@pytest.fixture
def spawn(server):
    """Start a command as a process of its own; returns a Popen with text streams."""
    started = []

    def run(*arguments, **options):
        process = subprocess.Popen(
            [sys.executable, "-m", "hive_cli", *arguments],
            **{
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE,
                "stdin": subprocess.DEVNULL,
                "text": True,
                "cwd": ROOT,
                "env": {**os.environ, "HIVE_SOCKET": str(server.path)},
                **options,
            },
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def body_of(server, route):
    """The body of the last request to a route."""
    path = route.template.partition("{")[0]
    return [one for one in server.asked if one.method == "POST" and one.path.startswith(path)][
        -1
    ].body


# Reading


def test_stats_for_people(server, hive):
    code, out, err = hive("stats")
    assert (code, err) == (0, "")
    assert "hived       0.1.0, pid 4242" in out
    assert "executions  1 running (limit 100), 0 queued; 12 completed" in out
    assert "ops/triage   1        0       10" in out


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (["stats"], "pid"),
        (["health"], "checks"),
        (["agents", "list"], "items"),
        (["timers", "list"], "items"),
        (["executions", "list"], "items"),
        (["executions", "show", "latest"], "entry_point"),
        (["executions", "wait", "latest"], "output"),
        (["sessions", "list"], "items"),
        (["sessions", "show", "latest"], "latest_execution"),
        (["drain"], "state"),
        (["version"], "hived"),
        (["--version"], "hived"),
        (["trigger", "triage"], "execution_id"),
        (["sessions", "input", "latest", "yes"], "execution_id"),
        (["sessions", "resume", "latest"], "execution_id"),
        (["executions", "list", "--limit", "1"], "next_cursor"),
    ],
)
def test_with_json_every_answer_is_one_document(server, hive_json, arguments, key):
    server.put(execution())
    code, document = hive_json(*arguments)
    assert code == 0
    assert key in document


def test_common_options_may_stand_before_the_command(server, hive, tmp_path):
    code, out, _ = hive("--json", "--socket", str(server.path), "stats")
    assert (code, json.loads(out)["pid"]) == (0, 4242)


def test_a_socket_that_is_named_wins_over_the_environment(server, hive, monkeypatch):
    monkeypatch.setenv("HIVE_SOCKET", "/nonexistent")
    assert hive("stats", "--socket", str(server.path))[0] == 0


def test_a_list_of_executions_says_why(server, hive):
    server.put(
        execution(), execution(f"{SESSION}-2", status="failed", error="the disk\x1b[2J is full")
    )
    _, out, _ = hive("executions", "list")
    assert [line.split()[0] for line in out.splitlines()] == ["EXECUTION", f"{SESSION}-2", SESSION]
    assert out.splitlines()[1].endswith("the disk\\x1b[2J is full")


def test_a_list_says_that_there_is_more(server, hive):
    server.put(execution(), execution(f"{SESSION}-2"))
    code, out, err = hive("executions", "list", "--limit", "1")
    assert (code, len(out.splitlines()), err) == (0, 2, "there are more: --cursor 1\n")
    _, out, err = hive("executions", "list", "--limit", "1", "--cursor", "1")
    assert (out.splitlines()[1].split()[0], err) == (SESSION, "")


def test_a_list_can_be_narrowed(server, hive):
    hive("executions", "list", "--status", "failed", "--status", "paused", "--entry-point", "ops/a")
    assert server.asked[-1].query == {
        "limit": ["50"],
        "status": ["failed", "paused"],
        "entry_point": ["ops/a"],
    }


def test_a_list_of_timers_has_every_page(server, hive_json, monkeypatch):
    monkeypatch.setattr(wire, "PAGE_SIZE_MAX", 2)
    server.timers = {f"ops/t{n}": timer(f"ops/t{n}") for n in range(5)}
    _, document = hive_json("timers", "list")
    assert [one["id"] for one in document["items"]] == list(server.timers)


def test_timers_say_why_they_do_not_fire(server, hive):
    paused = {"by": "uid:1000", "at": None, "note": "maintenance"}
    server.timers = {
        "ops/a": timer("ops/a", paused=paused),
        "ops/b": timer("ops/b", last_outcome="skipped_idle", last_reason="the agent is busy"),
    }
    _, out, _ = hive("timers", "list")
    assert "paused by uid:1000 -: maintenance" in out
    assert "skipped_idle: the agent is busy" in out


def test_a_degraded_agent_says_why(server, hive):
    server.agents = [agent(state="degraded", reason="agent.py: no module named foo")]
    _, out, _ = hive("agents", "list")
    assert "degraded" in out
    assert "agent.py: no module named foo" in out


@pytest.mark.parametrize(("status", "code"), [("ok", 0), ("degraded", 0), ("failing", 1)])
def test_health_is_an_exit_code(server, hive, status, code):
    server.health = {"status": status, "checks": {"store": {"ok": False, "detail": "disk full"}}}
    got, out, _ = hive("health")
    assert got == code
    assert f"status  {status}" in out
    assert "disk full" in out


def test_a_session_shows_its_latest_execution(server, hive):
    server.put(
        execution(), running(f"{SESSION}-2", waiting={"kind": "input", "question": "go on?"})
    )
    _, out, _ = hive("sessions", "show", SESSION)
    assert "executions  2" in out
    assert f"execution    {SESSION}-2" in out
    assert "asks         go on?" in out


def test_ids_may_be_short(server, hive):
    server.put(execution(), execution("session_20260303_090000_ffffffff"))
    assert hive("executions", "show", "20260302")[0] == 0
    assert f"session/{SESSION}" not in hive("sessions", "show", "latest")[1]


# Acting


def test_pausing_without_ids_pauses_all(server, hive):
    server.timers = {"ops/a": timer("ops/a"), "ops/b": timer("ops/b")}
    code, out, _ = hive("timers", "pause", "--note", "maintenance")
    assert (code, out.count("maintenance")) == (0, 2)
    assert body_of(server, Route.TIMERS_PAUSE) == {"note": "maintenance"}


def test_resuming_one_timer_leaves_the_others(server, hive):
    server.timers = {"ops/a": timer("ops/a"), "ops/b": timer("ops/b")}
    hive("timers", "pause")
    _, out, _ = hive("timers", "resume", "ops/a")
    assert [line.split()[0] for line in out.splitlines()] == ["TIMER", "ops/a"]
    assert server.timers["ops/b"]["paused"] is not None


def test_cancelling_what_runs_says_that_it_is_under_way(server, hive):
    server.put(running())
    assert (
        hive("executions", "cancel", "latest", "--reason", "wrong input")[1]
        == f"cancelling {SESSION}\n"
    )
    assert body_of(server, Route.CANCEL) == {"reason": "wrong input"}


def test_cancelling_what_has_ended_is_a_conflict(server, hive):
    server.put(execution())
    code, _, err = hive("executions", "cancel", SESSION)
    assert (code, err) == (ExitCode.CONFLICT, f"hive: {SESSION} is completed already\n")


def test_an_answer_reaches_the_session(server, hive):
    server.put(running(status="waiting_input"))
    assert hive("sessions", "input", "latest", "yes, go on")[1] == f"{SESSION}\n"
    assert body_of(server, Route.SESSION_INPUT) == {"text": "yes, go on"}


def test_an_answer_is_read_from_standard_input_when_it_is_asked_for(server, spawn):
    server.put(running(status="waiting_input"))
    process = spawn("sessions", "input", SESSION, "-", stdin=subprocess.PIPE)
    process.communicate("yes,\ngo on\n", timeout=20)
    assert process.returncode == 0
    assert body_of(server, Route.SESSION_INPUT) == {"text": "yes,\ngo on"}


def test_a_suggestion_to_answer_that_is_pasted_answers_nothing_by_itself(server, hive, spawn):
    asked = {"kind": "input", "question": "go on?", "node_id": "ask"}
    server.put(running(status="waiting_input", waiting=asked))
    _, _, err = hive("executions", "wait", SESSION)
    (pasted,) = re.findall(r"answer with `hive (.*)`", err)
    process = spawn(*pasted.split())
    _, err = process.communicate(timeout=20)
    assert (process.returncode, "no answer on standard input" in err) == (ExitCode.USAGE, True)
    assert not any(one.method == "POST" for one in server.asked)


def test_a_resume_takes_input_from_a_file(server, hive, tmp_path):
    server.put(execution(status="paused"))
    (tmp_path / "more.json").write_text('{"a": 1}')
    hive("sessions", "resume", SESSION, "--input", str(tmp_path / "more.json"))
    assert body_of(server, Route.SESSION_RESUME) == {"input": {"a": 1}}


def test_a_resume_without_input_sends_none(server, hive):
    server.put(execution(status="paused"))
    hive("sessions", "resume", SESSION)
    assert body_of(server, Route.SESSION_RESUME) == {}


@pytest.mark.parametrize(
    ("asking", "said", "command"),
    [
        (
            {"status": "waiting_input", "waiting": {"question": "which disk?"}},
            "which disk?",
            f"hive sessions input {SESSION} -",
        ),
        (
            {"status": "waiting_approval", "waiting": {"question": "rm -rf?"}},
            "rm -rf?",
            f"hive approvals approve {SESSION}",
        ),
    ],
)
def test_a_resume_without_an_answer_to_what_waits_does_nothing_and_says_what_answers(
    server, hive, asking, said, command
):
    server.put(execution(**asking))
    code, out, err = hive("sessions", "resume", SESSION)
    assert (code, out) == (8, "")
    assert said in err
    assert command in err
    assert [one.method for one in server.asked] == ["GET"]


def test_a_resume_in_a_changed_graph_that_still_waits_says_so(server, hive):
    server.put(execution(status="waiting_input", waiting={"question": "which disk?"}))
    code, out, err = hive("sessions", "resume", SESSION, "--accept-changed-graph")
    assert (code, out) == (8, f"{SESSION}\n")
    assert body_of(server, Route.SESSION_RESUME) == {"accept_changed_graph": True}
    assert "which disk?" in err


def test_an_answer_given_with_a_resume_is_sent_to_what_waits(server, hive, tmp_path):
    server.put(execution(status="waiting_input", waiting={"question": "which disk?"}))
    (tmp_path / "answer.json").write_text('{"input": "sda"}')
    code, out, _ = hive("sessions", "resume", SESSION, "--input", str(tmp_path / "answer.json"))
    assert (code, out) == (0, f"{SESSION}\n")


def test_drain(server, hive):
    assert hive("drain") == (0, "draining: 1 running, 0 queued\n", "")


# Triggering


def test_a_trigger_writes_the_id_and_nothing_else(server, hive):
    code, out, err = hive("trigger", "ops/triage", "--set", "log=full", "--session", "latest")
    assert (code, out, err) == (0, "session_20260302_090000_00000000\n", "")
    assert server.asked[-1].path == "/v1/entry-points/ops/triage/trigger"
    assert server.asked[-1].body == {
        "input": {"log": "full"},
        "source": "cli",
        "session_id": "latest",
    }


def test_a_key_starts_it_once(server, hive):
    _, first, _ = hive("trigger", "triage", "--idempotency-key", "k1")
    _, second, err = hive("trigger", "triage", "--idempotency-key", "k1")
    assert first == second
    assert err.startswith("duplicate: this is the execution that the first one started, ")


@pytest.mark.parametrize(
    ("given", "is_sent"),
    [("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", True), ("no\r\nheader", False)],
)
def test_it_belongs_to_the_trace_that_it_is_started_in(server, hive, monkeypatch, given, is_sent):
    monkeypatch.setenv("TRACEPARENT", given)
    assert hive("trigger", "triage")[0] == 0
    assert server.asked[-1].headers.get("traceparent") == (given if is_sent else None)


def test_an_answer_that_is_lost_is_asked_for_again_under_the_same_key(server, hive):
    server.script(Route.TRIGGER, Answer(close=True))
    code, out, _ = hive("trigger", "triage")
    keys = [one.headers[wire.IDEMPOTENCY_HEADER] for one in server.asked]
    assert (code, out) == (0, "session_20260302_090000_00000000\n")
    assert len(keys) == 2
    assert len(set(keys)) == 1


@pytest.mark.parametrize("key", ["a b", "ü", "x" * 201, "a\r\nX: y"])
def test_a_key_that_no_header_can_carry_is_refused(server, hive, key):
    assert hive("trigger", "triage", "--idempotency-key", key)[0] == ExitCode.USAGE
    assert server.asked == []


def test_bad_input_is_refused_before_anything_is_sent(server, hive, tmp_path):
    code, out, err = hive("trigger", "triage", "--input", str(tmp_path))
    assert (code, out) == (ExitCode.USAGE, "")
    assert f"--input {tmp_path}: is a directory" in err
    assert server.asked == []


def test_a_timeout_without_a_wait_is_refused(server, hive):
    assert hive("trigger", "triage", "--timeout", "5m")[0] == ExitCode.USAGE
    assert server.asked == []


def later(server, work):
    """Run `work` beside the test once the execution that it triggers is waited for."""

    def run():
        server.wait_for_request(Route.EXECUTION)
        work("session_20260302_090000_00000000")

    threading.Thread(target=run, daemon=True).start()


ENDINGS = [
    ({"status": "completed", "output": {"report": "well"}}, 0, "completed in 3.25s"),
    (
        {"status": "failed", "error": "no disk", "error_code": "x"},
        1,
        "failed at node parse: no disk",
    ),
    ({"status": "failed", "error_code": "budget_exceeded"}, 7, "failed at node parse"),
    ({"status": "recovery_exhausted"}, 1, "recovery exhausted at node parse"),
    ({"status": "cancelled"}, 130, "cancelled at node parse"),
    (
        {"status": "failed", "error_code": "budget_exceeded"},
        7,
        "`hive budget status`, then try again",
    ),
    ({"status": "paused"}, 8, "hive sessions resume session_"),
    (
        {"status": "paused", "error": "the budget is spent", "error_code": "budget_exceeded"},
        8,
        "is paused at node parse: the budget is spent\nhint: see when it begins anew with `hive budget status`",
    ),
    (
        {"status": "waiting_input", "waiting": {"question": "which\ndisk?", "options": ["a", "b"]}},
        8,
        "waits at node parse: which disk? (a / b)",
    ),
    ({"status": "waiting_approval", "waiting": {"question": "rm -rf?"}}, 8, "rm -rf?"),
]


@pytest.mark.parametrize(
    "status", ["waiting_input", "waiting_approval", "paused", "failed", "cancelled"]
)
def test_what_a_run_has_come_to_that_did_not_complete_is_no_result(server, hive, hive_json, status):
    server.put(execution(status=status, output={"partial": "memory"}))
    assert hive("executions", "wait", SESSION)[1] == ""
    assert hive_json("executions", "wait", SESSION)[1]["output"] == {"partial": "memory"}


@pytest.mark.parametrize(("ending", "code", "said"), ENDINGS)
def test_waiting_ends_with_the_exit_code_of_the_run(server, hive, ending, code, said):
    later(server, lambda id: server.change(id, **ending))
    got, out, err = hive("trigger", "triage", "--wait")
    assert got == code
    assert said in err
    assert (json.loads(out) if out else None) == ending.get("output")


def test_waiting_with_json_writes_the_execution_however_it_ended(server, hive_json):
    later(server, lambda id: server.change(id, status="failed", error="no disk"))
    code, document = hive_json("trigger", "triage", "--wait")
    assert (code, document["status"], document["error"]) == (1, "failed", "no disk")


def test_a_wait_that_times_out_leaves_the_run_alone(server, hive):
    code, out, err = hive("trigger", "triage", "--wait", "--timeout", "50ms")
    assert (code, out) == (ExitCode.TIMED_OUT, "")
    assert "is still running after 50ms" in err
    assert "hive executions wait session_" in err
    assert Route.CANCEL.path(execution="x").rpartition("/")[2] not in {
        one.path for one in server.asked
    }


def test_a_wait_goes_on_over_a_restart_of_the_daemon(server, hive):
    server.put(running())

    def restart():
        server.wait_for_request(Route.EXECUTION, 2)
        server.stop()
        server.change(SESSION, status="completed", output={"report": "well"})
        server.start()

    threading.Thread(target=restart, daemon=True).start()
    code, out, _ = hive("executions", "wait", "latest")
    assert (code, json.loads(out)) == (0, {"report": "well"})


def test_following_shows_events_on_stderr_and_the_result_on_stdout(server, hive):
    def work():
        server.wait_for_streams(1)
        server.publish("node_completed", "session_20260302_090000_00000000", severity="high")
        server.publish("node_completed", "session_20260302_090000_ffffffff", severity="other")
        server.change("session_20260302_090000_00000000", status="completed", output={"a": 1})

    threading.Thread(target=work, daemon=True).start()
    code, out, err = hive("trigger", "triage", "--follow")
    assert (code, json.loads(out)) == (0, {"a": 1})
    assert "node_completed" in err
    assert "severity=high" in err
    assert "other" not in err


def test_following_times_out_too(server, hive):
    code, _, err = hive("trigger", "triage", "--follow", "--timeout", "100ms")
    assert code == ExitCode.TIMED_OUT
    assert "is still running after 100ms" in err


# Tails


def test_a_tail_shows_the_newest_events_and_ends(server, hive):
    server.put(running())
    for n in range(60):
        server.publish("node_completed", n=n)
    code, out, _ = hive("sessions", "tail", "latest", "-n", "2")
    assert (code, [line.split()[-1] for line in out.splitlines()]) == (0, ["n=58", "n=59"])
    assert len(hive("sessions", "tail", SESSION)[1].splitlines()) == 50


def test_a_tail_can_begin_at_an_event(server, hive):
    server.put(running())
    for n in range(1, 6):
        server.publish("node_completed", n=n)
    _, out, _ = hive("sessions", "tail", "latest", "--from-seq", "4")
    assert [line.split()[-1] for line in out.splitlines()] == ["n=4", "n=5"]


def test_a_tail_of_what_has_ended_ends_with_its_exit_code(server, hive):
    server.put(execution(status="failed", error="no disk"))
    server.publish("execution_failed", error="no disk")
    code, out, err = hive("sessions", "tail", "-f", "latest")
    assert (code, "error=no disk" in out) == (1, True)
    assert "failed: no disk" in err


def test_a_tail_with_json_is_one_event_per_line(server, hive):
    server.put(execution())
    published = [server.publish("node_completed", text="a\nb\x1b") for _ in range(3)]
    _, out, _ = hive("sessions", "tail", "latest", "--json")
    assert [json.loads(line) for line in out.splitlines()] == published
    assert server.asked[-1].query["live"] == ["false"]


def seqs(lines):
    return [json.loads(line)["seq"] for line in lines]


def test_every_event_comes_once_in_order_over_cuts_and_a_restart(server, spawn):
    server.put(running())
    server.publish("node_completed", n=1)
    process = spawn("sessions", "tail", "-f", "latest", "--json")
    lines = [process.stdout.readline()]
    for n in range(2, 6):
        server.wait_for_streams(n - 1)
        server.cut()
        server.publish("node_completed", n=n)
        lines.append(process.stdout.readline())
    server.stop()
    server.publish("node_completed", n=6)
    server.start()
    lines.append(process.stdout.readline())
    server.publish("execution_completed", n=7)
    server.change(SESSION, status="completed")
    rest, err = process.communicate(timeout=20)
    assert seqs([*lines, *rest.splitlines()]) == [1, 2, 3, 4, 5, 6, 7]
    assert process.returncode == 0
    assert "hived went away, waiting for it to come back" in err
    assert "hived is back" in err


def test_a_tail_that_saw_nothing_yet_misses_nothing_over_a_cut(server, spawn):
    server.put(running())
    server.publish("node_completed", n=1)
    process = spawn("sessions", "tail", "-f", "-n", "0", "latest", "--json")
    server.wait_for_streams(1)
    # One more event makes sure that the stream is past its beginning when it is cut.
    server.publish("node_completed", n=2)
    first = process.stdout.readline()
    server.cut()
    server.publish("execution_completed", n=3)
    server.change(SESSION, status="completed")
    rest, _ = process.communicate(timeout=20)
    assert seqs([first, *rest.splitlines()]) == [2, 3]


def test_events_of_all_agents_can_be_chosen(server, hive):
    server.publish("execution_started")
    server.publish("node_completed")
    _, out, _ = hive("events", "--type", "execution_*", "--entry-point", "ops/triage")
    assert [line.split()[1:3] for line in out.splitlines()] == [["execution_started", "ops/triage"]]
    assert server.asked[-1].query["entry_point"] == ["ops/triage"]


def test_events_can_be_the_newest_of_those_since_a_time(server, hive):
    server.publish("execution_started")
    code, _, err = hive("events", "--since", "2026-03-02T09:00:00Z", "-n", "3")
    assert code == 0, err
    asked = server.asked[-1].query
    assert (asked["since"], asked["last"]) == (["2026-03-02T09:00:00Z"], ["3"])


def test_a_reader_that_was_too_slow_goes_on_where_it_stopped(server, hive):
    server.put(execution())
    for n in range(3):
        server.publish("node_completed", n=n)
    lagged = (
        Message("node_completed", json.dumps(server.events[0]), "1").encode()
        + Message(StreamEvent.END, '{"reason": "lagged", "seq": 1, "execution": null}').encode()
    )
    server.script(Route.SESSION_EVENTS, Answer(raw=lagged))
    code, out, err = hive("sessions", "tail", "-f", "latest", "--json")
    assert (code, seqs(out.splitlines())) == (0, [1, 2, 3])
    assert server.asked[-1].headers[wire.LAST_EVENT_HEADER] == "1"
    assert "went away" not in err


def test_a_daemon_that_does_not_come_back_is_given_up_with_the_way_to_go_on(server, monkeypatch):
    monkeypatch.setattr(follow, "ABSENCE_SECONDS", 0.1)
    server.put(running())
    server.publish("node_completed")
    source = follow.Source(Route.SESSION_EVENTS.path(session=SESSION), Until.SETTLED)
    events = follow.Follower(Client(str(server.path)), source).events()
    assert next(events)["seq"] == 1
    server.stop()
    with pytest.raises(Failure) as caught:
        next(events)
    assert (caught.value.exit_code, caught.value.hint) == (5, "go on with --from-seq 2")


# Leaving


def test_ctrl_c_detaches_from_a_tail_and_says_how_to_go_on(server, spawn):
    server.put(running())
    server.publish("node_completed")
    process = spawn("sessions", "tail", "-f", "latest")
    assert "node_completed" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == ExitCode.INTERRUPTED
    assert err == (
        f"hive: detached, {SESSION} goes on\n"
        f"hint: watch it again with `hive sessions tail -f {SESSION} --from-seq 2`\n"
    )


@pytest.mark.parametrize("watch", ["--wait", "--follow"])
def test_ctrl_c_detaches_from_a_run_and_never_cancels_it(server, spawn, watch):
    process = spawn("trigger", "triage", watch)
    if watch == "--wait":
        server.wait_for_request(Route.EXECUTION, 2)
    else:
        server.wait_for_streams(1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (ExitCode.INTERRUPTED, "")
    assert "detached, session_20260302_090000_00000000 goes on" in err
    assert "hive sessions tail -f session_20260302_090000_00000000" in err
    assert not [one for one in server.asked if one.path.endswith("/cancel")]


def test_a_reader_that_leaves_ends_the_command_silently(server, spawn):
    server.put(running())
    for n in range(2000):
        server.publish("node_completed", n=n, text="x" * 100)
    process = spawn("sessions", "tail", "latest", "--from-seq", "1")
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(20) == ExitCode.BROKEN_PIPE


def test_a_client_that_dies_changes_nothing(server, spawn, hive):
    server.put(running())
    server.publish("node_completed")
    process = spawn("sessions", "tail", "-f", "latest")
    process.stdout.readline()
    process.kill()
    process.wait(20)
    assert hive("executions", "show", "latest")[0] == 0


def test_output_that_cannot_be_written_is_a_failure(server, spawn):
    with open("/dev/full", "w") as full:
        process = spawn("stats", stdout=full)
        _, err = process.communicate(timeout=20)
    assert process.returncode == ExitCode.FAILED
    assert err.startswith("hive: the output cannot be written: No space left on device\nhint: ")


# Standard input


@pytest.mark.parametrize("stdin", [subprocess.PIPE, subprocess.DEVNULL, None])
def test_stdin_is_not_read_unless_it_is_asked_for(server, spawn, stdin):
    process = spawn("trigger", "triage", stdin=stdin)
    assert process.wait(20) == 0


def test_stdin_is_the_input_when_it_is_asked_for(server, spawn):
    process = spawn("trigger", "triage", "--input", "-", stdin=subprocess.PIPE)
    process.communicate('{"log": "full"}', timeout=20)
    assert body_of(server, Route.TRIGGER)["input"] == {"log": "full"}


# Going wrong


def complaint(server, hive, *answers, arguments=("stats",), route=Route.STATS):
    server.script(route, *answers)
    code, out, err = hive(*arguments)
    assert out == ""
    return code, err


@pytest.mark.parametrize(
    "code", [code for code in ErrorCode if code.http_status and code != "starting"]
)
def test_every_error_is_a_sentence_a_hint_and_its_exit_code(server, hive, code):
    got, err = complaint(server, hive, error(code, "this went wrong", "do that"))
    assert (got, err) == (code.exit_code, "hive: this went wrong\nhint: do that\n")


def test_an_error_with_json_is_the_document_on_stdout_too(server, hive):
    server.script(Route.STATS, error(ErrorCode.DENIED, "no\x1b", "ask"))
    code, out, err = hive("stats", "--json")
    assert (code, json.loads(out)) == (
        6,
        {"error": {"code": "denied", "message": "no\x1b", "hint": "ask"}},
    )
    assert err == "hive: no\\x1b\nhint: ask\n"


def test_an_error_of_a_newer_daemon_is_judged_by_its_status(server, hive):
    answer = Answer(409, {"error": {"code": "out_of_cheese", "message": "no cheese"}})
    assert complaint(server, hive, answer) == (4, "hive: no cheese\n")


def test_an_ambiguous_id_names_the_candidates(server, hive_json):
    server.put(execution(), execution(f"{SESSION}-2"))
    code, document = hive_json("executions", "show", "2026")
    assert (code, document["error"]["candidates"]) == (4, [SESSION, f"{SESSION}-2"])


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (["executions", "show", "session_2027"], 3, 'no execution is called "session_2027"'),
        (["sessions", "tail", "-f", "session_2027"], 3, 'no session is called "session_2027"'),
        (["trigger", "triag"], 3, 'no entry point is called "triag"'),
        (["timers", "pause", "ops/nope"], 3, 'no timer is called "ops/nope"'),
        (
            ["executions", "show", "../../etc/passwd"],
            2,
            '"../../etc/passwd" is not the id of an execution',
        ),
        (["sessions", "show", "a\r\nb"], 2, '"a\\r\\nb" is not the id of a session'),
        (["trigger", "../../etc"], 2, '"../../etc" is not an entry point'),
        (["timers", "pause", "/etc/passwd"], 2, '"/etc/passwd" is not a timer\'s id'),
        (["executions", "list", "--limit", "many"], 2, '--limit: "many" is not a whole number'),
        (["executions", "wait", "latest", "--timeout", "5"], 2, '"5" is not a duration'),
    ],
)
def test_what_is_wrong_is_named(server, hive, arguments, code, named):
    got, out, err = hive(*arguments)
    assert (got, out) == (code, "")
    assert err.startswith(f"hive: {named}")
    assert len(err.splitlines()) == (1 if arguments[-1] == "ops/nope" else 2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["stat"], 'hive: "hive" has no command "stat"\nhint: did you mean `hive stats`?\n'),
        (
            ["timers", "paus"],
            'hive: "hive timers" has no command "paus"\nhint: did you mean `hive timers pause`?\n',
        ),
        (["frobnicate"], 'hive: "hive" has no command "frobnicate"\nhint: see `hive --help`\n'),
        (["trigger"], "hive: Missing argument 'ENTRY_POINT'\nhint: see `hive trigger --help`\n"),
    ],
)
def test_wrong_usage_is_a_sentence_and_a_hint(hive, arguments, said):
    assert hive(*arguments) == (ExitCode.USAGE, "", said)


@pytest.mark.parametrize(
    "arguments", [["stats", "--frob"], ["stats", "extra"], ["--socket"], ["trigger", "a", "--set"]]
)
def test_wrong_options_are_usage_errors(hive, hive_json, arguments):
    assert hive(*arguments)[0] == ExitCode.USAGE
    code, document = (
        hive_json(*arguments) if arguments != ["--socket"] else (2, {"error": {"code": "usage"}})
    )
    assert (code, document["error"]["code"]) == (2, "usage")


@pytest.mark.parametrize("arguments", [[], ["timers"], ["--help"], ["timers", "pause", "-h"]])
def test_help_is_not_an_error(hive, arguments):
    code, out, err = hive(*arguments)
    assert (code, err) == (0, "")
    assert out.startswith("Usage: hive")


# No daemon


def test_without_a_daemon_there_is_a_sentence_and_a_hint(hive, monkeypatch, tmp_path):
    monkeypatch.setenv("HIVE_SOCKET", str(tmp_path / "none.sock"))
    code, out, err = hive("stats")
    assert (code, out) == (ExitCode.UNREACHABLE, "")
    assert err == (
        f"hive: hived is not running: there is no socket at {tmp_path}/none.sock\n"
        "hint: start it with `systemctl start hive-agent` or `hived`; another socket: --socket PATH\n"
    )


def impatient(server):
    return Client(str(server.path), patience=0.1)


def test_a_socket_that_nobody_listens_on_is_no_daemon(server):
    server.stop()
    with pytest.raises(
        Unreachable, match=f"hived is not running: nothing listens on {server.path}"
    ):
        impatient(server).get(Route.STATS)


def test_a_version_needs_no_daemon(hive_json, monkeypatch, tmp_path):
    monkeypatch.setenv("HIVE_SOCKET", str(tmp_path / "none.sock"))
    code, document = hive_json("version")
    assert (code, document["hived"]) == (0, None)


def test_a_daemon_that_is_starting_is_waited_for(tmp_path, spawn, server):
    server.stop()
    server.path.unlink()
    process = spawn("stats", "--json")
    threading.Timer(0.3, server.start).start()
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    assert json.loads(out)["pid"] == 4242


def test_a_daemon_that_says_it_is_starting_is_asked_again(server, hive):
    server.script(Route.STATS, *[error(ErrorCode.STARTING, "not yet")] * 3)
    assert hive("stats")[0] == 0
    assert len(server.asked) == 4


def test_a_daemon_that_stays_starting_is_given_up(server):
    server.script(Route.STATS, *[error(ErrorCode.STARTING, "hived is recovering", "wait")] * 50)
    with pytest.raises(Unreachable, match="hived is recovering") as caught:
        impatient(server).get(Route.STATS)
    assert (caught.value.exit_code, caught.value.hint) == (5, "wait")


def test_a_trigger_whose_answers_are_lost_says_how_to_repeat_it(server):
    server.script(Route.TRIGGER, *[Answer(close=True)] * 50)
    with pytest.raises(Failure, match="it may have started") as caught:
        trigger(Hive(impatient(server), False), "triage", Payload(), Watch(), "k1")
    assert caught.value.exit_code == ExitCode.UNREACHABLE
    assert "repeat the command with --idempotency-key k1" in caught.value.hint


def test_an_answer_that_was_lost_before_the_daemon_vanished_is_still_called_lost(server):
    server.script(Route.TRIGGER, *[Answer(close=True)] * 50)

    def vanish():
        server.wait_for_request(Route.TRIGGER)
        server.stop()

    threading.Thread(target=vanish, daemon=True).start()
    client = Client(str(server.path), patience=0.5)
    with pytest.raises(Failure, match="it may have started"):
        trigger(Hive(client, False), "triage", Payload(), Watch(), "k1")


def test_a_daemon_that_stays_silent_is_asked_only_once(server):
    server.put(running())
    request = Request(
        "GET", Route.EXECUTION.path(execution=SESSION), {"wait": 20}, answer_seconds=0.1
    )
    with pytest.raises(AnswerLate, match=f"did not answer /v1/executions/{SESSION} within 0.1 s"):
        impatient(server).ask(request)
    assert len(server.asked) == 1


@pytest.mark.parametrize("raw", [b"<html>", b"[]", b"", b"\xff"])
def test_an_answer_that_is_not_hiveds_is_told_apart(server, hive, raw):
    code, err = complaint(server, hive, Answer(200, raw=raw))
    assert code == ExitCode.UNREACHABLE
    assert "is not hived" in err


def test_a_socket_that_may_not_be_used_is_denied(server, hive, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may use every socket")
    server.path.chmod(0)
    assert hive("stats")[0] == ExitCode.DENIED


def test_a_socket_path_that_is_too_long_is_named(hive, tmp_path, monkeypatch):
    deep = tmp_path / ("x" * 120)
    deep.touch()
    code, _, err = hive("stats", "--socket", str(deep))
    assert code == ExitCode.USAGE
    assert "is longer than the 107 bytes" in err


# Many, and children


def test_many_commands_at_once_all_get_their_own(server, spawn):
    processes = [spawn("trigger", "triage") for _ in range(25)]
    ids = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0] * 25
    assert len(ids) == 25


@pytest.mark.parametrize(
    ("arguments", "passed"),
    [
        (["config", "check"], "config check"),
        (["config", "show", "--config", "a.yaml", "--json"], "config show --config a.yaml --json"),
        (["agents", "validate", "agents/x", "--json"], "agents validate agents/x --json"),
    ],
)
def test_what_needs_no_daemon_runs_in_a_child(tmp_path, arguments, passed):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$@"\nexit 78\n')
    python.chmod(0o755)
    program = f"import sys; sys.executable = {str(python)!r}; from hive_cli.app import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert (done.returncode, done.stdout) == (78, f"-P -m hive_daemon.local {passed}\n")


def test_colours_are_off_in_a_pipe(server, hive, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    server.put(execution(status="failed", error="x"))
    assert "\x1b" not in "".join(map(str, hive("executions", "list")))


def test_the_server_of_these_tests_keeps_what_it_knows_over_a_restart(tmp_path):
    server = ControlServer(tmp_path / "hived.sock").start()
    server.publish("node_completed")
    server.stop()
    server.start()
    assert len(server.events) == 1
    server.stop()
