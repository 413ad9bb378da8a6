"""`hive sessions`: the conversations that executions leave behind and go on with."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import typer

from hive_cli.durations import absolute, relative
from hive_cli.failures import Failure, usage
from hive_cli.follow import Follower, Source
from hive_cli.grammar import Hive, command, group
from hive_cli.inputs import STDIN, read_answer, read_input
from hive_cli.narration import Narrator
from hive_cli.options import (
    FollowFlag,
    InputOption,
    Page,
    SessionRef,
    StatusOption,
    Window,
    reference,
)
from hive_cli.reading import is_reachable, read
from hive_cli.render import (
    Cell,
    Json,
    note,
    status_cell,
    write,
    write_facts,
    write_json,
    write_line,
    write_table,
)
from hive_cli.runs import conclude, cost, show_execution, tell_outcome, tokens
from hive_daemon.control.wire import ErrorCode, ExitCode, Route, Status, Until

app = group("List, show, follow, resume and answer sessions.")

_WITHOUT_EFFECT = frozenset({"set_output", "ask_user", "escalate"})
"""Tools of the model loop itself."""


@command(app, "list")
def list_sessions(hive: Hive, page: Page, status: StatusOption = None) -> None:
    """List sessions, the newest first."""
    answer = read(hive, Route.SESSIONS, page.query(status=status))
    if hive.as_json:
        write_json(answer)
        return
    write_table(
        ("SESSION", "ENTRY POINT", "STATUS", "RUNS", "NODE", "STEPS", "UPDATED", "ASKS"),
        [_row(session) for session in answer.get("items") or ()],
    )
    if answer.get("next_cursor"):
        note(f"there are more: --cursor {answer['next_cursor']}")


def _row(session: Json) -> list[Cell]:
    return [
        str(session.get("id")),
        str(session.get("entry_point")),
        status_cell(session.get("status")),
        str(session.get("executions")),
        str(session.get("current_node") or "-"),
        str(session.get("steps")),
        relative(session.get("updated_at")),
        str((session.get("waiting") or {}).get("question") or "-"),
    ]


@command(app, "show")
def show(hive: Hive, session: SessionRef) -> None:
    """Show a session and its latest execution."""
    answer = read(hive, Route.SESSION, session=reference(session, "session"))
    if hive.as_json:
        write_json(answer)
        return
    write_facts(
        [
            ("session", str(answer.get("id"))),
            ("status", status_cell(answer.get("status"))),
            (
                "created",
                f"{absolute(answer.get('created_at'))}, {relative(answer.get('created_at'))}",
            ),
            (
                "updated",
                f"{absolute(answer.get('updated_at'))}, {relative(answer.get('updated_at'))}",
            ),
            ("executions", str(answer.get("executions"))),
            ("steps", str(answer.get("steps"))),
            ("tokens", tokens(answer)),
            ("cost", cost(answer)),
        ]
    )
    if answer.get("latest_execution"):
        write("\nlatest execution")
        show_execution(answer["latest_execution"])


@command(app, "tail")
def tail(hive: Hive, session: SessionRef, window: Window, follow: FollowFlag = False) -> ExitCode:
    """Show a session's events; with -f go on until nothing of it runs, and end with that run's exit code."""
    after, last = window.start()
    if not follow and not is_reachable(hive):
        _tell_stored(hive, reference(session, "session"), after, last)
        return ExitCode.OK
    id = str(hive.client.get(Route.SESSION, session=reference(session, "session")).get("id"))
    follower = Follower(
        hive.client,
        Source(
            Route.SESSION_EVENTS.path(session=id),
            Until.SETTLED if follow else Until.CAUGHT_UP,
            {"live": "false"} if hive.as_json else {},
            after,
            last,
        ),
    )
    try:
        _tell(hive, follower)
    except KeyboardInterrupt:
        raise _detached(id, follower) from None
    execution = follower.end.get("execution")
    return tell_outcome(execution) if follow and execution else ExitCode.OK


def _tell(hive: Hive, follower: Follower) -> None:
    _narrate(hive, follower.events())


def _tell_stored(hive: Hive, session: str, after: int | None, last: int | None) -> None:
    """Tell what the store of a daemon that is down holds of a session."""
    query = {
        **({"after": after} if after is not None else {}),
        **({"last": last} if last is not None else {}),
    }
    _narrate(hive, read(hive, Route.SESSION_EVENTS, query, session=session).get("items") or ())


def _narrate(hive: Hive, events: Iterable[Json]) -> None:
    narrator = Narrator(sys.stdout)
    try:
        for event in events:
            if hive.as_json:
                write_line(event)
            else:
                narrator.tell(event)
    finally:
        narrator.close()


def _detached(session: str, follower: Follower) -> Failure:
    seq = f" --from-seq {follower.seen + 1}" if follower.seen is not None else ""
    return Failure(
        ErrorCode.INTERRUPTED,
        f"detached, {session} goes on",
        f"watch it again with `hive sessions tail -f {session}{seq}`",
    )


@command(app, "checkpoints")
def checkpoints(hive: Hive, session: SessionRef, page: Page) -> None:
    """List the checkpoints of a session, oldest first; `resume --from` takes their ids."""
    id = reference(session, "session")
    answer = read(hive, Route.SESSION_CHECKPOINTS, page.query(), session=id)
    if hive.as_json:
        write_json(answer)
        return
    write_table(
        ("CHECKPOINT", "TYPE", "NODE", "NEXT", "CLEAN", "CREATED"),
        [_checkpoint_row(checkpoint) for checkpoint in answer.get("items") or ()],
    )
    if answer.get("next_cursor"):
        note(f"there are more: --cursor {answer['next_cursor']}")


def _checkpoint_row(checkpoint: Json) -> list[Cell]:
    return [
        str(checkpoint.get("checkpoint_id")),
        str(checkpoint.get("checkpoint_type")),
        str(checkpoint.get("current_node") or "-"),
        str(checkpoint.get("next_node") or "-"),
        "yes" if checkpoint.get("is_clean") else "no",
        relative(checkpoint.get("created_at")),
    ]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a session goes on, and under which conditions."""

    checkpoint: Annotated[
        str, typer.Option("--from", metavar="CHECKPOINT", help="Go back to this checkpoint.")
    ] = ""
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="Only what failed, and say what its tools have done."),
    ] = False
    accept_changed_graph: Annotated[
        bool,
        typer.Option("--accept-changed-graph", help="Also if the graph was changed meanwhile."),
    ] = False

    def body(self) -> Json:
        """Return the place as the daemon takes it; raises Failure."""
        if self.checkpoint and self.retry_failed:
            raise usage("--from and --retry-failed exclude each other", "say one of them")
        flags = {
            "retry_failed": self.retry_failed,
            "accept_changed_graph": self.accept_changed_graph,
        }
        said = {key: True for key, value in flags.items() if value}
        return {"from": self.checkpoint, **said} if self.checkpoint else said


@command(app, "resume")
def resume(hive: Hive, session: SessionRef, place: Place, input: InputOption = "") -> ExitCode:
    """Go on with a session that is paused, waiting, interrupted, failed or cancelled."""
    body = place.body()
    if input:
        body["input"] = read_input(input, [])
    id = reference(session, "session")
    is_elsewhere = place.checkpoint or place.retry_failed
    unanswered = None if input or is_elsewhere else _that_waits(hive, id)
    if unanswered is not None and not body:
        return conclude(hive, unanswered)
    accepted = _accepted(hive, Route.SESSION_RESUME.path(session=id), body)
    if place.retry_failed:
        _tell_effects(hive, accepted)
    if unanswered is not None:
        return tell_outcome(unanswered)
    return ExitCode.OK


def _that_waits(hive: Hive, session: str) -> Json | None:
    """Return the latest execution of a session if only a person's answer lets it go on."""
    execution: Json = hive.client.get(Route.SESSION, session=session).get("latest_execution") or {}
    asks = execution.get("status") in (Status.WAITING_INPUT, Status.WAITING_APPROVAL)
    return execution if asks else None


def _tell_effects(hive: Hive, accepted: Json) -> None:
    """Say which tools were run in the session before: what they did stays done."""
    query = {
        "type": "tool_call_completed",
        "session_id": str(accepted.get("session_id")),
        "live": "false",
    }
    follower = Follower(hive.client, Source(Route.EVENTS.path(), Until.CAUGHT_UP, query, after=0))
    done = Counter(
        (str(event.get("node_id")), str(event["data"].get("tool_name")))
        for event in follower.events()
        if event.get("execution_id") != accepted.get("execution_id")
        and not event["data"].get("is_error")
    )
    for (node, tool), count in done.items():
        if tool not in _WITHOUT_EFFECT:
            note(
                f"done before: {tool} at node {node}, {'once' if count == 1 else f'{count} times'}"
            )


@command(app, "input")
def answer(
    hive: Hive,
    session: SessionRef,
    text: Annotated[
        str, typer.Argument(metavar="TEXT|-", help="What to say; - reads standard input.")
    ],
    node: Annotated[
        str, typer.Option("--node", metavar="NODE", help="The node that asks, where several do.")
    ] = "",
) -> None:
    """Answer the question that a session waits with."""
    said = read_answer() if text == STDIN else text
    body = {"text": said, "node_id": node} if node else {"text": said}
    _accepted(hive, Route.SESSION_INPUT.path(session=reference(session, "session")), body)


def _accepted(hive: Hive, path: str, body: Json) -> Json:
    """Post what starts work, and write the id of the execution that does it."""
    accepted = hive.client.post(path, body, key=os.urandom(16).hex())
    if hive.as_json:
        write_json(accepted)
    else:
        write(str(accepted.get("execution_id")))
    return accepted
