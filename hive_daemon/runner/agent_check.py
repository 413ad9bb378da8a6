"""Checking an agent folder: everything that is wrong with it or odd about it, in one report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hive_daemon.errors import AgentLoadError
from hive_daemon.runner import folder_tools
from hive_daemon.runner.agent_info import validate
from hive_daemon.runner.agent_loader import examine, form_of, located
from hive_daemon.runner.expected_tools import look_at_expected
from hive_daemon.runner.findings import Findings
from hive_daemon.runner.loaded_agent import AgentForm, LoadedAgent, ModelSettings
from hive_daemon.runner.model_choice import settled

_TOOL_FILES = (folder_tools.FILE, folder_tools.SERVERS_FILE)


@dataclass(frozen=True, slots=True)
class FolderReport:
    """What a check found. `form` is empty if the folder was not even looked into."""

    path: str
    name: str
    form: str
    errors: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    entry_points: tuple[dict[str, str], ...] = ()

    @property
    def is_valid(self) -> bool:
        """Whether the agent can run."""
        return not self.errors

    @property
    def was_executed(self) -> bool:
        """Whether code of the folder ran for the check."""
        return self.form == AgentForm.MODULE

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {**asdict(self), "valid": self.is_valid, "executed": self.was_executed}


def check_folder(path: str | Path, *, probes: bool = False) -> FolderReport:
    """Check a folder. Code is executed for the module form only: call it in a process of its own.

    With `probes` the MCP servers that it declares are started, asked for their tools, and stopped; this blocks.
    """
    return inspect_folder(path, probes=probes)[0]


SettleModel = Callable[[ModelSettings], ModelSettings]
"""From what a folder says of its model to what is in force."""


def _left_to_the_folder(said: ModelSettings) -> ModelSettings:
    return settled(None, said)


def inspect_folder(
    path: str | Path, *, probes: bool = False, settle: SettleModel = _left_to_the_folder
) -> tuple[FolderReport, LoadedAgent | None]:
    """Check a folder; return the report, and the agent if it can be read without a problem."""
    folder = located(path)
    try:
        form = form_of(folder)
    except AgentLoadError as error:
        return FolderReport(str(folder), folder.name, "", error.problems), None
    agent, findings = examine(folder, form, may_execute=False)
    if agent is None:
        problems, warnings = tuple(findings.problems), tuple(findings.warnings)
        return FolderReport(str(folder), folder.name, form, problems, warnings), None
    checked = validate(agent, settle(agent.llm))
    expected = Findings()
    look_at_expected(agent, expected, probes=probes)
    points = tuple(
        {"id": each.id, "trigger_type": str(each.trigger_type)} for each in agent.entry_points
    )
    # Where the tools could not be read, nobody can say which are missing.
    are_tools_known = not any(problem.startswith(_TOOL_FILES) for problem in findings.problems)
    errors = (
        *findings.problems,
        *(checked.errors if are_tools_known else ()),
        *expected.problems,
    )
    warnings = (*checked.warnings, *expected.warnings)
    report = FolderReport(str(folder), agent.name, form, errors, warnings, points)
    return report, None if findings.problems else agent
