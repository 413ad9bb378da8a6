"""Tool calls of the newest answer that have no result yet: running them, and what becomes of them afterwards.

A call is numbered and durable as `begun` before it runs. If a crash takes its result, its tool's `on_unknown` says
whether it is made again, with the same idempotency key. A call that a person must be asked about is `held` instead;
one after the other they are `asked` about, and the decision runs or refuses them.

Laws: a call that is not to be made again runs at most once; a held call runs only by a decision that names it; each
call gets one result.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from hive_daemon.graph.approvals import OPTIONS, Approval, Decision
from hive_daemon.graph.conversation import INTERRUPTED
from hive_daemon.graph.cursor import OpenCall, Stage
from hive_daemon.graph.facts import RESULT_LIMIT, ToolCallCompleted, ToolCallStarted
from hive_daemon.graph.framework_tools import handle
from hive_daemon.graph.loop_kit import LoopKit
from hive_daemon.graph.node import Waiting
from hive_daemon.graph.tool_calls import Outcome
from hive_daemon.graph.visit import Visit
from hive_daemon.llm.openai_shapes import decode_arguments
from hive_daemon.llm.values import ToolUse
from hive_daemon.tools.on_unknown import OnUnknown

NOBODY_KNOWS = "The run stopped while it was at work, so it may have had its effect; to approve makes it again."


def take_down(visit: Visit, uses: Sequence[ToolUse], held: Mapping[str, str]) -> None:
    """Number the calls of an answer; those in `held`, with the reason, wait for a person."""
    first = visit.cursor.calls + 1
    opened = {
        use.id: OpenCall(
            number, Stage.HELD if use.id in held else Stage.BEGUN, held.get(use.id, "")
        )
        for number, use in enumerate(uses, first)
    }
    visit.move(calls=visit.cursor.calls + len(uses), open=opened)


async def run_calls(
    kit: LoopKit, visit: Visit, uses: Sequence[ToolUse], done: dict[str, Outcome]
) -> None:
    """Make it durable that these calls start, then run them; put each outcome into `done`, by call id."""
    keyed = {_key(kit, visit.cursor.open[use.id]): use for use in uses}
    for use in uses:
        visit.tell(ToolCallStarted(visit.node_id, use.id, use.name, use.input))
    await visit.commit()
    await kit.bench.run(keyed, done)


def stays_open(kit: LoopKit, visit: Visit, use: ToolUse) -> bool:
    """Say whether a call without an outcome is left without a result: it is held, or may be made again."""
    call = visit.cursor.open.get(use.id)
    if call is None:
        return False
    return call.stage is not Stage.BEGUN or kit.bench.on_unknown(use.name) is not OnUnknown.FAIL


def interrupted(use: ToolUse) -> Outcome:
    """Return the outcome of a call whose result nobody knows."""
    return Outcome(use, INTERRUPTED, is_error=True, is_outside=True)


def settle(visit: Visit, outcome: Outcome) -> None:
    """Tell that a call ended, count it, and put its result into the history."""
    use = outcome.use
    visit.move(steps=visit.cursor.steps + 1)
    visit.spend(tool_call_count=1)
    visit.tell(
        ToolCallCompleted(
            visit.node_id,
            tool_use_id=use.id,
            tool_name=use.name,
            result=outcome.content[:RESULT_LIMIT],
            is_error=outcome.is_error,
            tool_input=use.input,
            step_number=visit.cursor.steps,
            duration_seconds=round(outcome.duration_seconds, 6),
            tool_error=outcome.content[:RESULT_LIMIT] if outcome.is_error else None,
        )
    )
    answer(visit, outcome)


def answer(visit: Visit, outcome: Outcome) -> None:
    """Put the result of a call into the history."""
    id = outcome.use.id
    call = visit.cursor.open.get(id)
    content = outcome.content
    if call is not None and call.arguments is not None:
        arguments = json.dumps(call.arguments, ensure_ascii=False, default=str)
        content = f"[a person changed the arguments to {arguments}]\n{content}"
    visit.conversation.append("tool", content, tool_use_id=id, is_error=outcome.is_error)
    visit.move(open={other: call for other, call in visit.cursor.open.items() if other != id})


# --- going on -----------------------------------------------------------------------------------


def pick_up(kit: LoopKit, visit: Visit) -> list[ToolUse]:
    """Look at the calls that an earlier run left without a result; return those that are to be made again.

    Calls of the loop's own tools are simply answered: doing them again changes nothing.
    """
    again = []
    for use in _without_result(visit):
        call = visit.cursor.open.get(use.id)
        if use.name in kit.framework:
            _do_framework(kit, visit, use)
        elif call is None:
            settle(visit, interrupted(use))
        elif call.stage is Stage.BEGUN:
            again.extend(_after_a_crash(kit, visit, use, call))
    return again


def asked(visit: Visit) -> str:
    """Return the id of the call that a person is asked about, empty if there is none."""
    for id, call in visit.cursor.open.items():
        if call.stage is Stage.ASKED:
            return id
    return ""


def take_decision(kit: LoopKit, visit: Visit, said: str) -> list[ToolUse]:
    """Take what a person said of the call that is asked about; return it if it is to be made."""
    call = visit.cursor.open[asked(visit)]
    use = _use(visit, asked(visit))
    approval = _approval(kit, use, call)
    decision = Decision.read(said, approval.id)
    visit.put(approval.record_key, None)
    if not decision.is_approved:
        settle(visit, Outcome(use, _rejected(use, call, decision), is_error=True))
        return []
    begun = replace(call, stage=Stage.BEGUN, why="", arguments=decision.arguments)
    _set(visit, use.id, begun)
    return [_use(visit, use.id)]


def _rejected(use: ToolUse, call: OpenCall, decision: Decision) -> str:
    """Return what the model is told of a call that a person rejected."""
    words = f": {decision.message}" if decision.message else "."
    if call.why == NOBODY_KNOWS:
        return f"{INTERRUPTED} A person decided not to make it again{words}"
    return f"{use.name} was not called: a person rejected the call{words}"


async def go_on(kit: LoopKit, visit: Visit, uses: Sequence[ToolUse]) -> Waiting | None:
    """Run calls that were left open, then ask about the next that is held; None if there is none."""
    if uses:
        done: dict[str, Outcome] = {}
        try:
            await run_calls(kit, visit, uses, done)
        finally:
            for use in uses:
                if use.id in done or not stays_open(kit, visit, use):
                    settle(visit, done.get(use.id) or interrupted(use))
        await visit.commit()
    return _ask_next(kit, visit)


def _ask_next(kit: LoopKit, visit: Visit) -> Waiting | None:
    id = asked(visit) or next(iter(visit.cursor.open), "")
    if not id:
        return None
    call = replace(visit.cursor.open[id], stage=Stage.ASKED)
    approval = _approval(kit, _use(visit, id), call)
    _set(visit, id, call)
    visit.put(approval.record_key, approval.to_json())
    return Waiting(approval.question, OPTIONS, "waiting_approval")


def _after_a_crash(kit: LoopKit, visit: Visit, use: ToolUse, call: OpenCall) -> list[ToolUse]:
    mark = kit.bench.on_unknown(use.name)
    if mark is OnUnknown.RETRY:
        return [use]
    if mark is OnUnknown.ASK and kit.ctx.tool_rights.can_ask:
        _set(visit, use.id, replace(call, stage=Stage.HELD, why=NOBODY_KNOWS))
    else:
        settle(visit, interrupted(use))
    return []


def _do_framework(kit: LoopKit, visit: Visit, use: ToolUse) -> None:
    handled = handle(kit.spec, use)
    if handled.key:
        visit.set_output(handled)
    answer(visit, Outcome(use, handled.content, handled.is_error))


def _without_result(visit: Visit) -> list[ToolUse]:
    """Return the calls of the newest answer without a result, with the arguments that they are to have."""
    found = []
    for call in visit.conversation.open_calls():
        function = call["function"]
        known = visit.cursor.open.get(call["id"])
        changed = known.arguments if known is not None else None
        given = decode_arguments(function["arguments"]) if changed is None else dict(changed)
        found.append(ToolUse(call["id"], function["name"], given))
    return found


def _use(visit: Visit, id: str) -> ToolUse:
    return next(use for use in _without_result(visit) if use.id == id)


def _set(visit: Visit, id: str, call: OpenCall) -> None:
    visit.move(open={**visit.cursor.open, id: call})


def _approval(kit: LoopKit, use: ToolUse, call: OpenCall) -> Approval:
    ctx, key = kit.ctx, _key(kit, call)
    return Approval(key, ctx.execution_id, ctx.node_id, use.name, use.input, call.why)


def _key(kit: LoopKit, call: OpenCall) -> str:
    ctx = kit.ctx
    return f"{ctx.execution_id}:{ctx.node_id}:{ctx.visit}:{call.number}"
