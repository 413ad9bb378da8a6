"""`hive doctor`: each finding comes from a real cause, is listed in docs/doctor.md, and names a command."""

from __future__ import annotations

import asyncio
import json
import os
import re
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from hive_daemon.config.load import load_config
from hive_daemon.config.sources import ConfigSources
from hive_daemon.daemon.loop_watch import EXIT_BLOCKED
from hive_daemon.doctor.examination import Report, examine, examine_process
from hive_daemon.doctor.finding import FINDINGS, Finding, Severity
from hive_daemon.doctor.machine_checks import child_findings
from hive_daemon.doctor.patient import UNIT, Patient
from hive_daemon.monitoring.agent_watch import REFUSALS, Fortune
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.storage.sqlite.database import own
from hive_daemon.storage.sqlite.reading import Deaf
from hive_daemon.storage.sqlite.store import open_sqlite
from hive_daemon.storage.timer_values import LEDGER_NAME, TimerSpec
from tests.fakes.clerk import Clerk, add_clerk
from tests.fakes.clock import FakeClock
from tests.fakes.control_client import Client
from tests.fakes.control_host import running_host
from tests.fakes.unsynchronised import NO_FILTER

ROOT = Path(__file__).parent.parent.parent
DOCS = (ROOT / "docs" / "doctor.md").read_text()
OURS = ROOT / "deploy" / "systemd" / UNIT
ENVIRON = {"PATH": os.environ["PATH"]}
SECONDS = 120.0
"""After this long, something that must happen did not."""

AGENT = {
    "agent": {"id": "tick", "name": "Tick", "version": "1.0.0"},
    "graph": {
        "id": "tick",
        "goal_id": "tick",
        "version": "1.0.0",
        "entry_node": "tell",
        "entry_points": {"start": "tell"},
        "terminal_nodes": ["tell"],
        "async_entry_points": [
            {
                "id": "on",
                "name": "On",
                "entry_node": "tell",
                "trigger_type": "timer",
                "trigger_config": {"every": "1h"},
                "isolation_level": "isolated",
            }
        ],
        "nodes": [
            {
                "id": "tell",
                "name": "Tell",
                "description": "Tells",
                "node_type": "event_loop",
                "output_keys": ["said"],
            }
        ],
        "edges": [],
    },
    "goal": {"id": "tick", "name": "Tick", "description": "Tell the time."},
}


@dataclass
class Clinic:
    """A place with a configuration, a sound store, an installed unit, and a machine that is well."""

    root: Path
    patient: Patient

    @property
    def state(self) -> Path:
        return self.patient.state_dir

    @property
    def unit(self) -> Path:
        return self.root / "units" / UNIT

    def examine(self, *, fix: bool = False, **changes: Any) -> Report:
        return examine(replace(self.patient, **changes), fix=fix)

    def found(self, id: str, subject: str = "", **changes: Any) -> Finding:
        """Return the finding with this id, and of this subject if one is named; it must be there."""
        report = self.examine(**changes)
        for finding in report.findings:
            if finding.id == id and subject in (finding.subject, ""):
                return finding
        raise AssertionError(report.findings)

    def told(self, id: str, *by: str, **environ: str) -> Finding:
        """Return what `hive doctor`, in a process of its own started `by` this, finds with this id."""
        done = self.command(*by, **environ)
        if done.returncode == NO_FILTER:
            pytest.skip("this kernel lets nobody answer system calls")
        for finding in json.loads(done.stdout)["findings"]:
            if finding.pop("id") == id:
                assert finding.pop("severity") == FINDINGS[id]
                return Finding(id, **finding)
        raise AssertionError(done.stdout)

    def command(self, *by: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run `hive doctor --json`."""
        return subprocess.run(
            [sys.executable, *by, "-m", "hive_cli", "doctor", "--json"],
            cwd=ROOT,
            env={**os.environ, "HIVE_CONFIG": str(self.root / "hive.yaml"), **environ},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def configure(self, **more: Any) -> None:
        """Write hive.yaml and read it again."""
        content = {
            "state_dir": str(self.root / "state"),
            "socket": str(self.root / "s"),
            "http": {"listen": f"127.0.0.1:{free_port()}"},
            "llm": {"model": "scripted:none.json"},
            **more,
        }
        (self.root / "hive.yaml").write_text(json.dumps(content))
        self.reload()

    def reload(self) -> None:
        """Read hive.yaml again."""
        sources = ConfigSources(
            config_file=self.root / "hive.yaml",
            environ=ENVIRON,
            cwd=self.root,
            home=self.root,
            system_file=self.root / "none.yaml",
        )
        self.patient = replace(self.patient, loaded=load_config(sources))

    def agent(self, **trigger: Any) -> Path:
        """Write an agent with a timer, and name it."""
        folder = self.root / "tick"
        folder.mkdir(exist_ok=True)
        content = json.loads(json.dumps(AGENT))
        if trigger:
            content["graph"]["async_entry_points"][0]["trigger_config"] = trigger
        (folder / "agent.json").write_text(json.dumps(content))
        self.configure(agents=[str(folder)])
        return folder

    def service(self, text: str) -> None:
        """Change a line of the unit's [Service] by a drop-in."""
        drop = self.unit.with_name(f"{UNIT}.d")
        drop.mkdir()
        (drop / "own.conf").write_text(f"[Service]\n{text}\n")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def make_store(state: Path) -> None:
    async def make() -> None:
        async with open_sqlite(state, Deaf()):
            pass

    asyncio.run(make())


@pytest.fixture
def clinic(tmp_path: Path) -> Clinic:
    units = tmp_path / "units"
    units.mkdir()
    (units / UNIT).write_text(OURS.read_text())
    (tmp_path / "proc").mkdir()
    # Filled in by `configure`; nothing of it is asked for before.
    unset: Any = None
    patient = Patient(
        unset,
        ENVIRON,
        synchronised=lambda: True,
        zones=lambda: {"Europe/Berlin"},
        unit_places=(units,),
        processes=tmp_path / "proc",
        full_bytes=0,
        low_bytes=0,
    )
    clinic = Clinic(tmp_path, patient)
    clinic.configure()
    make_store(tmp_path / "state")
    return clinic


# --- the causes -----------------------------------------------------------------------------------

Stage = Callable[[Clinic], Finding]
STAGES: dict[str, Stage] = {}


def stages(id: str) -> Callable[[Stage], Stage]:
    """Declare the decorated function as the one that brings a finding about."""

    def declare(stage: Stage) -> Stage:
        STAGES[id] = stage
        return stage

    return declare


@stages("config_invalid")
def _(clinic: Clinic) -> Finding:
    (clinic.root / "hive.yaml").write_text("max_concurrent_executions: many")
    (finding, *_) = examine_process(str(clinic.root / "hive.yaml"), {}, fix=False).findings
    return finding


@stages("config_warning")
def _(clinic: Clinic) -> Finding:
    clinic.configure(events=None)
    return clinic.found("config_warning")


@stages("state_missing")
def _(clinic: Clinic) -> Finding:
    clinic.configure(state_dir=str(clinic.root / "nowhere"))
    return clinic.found("state_missing")


@stages("state_unusable")
def _(clinic: Clinic) -> Finding:
    (clinic.root / "file").write_text("")
    clinic.configure(state_dir=str(clinic.root / "file"))
    return next(f for f in state_only(clinic) if f.id == "state_unusable")


def state_only(clinic: Clinic) -> Iterator[Finding]:
    from hive_daemon.doctor.state_checks import state_findings

    return state_findings(clinic.patient)


@stages("state_open")
def _(clinic: Clinic) -> Finding:
    clinic.state.chmod(0o755)
    return clinic.found("state_open")


@stages("disk_full")
def _(clinic: Clinic) -> Finding:
    return clinic.found("disk_full", full_bytes=1 << 60)


@stages("disk_low")
def _(clinic: Clinic) -> Finding:
    return clinic.found("disk_low", low_bytes=1 << 60)


def tear(path: Path) -> None:
    """Overwrite a page in the middle of a database."""
    with path.open("r+b") as file:
        file.seek(8192 * 4)
        file.write(b"\xff" * 8192)


@stages("store_damaged")
def _(clinic: Clinic) -> Finding:
    tear(clinic.patient.database)
    return clinic.found("store_damaged")


@stages("store_gone")
def _(clinic: Clinic) -> Finding:
    clinic.patient.database.rename(clinic.state / "hive.db-wal")
    return clinic.found("store_gone")


@stages("store_too_new")
def _(clinic: Clinic) -> Finding:
    with closing(sqlite3.connect(clinic.patient.database)) as connection:
        connection.execute("PRAGMA user_version = 9999")
    return clinic.found("store_too_new")


@stages("wal_large")
def _(clinic: Clinic) -> Finding:
    with closing(sqlite3.connect(clinic.patient.database)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("INSERT INTO meta VALUES ('x', ?)", ("x" * 100_000,))
        connection.commit()
        return clinic.found("wal_large", wal_bytes=50_000)


@stages("daemon_down")
def _(clinic: Clinic) -> Finding:
    return clinic.found("daemon_down")


@stages("daemon_silent")
def _(clinic: Clinic) -> Finding:
    with own(clinic.state):
        finding = clinic.found("daemon_silent")
    assert str(os.getpid()) in finding.cause
    return finding


@stages("daemon_failing")
def _(clinic: Clinic) -> Finding:
    async def ask() -> Finding:
        async with running_host(clinic.root) as host:
            await host.webhooks.stop()
            (clinic.root / "s").symlink_to(host.socket)
            return await asyncio.to_thread(clinic.found, "daemon_failing")

    finding = asyncio.run(ask())
    assert finding.subject == "http"
    return finding


BLOCKED = """
import asyncio, sys, time
from functools import partial
from pathlib import Path
from hive_daemon.daemon.last_words import LastWords
from hive_daemon.daemon.loop_watch import LoopWatch, leave
from hive_daemon.tasks import Scope

async def main():
    words = LastWords(Path(sys.argv[1]), tuple)
    watch, scope = LoopWatch(0.4, on_blocked=partial(leave, words=words)), Scope("test")
    watch.start()
    scope.spawn("beat", watch.beat())
    await asyncio.sleep(0)
    time.sleep(600)

asyncio.run(main())
"""


@stages("loop_blocked")
def _(clinic: Clinic) -> Finding:
    """Real: a process that is watched as a daemon is blocks its event loop, and ends with 70."""
    blocked = [sys.executable, "-c", BLOCKED, str(clinic.state)]
    ended = subprocess.run(blocked, cwd=ROOT, capture_output=True, timeout=SECONDS)
    assert ended.returncode == EXIT_BLOCKED
    finding = clinic.found("loop_blocked")
    assert "once (70)" in finding.cause
    assert "in main (<string>:" in finding.cause
    tomorrow = FakeClock(time.time() + 90_000)
    assert all(f.id != "loop_blocked" for f in clinic.examine(clock=tomorrow).findings)
    return finding


@contextmanager
def dead_socket(path: Path) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind(str(path))
        left.listen()
    yield


@stages("socket_stale")
def _(clinic: Clinic) -> Finding:
    with dead_socket(clinic.patient.socket):
        return clinic.found("socket_stale")


@stages("socket_odd")
def _(clinic: Clinic) -> Finding:
    clinic.patient.socket.write_text("")
    return clinic.found("socket_odd")


@stages("port_taken")
def _(clinic: Clinic) -> Finding:
    address = clinic.patient.loaded.config.http.listen
    with socket.socket() as other:
        other.bind((address.host, address.port))
        other.listen()
        return clinic.found("port_taken")


@stages("clock_unsynchronised")
def _(clinic: Clinic) -> Finding:
    """As real as can be without setting this machine's clock: `hive doctor` makes the system call, adjtimex(2).

    What answers it is not the kernel but a listener of seccomp(2), with the kernel's own word for it.
    """
    return clinic.told("clock_unsynchronised", "-m", "tests.fakes.unsynchronised", sys.executable)


@stages("clock_behind")
def _(clinic: Clinic) -> Finding:
    """Real but for the year 1970: the clock of the daemon before was a day ahead."""
    assert clinic.found("clock_behind", clock=FakeClock(0.0))
    lived(clinic)
    with closing(sqlite3.connect(clinic.patient.database)) as connection, connection:
        connection.execute("UPDATE events SET at = at + 86400")
    return clinic.found("clock_behind")


@stages("zones_missing")
def _(clinic: Clinic) -> Finding:
    """Real: where this `hive doctor` looks for zones there are none, and its tzdata has lost its files."""
    empty = clinic.root / "zoneinfo"
    empty.mkdir()
    gutted = clinic.root / "packages"
    (gutted / "tzdata").mkdir(parents=True)
    (gutted / "tzdata" / "__init__.py").write_text("")
    return clinic.told("zones_missing", PYTHONTZPATH=str(empty), PYTHONPATH=str(gutted))


@stages("unit_missing")
def _(clinic: Clinic) -> Finding:
    clinic.unit.unlink()
    return clinic.found("unit_missing")


@stages("unit_stop_short")
def _(clinic: Clinic) -> Finding:
    clinic.configure(shutdown={"drain_seconds": 300})
    finding = clinic.found("unit_stop_short")
    assert "TimeoutStopSec=310" in finding.command
    return finding


@stages("unit_no_watchdog")
def _(clinic: Clinic) -> Finding:
    clinic.service("WatchdogSec=0")
    return clinic.found("unit_no_watchdog")


@stages("unit_no_notify")
def _(clinic: Clinic) -> Finding:
    clinic.service("NotifyAccess=none")
    return clinic.found("unit_no_notify")


@stages("unit_no_restart")
def _(clinic: Clinic) -> Finding:
    clinic.service("Restart=no")
    return clinic.found("unit_no_restart")


@stages("unit_restarts_bad_config")
def _(clinic: Clinic) -> Finding:
    clinic.service("RestartPreventExitStatus=")
    return clinic.found("unit_restarts_bad_config")


@stages("agent_broken")
def _(clinic: Clinic) -> Finding:
    folder = clinic.agent()
    (folder / "agent.json").write_text("{")
    return clinic.found("agent_broken")


@stages("agent_warning")
def _(clinic: Clinic) -> Finding:
    folder = clinic.agent()
    content = json.loads((folder / "agent.json").read_text())
    spare = {**AGENT["graph"]["nodes"][0], "id": "spare"}  # type: ignore[index]  # a JSON document
    content["graph"]["nodes"].append(spare)
    (folder / "agent.json").write_text(json.dumps(content))
    return clinic.found("agent_warning")


@stages("key_missing")
def _(clinic: Clinic) -> Finding:
    folder = clinic.agent()
    clinic.configure(agents=[{"path": str(folder), "model": "gpt-5"}], llm={})
    finding = clinic.found("key_missing")
    assert "OPENAI_API_KEY" in finding.cause
    return finding


@stages("key_refused")
def _(clinic: Clinic) -> Finding:
    """Real: a daemon whose agent was refused three times in a row is asked."""

    async def ask() -> Finding:
        async with running_host(clinic.root) as host:
            host.services.hub.listen(host.fortunes.tell)
            refused = {"error": {"kind": "auth", "message": "invalid x-api-key"}, "repeat": True}
            spec = EntryPointSpec(id="plain", isolation_level="isolated")
            await add_clerk(host, Clerk(script={"nodes": {"work": [refused]}}, extra=(spec,)))
            client = Client(host.socket)
            for _ in range(REFUSALS):
                reply = await client.post("/v1/entry-points/clerk/plain/trigger", {})
                await client.get(f"/v1/executions/{reply.json['execution_id']}?wait=15")
            (clinic.root / "s").symlink_to(host.socket)
            return await asyncio.to_thread(clinic.found, "key_refused")

    finding = asyncio.run(ask())
    assert finding.subject == "clerk"
    assert "refused the key 3 times in a row" in finding.cause
    assert "mend the key" in finding.command
    return finding


@stages("timer_never")
def _(clinic: Clinic) -> Finding:
    clinic.agent(every="1h", end_time="2026-01-01T00:00:00Z")
    return clinic.found("timer_never")


@stages("timer_held")
def _(clinic: Clinic) -> Finding:
    clinic.agent()
    hold(clinic, "5 failed")
    finding = clinic.found("timer_held")
    assert finding.command == "hive timers resume tick/on"
    return finding


def hold(clinic: Clinic, note: str) -> None:
    """Let the ledger pause the timer of the agent, with this note."""

    async def pause() -> None:
        async with open_sqlite(clinic.state, Deaf()) as store:
            await store.timers.sync("tick", [TimerSpec("tick/on", "tick", "on", "s", 0.0)])
            await store.timers.set_paused(["tick/on"], True, by=LEDGER_NAME, note=note)

    asyncio.run(pause())


@stages("session_orphan")
def _(clinic: Clinic) -> Finding:
    (clinic.state / "agents/tick/sessions/session_20260302_090000_1a2b3c4d").mkdir(parents=True)
    return clinic.found("session_orphan")


@stages("child_left")
def _(clinic: Clinic) -> Finding:
    """Real: the guard of a tool server hangs while its daemon is killed; the command that is shown ends it."""
    with left_guard() as (daemon, guard):
        assert f"process {guard}" not in left(clinic)
        daemon.kill()
        daemon.wait()
        finding = clinic.found("child_left", f"process {guard}", processes=Path("/proc"))
        ended = os.pidfd_open(guard)
        subprocess.run(["sh", "-c", finding.command], check=True)
        assert select.select([ended], [], [], SECONDS)[0]
        os.close(ended)
    return finding


def left(clinic: Clinic) -> list[str]:
    """Return what `child_left` is found of on this machine."""
    patient = replace(clinic.patient, processes=Path("/proc"))
    return [finding.subject for finding in child_findings(patient)]


@contextmanager
def left_guard() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Start a tool server and stop its guard; what started it, and the guard's process id."""
    starter = [sys.executable, "-m", "tests.fakes.left_guard"]
    with subprocess.Popen(starter, cwd=ROOT, stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        guard = int(daemon.stdout.readline())
        try:
            yield daemon, guard
        finally:
            daemon.kill()
            with suppress(ProcessLookupError):
                os.kill(guard, signal.SIGCONT)


def lived(clinic: Clinic) -> str:
    """Let a daemon without readable files run an execution in this state; return the execution."""

    async def live() -> str:
        async with running_host(clinic.root) as host:
            host.gate.is_open.set()
            client = Client(host.socket)
            reply = await client.post("/v1/entry-points/ops/triage/trigger", {})
            name = str(reply.json["execution_id"])
            await client.get(f"/v1/executions/{name}?wait=15")
            return name

    return asyncio.run(live())


@stages("mirror_behind")
def _(clinic: Clinic) -> Finding:
    lived(clinic)
    return clinic.found("mirror_behind")


# --- the table --------------------------------------------------------------------------------------


def test_every_finding_has_a_cause_here() -> None:
    assert STAGES.keys() == FINDINGS.keys()


@pytest.mark.parametrize("id", FINDINGS)
def test_a_finding_comes_from_its_cause(clinic: Clinic, id: str) -> None:
    finding = STAGES[id](clinic)
    assert finding.id == id
    assert finding.cause
    assert finding.subject
    assert finding.command
    shown = finding.to_json()
    assert shown["severity"] == FINDINGS[id]


def test_every_finding_is_documented_and_nothing_else_is() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", DOCS, flags=re.M)
    assert rows == [(id, severity.value) for id, severity in FINDINGS.items()]


def test_a_place_that_is_well_has_no_finding_but_that_nothing_runs(clinic: Clinic) -> None:
    report = clinic.examine()
    assert [finding.id for finding in report.findings] == ["daemon_down"]
    assert report.exit_code == 0
    assert list(report.lines())[-1] == "nothing is wrong"


def test_our_own_unit_is_well(clinic: Clinic) -> None:
    assert not [f for f in clinic.examine().findings if f.id.startswith("unit_")]


def test_what_is_worst_comes_first(clinic: Clinic) -> None:
    clinic.state.chmod(0o755)
    clinic.patient.socket.write_text("")
    report = clinic.examine()
    assert [finding.severity for finding in report.findings] == [
        Severity.ERROR,
        Severity.WARNING,
        Severity.INFO,
    ]
    assert report.exit_code == 1
    assert list(report.lines())[-1] == "1 error, 1 warning"


def test_a_timer_that_a_refused_key_holds_is_not_to_be_resumed_before_the_key_is_mended(
    clinic: Clinic,
) -> None:
    clinic.agent()
    refused = Fortune(refusals=REFUSALS, refused_by="gpt-5", refusal="invalid x-api-key")
    hold(clinic, refused.trouble)
    command = clinic.found("timer_held").command
    assert command.startswith("hive timers resume tick/on  # first mend the key")


def test_a_warning_of_the_configuration_names_its_file_once_and_the_command_that_mends_it(
    clinic: Clinic,
) -> None:
    clinic.configure(llm={"model": "scripted:none.json", "api_key": "a-key-of-mine-77"})
    file = clinic.root / "hive.yaml"
    file.chmod(0o644)
    clinic.reload()
    found = [f for f in clinic.examine().findings if f.id == "config_warning"]
    (open_to_all,) = [f for f in found if "every user of this machine" in f.cause]
    assert (open_to_all.subject, str(file) in open_to_all.cause) == (str(file), False)
    assert open_to_all.command == f"chmod o-r {file}"
    subprocess.run(["sh", "-c", open_to_all.command], check=True)
    clinic.reload()
    assert all("every user" not in f.cause for f in clinic.examine().findings)


def test_a_budget_of_an_entry_point_that_is_not_there_is_told(clinic: Clinic) -> None:
    budget = {"scope": "entry_point:onn", "usd": 1, "per": "1d"}
    clinic.configure(agents=[str(clinic.agent())], budgets=[budget])
    finding = clinic.found("config_warning")
    assert "did you mean on?" in finding.cause


@pytest.mark.parametrize("text", ["max_concurrent_executions: many", "events:"])
def test_a_command_names_the_configuration_that_was_named(clinic: Clinic, text: str) -> None:
    file = clinic.root / "my own.yaml"
    file.write_text(f"{text}\nstate_dir: {clinic.state}\nsocket: {clinic.root / 's'}\n")
    found = examine_process(str(file), {}, fix=False).findings
    told = {finding.command for finding in found if finding.id.startswith("config_")}
    assert told == {f"hive config check --config '{file}'"}
    (missing,) = examine_process("/nope", {}, fix=False).findings
    assert missing.command == "hive config check --config /nope"


def test_the_unit_file_is_found_beside_what_is_installed(clinic: Clinic) -> None:
    clinic.unit.unlink()
    shared = clinic.root / "share"
    shared.mkdir()
    (shared / UNIT).write_text(OURS.read_text())
    told = clinic.found("unit_missing", unit_sources=(clinic.root / "none", shared))
    assert told.command.startswith(f"cp {shared / UNIT} /etc/systemd/system/")
    # Whether the package was installed with its data or is used from the repository.
    (source,) = re.findall(r"^cp (\S+) ", clinic.found("unit_missing").command)
    assert Path(source).read_text() == OURS.read_text()
    nowhere = clinic.found("unit_missing", unit_sources=())
    assert nowhere.command.startswith(f"systemctl edit --force --full {UNIT}")


def test_a_key_that_is_missing_is_told_once(clinic: Clinic) -> None:
    folder = clinic.agent()
    clinic.configure(agents=[{"path": str(folder), "model": "gpt-5"}], llm={})
    found = [f.id for f in clinic.examine().findings if "needs a key" in f.cause]
    assert found == ["key_missing"]
    clinic.configure(agents=[str(folder)], llm={"api_key": "a-key-of-mine-77"})
    assert not [f for f in clinic.examine().findings if "needs a key" in f.cause]


def test_keys_are_named_and_never_shown(clinic: Clinic) -> None:
    secret = "sk-ant-api03-" + "q" * 30
    clinic.configure(llm={"api_key": "a-key-of-mine-77"})
    report = clinic.examine(environ={"ANTHROPIC_API_KEY": secret})
    text = json.dumps(report.to_json()) + "".join(report.lines())
    assert report.keys == ("llm.api_key", "ANTHROPIC_API_KEY")
    assert secret not in text
    assert "a-key-of-mine-77" not in text


# --- mending ----------------------------------------------------------------------------------------


def test_a_stale_socket_is_removed(clinic: Clinic) -> None:
    with dead_socket(clinic.patient.socket):
        report = clinic.examine(fix=True)
    assert not clinic.patient.socket.exists()
    assert report.mended == (f"removed {clinic.patient.socket}, on which nobody listened",)
    assert report.exit_code == 0


def test_what_is_no_stale_socket_is_left(clinic: Clinic) -> None:
    clinic.patient.socket.write_text("precious")
    report = clinic.examine(fix=True)
    assert clinic.patient.socket.read_text() == "precious"
    assert report.mended == ()


def test_the_readable_files_are_rebuilt(clinic: Clinic) -> None:
    name = lived(clinic)
    report = clinic.examine(fix=True)
    assert "rebuilt what lagged" in report.mended[0]
    assert "mirror_behind" not in [finding.id for finding in report.findings]
    state = clinic.state / "agents/ops/sessions" / name / "state.json"
    assert json.loads(state.read_text())["status"] == "completed"


def test_a_damaged_store_is_salvaged_and_its_bytes_are_kept(clinic: Clinic) -> None:
    name = lived(clinic)
    path = clinic.patient.database
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'events'"
        ).fetchone()
    with path.open("r+b") as file:
        file.seek(8192 * (page - 1))
        file.write(b"\xff" * 8192)
    damaged = path.read_bytes()
    assert "store_damaged" in [finding.id for finding in clinic.examine().findings]

    report = clinic.examine(fix=True)
    assert "store_damaged" not in [finding.id for finding in report.findings]
    (kept,) = clinic.state.glob("hive.db.damaged-*Z")
    assert kept.read_bytes() == damaged
    assert "1 executions" in report.mended[0]
    assert "something is missing in events" in report.mended[0]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT id FROM executions").fetchall() == [(name,)]


def test_a_store_of_which_nothing_can_be_read_is_left_as_it_is(clinic: Clinic) -> None:
    clinic.patient.database.write_bytes(b"not a database" * 500)
    report = clinic.examine(fix=True)
    assert clinic.patient.database.read_bytes() == b"not a database" * 500
    assert report.mended[0].startswith("store_damaged was left as it is")
    assert report.exit_code == 1


def test_nothing_is_salvaged_under_a_daemon_that_runs(clinic: Clinic) -> None:
    tear(clinic.patient.database)
    before = clinic.patient.database.read_bytes()
    with own(clinic.state):
        report = clinic.examine(fix=True)
    assert clinic.patient.database.read_bytes() == before
    assert "is owned by process" in report.mended[0]


def test_without_fix_nothing_is_touched(clinic: Clinic) -> None:
    tear(clinic.patient.database)
    before = clinic.patient.database.read_bytes()
    with dead_socket(clinic.patient.socket):
        clinic.examine()
    assert clinic.patient.socket.exists()
    assert clinic.patient.database.read_bytes() == before


# --- the command ------------------------------------------------------------------------------------


def test_hive_doctor_reports_and_ends_with_one_where_something_is_wrong(clinic: Clinic) -> None:
    clinic.patient.socket.write_text("")
    done = clinic.command()
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert "socket_odd" in [finding["id"] for finding in report["findings"]]
    assert set(report) == {"findings", "keys", "mended"}
