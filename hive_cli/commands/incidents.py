"""`hive incidents`: what is wrong, once for each signature."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from hive_cli.durations import absolute, relative
from hive_cli.failures import usage
from hive_cli.grammar import Hive, command, group
from hive_cli.options import Page
from hive_cli.reading import read
from hive_cli.render import Cell, Json, note, write_facts, write_json, write_table
from hive_daemon.control.wire import Route

app = group("List, show, acknowledge and resolve incidents: what is wrong, and since when.")

IncidentId = Annotated[str, typer.Argument(metavar="ID", help="An incident, as `list` names it.")]
Note = Annotated[str, typer.Option("--note", metavar="TEXT", help="What others should know.")]


@command(app, "list")
def list_incidents(
    hive: Hive,
    page: Page,
    agent: Annotated[
        str, typer.Option("--agent", metavar="NAME", help="Only those of this agent.")
    ] = "",
    status: Annotated[
        str,
        typer.Option(
            "--status",
            metavar="STATUS",
            help="open, acknowledged, resolved or all; without it, those that are not over.",
        ),
    ] = "",
) -> None:
    """List incidents, last seen first."""
    given = {"agent": agent, "status": status}
    query = {**page.query(), **{key: value for key, value in given.items() if value}}
    answer = read(hive, Route.INCIDENTS, query)
    if hive.as_json:
        write_json(answer)
        return
    write_table(
        ("INCIDENT", "SEVERITY", "STATUS", "WHERE", "SEEN", "LAST", "CAUSE"),
        [_row(incident) for incident in answer.get("items") or ()],
    )
    if answer.get("next_cursor"):
        note(f"there are more: --cursor {answer['next_cursor']}")


def _row(incident: Json) -> list[Cell]:
    return [
        str(incident.get("id")),
        str(incident.get("severity")),
        str(incident.get("status")),
        _where(incident),
        f"{incident.get('count')}x",
        relative(incident.get("last_seen")),
        str(incident.get("cause")),
    ]


def _where(incident: Json) -> str:
    return str(incident.get("entry_point") or incident.get("agent"))


@command(app, "show")
def show(hive: Hive, incident: IncidentId) -> None:
    """Show an incident, with what to do and the executions that it was seen in."""
    _write(hive, read(hive, Route.INCIDENT, incident=_reference(incident)))


@command(app, "ack")
def ack(hive: Hive, incident: IncidentId, note: Note = "") -> None:
    """Silence an incident until it is over: nobody is alerted of it any more."""
    _order(hive, Route.INCIDENT_ACK, incident, note)


@command(app, "resolve")
def resolve(hive: Hive, incident: IncidentId, note: Note = "") -> None:
    """Say that an incident is over; seen again, it is opened anew."""
    _order(hive, Route.INCIDENT_RESOLVE, incident, note)


def _order(hive: Hive, route: Route, incident: str, text: str) -> None:
    body = {"note": text} if text else {}
    _write(hive, hive.client.post(route.path(incident=_reference(incident)), body))


def _write(hive: Hive, answer: Json) -> None:
    if hive.as_json:
        write_json(answer)
        return
    facts = [
        ("incident", str(answer.get("id"))),
        ("status", _status(answer)),
        ("severity", str(answer.get("severity"))),
        ("pattern", str(answer.get("pattern"))),
        ("where", _where(answer)),
        ("cause", str(answer.get("cause"))),
        ("do", str(answer.get("action"))),
        ("evidence", answer.get("evidence") or "-"),
        ("seen", f"{_times(answer.get('count'))}, opened {_times(answer.get('openings'))}"),
        ("first", _moment(answer.get("first_seen"))),
        ("last", _moment(answer.get("last_seen"))),
        ("note", answer.get("note") or "-"),
        ("executions", ", ".join(answer.get("executions") or ()) or "-"),
    ]
    write_facts(facts)


def _status(answer: Json) -> str:
    by = answer.get("by")
    return f"{answer.get('status')} by {by}" if by else str(answer.get("status"))


def _moment(text: str | None) -> str:
    return f"{absolute(text)}, {relative(text)}"


def _reference(text: str) -> str:
    if re.fullmatch(r"inc_[0-9a-f]{12}", text):
        return text
    raise usage(f'"{text}" is not the id of an incident', "list them with `hive incidents list`")


def _times(count: object) -> str:
    return "once" if count == 1 else f"{count} times"
