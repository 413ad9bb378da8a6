"""`hive webhooks`: the routes that take webhooks, and what became of each delivery."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Annotated

import typer

from hive_cli.durations import absolute, parse_duration, relative
from hive_cli.failures import usage
from hive_cli.grammar import Hive, command, group
from hive_cli.inputs import read_text
from hive_cli.options import (
    StatusOption,
    given,
    whole_number,
)
from hive_cli.render import Cell, Json, note, write, write_facts, write_json, write_table
from hive_daemon.control.wire import ExitCode, Route, is_delivery

app = group("List and try webhook routes; list, show and replay deliveries.")

RouteOption = Annotated[
    str, typer.Option("--route", metavar="ROUTE", help="Only of this path or source.")
]
SinceOption = Annotated[
    str, typer.Option("--since", metavar="DURATION", help="Only what came within 90s, 2h, 1d.")
]


@command(app, "routes")
def routes(hive: Hive) -> None:
    """List the routes, what they ask of a sender, and how they answered since the daemon began."""
    answer = hive.client.all(Route.WEBHOOKS)
    if hive.as_json:
        write_json(answer)
        return
    write_table(
        ("ROUTE", "SOURCE", "AGENT", "VERIFY", "TAKEN", "REFUSED", "ENTRY POINTS"),
        [_route_row(route) for route in answer.get("items") or ()],
    )


def _route_row(route: Json) -> list[Cell]:
    answered = route.get("answered") or {}
    refused = {status: count for status, count in answered.items() if int(status) >= 400}
    taken = sum(answered.values()) - sum(refused.values())
    told = " ".join(f"{status}:{count}" for status, count in refused.items())
    verify = str(route.get("verify"))
    return [
        *(str(route.get(key) or "-") for key in ("path", "source_id", "agent")),
        (verify, "yellow" if verify == "none" else ""),
        str(taken),
        told or "0",
        ", ".join(route.get("entry_points") or ()) or ("nobody listens", "yellow"),
    ]


@dataclass(frozen=True, slots=True)
class Tried:
    """What is tried: a payload and its headers, signed or not, only judged or sent."""

    payload: Annotated[
        str,
        typer.Option("--payload", metavar="FILE|-", help="The body, as it is; - reads stdin."),
    ] = ""
    header: Annotated[
        list[str] | None,
        typer.Option("--header", metavar="NAME:VALUE", help="A header; may be repeated."),
    ] = None
    sign: Annotated[
        bool, typer.Option("--sign", help="Sign it in the daemon, with the route's own secret.")
    ] = False
    send: Annotated[
        bool, typer.Option("--send", help="Post it to the route too: what listens runs.")
    ] = False

    def body(self) -> Json:
        """Return the body of the request, without the route; raises Failure."""
        if not self.payload:
            raise usage("there is no payload", "say --payload FILE, or --payload - for stdin")
        return {
            "payload": read_text(self.payload, option="--payload"),
            "headers": dict(_header(text) for text in self.header or ()),
            "sign": self.sign,
            "send": self.send,
        }


@command(app, "test")
def test(
    hive: Hive,
    route: Annotated[
        str, typer.Argument(metavar="ROUTE", help="A route: its path, or its source.")
    ],
    tried: Tried,
) -> ExitCode:
    """Say what would become of a payload, check by check; nothing starts unless you say --send."""
    body = {"route": route, **tried.body()}
    answer = hive.client.post(Route.WEBHOOKS_TEST.path(), body, key=os.urandom(16).hex())
    if hive.as_json:
        write_json(answer)
    else:
        _show_trial(answer, is_sent=tried.send)
    return ExitCode.OK if int(answer.get("status") or 500) < 400 else ExitCode.FAILED


def _show_trial(answer: Json, *, is_sent: bool) -> None:
    write_table(
        ("CHECK", "RESULT", ""),
        [
            [str(each.get("check")), _mark(each.get("result")), str(each.get("told") or "")]
            for each in answer.get("checks") or ()
        ],
    )
    verb = "was" if is_sent else "would be"
    write("")
    write_facts(
        [
            ("answer", f"{verb} {answer.get('status')} {answer.get('outcome')}"),
            ("why", answer.get("reason") or ""),
            ("delivery key", str(answer.get("delivery_key"))),
            ("executions", _ids(answer if not is_sent else answer.get("answer") or {})),
            ("burst", answer.get("coalesce_key") or ""),
            ("entry points", ", ".join(answer.get("entry_points") or ()) or "nobody listens"),
        ]
    )
    if answer.get("input"):
        write("\ninput, beside the event")
        write(json.dumps(answer.get("input"), indent=2))


def _mark(result: object) -> Cell:
    colours = {"passes": "green", "fails": "red", "unknown": "yellow"}
    return (str(result), colours.get(str(result), ""))


@command(app, "deliveries")
def deliveries(
    hive: Hive,
    route: RouteOption = "",
    status: StatusOption = None,
    since: SinceOption = "",
    last: Annotated[
        str, typer.Option("-n", metavar="N", help="At most so many, the newest.")
    ] = "50",
    cursor: Annotated[
        str, typer.Option("--cursor", metavar="TEXT", help="Go on where the last page ended.")
    ] = "",
) -> None:
    """List deliveries, the newest first: what came, and what became of it."""
    query: dict[str, str | int | list[str]] = {
        "limit": whole_number("-n", last),
        **given(cursor=cursor, route=route, status=status, since=since and _since(since)),
    }
    answer = hive.client.get(Route.DELIVERIES, query)
    if hive.as_json:
        write_json(answer)
        return
    write_table(
        ("DELIVERY", "ROUTE", "CAME", "STATUS", "AGAIN", "EXECUTION"),
        [_delivery_row(delivery) for delivery in answer.get("items") or ()],
    )
    if answer.get("next_cursor"):
        note(f"there are more: --cursor {answer['next_cursor']}")


def _delivery_row(delivery: Json) -> list[Cell]:
    return [
        *(str(delivery.get(key)) for key in ("delivery_id", "route")),
        relative(delivery.get("received_at")),
        _outcome(delivery.get("status")),
        str(delivery.get("repeats")),
        _ids(delivery) or delivery.get("reason") or "-",
    ]


@command(app, "show")
def show(
    hive: Hive,
    delivery: Annotated[str, typer.Argument(metavar="ID", help="A delivery.")],
) -> None:
    """Show a delivery: what it carried, and what became of it."""
    answer = hive.client.get(Route.DELIVERY, delivery=_delivery_id(delivery))
    if hive.as_json:
        write_json(answer)
        return
    came = answer.get("received_at")
    write_facts(
        [
            *(
                (name, str(answer.get(name) or ""))
                for name in ("delivery_id", "route", "source_id")
            ),
            ("status", _outcome(answer.get("status"))),
            ("reason", answer.get("reason") or ""),
            ("executions", _ids(answer)),
            ("came", f"{absolute(came)}, {relative(came)}"),
            ("due", relative(answer.get("due_at")) if answer.get("due_at") else ""),
            ("came again", str(answer.get("repeats") or "")),
            ("stands for", str(answer.get("superseded") or "")),
            ("superseded by", answer.get("superseded_by") or ""),
            ("replay of", answer.get("replay_of") or ""),
            ("key", str(answer.get("key"))),
            ("body sha256", str(answer.get("body_sha256"))),
        ]
    )
    write("\nevent")
    write(json.dumps(answer.get("data"), indent=2))


@command(app, "replay")
def replay(
    hive: Hive,
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID", help="Deliveries, unless --since says which."),
    ] = None,
    since: SinceOption = "",
    route: RouteOption = "",
    status: Annotated[
        str, typer.Option("--status", metavar="STATUS", help="Only those of this status.")
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would become of them, and do nothing.")
    ] = False,
) -> ExitCode:
    """Take deliveries once more, as new ones, by the rules of today."""
    body = {**_selection(ids or [], since, route, status), "dry_run": dry_run}
    answer = hive.client.post(Route.WEBHOOKS_REPLAY.path(), body, key=os.urandom(16).hex())
    items = answer.get("items") or ()
    if hive.as_json:
        write_json(answer)
    else:
        write_table(
            ("REPLAY OF", "ROUTE", "DELIVERY", "WOULD BE" if dry_run else "STATUS", "EXECUTION"),
            [_replay_row(each) for each in items],
        )
    is_refused = any(each.get("status") == "refused" for each in items)
    return ExitCode.CONFLICT if is_refused else ExitCode.OK


def _selection(ids: list[str], since: str, route: str, status: str) -> Json:
    if bool(ids) == bool(since) or (ids and (route or status)):
        raise usage(
            "say which deliveries: their ids, or --since with --route or --status",
            "list them with `hive webhooks deliveries`",
        )
    if ids:
        return {"ids": [_delivery_id(each) for each in ids]}
    return {
        "since": _since(since),
        **given(route=route, status=status),
    }


def _replay_row(told: Json) -> list[Cell]:
    return [
        *(str(told.get(key) or "-") for key in ("replay_of", "route", "delivery_id")),
        _outcome(told.get("status")),
        _ids(told) or told.get("reason") or "-",
    ]


# --- values -----------------------------------------------------------------------------------


def _ids(document: Json) -> str:
    return " ".join(map(str, document.get("execution_ids") or ()))


def _outcome(status: object) -> Cell:
    return (str(status), _COLOURS.get(str(status), ""))


_COLOURS = {
    **dict.fromkeys(("queued", "duplicate"), "green"),
    **dict.fromkeys(("failed", "refused"), "red"),
    **dict.fromkeys(("received", "coalesced"), "cyan"),
    **dict.fromkeys(("ignored", "superseded"), "dim"),
}


def _since(text: str) -> str:
    parse_duration(text)
    return text


def _delivery_id(text: str) -> str:
    if is_delivery(text):
        return text
    raise usage(
        f'"{text}" is not the id of a delivery', "list them with `hive webhooks deliveries`"
    )


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise usage(
            f"--header {text}: is not NAME:VALUE", "for example --header X-GitHub-Event:push"
        )
    return name.strip(), value.strip()
