"""`hive run`: an agent folder run once in the foreground, or a Python program; no daemon is needed."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Annotated

import typer

from hive_cli.durations import parse_duration
from hive_cli.failures import Failure, usage
from hive_cli.grammar import Hive, command, single
from hive_cli.inputs import read_input
from hive_cli.local import become_local
from hive_cli.options import InputOption, reference
from hive_cli.render import Json
from hive_daemon.control.wire import ErrorCode, is_approval

app = single()


@dataclass(frozen=True, slots=True)
class Options:
    """What is run, and under which conditions; all of it is for agent folders."""

    input: InputOption = ""
    set: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="One key of the input; may be repeated."),
    ] = None
    entry_point: Annotated[
        str, typer.Option("--entry-point", metavar="NAME", help="Begin here.")
    ] = ""
    model: Annotated[
        str, typer.Option("--model", metavar="MODEL", help="Instead of the agent's own.")
    ] = ""
    resume: Annotated[
        str, typer.Option("--resume", metavar="SESSION", help="Go on with this session.")
    ] = ""
    state_dir: Annotated[
        str,
        typer.Option(
            "--state-dir", metavar="DIR", help="Keep the state here; temporary otherwise."
        ),
    ] = ""
    accept_changed_graph: Annotated[
        bool,
        typer.Option(
            "--accept-changed-graph", help="Go on though the graph was changed meanwhile."
        ),
    ] = False
    approve: Annotated[
        list[str] | None,
        typer.Option(
            "--approve", metavar="CALL", help="With --resume: let a tool call run; may be repeated."
        ),
    ] = None
    reject: Annotated[
        list[str] | None,
        typer.Option(
            "--reject", metavar="CALL", help="With --resume: keep one from it; may be repeated."
        ),
    ] = None
    message: Annotated[
        str,
        typer.Option("--message", metavar="TEXT", help="With --reject: what the model is told."),
    ] = ""
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="DURATION", help="Break off after 90s, 5m, 1h30m.")
    ] = ""

    def given(self) -> list[str]:
        """Return the options that were given, as they are written."""
        return [
            f"--{field.name.replace('_', '-')}"
            for field in fields(self)
            if getattr(self, field.name)
        ]

    def words(self) -> Iterator[str]:
        """Yield the options as the process takes them that does the work; raises Failure."""
        for name, value in (
            ("--entry-point", self.entry_point),
            ("--model", self.model),
            ("--resume", reference(self.resume, "session") if self.resume else ""),
            ("--state-dir", self.state_dir),
            ("--timeout", str(parse_duration(self.timeout)) if self.timeout else ""),
        ):
            if value:
                yield f"{name}={value}"
        if self.accept_changed_graph:
            yield "--accept-changed-graph"
        yield from self._decisions()
        document = read_input(self.input, self.set or [])
        if document:
            yield f"--input-fd={_handed_over(document)}"

    def _decisions(self) -> Iterator[str]:
        approved, rejected = self.approve or [], self.reject or []
        for option, calls in (("--approve", approved), ("--reject", rejected)):
            for call in calls:
                if not is_approval(call):
                    raise usage(f'{option}: "{call}" is not the id of a tool call', _CALLS)
                yield f"{option}={call}"
        if (approved or rejected) and not self.resume:
            raise usage("a decision is on a call that a session waits for", "name it with --resume")
        if (approved or rejected) and (self.input or self.set):
            raise usage("a decision and an input cannot be given together", "leave one of them out")
        if self.message and not rejected:
            raise usage("--message is for a call that is rejected", "name the call with --reject")
        if self.message:
            yield f"--message={self.message}"


@command(app, "run")
def run(
    hive: Hive,
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="An agent's folder, or a Python program.")
    ],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="ARGUMENT", help="Those of the program, after --."),
    ] = None,
    options: Options = Options(),  # a frozen value
) -> int:
    """Run an agent folder once in the foreground, or a Python program, without a daemon."""
    if not os.path.exists(path):
        raise Failure(ErrorCode.NOT_FOUND, f"{path}: there is no such file or folder", _PATHS)
    if os.path.isfile(path):
        return _run_program(path, arguments or [], options)
    if arguments:
        raise usage(f'"{arguments[0]}" is one word too many', "an agent's input is --input, --set")
    as_json = ["--json"] if hive.as_json else []
    return become_local("run", *options.words(), *as_json, "--", path)


_PATHS = "name an agent's folder, or a Python program"
_CALLS = "the run named it when it ended; `latest` means the only one that waits"
_AFTER_THE_STANDARD_STREAMS = 3


def _handed_over(document: Json) -> int:
    """Return a descriptor of a file that has no name and holds the document, for the process that takes our place."""
    with tempfile.TemporaryFile() as file:
        file.write(json.dumps(document).encode())
        file.seek(0)
        return fcntl.fcntl(file, fcntl.F_DUPFD, _AFTER_THE_STANDARD_STREAMS)


def _run_program(path: str, arguments: list[str], options: Options) -> int:
    if not path.endswith(".py"):
        raise usage(f"{path}: is neither a folder nor a Python program", _PATHS)
    if options.given():
        raise usage(
            f"{options.given()[0]} is for agent folders",
            f"the program's own options come after --: hive run {path} -- …",
        )
    return become_local("run", "--", path, *arguments)
