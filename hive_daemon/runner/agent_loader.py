"""From a folder to an agent that can be run, or to everything that is wrong with it.

Guarantees: nothing is executed of a folder that is not trusted; loading starts no tool server, touches no network and
changes nothing on disk; an `agent.json` folder can be looked at without executing any of it (`examine`).
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

from hive_daemon import framework_alias
from hive_daemon.errors import AgentLoadError
from hive_daemon.private_package import PrivatePackage
from hive_daemon.runner import agent_export, agent_module
from hive_daemon.runner.agent_reading import Place, read_agent
from hive_daemon.runner.findings import Findings
from hive_daemon.runner.loaded_agent import AgentForm, LoadedAgent
from hive_daemon.runner.trust import distrust

__all__ = ["LoadedAgent", "examine", "form_of", "load_agent", "located"]

HINT = "docs/agents.md describes agent folders; `hive agents validate PATH` checks one"


def load_agent(path: str | Path) -> LoadedAgent:
    """Read and check an agent folder.

    Tools that nobody offers are no fault yet: a program may still register them; see `missing_tools`.
    Raises AgentLoadError with every problem, as sentences that name file and key.
    """
    folder = located(path)
    agent, findings = examine(folder, form_of(folder))
    if agent is None or findings.problems:
        raise AgentLoadError(findings.problems, source=str(folder), hint=HINT)
    return agent


def examine(
    folder: Path, form: AgentForm, *, may_execute: bool = True
) -> tuple[LoadedAgent | None, Findings]:
    """Read a folder; return the agent, None if it says too little to make one of, and all that was found.

    An agent with problems is closed already, and for looking at only. Of an `agent.json` folder nothing is executed
    unless `may_execute`; such an agent is for looking at only, too.
    """
    findings = Findings()
    with ExitStack() as undo:
        package = PrivatePackage(folder)
        undo.callback(package.close)
        with framework_alias.installed() as is_on:
            if not is_on:
                findings.warn(
                    "framework", "is installed as a package of its own, which the folder gets"
                )
            may_execute = may_execute or form is AgentForm.MODULE
            agent = read_agent(Place(folder, form, package, may_execute), findings)
        if agent is not None and not findings.problems:
            undo.pop_all()
    return agent, findings


def located(path: str | Path) -> Path:
    """Return the absolute path of a folder, as it is written: links keep their names."""
    return Path(os.path.abspath(Path(path).expanduser()))


def form_of(folder: Path) -> AgentForm:
    """Say which form a folder has. Raises AgentLoadError if it is none, or must not be run."""
    source = str(folder)
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise AgentLoadError(what, source=source, hint=HINT)
    reasons = distrust(folder)
    if reasons:
        raise AgentLoadError(reasons, source=source)
    if (folder / agent_module.FILE).is_file():
        return AgentForm.MODULE
    if (folder / agent_export.FILE).is_file():
        return AgentForm.JSON
    raise AgentLoadError("holds neither agent.py nor agent.json", source=source, hint=HINT)
