"""`hive approvals`: tool calls that wait for a person."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from hive_cli.durations import absolute, relative
from hive_cli.failures import usage
from hive_cli.grammar import Hive, command, group
from hive_cli.inputs import read_input
from hive_cli.options import (
    Page,
    given,
)
from hive_cli.render import Cell, Json, note, write, write_facts, write_json, write_table
from hive_daemon.control.wire import Route, is_approval

app = group("List, show, approve and reject tool calls that wait for a person.")

ApprovalRef = Annotated[
    str,
    typer.Argument(metavar="ID", help="An approval, or an execution that waits for just one."),
]


@command(app, "list")
def list_approvals(
    hive: Hive,
    page: Page,
    agent: Annotated[
        str, typer.Option("--agent", metavar="NAME", help="Only those of this agent.")
    ] = "",
) -> None:
    """List the tool calls that wait for a person."""
    answer = hive.client.get(Route.APPROVALS, page.query(agent=agent))
    if hive.as_json:
        write_json(answer)
        return
    write_table(
        ("APPROVAL", "ENTRY POINT", "TOOL", "ASKED", "REASON"),
        [_row(approval) for approval in answer.get("items") or ()],
    )
    if answer.get("next_cursor"):
        note(f"there are more: --cursor {answer['next_cursor']}")


def _row(approval: Json) -> list[Cell]:
    return [
        str(approval.get("id")),
        str(approval.get("entry_point")),
        str(approval.get("tool")),
        relative(approval.get("asked_at")),
        approval.get("reason") or "-",
    ]


@command(app, "show")
def show(hive: Hive, approval: ApprovalRef) -> None:
    """Show a tool call that waits for a person, with its arguments."""
    answer = hive.client.get(Route.APPROVAL, approval=_reference(approval))
    if hive.as_json:
        write_json(answer)
        return
    asked = answer.get("asked_at")
    write_facts(
        [
            ("approval", str(answer.get("id"))),
            ("session", str(answer.get("session_id"))),
            ("entry point", str(answer.get("entry_point"))),
            ("node", str(answer.get("node_id"))),
            ("tool", str(answer.get("tool"))),
            ("reason", answer.get("reason") or "-"),
            ("asked", f"{absolute(asked)}, {relative(asked)}"),
        ]
    )
    write("\narguments")
    write(json.dumps(answer.get("arguments"), indent=2, ensure_ascii=False))


@command(app, "approve")
def approve(
    hive: Hive,
    approval: ApprovalRef,
    edit: Annotated[
        str,
        typer.Option("--edit", metavar="FILE|-", help="Other arguments, as a JSON object."),
    ] = "",
) -> None:
    """Let a tool call run, with other arguments if a file holds them."""
    arguments = {"arguments": read_input(edit, [], option="--edit")} if edit else {}
    _decide(hive, approval, {"decision": "approve", **arguments})


@command(app, "reject")
def reject(
    hive: Hive,
    approval: ApprovalRef,
    message: Annotated[
        str, typer.Option("--message", metavar="TEXT", help="What the model is told.")
    ] = "",
) -> None:
    """Keep a tool call from running; the run goes on without it."""
    _decide(hive, approval, {"decision": "reject", **given(message=message)})


def _decide(hive: Hive, approval: str, body: Json) -> None:
    answer = hive.client.post(Route.APPROVAL_DECIDE.path(approval=_reference(approval)), body)
    if hive.as_json:
        write_json(answer)
    else:
        write(str(answer.get("execution_id")))


def _reference(text: str) -> str:
    if is_approval(text):
        return text
    raise usage(f'"{text}" is not the id of an approval', "list them with `hive approvals list`")
