"""Questions at a terminal: what a node wants to know, and whether a tool may be called."""

from __future__ import annotations

from hive_daemon.control.approvals import approvals_of
from hive_daemon.graph.approvals import OPTIONS, Approval, Decision
from hive_daemon.graph.executor import ExecutionResult
from hive_daemon.runner.console import Conversation
from hive_daemon.runtime.agent_runtime import AgentRuntime
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
    store = runtime.running().services.store
    row = await store.executions.load(result.execution_id)
    known = [one.approval for one in await approvals_of(store, row)]
    return next((each for each in known if each.node_id == result.paused_at), None)
