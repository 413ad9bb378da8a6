"""The entrance of the `hive` command line: the list of commands, and how a command ends.

Only the module of the command that was named is imported. Guarantees: a failure is one sentence, one hint and one
exit code, never a traceback; a reader of stdout that leaves early ends the command in silence.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import Any

import typer

from hive_cli.failures import Failure, complain, report, usage
from hive_cli.grammar import SETTINGS, Common, HiveGroup, JsonFlag, PlainFlag, SocketOption
from hive_daemon.control.wire import ErrorCode, ExitCode

COMMANDS = {
    "trigger": "Start an execution.",
    "executions": "List, show, await and cancel executions.",
    "queue": "List, explain, move and cancel what waits to run.",
    "sessions": "List, show, follow, resume and answer sessions.",
    "approvals": "List, show, approve and reject tool calls that wait for a person.",
    "budget": "Show how budgets stand, and what the timers will spend.",
    "incidents": "List, show, acknowledge and resolve what is wrong.",
    "timers": "List, explain, pause, resume, run and simulate timers.",
    "webhooks": "List and try webhook routes; list, show and replay deliveries.",
    "events": "Show or follow the events of all agents.",
    "logs": "Show or follow the log of the daemon, of one execution if you like.",
    "trace": "Draw what an execution did when.",
    "ps": "List what runs, waits, or was put away.",
    "top": "Show live what runs, and what it costs.",
    "show": "Show anything that has an id.",
    "why": "Say why a thing is as it is.",
    "doctor": "Look for what is wrong, and mend what is safe to mend.",
    "stats": "Show what the daemon is doing.",
    "status": "Say how the daemon and each agent fare.",
    "health": "Say whether the daemon is well.",
    "run": "Run an agent folder or a program once, without a daemon.",
    "agents": "List the agents, check and draw an agent folder.",
    "mcp": "List MCP servers and their tools, probe those of a folder.",
    "config": "Check and show the configuration.",
    "drain": "Stop the daemon in good order.",
    "version": "Show the versions of hive and of the daemon.",
}
"""Every command and what it is for; its module is `hive_cli.commands.NAME`."""


class Commands(HiveGroup):
    """The commands of `hive`, each imported when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands."""
        return list(COMMANDS)

    def find(self, ctx: Any, name: str) -> Any:
        """Return the command with this name, None if there is none."""
        if name not in COMMANDS:
            return None
        place: typer.Typer = importlib.import_module(f"hive_cli.commands.{name}").app
        found = typer.main.get_command(place)
        found.name = name
        return found

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of commands, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


app = typer.Typer(cls=Commands, **SETTINGS)


@app.callback()
def hive(
    context: typer.Context,
    as_json: JsonFlag = False,
    socket: SocketOption = "",
    no_color: PlainFlag = False,
) -> None:
    """Drive hived, the daemon that runs agents when nobody is watching."""
    context.obj = Common(as_json, socket, no_color)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; `hive --version` is `hive version`."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["--version"]:
        arguments[0] = "version"
    _open_streams()
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_stdout()
        return ExitCode.BROKEN_PIPE
    except OSError as error:
        complain(f"the output cannot be written: {error.strerror}", "make room, or write elsewhere")
        _forget_stdout()
        return ExitCode.FAILED
    return code


# Typer re-exports only BadParameter; the class of everything that a parser complains about is its grandparent.
_PARSER_COMPLAINT: type[Any] = typer.BadParameter.__mro__[2]


def _run(arguments: list[str]) -> int:
    as_json = "--json" in arguments
    root = typer.main.get_command(app)
    try:
        with root.make_context("hive", [*arguments]) as context:
            return int(root.invoke(context) or ExitCode.OK)
    except typer.Exit as end:
        return end.exit_code
    except _PARSER_COMPLAINT as complaint:
        failure = _misuse(complaint)
    except Failure as error:
        failure = error
    except KeyboardInterrupt:
        failure = Failure(
            ErrorCode.INTERRUPTED, "interrupted", "what the daemon was asked to do goes on"
        )
    report(failure, as_json=as_json)
    return failure.exit_code


def _misuse(complaint: Any) -> Failure:
    path = complaint.ctx.command_path if complaint.ctx else "hive"
    return usage(complaint.format_message().rstrip("."), f"see `{path} --help`")


def _open_streams() -> None:
    """Make both streams writable, whatever they were closed with and whatever they can encode."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  # lives as long as the process
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _forget_stdout() -> None:
    """Keep the interpreter from complaining once more when it flushes stdout at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
