"""Approvals: tool calls that wait for a person, found in the store, and what the person decides.

An approval belongs to an execution that waits. A decision reaches its node as the answer to the question, so it is
durable, and one that is sent again changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from hive_daemon.clock import iso_z
from hive_daemon.control.answers import Json
from hive_daemon.control.context import Control
from hive_daemon.control.errors import Ambiguous
from hive_daemon.control.query import shown
from hive_daemon.control.references import find_execution
from hive_daemon.control.speaking import Said, say
from hive_daemon.control.views import address_of
from hive_daemon.errors import IdempotencyConflict, NotFound
from hive_daemon.graph.approvals import Approval, Decision
from hive_daemon.runtime.approvals import approvals_of
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.values import ExecutionRow, Submitted

WAITING = (ExecutionStatus.WAITING_APPROVAL, ExecutionStatus.WAITING_INPUT)
"""The statuses of executions that may hold an approval: another branch of one may ask a question."""

_SEE = "see `hive approvals list`"


@dataclass(frozen=True, slots=True)
class Pending:
    """An approval, and the execution that waits for it."""

    approval: Approval
    row: ExecutionRow

    def view(self) -> Json:
        """Return it as the control API shows it."""
        approval, row = self.approval, self.row
        return {
            "id": approval.id,
            "execution_id": row.execution_id,
            "session_id": row.session_id,
            "agent": row.agent,
            "entry_point": address_of(row),
            "node_id": approval.node_id,
            "tool": approval.tool,
            "arguments": dict(approval.arguments),
            "reason": approval.why,
            "asked_at": iso_z(row.updated_at),
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a request decides. `digest` tells it from others."""

    is_approved: bool
    arguments: Json | None = None
    message: str = ""
    digest: str = ""


async def undecided_of(control: Control, row: ExecutionRow) -> list[Pending]:
    """Return the approvals of an execution that nobody decided yet, by id."""
    found = await approvals_of(control.store, row)
    notes = [await control.once.first(row.session_id, _key(one.id)) for one in found]
    return [Pending(one, row) for one, note in zip(found, notes, strict=True) if note is None]


async def find_approval(control: Control, reference: str) -> Pending:
    """Return the approval that a reference means: its id, or an execution that waits for just one.

    Raises InvalidInput, NotFound, Ambiguous.
    """
    row, exact = await _named(control, reference)
    found = [one for one in await undecided_of(control, row) if exact in ("", one.approval.id)]
    if len(found) > 1:
        ids = [one.approval.id for one in found]
        raise Ambiguous(f"{row.execution_id} waits for {len(found)} approvals", ids, hint=_SEE)
    if not found:
        raise NotFound(
            f"no approval is called {shown(reference)}, or it was decided already", hint=_SEE
        )
    return found[0]


async def decide(control: Control, reference: str, verdict: Verdict) -> Submitted:
    """Decide on an approval, durably, once; the same decision again changes nothing.

    Raises IdempotencyConflict if it was decided otherwise, and like `find_approval`.
    """
    try:
        pending = await find_approval(control, reference)
    except NotFound:
        return await _decide_as_before(control, reference, verdict)
    return await _say(control, pending, verdict)


async def _decide_as_before(control: Control, reference: str, verdict: Verdict) -> Submitted:
    try:
        return await _decide_again(control, reference, verdict)
    except IdempotencyConflict:
        text = f"{reference} was decided otherwise before, and a decision on a tool call is final"
        see = f"see what came of it: `hive executions show {reference.partition(':')[0]}`"
        raise IdempotencyConflict(text, hint=see) from None


async def _decide_again(control: Control, reference: str, verdict: Verdict) -> Submitted:
    """Return what the same decision came to before, and finish what it may not have come to. Raises NotFound."""
    row, exact = await _named(control, reference)
    for one in await approvals_of(control.store, row):
        if one.id == exact:
            return await _say(control, Pending(one, row), verdict)
    note = await control.once.recall(row.session_id, _key(exact), verdict.digest)
    if note is None:
        raise NotFound(f"no approval is called {shown(reference)}", hint=_SEE)
    return Submitted(note.target, row.session_id, False)


async def _say(control: Control, pending: Pending, verdict: Verdict) -> Submitted:
    approval = pending.approval
    decision = Decision(approval.id, verdict.is_approved, verdict.arguments, verdict.message)
    said = Said(
        pending.row.session_id,
        decision.text(),
        approval.node_id,
        _key(approval.id),
        verdict.digest,
    )
    return await say(control.host, control.once, said)


async def _named(control: Control, reference: str) -> tuple[ExecutionRow, str]:
    """Return the execution that a reference is about, and the id of the approval if it is one."""
    execution, colon, call = reference.partition(":")
    row = await find_execution(control.store.executions, execution)
    return row, f"{row.execution_id}:{call}" if colon else ""


def _key(approval_id: str) -> str:
    return f"approval:{approval_id}"
