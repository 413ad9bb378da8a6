"""Commands that need no daemon: `python -m hive_daemon.local config check|show`, `agents validate|graph`,
`mcp probe`, `run`, `doctor`; and `ask`, which answers from the store of a daemon that is down.

The `hive` command runs them in a process of their own, so that the code of an agent, which has to be imported to be
checked, runs in a process that does nothing else. The report goes to stdout; what an agent prints meanwhile to stderr.
What knows agents, or the configuration, is imported by the commands that need it: `config show` answers in a fifth
of the time, and a program that is run pays for what it imports itself.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

from hive_daemon.control.wire import ExitCode
from hive_daemon.errors import AgentLoadError, ConfigError
from hive_daemon.loading import loading
from hive_daemon.observability.strict_json import escape_controls
from hive_daemon.runner.streams import complete_streams

if TYPE_CHECKING:
    from hive_daemon.config.loaded import LoadedConfig
    from hive_daemon.runner.agent_check import FolderReport

EXIT_OK = ExitCode.OK
EXIT_INVALID = ExitCode.USAGE

_NO_FILE = "no file, the defaults hold"
_AGENT_HINT = "docs/agents.md describes agent folders"
_EXECUTED = "module form, its code was executed in a process of its own"
_ONLY_READ = "JSON form, nothing of it was executed"
_NOT_READ = "it was not looked into"

Command = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, or 2 for whatever is not valid."""
    complete_streams()
    given = _parser().parse_args(arguments)
    command: Command = given.command
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = command(given)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has left. The interpreter must not complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hive_daemon.local")
    nouns = parser.add_subparsers(required=True, metavar="NOUN")
    config = nouns.add_parser("config", help="check and show the configuration")
    verbs = config.add_subparsers(required=True, metavar="VERB")
    for name, command in (("check", check_config), ("show", show_config)):
        verb = verbs.add_parser(name, help=command.__doc__)
        verb.add_argument("--config", metavar="FILE", help="the file, instead of the usual places")
        _finish(verb, command)
    agents = nouns.add_parser("agents", help="check and draw agent folders")
    verbs = agents.add_subparsers(required=True, metavar="VERB")
    for name, command in (("validate", validate_agent), ("graph", draw_agent)):
        verb = verbs.add_parser(name, help=command.__doc__)
        verb.add_argument("path", metavar="PATH", help="the agent's folder")
        if command is draw_agent:
            verb.add_argument("--mermaid", action="store_true", help="as Mermaid")
        else:
            verb.add_argument("--probe", action="store_true", help="ask the MCP servers too")
        _finish(verb, command)
    verbs = nouns.add_parser("mcp", help="probe MCP servers").add_subparsers(
        required=True, metavar="VERB"
    )
    verb = verbs.add_parser("probe", help=probe_servers.__doc__)
    verb.add_argument("path", metavar="PATH", help="an agent's folder, or a mcp_servers.json")
    verb.add_argument("--server", metavar="NAME", action="append", default=[], help="only this")
    _finish(verb, probe_servers)
    _add_run(nouns.add_parser("run", help=run.__doc__))
    verb = nouns.add_parser("doctor", help=doctor.__doc__)
    for name in ("--config", "--socket", "--state-dir"):
        verb.add_argument(name, metavar="PATH", help="instead of the usual places")
    verb.add_argument("--fix", action="store_true", help="mend what is safe to mend")
    _finish(verb, doctor)
    verb = nouns.add_parser("ask", help=ask.__doc__)
    verb.add_argument("target", metavar="TARGET", help="a path of the control API that only reads")
    verb.add_argument("--config", metavar="FILE", help="the file, instead of the usual places")
    _finish(verb, ask)
    return parser


def _add_run(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("path", metavar="PATH", help="the agent's folder, or a Python program")
    verb.add_argument("arguments", nargs="*", metavar="ARGUMENT", help="those of the program")
    for name, meaning in (
        ("--input-fd", "a descriptor that holds the input, a JSON object"),
        ("--entry-point", "where to begin"),
        ("--model", "instead of the agent's"),
        ("--resume", "the session to go on with"),
        ("--state-dir", "where the state is kept"),
        ("--timeout", "seconds"),
    ):
        verb.add_argument(name, default="", help=meaning)
    verb.add_argument("--accept-changed-graph", action="store_true", help="go on all the same")
    for name, meaning in (
        ("--approve", "a tool call that waits may run"),
        ("--reject", "a tool call that waits may not run"),
    ):
        verb.add_argument(name, action="append", default=[], help=meaning)
    verb.add_argument("--message", default="", help="what the model is told of what is rejected")
    _finish(verb, run)


def _finish(verb: argparse.ArgumentParser, command: Command) -> None:
    verb.add_argument("--json", action="store_true", dest="as_json", help="one JSON document")
    verb.set_defaults(command=command)


# --- the commands -------------------------------------------------------------------------------


def check_config(given: argparse.Namespace) -> int:
    """Check the configuration and the agent folders that it names."""
    try:
        loaded = _load(given)
    except ConfigError as error:
        return _refuse(given, error)
    from hive_daemon.daemon.folders import check_agents

    with redirect_stdout(sys.stderr):
        agents, aimless = check_agents(loaded)
    warnings = [*loaded.warnings, *aimless]
    faults = [f"{agent.name}: {error}" for agent in agents for error in agent.errors]
    file = str(loaded.path) if loaded.path is not None else None
    if given.as_json:
        document = {
            "file": file,
            "valid": not faults,
            "warnings": warnings,
            "agents": [agent.to_dict() for agent in agents],
        }
        _write_json(_with_error(document, AgentLoadError.code, faults, _AGENT_HINT))
    else:
        _write(*(f"warning: {warning}" for warning in warnings))
        for agent in agents:
            _write_report(agent)
        _write(f"{file or _NO_FILE}: {_verdict(len(faults))}")
    return EXIT_INVALID if faults else EXIT_OK


def show_config(given: argparse.Namespace) -> int:
    """Show what is in force, and where each value comes from."""
    from hive_daemon.config.loaded import show
    from hive_daemon.config.tree import dotted, leaves

    try:
        document: dict[str, Any] = show(_load(given))
    except ConfigError as error:
        return _refuse(given, error)
    if given.as_json:
        _write_json(document)
        return EXIT_OK
    _write(f"file: {document['file'] or _NO_FILE}")
    sources = document["provenance"]
    rows = [
        (dotted(path), json.dumps(value, ensure_ascii=False), sources.get(dotted(path), "file"))
        for path, value in leaves(document["config"])
    ]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    _write(*(f"{key:{widths[0]}}  {value:{widths[1]}}  {source}" for key, value, source in rows))
    _write(*(f"warning: {warning}" for warning in document["warnings"]))
    return EXIT_OK


def validate_agent(given: argparse.Namespace) -> int:
    """Check an agent folder and say everything that is wrong."""
    from hive_daemon.observability.logging import configure_logging
    from hive_daemon.runner.agent_check import check_folder

    if given.probe:
        configure_logging("ERROR")
    with redirect_stdout(sys.stderr):
        report = check_folder(given.path, probes=given.probe)
    _write_checked(given, report)
    return EXIT_OK if report.is_valid else EXIT_INVALID


def _write_checked(given: argparse.Namespace, report: FolderReport) -> None:
    if given.as_json:
        faults = [f"{report.path}: {error}" for error in report.errors]
        _write_json(_with_error(report.to_dict(), AgentLoadError.code, faults, _AGENT_HINT))
    else:
        _write_report(report)


def draw_agent(given: argparse.Namespace) -> int:
    """Draw the graph of an agent folder."""
    from hive_daemon.runner.agent_check import inspect_folder
    from hive_daemon.runner.drawing import drawn
    from hive_daemon.runner.layout import layout_of
    from hive_daemon.runner.mermaid import mermaid

    with redirect_stdout(sys.stderr):
        report, agent = inspect_folder(given.path)
    if agent is None:
        _write_checked(given, report)
        return EXIT_INVALID
    layout = layout_of(agent.graph, agent.entry_points)
    if given.as_json:
        _write_json({"path": report.path, "name": report.name, **layout.to_dict()})
    elif given.mermaid:
        sys.stdout.write(mermaid(layout))
    else:
        _write(*drawn(layout, is_plain=not _writes_boxes()))
    return EXIT_OK


def probe_servers(given: argparse.Namespace) -> int:
    """Start the MCP servers of a folder, list their tools, and stop them."""
    from hive_daemon.observability.logging import configure_logging
    from hive_daemon.runner.probing import probe_folder, to_text

    configure_logging("ERROR")
    with redirect_stdout(sys.stderr):
        probed = probe_folder(given.path, given.server)
    if given.as_json:
        sys.stdout.write(to_text(probed))
    else:
        _write(*probed.lines())
    return probed.exit_code


def run(given: argparse.Namespace) -> int:
    """Run an agent folder once in the foreground, or a Python program."""
    from hive_daemon.runner.program import is_program, run_program

    if is_program(given.path):
        return run_program(given.path, given.arguments)
    with loading():
        from hive_daemon.graph.approvals import Decision
        from hive_daemon.runner.command import run_folder
        from hive_daemon.runner.foreground import Order

    if given.input_fd:
        with open(int(given.input_fd), "rb") as file:
            document = json.load(file)
    else:
        document = {}
    order = Order(
        path=given.path,
        input=document,
        entry_point=given.entry_point,
        model=given.model,
        resume=given.resume,
        state_dir=given.state_dir,
        timeout_seconds=float(given.timeout) if given.timeout else None,
        accepts_changed_graph=given.accept_changed_graph,
        decisions=(
            *(Decision(call, is_approved=True) for call in given.approve),
            *(Decision(call, False, message=given.message) for call in given.reject),
        ),
    )
    return run_folder(order, as_json=given.as_json)


def ask(given: argparse.Namespace) -> int:
    """Answer a request that only reads from the store, as the daemon would; always as JSON."""
    import asyncio

    from hive_daemon.config.loaded import secret_values
    from hive_daemon.control.errors import error_document
    from hive_daemon.control.offline import ask_store
    from hive_daemon.observability.logging import configure_logging

    try:
        loaded = _load(given)
    except ConfigError as error:
        _write_json(error_document(error))
        return EXIT_INVALID
    configure_logging("ERROR", secrets=secret_values(loaded.config))
    status, body = asyncio.run(ask_store(loaded, given.target))
    sys.stdout.write(body.decode() + "\n")
    return EXIT_OK if status < 300 else ExitCode.FAILED


def doctor(given: argparse.Namespace) -> int:
    """Look for what is wrong with the daemon, its state and its machine."""
    from hive_daemon.doctor.examination import examine_process
    from hive_daemon.observability.logging import configure_logging

    configure_logging("ERROR")
    flags = {"socket": given.socket, "state_dir": given.state_dir}
    with redirect_stdout(sys.stderr):
        report = examine_process(given.config, flags, fix=given.fix)
    if given.as_json:
        _write_json(report.to_json())
    else:
        _write(*report.lines())
    return report.exit_code


def _load(given: argparse.Namespace) -> LoadedConfig:
    from hive_daemon.config.load import load_config
    from hive_daemon.config.sources import ConfigSources

    return load_config(ConfigSources.of_process(given.config))


# --- writing ------------------------------------------------------------------------------------


def _refuse(given: argparse.Namespace, error: ConfigError) -> int:
    if given.as_json:
        document = {"file": error.source or None, "valid": False, "errors": list(error.problems)}
        _write_json(_with_error(document, error.code, str(error).splitlines(), error.hint))
    else:
        _write(*str(error).splitlines(), *([f"hint: {error.hint}"] if error.hint else []))
    return EXIT_INVALID


def _with_error(
    document: dict[str, Any], code: str, problems: Iterable[str], hint: str = ""
) -> dict[str, Any]:
    """Return the document; with problems also in the form that every failing command has."""
    problems = list(problems)
    if not problems:
        return document
    return {"error": {"code": code, "message": "\n".join(problems), "hint": hint}, **document}


def _write_report(report: FolderReport) -> None:
    how = _EXECUTED if report.was_executed else _ONLY_READ if report.form else _NOT_READ
    points = ", ".join(f"{each['id']} ({each['trigger_type']})" for each in report.entry_points)
    _write(
        f"{report.name if report.form else report.path}: {_verdict(len(report.errors))} ({how})",
        *(f"  error: {error}" for error in report.errors),
        *(f"  warning: {warning}" for warning in report.warnings),
        *([f"  entry points: {points}"] if points else []),
    )


def _verdict(faults: int) -> str:
    return f"{faults} error{'s' if faults > 1 else ''}" if faults else "ok"


def _writes_boxes() -> bool:
    """Say whether the reader of stdout takes more than ASCII."""
    return (sys.stdout.encoding or "").lower().startswith("utf")


def _write(*lines: str) -> None:
    sys.stdout.writelines(f"{escape_controls(line)}\n" for line in lines)


def _write_json(document: Any) -> None:
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
