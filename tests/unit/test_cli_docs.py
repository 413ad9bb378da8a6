"""docs/cli.md and docs/control-api.md say what the code does, and the code does what they say."""

import re
from itertools import dropwhile, takewhile
from pathlib import Path

import pytest
import typer

from hive_cli.app import COMMANDS, app
from hive_daemon.control import wire
from hive_daemon.control.wire import EndReason, ErrorCode, ExitCode, Route, Status, Until
from tests.fakes import control_server as fakes

DOCS = Path(__file__).parent.parent.parent / "docs"
CLI = (DOCS / "cli.md").read_text()
API = (DOCS / "control-api.md").read_text()


def sections(text):
    """Return {heading: text below it} of a page, whatever the heading's level."""
    parts = re.split(r"^#+ (.*)$", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def table(text):
    """Return the rows of the first table of a text, cell by cell, without its head."""
    below = dropwhile(lambda line: not line.startswith("|"), text.splitlines())
    rows = list(takewhile(lambda line: line.startswith("|"), below))
    cells = [re.split(r"(?<!\\)\|", row)[1:-1] for row in rows[2:]]
    return [[cell.strip() for cell in row] for row in cells]


def word(cell):
    return cell.strip("`")


CLI_SECTIONS, API_SECTIONS = sections(CLI), sections(API)


def leaves(command, path, context=None):
    """Yield (path, command) of every command below a command."""
    context = typer.Context(command, parent=context, info_name=path)
    if not hasattr(command, "list_commands"):
        yield path, command
        return
    for name in command.list_commands(context):
        yield from leaves(command.get_command(context, name), f"{path} {name}", context)


LEAVES = dict(leaves(typer.main.get_command(app), "hive"))
COMMON = {"--json", "--socket", "--no-color", "-h", "--help"}


def usage(path, command):
    """Return the heading that documents a command: its path and its arguments."""
    names = [
        f"[{parameter.metavar}...]" if parameter.nargs == -1 else parameter.metavar
        for parameter in command.params
        if parameter.param_type_name == "argument"
    ]
    return " ".join([path, *names])


def options(command):
    """Return {option: its metavar} of a command, without those that every command has."""
    return {
        name: parameter.metavar or ""
        for parameter in command.params
        if parameter.param_type_name == "option"
        for name in parameter.opts
        if name not in COMMON
    }


def documented_options(text):
    found = {}
    for cell, _ in table(text):
        names = [part.strip().strip("`").replace("\\|", "|") for part in cell.split(", ")]
        found |= {name.partition(" ")[0]: name.partition(" ")[2] for name in names}
    return found


def test_every_command_is_documented_and_nothing_else_is():
    documented = {heading for heading in CLI_SECTIONS if heading.startswith("hive ")}
    assert documented == {usage(path, command) for path, command in LEAVES.items()}


@pytest.mark.parametrize("path", LEAVES)
def test_every_option_is_documented_and_nothing_else_is(path):
    command = LEAVES[path]
    assert documented_options(CLI_SECTIONS[usage(path, command)]) == options(command)


@pytest.mark.parametrize("path", LEAVES)
def test_every_command_has_the_common_options(path):
    own = {name for parameter in LEAVES[path].params for name in parameter.opts}
    assert own >= {"--json", "--socket", "--no-color"}
    assert set(documented_options(CLI_SECTIONS["Options of every command"])) == COMMON


@pytest.mark.parametrize("path", [path for path in LEAVES if path.count(" ") == 1])
def test_the_list_of_commands_has_each_under_its_name(path):
    assert LEAVES[path].name == path.partition(" ")[2]
    assert COMMANDS[LEAVES[path].name]


def test_exit_codes():
    documented = {(int(code), word(name)) for code, name, _ in table(CLI_SECTIONS["Exit codes"])}
    assert documented == {(code.value, code.name.lower()) for code in ExitCode}


def test_how_runs_end():
    rows = table(CLI_SECTIONS["Exit codes"].partition("How a run ended")[2])
    settled = {str(status) for status in Status if status.is_settled}
    assert {word(status) for status, _ in rows} == settled
    for status, exit in rows:
        assert wire.run_exit_code(word(status)) == int(exit.partition(",")[0])


def test_error_codes():
    documented = [
        (word(code), None if http == "–" else int(http), int(exit))
        for code, http, exit, _ in table(API_SECTIONS["2. Errors"])
    ]
    assert documented == [(code.value, code.http_status, code.exit_code) for code in ErrorCode]


def test_statuses():
    documented = [
        (word(status), settled == "yes", terminal == "yes")
        for status, settled, terminal, _ in table(API_SECTIONS["3. Names"])
    ]
    assert documented == [(str(one), one.is_settled, one.is_terminal) for one in Status]


def test_routes():
    documented = [heading for heading in API_SECTIONS if re.match("(GET|POST) ", heading)]
    assert documented == [str(route) for route in Route]


@pytest.mark.parametrize("words", [Until, EndReason, wire.StreamEvent])
def test_the_words_of_a_stream_are_documented(words):
    assert all(f"{one}" in API for one in words)


def test_the_numbers_of_the_contract_are_documented():
    assert f"(1 to {wire.PAGE_SIZE_MAX}, {wire.PAGE_SIZE} if absent)" in API
    assert f"(a number, 0 to {wire.WAIT_SECONDS_MAX})" in API
    assert f"at most {wire.BODY_LIMIT_BYTES // 1024 // 1024} MiB" in API
    assert f"Every {wire.KEEPALIVE_SECONDS} seconds" in API
    for header in (wire.VERSION_HEADER, wire.IDEMPOTENCY_HEADER, wire.LAST_EVENT_HEADER):
        assert f"`{header}" in API


SESSION = fakes.execution()
SAMPLES = {
    "execution": SESSION,
    "timer": fakes.timer(),
    "agent": fakes.agent(),
    "stats": fakes.stats(),
    "stream": fakes.stats()["streams"][0],
    "store": fakes.stats()["store"],
    "timers summary": fakes.stats()["timers"],
    "next timer": fakes.stats()["timers"]["next"],
    "events summary": fakes.stats()["events"],
    "event": fakes.live_event("llm_text_delta"),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_the_daemon_that_tests_talk_to_answers_as_documented(name):
    fields = [word(row[0]) for row in table(API_SECTIONS[name])]
    assert list(SAMPLES[name]) == fields
