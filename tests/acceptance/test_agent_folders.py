"""Agent folders in the older system's style, run headless from beginning to end against a model server on loopback.

| folder | form | what it shows |
|---|---|---|
| `research_desk` | module | intake and review, a feedback loop, nullable outputs, a class of its own |
| `vendor_watch` | module | a branch not always taken, a loop onto itself, negative priority, two timers, no terminal |
| `outreach` | module | imports by the folder's name, a table of tools, `triggers.json`, a draft sent back |
| `meeting_desk` | JSON | isolated conversations, two edges to one node, an end where no edge matches |
| `surface_scan` | JSON | `async_entry_points` under `triggers.json`, feedback with negative priority, `on_failure` |
| `inbox_triage`, `lead_report`, `review_desk` | both | see `test_agent_runner.py` |

The server is strict: a history with an unanswered or doubled tool call is refused.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hive_daemon.runner.agent_check import check_folder
from hive_daemon.runner.runner import AgentRunner
from tests.fakes.openai_server import Call, Failure, FakeOpenAI, Reply, Request

ROOT = Path(__file__).parent.parent.parent
AGENTS = ROOT / "tests" / "agents"


class Cast:
    """A model that plays the parts that the nodes' prompts name, each by its own script.

    Past its script a part says "done".
    """

    def __init__(self, parts: Mapping[str, list[Reply | Failure]]) -> None:
        self._left = {part: list(replies) for part, replies in parts.items()}
        self.played: list[str] = []

    def __call__(self, request: Request) -> Reply | Failure:
        system = json.dumps(request.messages[0])
        part = re.findall(r"PART: ([\w-]+)\.", system)[-1]
        self.played.append(part)
        left = self._left.get(part)
        return left.pop(0) if left else Reply(text="done")

    @property
    def unplayed(self) -> dict[str, int]:
        """How much of each part is left."""
        return {part: len(left) for part, left in self._left.items() if left}


def sets(**outputs: Any) -> Reply:
    """A turn that sets outputs."""
    return Reply(
        calls=tuple(
            Call("set_output", {"key": key, "value": value}, f"call_{key}_{id(outputs)}")
            for key, value in outputs.items()
        )
    )


def uses(tool: str, **arguments: Any) -> Reply:
    """A turn that calls a tool."""
    return Reply(calls=(Call(tool, arguments, f"call_{tool}_{id(arguments)}"),))


def asks(question: str) -> Reply:
    """A turn that asks somebody."""
    return uses("ask_user", question=question)


@dataclass(frozen=True)
class Play:
    """A run of a folder: what goes in, who says what, and what comes out of it.

    `questions` are those that the run waits with, with what is answered.
    """

    folder: str
    input: dict[str, Any]
    parts: dict[str, list[Reply | Failure]]
    questions: list[tuple[str, str]] = field(default_factory=list)
    path: list[str] = field(default_factory=list)
    output: dict[str, Any] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)
    entry_point: str = "default"


PLAYS = {
    "research, once more": Play(
        "research_desk",
        {"topic": "tides"},
        {
            "intake": [asks("Which sea?"), sets(research_brief="tides of the North Sea")],
            "research": [
                uses("search_library", word="tides"),
                uses("note_finding", text="the moon raises them"),
                sets(findings="the moon", sources=["Almanac"]),
                Reply(text="done"),
                uses("note_finding", text="twice a day"),
                sets(findings="the moon, twice a day", sources=["Almanac", "Harbour"], gaps="none"),
            ],
            "review": [
                asks("Enough?"),
                sets(needs_more_research="true", feedback="how often?"),
                Reply(text="done"),
                asks("And now?"),
                sets(needs_more_research="false"),
            ],
            "report": [uses("write_report", title="Tides"), sets(report_file="report.md")],
        },
        [("Which sea?", "the North Sea"), ("Enough?", "how often?"), ("And now?", "fine")],
        ["intake", "research", "review", "research", "review", "report"],
        {"needs_more_research": False, "report_file": "report.md", "gaps": "none"},
        {"notes.md", "report.md"},
    ),
    "research, content at once": Play(
        "research_desk",
        {"topic": "winds"},
        {
            "intake": [sets(research_brief="winds")],
            "research": [
                uses("note_finding", text="they change"),
                sets(findings="they change", sources=["Guide"]),
            ],
            "review": [sets(needs_more_research="false")],
            "report": [uses("write_report", title="Winds"), sets(report_file="report.md")],
        },
        [],
        ["intake", "research", "review", "report"],
        {"report_file": "report.md"},
        {"notes.md", "report.md"},
    ),
    "a vendor with two pages and no source": Play(
        "vendor_watch",
        {"vendor": "acme"},
        {
            "collect": [
                uses("fetch_changes", page=0),
                sets(changes=["new price list"], has_source_code="false", next_page="1"),
                Reply(text="done"),
                uses("fetch_changes", page=1),
                sets(changes=["api v2"], has_source_code="false", next_page="none"),
            ],
            "sum-up": [uses("count_files"), sets(digest="two pages")],
        },
        [],
        ["collect", "collect", "sum-up"],
        {"changes": ["api v2"], "digest": "two pages"},
        {"page_0.json", "page_1.json"},
    ),
    "a vendor with source, by the timer's entry point": Play(
        "vendor_watch",
        {"vendor": "acme"},
        {
            "collect": [sets(changes=["api v2"], has_source_code="true")],
            "read-source": [sets(code_notes="breaking")],
            "sum-up": [sets(digest="api v2 breaks")],
        },
        [],
        ["collect", "read-source", "sum-up"],
        {"digest": "api v2 breaks"},
        set(),
        "weekly",
    ),
    "mails, the first draft sent back": Play(
        "outreach",
        {},
        {
            "intake": [asks("Which campaign?"), sets(campaign="spring")],
            "load": [
                uses("load_contacts", campaign="spring"),
                sets(contacts_file="contacts.jsonl", contact_count="2"),
            ],
            "draft": [sets(draft="Dear all"), Reply(text="done"), sets(draft="Dear friend")],
            "confirm": [
                asks("Like this?"),
                sets(restart="true"),
                Reply(text="done"),
                asks("Better?"),
                sets(batch_ready="true", restart="false"),
            ],
        },
        [("Which campaign?", "spring"), ("Like this?", "warmer"), ("Better?", "yes")],
        ["intake", "load", "draft", "confirm", "draft", "confirm", "send"],
        {"sent": ["Dear friend #1", "Dear friend #2"], "contact_count": 2},
        {"contacts.jsonl"},
    ),
    "a meeting that is booked": Play(
        "meeting_desk",
        {"request": "Ada and Grace, monday"},
        {
            "intake": [sets(attendees=["Ada", "Grace"])],
            "schedule": [uses("free_slots", day="monday"), sets(slot="monday 10:00")],
            "book": [
                uses("book_slot", slot="monday 10:00", attendees=["Ada", "Grace"]),
                sets(booking="monday 10:00"),
            ],
        },
        [],
        ["intake", "schedule", "book"],
        {"booking": "monday 10:00"},
        {"booking.json"},
    ),
    "a meeting for which there is no time": Play(
        "meeting_desk",
        {"request": "somebody, sunday"},
        {
            "intake": [asks("Who?"), sets(attendees=["Ada"], wish="sunday")],
            "schedule": [
                uses("free_slots", day="sunday"),
                sets(is_urgent="false"),
                Reply(text="There is no time."),
            ],
        },
        [("Who?", "Ada")],
        ["intake", "schedule"],
        {"wish": "sunday"},
    ),
    "a scan that goes deeper": Play(
        "surface_scan",
        {"host": "gateway"},
        {
            "scan": [
                uses("scan_ports", host="gateway"),
                sets(findings="three ports", risk="0.5"),
                Reply(text="done"),
                uses("scan_ports", host="gateway", last=9999),
                sets(findings="four ports", risk="0.75"),
            ],
            "findings-review": [
                asks("Go on?"),
                sets(continue_scanning="true", deeper="true"),
                Reply(text="done"),
                asks("And now?"),
                sets(continue_scanning="false"),
            ],
        },
        [("Go on?", "yes"), ("And now?", "no")],
        ["scan", "findings-review", "scan", "findings-review", "final-report"],
        {"report": "four ports, risk 0.8", "risk": 0.75},
        {"scan_1024.json", "scan_9999.json"},
        "hourly",
    ),
    "a scan that the model refuses": Play(
        "surface_scan",
        {"host": "gateway"},
        {"scan": [Failure(401, "no")]},
        [],
        ["scan", "give-up"],
        {"report": "gateway could not be scanned"},
    ),
}


@pytest.fixture
async def server(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HIVE_MODEL", raising=False)
    async with FakeOpenAI(strict=True) as server:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_BASE", server.base_url)
        yield server


def copied(folder, tmp_path):
    ignored = shutil.ignore_patterns("__pycache__")
    return shutil.copytree(AGENTS / folder, tmp_path / "exports" / folder, ignore=ignored)


FOLDERS = sorted({play.folder for play in PLAYS.values()})


@pytest.mark.parametrize("folder", [*FOLDERS, "inbox_triage", "lead_report", "review_desk"])
def test_the_folder_is_valid(folder, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("HIVE_MODEL", "openai/fake")
    report = check_folder(AGENTS / folder)
    assert (report.errors, report.warnings) == ((), ())


@pytest.mark.parametrize("name", PLAYS)
async def test_the_folder_runs_to_its_end_and_is_resumed_after_each_question(
    server, tmp_path, name
):
    play = PLAYS[name]
    cast = Cast(play.parts)
    server.otherwise = cast
    given: dict[str, Any] = play.input
    state: dict[str, Any] | None = None
    folder, storage = copied(play.folder, tmp_path), tmp_path / "state"
    for question, answer in [*play.questions, ("", "")]:
        # A runner of its own each time, and a state that went through JSON: as in another process.
        async with AgentRunner.load(folder, storage_path=storage, model="openai/fake") as runner:
            result = await runner.run(given, state, play.entry_point)
            row = await runner.runtime.running().services.store.executions.load(result.execution_id)
        if question:
            assert (result.status, result.success) == ("waiting_input", True), result.error
            assert json.loads(row.waiting)["question"] == question
        given, state = {"input": answer}, json.loads(json.dumps(result.session_state))
    assert (result.status, result.error) == ("completed", None), cast.played
    assert result.path == play.path
    assert {key: result.output.get(key) for key in play.output} == play.output
    assert cast.unplayed == {}
    (session,) = (storage / "sessions").iterdir()
    data = session / "data"
    assert (
        {path.name for path in data.iterdir() if path.name in play.files} == play.files
        if (play.files)
        else True
    )
    assert json.loads((session / "state.json").read_text())["status"] == "completed"


async def hive(tmp_path, *arguments, **environ):
    """Run `hive` in `exports/` and return exit code, output, complaints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "hive_cli",
        *map(str, arguments),
        cwd=tmp_path / "exports",
        env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, complaints = await process.communicate()
    return process.returncode, output.decode(), complaints.decode()


async def test_hive_run_runs_the_folder_question_by_question(server, tmp_path):
    play = PLAYS["a meeting for which there is no time"]
    server.otherwise = Cast(play.parts)
    copied(play.folder, tmp_path)
    code, _, complaints = await hive(
        tmp_path, "run", "meeting_desk", "--state-dir", "s", "--set", "request=somebody, sunday"
    )
    assert code == 8, complaints
    assert " waits at node intake: Who?\n" in complaints
    going_on = ("--state-dir", "s", "--resume", "latest")
    code, output, complaints = await hive(
        tmp_path, "run", "meeting_desk", *going_on, "--set", "input=Ada"
    )
    assert (code, json.loads(output)["wish"]) == (0, "sunday"), complaints


PROGRAM = """
import asyncio
import json

from framework.graph.executor import ExecutionResult
from research_desk import default_agent


async def main():
    assert default_agent.validate()["valid"]
    result = await default_agent.run({"topic": "winds"})
    assert isinstance(result, ExecutionResult)
    print(json.dumps([result.success, result.path, result.output["report_file"]]))


asyncio.run(main())
"""


async def test_a_program_that_builds_its_own_runtime_runs_as_it_is(server, tmp_path):
    play = PLAYS["research, content at once"]
    server.otherwise = Cast(play.parts)
    copied(play.folder, tmp_path)
    (tmp_path / "exports" / "program.py").write_text(PROGRAM)
    code, output, complaints = await hive(tmp_path, "run", "program.py", HIVE_MODEL="openai/fake")
    assert (code, complaints) == (0, "")
    assert json.loads(output) == [True, play.path, "report.md"]
    assert (tmp_path / "home/.hive/agents/research-desk-graph/sessions").is_dir()


EXECUTOR_PROGRAM = """
import asyncio
import json
import sys
from pathlib import Path

from framework.graph.edge import GraphSpec
from framework.graph.executor import GraphExecutor
from framework.llm import LiteLLMProvider
from framework.runner.tool_registry import ToolRegistry
from framework.runtime.core import Runtime
from framework.runtime.event_bus import EventBus
from meeting_desk_program import goal, graph


async def main():
    place = Path("storage")
    registry = ToolRegistry()
    assert registry.discover_from_module(Path("meeting_desk/tools.py")) == 2
    executor = GraphExecutor(
        runtime=Runtime(place),
        llm=LiteLLMProvider(model="openai/fake"),
        tools=list(registry.get_tools().values()),
        tool_executor=registry.get_executor(),
        event_bus=EventBus(),
        storage_path=place,
        loop_config=graph.loop_config,
    )
    result = await executor.execute(graph=graph, goal=goal, input_data={"request": "monday"})
    print(json.dumps([result.success, result.path, result.output.get("booking"), result.error]))


asyncio.run(main())
"""

DESK_AS_A_MODULE = """
import json
from pathlib import Path
from framework.graph import EdgeSpec, Goal, NodeSpec
from framework.graph.edge import GraphSpec

said = json.loads(Path("meeting_desk/agent.json").read_text())
goal = Goal(**said["goal"])
graph = GraphSpec(**said["graph"])
"""


async def test_a_program_with_an_executor_of_its_own_runs_as_it_is(server, tmp_path):
    play = PLAYS["a meeting that is booked"]
    server.otherwise = Cast(play.parts)
    folder = copied(play.folder, tmp_path)
    (folder.parent / "program.py").write_text(EXECUTOR_PROGRAM)
    (folder.parent / "meeting_desk_program.py").write_text(DESK_AS_A_MODULE)
    code, output, complaints = await hive(tmp_path, "run", "program.py")
    assert (code, complaints) == (0, "")
    assert json.loads(output) == [True, play.path, "monday 10:00", None]
