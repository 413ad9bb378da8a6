"""`/v1/approvals`."""

from __future__ import annotations

import logging
from enum import StrEnum

from aiohttp import web

from hive_daemon.control.answers import answer, listed
from hive_daemon.control.approvals import WAITING, Verdict, decide, find_approval, undecided_of
from hive_daemon.control.context import Ask, Control
from hive_daemon.control.pages import Page, page_of_rows
from hive_daemon.control.places import find_agent
from hive_daemon.control.query import read_choice
from hive_daemon.control.routes.entry_points import accepted_answer
from hive_daemon.errors import InvalidInput
from hive_daemon.storage.values import ExecutionFilter
from hive_daemon.tasks import run_all

logger = logging.getLogger(__name__)

MOST_MESSAGE = 10_000


class Choice(StrEnum):
    """What may be decided."""

    APPROVE = "approve"
    REJECT = "reject"


async def list_approvals(control: Control, ask: Ask) -> web.StreamResponse:
    """List the tool calls that wait for a person, those of the newest execution first."""
    agent = ask.query.one("agent")
    if agent is not None:
        find_agent(control.host, agent)
    wanted = ExecutionFilter(agent=agent, statuses=WAITING)
    rows, cursor = await page_of_rows(control.store.executions, wanted, Page.of(ask.query))
    found = await run_all("approvals", [undecided_of(control, row) for row in rows])
    return listed([one.view() for each in found for one in each], cursor)


async def show_approval(control: Control, ask: Ask) -> web.StreamResponse:
    """Show a tool call that waits for a person."""
    return answer((await find_approval(control, ask.names["approval"])).view())


async def decide_approval(control: Control, ask: Ask) -> web.StreamResponse:
    """Approve or reject a tool call; answer once that is durable."""
    body = ask.body
    if not body.has("decision"):
        raise InvalidInput("there is no decision", hint='send {"decision": "approve"}')
    choice = read_choice("decision", body.text("decision", most=16), Choice)
    arguments = body.mapping("arguments") if body.has("arguments") else None
    message = body.text("message", most=MOST_MESSAGE)
    if choice is Choice.REJECT and arguments is not None:
        raise InvalidInput("a call that is rejected has no arguments", hint="leave them out")
    if choice is Choice.APPROVE and message:
        raise InvalidInput(
            "the message of an approval reaches nobody", hint="leave it out, or reject"
        )
    verdict = Verdict(choice is Choice.APPROVE, arguments, message, f"decision:{body.digest}")
    name = ask.names["approval"]
    submitted = await decide(control, name, verdict)
    told = {"approval": name, "decision": choice, "by": str(ask.peer)}
    logger.info("tool call decided", extra={**told, "execution_id": submitted.execution_id})
    return await accepted_answer(control, submitted)
