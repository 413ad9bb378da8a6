"""What people are asked in a run in the foreground: what a node wants to know, and whether a tool may be called."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from hive_daemon.errors import Conflict, InvalidInput, NotFound
from hive_daemon.graph.approvals import OPTIONS, Approval, Decision
from hive_daemon.graph.executor import ExecutionResult
from hive_daemon.runner.console import Conversation
from hive_daemon.runtime.agent_runtime import AgentRuntime
from hive_daemon.runtime.approvals import approvals_of
from hive_daemon.status import ExecutionStatus

ASKING = (ExecutionStatus.WAITING_INPUT, ExecutionStatus.WAITING_APPROVAL)
"""The statuses of an execution that waits for an answer."""

_YES = frozenset({"approve", "yes", "y"})


async def asked(talk: Conversation, runtime: AgentRuntime, result: ExecutionResult) -> str | None:
    """Ask a person what an execution waits for; return the answer as its node takes it, None if the person is gone.

    All but a yes rejects a tool call.
    """
    approval = await _approval(runtime, result)
    if approval is None:
        return await talk.answer_for(result.paused_at or "")
    answer = await talk.ask(approval.question, OPTIONS)
    if answer is None:
        return None
    is_approved = answer.strip().lower() in _YES
    message = "" if is_approved else answer.strip()
    return Decision(approval.id, is_approved, message=message).text()


async def _approval(runtime: AgentRuntime, result: ExecutionResult) -> Approval | None:
    """Return the approval that an execution waits for, None if it asks for something else."""
    if result.status != ExecutionStatus.WAITING_APPROVAL:
        return None
    known = await open_approvals(runtime, result.execution_id)
    return next((each for each in known if each.node_id == result.paused_at), None)


async def open_approvals(runtime: AgentRuntime, execution_id: str) -> list[Approval]:
    """Return the approvals that an execution waits for, by id."""
    store = runtime.running().services.store
    row = await store.executions.load(execution_id)
    return await approvals_of(store, row)


async def answers_of(
    runtime: AgentRuntime, execution_id: str, decisions: Iterable[Decision]
) -> dict[str, str]:
    """Return decisions as answers, `{node: answer}`, to what an execution waits for.

    A decision names its call by the id of the approval; one that names an execution means the only call that it waits
    for. Raises NotFound, Conflict (several calls wait), InvalidInput (two decisions on one call).
    """
    known = {each.id: each for each in await open_approvals(runtime, execution_id)}
    answers: dict[str, str] = {}
    for decision in decisions:
        approval = _meant(known, execution_id, decision.approval_id)
        if approval.node_id in answers:
            raise InvalidInput(f"there are two decisions on {approval.id}")
        answers[approval.node_id] = replace(decision, approval_id=approval.id).text()
    return answers


def _meant(known: dict[str, Approval], execution_id: str, reference: str) -> Approval:
    names_call = ":" in reference
    found = [each for each in known.values() if reference == each.id or not names_call]
    if not found:
        waits = f"it waits for {', '.join(known)}" if known else "it waits for no approval"
        raise NotFound(f"{execution_id} asks for no approval {reference!r}", hint=waits)
    if len(found) > 1:
        hint = f"say which: {', '.join(known)}"
        raise Conflict(f"{execution_id} waits for {len(found)} approvals", hint=hint)
    return found[0]
