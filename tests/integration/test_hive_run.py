"""`hive run`: agent folders and programs in the foreground, as real processes."""

import json
import os
import pty
import select
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.agents.broken import export, write

ROOT = Path(__file__).parent.parent.parent
AGENTS = ROOT / "tests" / "agents"
SECONDS = 60

AGENT = """
import asyncio
import subprocess
from framework.graph import EdgeSpec, Goal, NodeSpec

def node(id, function, *inputs, **more):
    return NodeSpec(id=id, node_type="function", function=function, input_keys=list(inputs), **more)

async def wait(told=""):
    subprocess.run(["echo", "so do I"], check=True)
    print("I wait", flush=True)
    if not told:
        await asyncio.Event().wait()
    return told

def ask():
    return input("Well? ")

def fail():
    raise ValueError("no such luck")

def spend():
    from framework.errors import BudgetExceeded
    raise BudgetExceeded("all gone")

goal = Goal(id="g", name="G", description="A goal.")
nodes = [
    node("greet", lambda name="nobody": f"hello, {name}", "name", output_keys=["greeting"]),
    node("wait", wait, "told", output_keys=["heard"]),
    node("ask", ask, output_keys=["answer"], max_retries=1),
    node("fail", fail, output_keys=["never"], max_retries=1),
]
edges = []
async_entry_points = [
    *({"id": name, "entry_node": name} for name in ("wait", "ask", "fail")),
    {"id": "soon", "entry_node": "fail", "trigger_type": "timer",
     "trigger_config": {"interval_minutes": 1, "run_immediately": True}},
    {"id": "after", "entry_node": "fail", "trigger_type": "event",
     "trigger_config": {"event_types": ["execution_completed"]}},
]
webhook_routes = [{"source_id": "s", "path": "/s"}]
"""


@pytest.fixture
def run(tmp_path):
    """Starts `hive run` with these arguments, in the directory that holds the agents; ends what is left over."""
    started = []

    def by(*arguments, keeps=True, **streams):
        """`keeps`: in a directory of the test's own; otherwise in a temporary one, below `tmp`."""
        if keeps and "--state-dir" not in arguments and not str(arguments[0]).endswith(".py"):
            arguments = (arguments[0], "--state-dir", "kept", *arguments[1:])
        (tmp_path / "tmp").mkdir(exist_ok=True)
        kept = {key: value for key, value in os.environ.items() if "HIVE" not in key}
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, **streams}
        process = subprocess.Popen(
            [sys.executable, "-m", "hive_cli", "run", *map(str, arguments)],
            stderr=streams.pop("stderr", subprocess.PIPE),
            cwd=tmp_path,
            text=True,
            env={
                **kept,
                "HOME": str(tmp_path),
                "TMPDIR": str(tmp_path / "tmp"),
                "PYTHONPATH": str(ROOT),
                "ANTHROPIC_API_KEY": "",
            },
            **streams,
        )
        started.append(process)
        return process

    yield by
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def ended(run):
    """Runs it to its end and gives exit code, output, complaints."""

    def by(*arguments, **streams):
        process = run(*arguments, **streams)
        output, complaints = process.communicate(timeout=SECONDS)
        return process.returncode, output, complaints

    return by


@pytest.fixture
def out_of_time(ended):
    """Runs it to its node `wait`, where --timeout ends it: as long a one as this machine needs to come there."""

    def by(*arguments):
        for seconds in (0.2, 1, 5, 25):
            code, output, complaints = ended(*arguments, "--timeout", f"{seconds}s")
            assert code == 124, complaints
            if "I wait\n" in complaints:
                return output, complaints
        raise AssertionError(complaints)

    return by


@pytest.fixture
def agent(tmp_path):
    return write(tmp_path / "agent", {"agent.py": AGENT})


@pytest.fixture
def desk(tmp_path):
    ignored = shutil.ignore_patterns("__pycache__")
    return shutil.copytree(AGENTS / "review_desk", tmp_path / "review_desk", ignore=ignored)


# --- input, output, exit codes ------------------------------------------------------------------


def test_the_output_is_on_stdout_and_all_else_on_stderr(ended, agent):
    code, output, complaints = ended("agent", "--entry-point", "wait", "--set", "told=it")
    assert (code, json.loads(output)) == (0, {"told": "it", "heard": "it"})
    assert complaints.startswith("so do I\nI wait\nsession_")
    assert "completed in" in complaints


def test_the_record_says_that_the_command_line_began_it(ended, agent):
    assert json.loads(ended("agent", "--json")[1])["source"] == "cli"


def test_the_input_comes_from_files_standard_input_and_assignments(ended, agent, tmp_path):
    (tmp_path / "in.json").write_text('{"name": "Ada", "more": {"x": 1}}')
    _, output, _ = ended("agent", "--input", "in.json", "--set", "more.y=2")
    found = json.loads(output)
    assert (found["greeting"], found["more"]) == ("hello, Ada", {"x": 1, "y": 2})
    with (tmp_path / "in.json").open() as file:
        _, output, _ = ended("agent", "--input", "-", stdin=file)
    assert json.loads(output)["greeting"] == "hello, Ada"


def test_an_input_that_is_none_is_refused_before_anything_runs(ended, agent, tmp_path):
    code, output, complaints = ended("agent", "--input", "nowhere.json")
    assert (code, output) == (2, "")
    assert "there is no such file" in complaints
    assert not (tmp_path / "kept").exists()


def test_a_large_input_arrives_whole(ended, agent, tmp_path):
    (tmp_path / "in.json").write_text(json.dumps({"name": "x" * 1_000_000}))
    code, output, _ = ended("agent", "--input", "in.json")
    assert (code, len(json.loads(output)["greeting"])) == (0, 1_000_007)


def test_the_document_is_that_of_the_control_api(ended, agent):
    code, output, complaints = ended("agent", "--json", "--set", "name=Ada")
    execution = json.loads(output)
    assert (code, execution["status"]) == (0, "completed"), complaints
    assert execution["path"] == ["greet"]
    assert execution["input"] == {"name": "Ada"}
    assert execution["output"] == {"name": "Ada", "greeting": "hello, Ada"}


def test_a_failed_run_is_exit_1_and_says_where_and_why(ended, agent):
    code, output, complaints = ended("agent", "--entry-point", "fail")
    assert (code, output) == (1, "")
    assert "failed at node fail: ValueError: no such luck" in complaints
    assert "hint: try again with `hive run agent --state-dir kept --resume session_" in complaints


def test_timers_events_and_webhooks_of_the_folder_stay_quiet(ended, agent, tmp_path):
    code, _, complaints = ended("agent")
    assert code == 0, complaints
    assert len(list((tmp_path / "kept/sessions").iterdir())) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nowhere"], 3, "there is no such file or folder"),
        (["agent", "--entry-point", "x"], 3, "has no entry point 'x'"),
        (["agent", "--resume", "latest"], 3, "holds no session 'latest' of this agent"),
        (["agent", "--timeout", "soon"], 2, "is not a duration"),
        (["agent", "one"], 2, '"one" is one word too many'),
        (["agent/agent.txt"], 2, "is neither a folder nor a Python program"),
        (["agent/agent.py", "--set", "a=b"], 2, "--set is for agent folders"),
        (["broken"], 2, "goal is missing"),
        (["keyless"], 2, "the model 'anthropic/x' needs a key"),
        (["toolless"], 2, "nobody offers the tool 'search'"),
    ],
)
def test_what_cannot_be_run_has_a_sentence_a_hint_and_a_code(
    ended, agent, tmp_path, arguments, code, said
):
    write(agent, {"agent.txt": ""})
    write(tmp_path / "broken", {"agent.py": "nodes = []\n"})
    write(tmp_path / "keyless", {"agent.json": export(default_model="anthropic/x")})
    tools = [{"id": "a", "tools": ["search"]}]
    write(tmp_path / "toolless", {"agent.json": export(default_model="scripted", nodes=tools)})
    found, output, complaints = ended(*arguments, "--json")
    assert (found, said in complaints, "hint: " in complaints) == (code, True, True), complaints
    assert said in json.loads(output)["error"]["message"]


def test_another_model_may_be_named(ended, tmp_path):
    write(tmp_path / "keyless", {"agent.json": export(default_model="anthropic/x")})
    assert ended("keyless", "--model", "scripted")[0] == 0


def test_a_run_that_has_no_time_to_begin_is_exit_124_all_the_same(ended, agent):
    code, output, _ = ended("agent", "--timeout", "1ms", "--json")
    assert (code, json.loads(output)["error"]["code"]) == (124, "timed_out")


def test_a_reader_that_left_is_told_nothing(ended, agent):
    reading, writing = os.pipe()
    os.close(reading)
    code, _, complaints = ended("agent", stdout=writing)
    os.close(writing)
    assert (code, complaints) == (141, "")


def test_an_output_that_cannot_be_written_is_exit_1(ended, agent):
    with open("/dev/full", "w") as full:
        code, _, complaints = ended("agent", stdout=full)
    assert (code, complaints.splitlines()[0]) == (
        1,
        "hive: the output cannot be written: No space left on device",
    )


def test_two_at_once_of_one_state_directory_is_a_conflict_that_names_the_other(run, ended, agent):
    first = run("agent", "--entry-point", "wait")
    read_until(first.stderr, "I wait\n")
    code, _, complaints = ended("agent")
    assert code == 4
    assert f"is owned by process {first.pid}\n" in complaints
    assert "hint: stop that process, or give another directory with --state-dir" in complaints
    assert ended("agent", "--state-dir", "other")[0] == 0


def test_a_run_that_completes_leaves_nothing_behind(ended, agent, tmp_path):
    assert ended("agent", keeps=False)[0] == 0
    assert list((tmp_path / "tmp").iterdir()) == []
    assert not (tmp_path / ".hive").exists()


def test_a_run_that_needs_input_keeps_its_store_and_says_where(ended, desk, tmp_path):
    code, _, complaints = ended("review_desk", "--set", "topic=cats", keeps=False)
    (place,) = (tmp_path / "tmp").iterdir()
    assert (code, f"hive run review_desk --state-dir {place} --resume" in complaints) == (8, True)
    go_on = complaints.partition("answer with `hive run ")[2].partition(" --set")[0].split()
    code, output, _ = ended(*go_on, "--set", "input=yes")
    assert (code, json.loads(output)["published"]) == (0, "cats, draft 1 (yes)")


def test_a_session_without_its_directory_is_refused(ended, agent, tmp_path):
    code, _, complaints = ended("agent", "--resume", "latest", keeps=False)
    assert code == 2
    assert "hint: give the --state-dir that the run named when it ended" in complaints
    assert list((tmp_path / "tmp").iterdir()) == []


# --- going on -----------------------------------------------------------------------------------


def test_a_question_is_answered_by_a_further_run(ended, desk):
    code, output, complaints = ended("review_desk", "--set", "topic=cats")
    assert (code, output) == (8, "")
    assert " waits at node review: Is this good?" in complaints
    go_on = complaints.partition("answer with `hive run ")[2].partition(" --set")[0].split()
    code, output, _ = ended(*go_on, "--set", "input=no")
    assert (code, output) == (8, "")
    code, output, _ = ended(*go_on, "--set", "input=yes")
    assert (code, json.loads(output)["published"]) == (0, "cats, draft 2 (yes)")
    sessions = desk.parent / "kept" / "sessions"
    assert len(list(sessions.iterdir())) == 1


def test_a_session_that_nobody_answers_goes_on_waiting(ended, desk):
    ended("review_desk")
    code, output, _ = ended("review_desk", "--resume", "latest", "--json")
    execution = json.loads(output)
    assert (code, execution["status"], execution["steps"]) == (8, "waiting_input", 2)
    assert execution["waiting"]["question"] == "Is this good?"


def test_a_run_that_pauses_goes_on_after_its_pause_node(ended, tmp_path):
    steps = "def one(): return 1\ndef two(x, input=''): return f'{x}, {input}'\n"
    nodes = [
        {"id": "one", "node_type": "function", "function": "steps:one", "output_keys": ["x"]},
        {"id": "two", "node_type": "function", "function": "steps:two", "output_keys": ["y"]},
    ]
    edges = [{"source": "one", "target": "two"}]
    agent = export(nodes=nodes, edges=edges, pause_nodes=["one"])
    write(tmp_path / "pausing", {"agent.json": agent, "steps.py": steps})
    code, _, complaints = ended("pausing")
    assert (code, " is paused at node one\n" in complaints) == (8, True)
    code, output, _ = ended("pausing", "--resume", "latest", "--set", "input=go")
    assert (code, json.loads(output)["y"]) == (0, "1, go")


def test_a_graph_that_was_changed_is_refused_until_somebody_accepts_it(ended, desk):
    ended("review_desk", "--set", "topic=cats")
    source = (desk / "agent.py").read_text()
    (desk / "agent.py").write_text(source.replace("priority=2", "priority=3"))
    going_on = ("review_desk", "--resume", "latest", "--set", "input=yes")
    code, _, complaints = ended(*going_on)
    assert (code, "graph" in complaints) == (4, True)
    code, output, _ = ended(*going_on, "--accept-changed-graph")
    assert (code, json.loads(output)["published"]) == (0, "cats, draft 1 (yes)")


def test_a_completed_session_is_not_gone_on_with(ended, agent):
    ended("agent")
    code, _, complaints = ended("agent", "--resume", "latest")
    assert (code, "is completed" in complaints) == (4, True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_where_it_is_and_it_can_be_resumed(run, ended, agent, number):
    process = run("agent", "--entry-point", "wait")
    read_until(process.stderr, "I wait\n")
    process.send_signal(number)
    output, complaints = process.communicate(timeout=SECONDS)
    assert (process.returncode, output) == (130, "")
    assert "interrupted by a signal at node wait" in complaints
    assert "hint: go on with `hive run agent --state-dir kept --resume session_" in complaints
    code, output, _ = ended("agent", "--resume", "latest", "--set", "told=it")
    assert (code, json.loads(output)["heard"]) == (0, "it")


def test_a_run_that_takes_too_long_is_exit_124_and_can_be_resumed(out_of_time, ended, agent):
    output, complaints = out_of_time("agent", "--entry-point", "wait")
    assert output == ""
    assert "took longer than --timeout at node wait" in complaints
    assert ended("agent", "--resume", "latest", "--set", "told=it")[0] == 0


def test_a_run_that_was_killed_goes_on_where_it_was(run, agent):
    process = run("agent", "--entry-point", "wait")
    read_until(process.stderr, "I wait\n")
    process.kill()
    process.wait(SECONDS)
    process = run("agent", "--resume", "latest")
    read_until(process.stderr, "I wait\n")
    process.terminate()
    assert process.wait(SECONDS) == 130


def test_the_beginning_of_several_sessions_names_none(ended, desk):
    ended("review_desk")
    ended("review_desk")
    code, _, complaints = ended("review_desk", "--resume", "session_")
    assert code == 4
    assert "'session_' is the beginning of several sessions\nhint: say session_" in complaints


def test_a_session_goes_on_at_its_own_entry_point(ended, agent):
    ended("agent", "--entry-point", "fail")
    code, _, complaints = ended("agent", "--resume", "latest", "--entry-point", "wait")
    assert code == 2
    assert "the session was begun at the entry point 'fail'" in complaints


def test_what_goes_on_by_itself_takes_no_input(run, ended, agent):
    process = run("agent", "--entry-point", "wait")
    read_until(process.stderr, "I wait\n")
    process.kill()
    process.wait(SECONDS)
    code, _, complaints = ended("agent", "--resume", "latest", "--set", "told=it")
    assert (code, "takes no input now" in complaints) == (2, True)


# --- standard input -----------------------------------------------------------------------------

STDIN = ["tty", "closed", "null", "silent pipe", "socket"]


@pytest.fixture
def stdin():
    """Gives the options of Popen for a kind of standard input, and the other end of it."""
    opened = []

    def of(kind):
        match kind:
            case "tty":
                ends = pty.openpty()
            case "silent pipe":
                reading, writing = os.pipe()
                ends = writing, reading
            case "socket":
                ends = tuple(end.detach() for end in socket.socketpair())
            case "closed":
                return {"stdin": None, "preexec_fn": lambda: os.close(0)}, -1
            case _:
                return {"stdin": subprocess.DEVNULL}, -1
        opened.extend(ends)
        return {"stdin": ends[1]}, ends[0]

    yield of
    for descriptor in opened:
        os.close(descriptor)


@pytest.mark.parametrize("kind", STDIN)
def test_a_run_that_asks_nothing_completes_whatever_its_standard_input(ended, agent, stdin, kind):
    code, output, _ = ended("agent", "--set", "name=Ada", **stdin(kind)[0])
    assert (code, json.loads(output)["greeting"]) == (0, "hello, Ada")


@pytest.mark.parametrize("kind", STDIN)
def test_without_a_terminal_a_question_is_exit_8_and_says_how_to_answer(ended, desk, stdin, kind):
    code, _, complaints = ended("review_desk", **stdin(kind)[0])
    # A keyboard without a screen is no terminal either: nobody would see the question.
    assert code == 8
    assert (
        "hint: answer with `hive run review_desk --state-dir kept --resume session_" in complaints
    )


@pytest.mark.parametrize("kind", [kind for kind in STDIN if kind != "tty"])
def test_code_that_reads_standard_input_itself_finds_it_empty(ended, agent, stdin, kind):
    code, _, complaints = ended("agent", "--entry-point", "ask", **stdin(kind)[0])
    assert (code, "EOFError" in complaints) == (1, True)


def test_at_a_terminal_the_question_is_asked_there(run, desk):
    keyboard, terminal = pty.openpty()
    process = run("review_desk", "--set", "topic=cats", stdin=terminal, stderr=terminal)
    os.close(terminal)
    assert "Is this good?" in read_until(keyboard, "> ")
    os.write(keyboard, b"no\n")
    read_until(keyboard, "> ")
    os.write(keyboard, b"yes\n")
    output, _ = process.communicate(timeout=SECONDS)
    os.close(keyboard)
    assert (process.returncode, json.loads(output)["published"]) == (0, "cats, draft 2 (yes)")


@pytest.mark.parametrize(("typed", "code"), [(b"\x04", 8), (b"\x03", 130)])
def test_a_person_may_leave_with_the_end_of_input_or_ctrl_c(run, ended, desk, typed, code):
    keyboard, terminal = pty.openpty()
    process = run(
        "review_desk",
        stdin=terminal,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=lambda: become_foreground(),
    )
    os.close(terminal)
    read_until(keyboard, "> ")
    os.write(keyboard, typed)
    assert process.wait(SECONDS) == code
    os.close(keyboard)
    assert ended("review_desk", "--resume", "latest", "--set", "input=yes")[0] == 0


def become_foreground():
    """Make standard input the controlling terminal, as a shell does: Ctrl-C is a signal then."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


# --- programs -----------------------------------------------------------------------------------

PROGRAM = """
import sys
from framework.graph import Goal
from beside import word
print(sys.argv[1:], __name__, Goal.__module__, word, input())
sys.exit(int(sys.argv[1]))
"""


def test_a_program_runs_with_the_alias_its_arguments_its_stdin_and_its_exit_code(
    ended, tmp_path, stdin
):
    write(tmp_path / "place", {"program.py": PROGRAM, "beside.py": "word = 'near'\n"})
    options, writing = stdin("silent pipe")
    os.write(writing, b"typed\n")
    code, output, _ = ended("place/program.py", "--", "5", "--x=1", **options)
    assert (code, output) == (5, "['5', '--x=1'] __main__ hive_daemon.graph.goal near typed\n")


def test_a_program_that_fails_shows_its_traceback_and_is_exit_1(ended, tmp_path):
    (tmp_path / "program.py").write_text("def f(): return 1 / 0\nf()\n")
    code, output, complaints = ended("program.py")
    assert (code, output) == (1, "")
    assert complaints.endswith("ZeroDivisionError: division by zero\n")


def test_a_program_is_interrupted_by_ctrl_c(run, tmp_path):
    source = "import threading\nprint('here', flush=True)\nthreading.Event().wait()\n"
    (tmp_path / "program.py").write_text(source)
    process = run("program.py")
    read_until(process.stdout, "here\n")
    process.send_signal(signal.SIGINT)
    assert process.wait(SECONDS) == 130


# --- reading ------------------------------------------------------------------------------------


def read_until(stream, end):
    """Read a process's stream, or a terminal, until this text came."""
    descriptor = stream if isinstance(stream, int) else stream.fileno()
    text = ""
    while not text.endswith(end):
        assert select.select([descriptor], [], [], SECONDS)[0], text
        piece = os.read(descriptor, 1).decode()
        assert piece, text
        text += piece
    return text


# --- approvals ----------------------------------------------------------------------------------


@pytest.fixture
def talker(tmp_path, monkeypatch):
    """An agent that must be allowed its third note; the file with its notes."""
    ignored = shutil.ignore_patterns("__pycache__")
    folder = shutil.copytree(AGENTS / "talker", tmp_path / "talker", ignore=ignored)
    policy = [{"tool": "note", "when": "args.step == 3", "action": "ask", "message": "the third"}]
    triggers = [{"id": "talk", "tools": {"policy": policy}}]
    (folder / "triggers.json").write_text(json.dumps(triggers))
    monkeypatch.setenv("WITNESS", str(tmp_path / "notes"))
    monkeypatch.setenv("LIFE", "1")
    return tmp_path / "notes"


def at_a_terminal(run, *arguments):
    """Start a run of the agent at a terminal; answers (the process, the keyboard)."""
    keyboard, terminal = pty.openpty()
    process = run("talker", *arguments, stdin=terminal, stderr=terminal)
    os.close(terminal)
    return process, keyboard


@pytest.mark.parametrize(("typed", "steps"), [(b"yes\n", "123"), (b"better not\n", "12")])
def test_at_a_terminal_a_person_decides_on_a_tool_call(run, talker, typed, steps):
    process, keyboard = at_a_terminal(run, "--entry-point", "talk")
    shown = read_until(keyboard, "> ")
    assert 'May note be called with {"step": 3}? the third (approve, reject)' in shown
    os.write(keyboard, typed)
    process.communicate(timeout=SECONDS)
    os.close(keyboard)
    assert process.returncode == 0
    used = [line.split() for line in talker.read_text().splitlines()]
    assert "".join(sorted(step for key, step, _ in used if ":talk:" in key)) == steps


def test_without_a_terminal_a_tool_call_waits_and_is_decided_later(run, ended, talker):
    code, _, complaints = ended("talker", "--entry-point", "talk")
    assert code == 8
    assert "May note be called with" in complaints
    assert "decide at a terminal, with `hive run talker" in complaints
    process, keyboard = at_a_terminal(run, "--resume", "latest")
    assert "the third (approve, reject)" in read_until(keyboard, "> ")
    os.write(keyboard, b"approve\n")
    process.communicate(timeout=SECONDS)
    os.close(keyboard)
    assert process.returncode == 0
    assert len(talker.read_text().splitlines()) == 4


@pytest.fixture
def held_call(ended, talker):
    """The id of a call that a run waits for, as its hint named it."""
    code, _, complaints = ended("talker", "--entry-point", "talk")
    assert code == 8
    assert f"--reject {complaints.split('--approve ')[1].split('`')[0]} --message WHY" in complaints
    return complaints.split("--approve ")[1].split("`")[0]


@pytest.mark.parametrize(
    ("decided", "notes"),
    [
        (("--approve", "CALL"), 4),
        (("--approve", "latest"), 4),
        (("--reject", "CALL", "--message", "better not"), 3),
        (("--set", "input=better not"), 3),
    ],
)
def test_without_a_terminal_a_tool_call_is_decided_by_an_option(
    ended, talker, held_call, decided, notes, tmp_path
):
    words = [held_call if word == "CALL" else word for word in decided]
    code, output, complaints = ended("talker", "--resume", "latest", *words)
    assert (code, "approval_id" in output) == (0, False), complaints
    assert len(talker.read_text().splitlines()) == notes
    logs = [path.read_text() for path in (tmp_path / "kept").rglob("tool_logs.jsonl")]
    assert ("better not" in "".join(logs)) == (notes == 3)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--resume", "latest", "--approve", "CALL9"), 3, "asks for no approval"),
        (("--resume", "latest", "--approve", "CALL", "--reject", "CALL"), 2, "two decisions"),
        (("--resume", "latest", "--approve", "CALL", "--set", "a=1"), 2, "given together"),
        (("--resume", "latest", "--approve", "no call"), 2, "is not the id of a tool call"),
        (("--resume", "latest", "--message", "why"), 2, "for a call that is rejected"),
        (("--approve", "CALL"), 2, "name it with --resume"),
    ],
)
def test_a_decision_that_is_none_changes_nothing(ended, talker, held_call, words, code, told):
    words = [word.replace("CALL", held_call) for word in words]
    ending, _, complaints = ended("talker", *words)
    assert (ending, told in complaints) == (code, True), complaints
    assert ended("talker", "--resume", "latest", "--approve", held_call)[0] == 0
