"""What the daemon is to do: its agents, their keys and timers, and the readable files of their sessions."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from hive_daemon.config.agent_model import AgentConfig
from hive_daemon.config.loaded import TO_RUN
from hive_daemon.daemon.agents import own_model
from hive_daemon.daemon.budget_names import aimless_budgets
from hive_daemon.daemon.folders import checked_agents
from hive_daemon.daemon.overlay import entry_points
from hive_daemon.doctor.daemon_checks import MEND_KEY
from hive_daemon.doctor.finding import Finding, Mend
from hive_daemon.doctor.patient import Patient
from hive_daemon.errors import ConfigError, HiveError
from hive_daemon.monitoring.agent_watch import is_refusal
from hive_daemon.runner.agent_check import FolderReport
from hive_daemon.runner.loaded_agent import LoadedAgent
from hive_daemon.runner.model_choice import KEY_VARIABLES
from hive_daemon.runner.model_needs import Need, missing_keys
from hive_daemon.runtime.entry_point import TriggerType
from hive_daemon.runtime.triggers.timer_config import TimerConfig
from hive_daemon.runtime.triggers.zones import read_zone
from hive_daemon.storage.mirror_marker import read_marker
from hive_daemon.storage.session_state import SESSIONS
from hive_daemon.storage.sqlite.inspection import last_event, owner_of, session_ids
from hive_daemon.storage.timer_values import LEDGER_NAME, TimerRow

CHECK_CONFIG = "hive config check"


def agent_findings(patient: Patient, rows: list[TimerRow]) -> Iterator[Finding]:
    """Check the agents that hive.yaml names, their keys and their timers, of which the ledger has `rows`.

    Each folder is read once. Code is executed: call it in a process of its own.
    """
    with checked_agents(patient.loaded) as checked:
        for aimless in aimless_budgets(patient.loaded, [each.agent for each in checked]):
            yield config_warning(patient, aimless)
        readable = [(each.item, each.agent) for each in checked if each.agent is not None]
        needs = [(item, need) for item, agent in readable for need in _needs(patient, item, agent)]
        yield from _folder_findings(
            [each.report for each in checked], {need.told() for _, need in needs}
        )
        yield from _key_findings(patient, needs)
        yield from _timer_findings(patient, readable, rows)


def config_warning(patient: Patient, warning: str) -> Finding:
    """Return the finding for a warning of the configuration; the file is its subject, and named once."""
    source = str(patient.loaded.path or "hive.yaml")
    cause, _, remedy = warning.removeprefix(f"{source}: ").partition(TO_RUN)
    return Finding("config_warning", source, cause, remedy or CHECK_CONFIG)


def _folder_findings(reports: list[FolderReport], told: set[str]) -> Iterator[Finding]:
    for report in reports:
        command = f"hive agents validate {shlex.quote(report.path)}"
        for error in report.errors:
            yield Finding("agent_broken", report.name, error, command)
        # A key that is missing is told as such.
        for warning in (each for each in report.warnings if each not in told):
            yield Finding("agent_warning", report.name, warning, command)


def _key_findings(patient: Patient, needs: list[tuple[AgentConfig, Need]]) -> Iterator[Finding]:
    """Tell of models without a key in this environment; only names are told."""
    config = patient.loaded.config
    if config.llm.api_key is not None or config.llm.api_base is not None:
        return
    for item, need in needs:
        name = need.variable
        command = f"read -rs {name} && export {name}  # or llm.api_key in hive.yaml"
        yield Finding("key_missing", item.agent_name, need.told(), command)


def _needs(patient: Patient, item: AgentConfig, agent: LoadedAgent) -> list[Need]:
    """Return the models without a key that the agent works with."""
    own = own_model(patient.loaded.config, item, agent.llm)
    return missing_keys(agent, own, patient.environ)


def keys_present(patient: Patient) -> list[str]:
    """Return the names of the keys that are set, never their values."""
    names = {name for each in KEY_VARIABLES.values() for name in each}
    found = sorted(name for name in names if patient.environ.get(name))
    return [*(["llm.api_key"] if patient.loaded.config.llm.api_key is not None else []), *found]


def _timer_findings(
    patient: Patient, agents: list[tuple[AgentConfig, LoadedAgent]], rows: list[TimerRow]
) -> Iterator[Finding]:
    """Look for timers that will not fire: their schedule is over, or the daemon itself paused them."""
    now = patient.clock.time()
    known = {row.timer_id: row for row in rows}
    for name, config in _timers(agents):
        row = known.get(name)
        schedule = config.schedule(read_zone(patient.loaded.config.timezone), now, name)
        remaining = row.remaining if row is not None else config.remaining_actions
        if schedule.next_after(now) is None:
            told = f"its schedule ({schedule}) has no instant to come"
            yield Finding("timer_never", name, told, f"hive why timers/{name}")
        elif remaining == 0:
            told = "none of its remaining_actions is left"
            yield Finding("timer_never", name, told, f"hive why timers/{name}")
        elif row is not None and row.paused_by == LEDGER_NAME:
            told = f"the daemon paused it: {row.note}"
            first = f"  # first {MEND_KEY}" if is_refusal(row.note) else ""
            yield Finding("timer_held", name, told, f"hive timers resume {name}{first}")


def _timers(agents: list[tuple[AgentConfig, LoadedAgent]]) -> Iterator[tuple[str, TimerConfig]]:
    for item, agent in agents:
        try:
            specs = entry_points(agent, item)
        except ConfigError:
            # `agent_broken` says so.
            continue
        for spec in specs:
            if spec.trigger_type == TriggerType.TIMER:
                yield f"{item.agent_name}/{spec.id}", TimerConfig.read(spec.trigger_config)


# --- readable files -------------------------------------------------------------------------------


def file_findings(patient: Patient) -> Iterator[Finding]:
    """Look for sessions without rows, and how far the readable files are behind."""
    if not patient.database.is_file():
        return
    try:
        yield from _orphans(patient)
        if owner_of(patient.state_dir) is None:
            yield from _behind(patient)
    except HiveError:
        # `store_damaged` says so.
        return


def _orphans(patient: Patient) -> Iterator[Finding]:
    for agent in sorted((patient.state_dir / "agents").glob("*")):
        folders = {path.name: path for path in (agent / SESSIONS).glob("session_*")}
        if not folders:
            continue
        for name in sorted(folders.keys() - session_ids(patient.database, agent.name)):
            path = folders[name]
            told = "the store knows no such session: nothing goes on with it"
            yield Finding("session_orphan", str(path), told, f"rm -r {shlex.quote(str(path))}")


def _behind(patient: Patient) -> Iterator[Finding]:
    mode = patient.loaded.config.mirror.value
    if mode == "off":
        return
    last, _ = last_event(patient.database)
    after = read_marker(patient.state_dir, mode).after_seq
    if after < last:
        told = f"the readable files are complete up to event {after}, the store has {last}"
        subject = str(patient.state_dir / "agents")
        yield Finding("mirror_behind", subject, told, "hive doctor --fix", Mend.REBUILD_MIRROR)
