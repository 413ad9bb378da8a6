"""Deployment: the systemd unit is valid, and the image's own steps, done without Docker, give a daemon that is healthy.

The steps are read from the Dockerfile; only paths are moved below a folder of the test. The libraries are those of the
environment that runs the test, so that nothing but the build back end is fetched; the package itself is built from
exactly the files that the Dockerfile copies.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from configparser import RawConfigParser
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.fakes.daemon_process import ROOT, Place, ServiceManager, opened_place

DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "systemd" / "hive-agent.service"
MOVED = ("/opt/hive", "/etc/hive", "/var/lib/hive", "/run/hive", "/src")
"""Folders of the image that lie below the test's own here."""

BUILD_SECONDS = 300
_UNREACHABLE = re.compile(
    r"Could not find a version|No matching distribution|ConnectionError|Max retries|Temporary failure"
)

# --- systemd --------------------------------------------------------------------------------------


def read_unit() -> RawConfigParser:
    unit = RawConfigParser(strict=False, delimiters=("=",), comment_prefixes=("#",))
    unit.optionxform = str  # type: ignore[assignment,method-assign] # keys are case sensitive
    unit.read(UNIT)
    return unit


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing")
def test_the_unit_is_valid(tmp_path: Path) -> None:
    # Verification wants the program to be there; everything else is taken as it stands.
    text = UNIT.read_text().replace("/opt/hive/venv/bin/hived", sys.executable)
    (tmp_path / UNIT.name).write_text(text)
    ran = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / UNIT.name)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stdout + ran.stderr) == (0, "")


def test_the_unit_waits_for_ready_watches_the_loop_and_lets_a_drain_end() -> None:
    service = read_unit()["Service"]
    assert (service["Type"], service["NotifyAccess"]) == ("notify", "main")
    assert int(service["WatchdogSec"]) > 0
    assert int(service["TimeoutStopSec"]) > 30 + 5
    assert service["RestartPreventExitStatus"].split() == ["78"]
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert service["User"] == "hive"


def test_the_daemon_runs_as_the_unit_starts_it(place: Place) -> None:
    # What systemd makes of StateDirectory= and RuntimeDirectory=: variables that name folders.
    run, state = place.path / "run", place.path / "var"
    run.mkdir(0o750)
    state.mkdir(0o700)
    with ServiceManager(place.path / "systemd") as manager:
        environ = place.surroundings(
            NOTIFY_SOCKET=str(manager.path),
            RUNTIME_DIRECTORY=str(run),
            STATE_DIRECTORY=str(state),
            WATCHDOG_USEC="30000000",
            LIFE="1",
        )
        del environ["HIVE_SOCKET"]
        command = [sys.executable, "-m", "hive_daemon.daemon.main", "--config", str(place.config)]
        with subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL) as process:
            try:
                manager.wait_until(lambda: "READY=1" in manager.lines(), "READY")
                assert (run / "hived.sock").is_socket()
                assert (state / "hive.db").is_file()
                process.send_signal(signal.SIGTERM)
                assert process.wait(30) == 0
            finally:
                process.kill()


# --- the image ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """One instruction of the Dockerfile."""

    word: str
    rest: str


def read_dockerfile() -> list[Step]:
    lines = (DEPLOY / "docker" / "Dockerfile").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#"))
    joined = text.replace("\\\n", " ").splitlines()
    return [Step(*line.split(maxsplit=1)) for line in joined if line.strip()]


class Image:
    """The image, made below a folder: `path` moves a path of the image there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environ: dict[str, str] = {}
        self.steps = read_dockerfile()
        self._stage = 0

    def path(self, text: str) -> str:
        """Move every path of the image in a text below the folder."""
        for folder in MOVED:
            text = re.sub(
                rf"(?<![\w/.-]){re.escape(folder)}(?![\w-])", f"{self.root}{folder}", text
            )
        return text

    def words(self, word: str) -> list[str]:
        """Return the words of the last instruction of a kind, which is written as a JSON list."""
        rest = [step.rest for step in self.steps if step.word == word][-1]
        return [self.path(part) for part in json.loads(rest[rest.index("[") :])]

    def build(self) -> None:
        """Do the steps in their order."""
        for step in self.steps:
            match step.word:
                case "FROM":
                    self._stage += 1
                case "COPY":
                    self._copy(step.rest)
                case "RUN":
                    for command in step.rest.split("&&"):
                        self._run(shlex.split(command))
                case "ENV":
                    self._set(step.rest)

    def _copy(self, rest: str) -> None:
        if rest.startswith("--from="):
            return  # both stages lie in the same folder here
        *sources, target = rest.split()
        place = Path(self.path(target) if target.startswith("/") else f"{self.root}/src/{target}")
        for source in sources:
            found = ROOT / source
            if found.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(found, place, ignore=ignored, dirs_exist_ok=True)
            else:
                end = place / found.name if target.endswith("/") else place
                end.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(found, end)

    def _run(self, command: list[str]) -> None:
        if command[0] in ("groupadd", "useradd"):
            return  # the test runs as whoever runs it
        if command[0] == "install":
            command = [word for word in command if word not in ("-o", "-g", "10001")]
            subprocess.run([self.path(word) for word in command], check=True)
            return
        moved = [self.path(word) for word in command]
        if moved[0] == "python":
            moved[0] = sys.executable
        self._call(moved)
        if "venv" in moved:
            share_libraries(Path(moved[-1]))

    def _call(self, command: list[str]) -> None:
        around = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        ran = subprocess.run(
            command,
            cwd=self.root / "src",
            env=around,
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
            check=False,
        )
        said = ran.stdout + ran.stderr
        if ran.returncode and _UNREACHABLE.search(said):
            pytest.skip(f"the package index is unreachable: {said.splitlines()[-1]}")
        assert ran.returncode == 0, said

    def _set(self, rest: str) -> None:
        for pair in shlex.split(rest):
            name, _, value = pair.partition("=")
            self.environ[name] = self.path(value).replace("$PATH", os.defpath)


def share_libraries(venv: Path) -> None:
    """Let a fresh environment see the libraries of this one, all but the package itself."""
    shared = venv / "shared"
    shared.mkdir()
    for found in Path(sysconfig.get_path("purelib")).iterdir():
        name = found.name.lower().lstrip("_")
        if (
            not name.startswith(("hive_", "editable__", "pip", "setuptools"))
            and found.suffix != ".pth"
        ):
            (shared / found.name).symlink_to(found)
    site = next(venv.glob("lib/python*/site-packages"))
    (site / "shared.pth").write_text(f"{shared}\n")


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    with opened_place() as place:
        made = Image(place.path)
        (place.path / "src").mkdir()
        made.build()
        yield made


@pytest.mark.slow
@pytest.mark.timeout(BUILD_SECONDS + 60)
def test_the_image_starts_is_healthy_and_stops(image: Image) -> None:
    config = Path(image.path("/etc/hive/hive.yaml"))
    config.write_text(image.path(config.read_text()))
    environ = {**image.environ, "HIVE_HTTP__LISTEN": "127.0.0.1:0", "HOME": str(image.root)}
    command = [*image.words("ENTRYPOINT"), *image.words("CMD")]
    bin_dir = Path(image.path("/opt/hive/venv/bin"))
    check = image.words("HEALTHCHECK")
    healthy = [str(bin_dir / check[0]), *check[1:]]
    assert subprocess.run(healthy, env=environ, capture_output=True, check=False).returncode == 5
    with ServiceManager(image.root / "listening") as manager:
        environ["NOTIFY_SOCKET"] = str(manager.path)
        with subprocess.Popen(
            [str(bin_dir / command[0]), *command[1:]],
            env=environ,
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                manager.wait_until(
                    lambda: "READY=1" in manager.lines() or process.poll() is not None, "READY"
                )
                looked = subprocess.run(healthy, env=environ, capture_output=True, check=False)
                assert looked.returncode == 0, looked.stderr
                process.send_signal(signal.SIGTERM)
                log, _ = process.communicate(timeout=30)
            finally:
                process.kill()
    assert process.returncode == 0, log
    assert {json.loads(line)["level"] for line in log.splitlines()} <= {"info", "INFO"}, log


@pytest.mark.slow
def test_the_image_holds_the_package_and_not_this_checkout(image: Image) -> None:
    python = image.path("/opt/hive/venv/bin/python")
    code = "import hive_cli, hive_daemon; print(hive_daemon.__file__); print(hive_cli.__file__)"
    ran = subprocess.run(
        [python, "-c", code],
        env=image.environ,
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    places = ran.stdout.split()
    assert len(places) == 2
    assert all(place.startswith(str(image.root)) for place in places)


@pytest.mark.slow
def test_the_package_brings_its_unit_file_along_and_doctor_finds_it(image: Image) -> None:
    unit = Path(image.path("/opt/hive/venv/share/hive/systemd/hive-agent.service"))
    assert unit.read_text() == UNIT.read_text()
    python = image.path("/opt/hive/venv/bin/python")
    code = "from hive_daemon.doctor.patient import UNIT_SOURCES; print(UNIT_SOURCES[0])"
    ran = subprocess.run(
        [python, "-c", code], env=image.environ, cwd="/", capture_output=True, text=True, check=True
    )
    assert Path(ran.stdout.strip()) == unit.parent


def test_the_image_is_not_root_and_stops_like_the_daemon_wants() -> None:
    words = {step.word: step.rest for step in read_dockerfile()}
    assert words["USER"].split(":")[0] not in ("0", "root")
    assert words["STOPSIGNAL"] == "SIGTERM"
    assert words["FROM"].endswith("python:${PYTHON}")
    assert "3.11-slim" in words["ARG"]


def test_what_the_dockerfile_copies_is_sent_to_the_builder() -> None:
    kept = (DEPLOY / "docker" / "Dockerfile.dockerignore").read_text().split("\n")
    sent = {line.removeprefix("!") for line in kept if line.startswith("!")}
    copied = {
        source.rstrip("/")
        for step in read_dockerfile()
        if step.word == "COPY" and not step.rest.startswith("--from=")
        for source in step.rest.split()[:-1]
    }
    assert sent == copied


def test_compose_gives_a_drain_its_time_and_takes_every_right_away() -> None:
    service = yaml.safe_load((DEPLOY / "docker" / "compose.yaml").read_text())["services"]["hive"]
    assert int(service["stop_grace_period"].removesuffix("s")) > 30 + 5
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert (ROOT / "deploy" / "docker" / service["build"]["context"]).resolve() == ROOT
    assert (ROOT / service["build"]["dockerfile"]).is_file()
