"""`hive trigger`: start an execution, and if wanted see it through."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from typing import Annotated

import typer

from hive_cli.client import AnswerLost, Client
from hive_cli.durations import parse_duration, relative
from hive_cli.failures import Failure, usage
from hive_cli.follow import Follower, Source, patience_until
from hive_cli.grammar import Hive, command, single
from hive_cli.inputs import read_input
from hive_cli.narration import Narrator
from hive_cli.options import InputOption, reference
from hive_cli.render import Json, note, write, write_json
from hive_cli.runs import await_execution, conclude, deadline_after, detached
from hive_daemon.control.wire import ErrorCode, ExitCode, Route, Until, is_address, trigger_path

app = single()


@dataclass(frozen=True, slots=True)
class Payload:
    """What the execution is given."""

    input: InputOption = ""
    set: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="One key of the input; may be repeated."),
    ] = None
    session: Annotated[
        str, typer.Option("--session", metavar="ID", help="Continue this session.")
    ] = ""

    def body(self) -> Json:
        """Return the body of the request; raises Failure."""
        document = read_input(self.input, self.set or [])
        session = {"session_id": reference(self.session, "session")} if self.session else {}
        return {"input": document, "source": "cli", **session}


@dataclass(frozen=True, slots=True)
class Watch:
    """How long the command stays."""

    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for the end; the exit code tells it.")
    ] = False
    timeout: Annotated[
        str,
        typer.Option("--timeout", metavar="DURATION", help="Wait no longer than 90s, 5m, 1h30m."),
    ] = ""
    follow: Annotated[
        bool, typer.Option("--follow", help="Wait, and show events on stderr as they come.")
    ] = False

    def seconds(self) -> float | None:
        """Return how long to wait at most, None for ever; raises Failure."""
        if self.timeout and not (self.wait or self.follow):
            raise usage("--timeout says how long to wait", "say --wait or --follow as well")
        return parse_duration(self.timeout) if self.timeout else None


@command(app, "trigger")
def trigger(
    hive: Hive,
    entry_point: Annotated[
        str,
        typer.Argument(metavar="ENTRY_POINT", help="agent/entry_point, or bare if unambiguous."),
    ],
    payload: Payload,
    watch: Watch,
    idempotency_key: Annotated[
        str,
        typer.Option("--idempotency-key", metavar="KEY", help="The same key starts it only once."),
    ] = "",
) -> ExitCode:
    """Start an execution and write its id; with --wait its output, and end with its exit code."""
    if not is_address(entry_point):
        raise usage(f'"{entry_point}" is not an entry point', "see them with `hive agents list`")
    seconds, body, key = watch.seconds(), payload.body(), _key(idempotency_key)
    accepted = _submit(hive, entry_point, body, key)
    if not (watch.wait or watch.follow):
        _show_accepted(hive, accepted)
        return ExitCode.OK
    deadline = deadline_after(seconds)
    # hived was there a moment ago: if it is gone now, it is on its way back.
    client = replace(hive.client, patience=patience_until(deadline))
    if watch.follow:
        _narrate(client, accepted, deadline)
    execution = await_execution(client, str(accepted.get("execution_id")), deadline)
    return conclude(hive, execution, seconds)


def _key(given: str) -> str:
    """Return the idempotency key, a new one if none was given; raises Failure."""
    if len(given) > 200 or not all("!" <= character <= "~" for character in given):
        raise usage(
            f'"{given}" is not an idempotency key', "it has 1 to 200 visible ASCII characters"
        )
    return given or os.urandom(16).hex()


def _submit(hive: Hive, entry_point: str, body: Json, key: str) -> Json:
    try:
        return hive.client.post(trigger_path(entry_point), body, key=key)
    except AnswerLost as error:
        raise Failure(
            ErrorCode.UNREACHABLE,
            f"{error.message}, so it may have started",
            f"repeat the command with --idempotency-key {key}: it starts only once",
        ) from error
    except KeyboardInterrupt:
        raise Failure(
            ErrorCode.INTERRUPTED,
            "interrupted before hived answered, so it may have started",
            f"repeat the command with --idempotency-key {key}: it starts only once",
        ) from None


def _show_accepted(hive: Hive, accepted: Json) -> None:
    if hive.as_json:
        write_json(accepted)
        return
    write(str(accepted.get("execution_id")))
    outcome = accepted.get("outcome")
    if outcome == "duplicate" or not (outcome or accepted.get("created", True)):
        note(f"duplicate: this is the execution that the first one started, {_status(accepted)}")
    elif outcome == "coalesced":
        note(f"coalesced: an execution that is held back took it in{_due(accepted)}")
    elif accepted.get("due_at"):
        note(f"{_status(accepted)}{_due(accepted)}")
    elif sys.stderr.isatty():
        note(
            f"{_status(accepted)}; watch it with `hive sessions tail -f {accepted.get('session_id')}`"
        )


def _status(accepted: Json) -> str:
    return str(accepted.get("status"))


def _due(accepted: Json) -> str:
    due = accepted.get("due_at")
    return f", begins {relative(due)} at the earliest" if due else ""


def _narrate(client: Client, accepted: Json, deadline: float | None) -> None:
    """Tell the execution's events on stderr until it is settled or the deadline comes."""
    source = Source(
        Route.SESSION_EVENTS.path(session=str(accepted.get("session_id"))),
        Until.SETTLED,
        {"execution_id": str(accepted.get("execution_id"))},
    )
    narrator = Narrator(sys.stderr)
    try:
        for event in Follower(client, source).events(deadline):
            narrator.tell(event)
    except TimeoutError:
        return
    except KeyboardInterrupt:
        raise detached({**accepted, "id": accepted.get("execution_id")}) from None
    finally:
        narrator.close()
