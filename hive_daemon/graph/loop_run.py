"""One run of a model loop over a visit: from where it stands to its end, or to a question that a person must answer.

Each iteration takes in what was said to the node, lets the model take a turn, has the turn judged, and does what
`loop.decide` says. Every way out but a cancellation passes `_leave`, which makes the end durable and fills the
statistics. Their cost (calls, tokens, tool calls) is what this run spent, so that nothing is counted twice when a visit
takes several runs; iterations and verdicts are those of the whole visit.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from hive_daemon.graph.compaction import ContextTooLarge
from hive_daemon.graph.constraints import ConstraintViolated, for_the_judge, told_of
from hive_daemon.graph.conversation_judge import Phase, judge_phase
from hive_daemon.graph.cursor import ACCEPTED
from hive_daemon.graph.facts import (
    ClientInputRequested,
    ConstraintViolation,
    EscalationRequested,
    JudgeVerdictGiven,
    NodeLoopCompleted,
    NodeLoopIteration,
    NodeLoopStarted,
    NodeStalled,
    NodeToolDoomLoop,
)
from hive_daemon.graph.input_gate import InputGate
from hive_daemon.graph.judge import (
    Judged,
    custom_verdict,
    implicit_verdict,
    output_keys,
)
from hive_daemon.graph.loop import (
    Accept,
    Action,
    AskUser,
    Decision,
    DoomLoop,
    Escalate,
    Exhausted,
    Hold,
    JudgeVerdict,
    Retry,
    Stalled,
    decide,
    needs_verdict,
)
from hive_daemon.graph.loop_kit import LoopKit
from hive_daemon.graph.node import NOTHING_SPENT, NodeResult, NodeStats, Waiting
from hive_daemon.graph.open_calls import asked, go_on, pick_up, take_decision
from hive_daemon.graph.prompts import CONTINUE, opening_message
from hive_daemon.graph.tool_calls import Outcome
from hive_daemon.graph.turn import Taken, take_turn
from hive_daemon.graph.visit import Visit
from hive_daemon.llm.failures import CallFailure, CallRejected, CallUnavailable
from hive_daemon.llm.values import ToolUse
from hive_daemon.pulse import resting

FEEDBACK_CHARS = 200
"""Characters of a verdict's feedback that its event carries."""

FAILED = "failed"
"""The ending of a visit that may be opened again, for another try."""

_COUNTS = {
    "ACCEPT": "accept_count",
    "RETRY": "retry_count",
    "ESCALATE": "escalate_count",
}

_VERDICTS = (*_COUNTS.values(), "continue_count")


@dataclass(frozen=True, slots=True)
class Exit:
    """A way out of the loop. `status` is the word of the L2 log; `error_type` is empty for a success."""

    status: str
    error: str | None = None
    error_type: str = ""
    is_retryable: bool = False
    waiting: Waiting | None = None


class LoopRun:
    """A run of one visit. With `waits_here` a question is waited for at the gate, for a program that holds the node."""

    def __init__(self, kit: LoopKit, visit: Visit, gate: InputGate, *, waits_here: bool) -> None:
        self._kit = kit
        self._visit = visit
        self._gate = gate
        self._waits_here = waits_here
        self._began = kit.clock.monotonic()
        self._to_call: list[ToolUse] = []

    async def run(self) -> NodeResult:
        """Go on until the end. What happened so far is kept also when it is cancelled."""
        if self._visit.cursor.ending == ACCEPTED:
            return self._result(Exit("success"))
        try:
            self._begin()
            found = await self._loop()
        except asyncio.CancelledError:
            await asyncio.shield(self._visit.save_cancelled())
            raise
        except (ContextTooLarge, ConstraintViolated) as error:
            found = Exit("guard_failure", _sentence(error, error.hint), error.code)
        except (CallUnavailable, CallRejected) as failure:
            found = _model_failed(failure)
        return await self._leave(found)

    # --- the loop ---------------------------------------------------------------------------

    def _begin(self) -> None:
        visit, ctx = self._visit, self._kit.ctx
        if visit.is_fresh:
            visit.conversation.append("user", self._opening(), is_transition_marker=True)
            visit.tell(NodeLoopStarted(visit.node_id, self._kit.config.max_iterations))
        else:
            self._to_call = pick_up(self._kit, visit)
        if not visit.cursor.is_open:
            visit.move(ending="", window=visit.cursor.window.renewed())
        if ctx.answer is not None and ctx.answers > visit.cursor.answers:
            visit.move(answers=ctx.answers)
            if asked(visit):
                self._to_call.extend(take_decision(self._kit, visit, ctx.answer))
            else:
                self._hear([ctx.answer])

    def _opening(self) -> str:
        messages = self._visit.conversation.messages
        shown = [message.content for message in messages if message.is_transition_marker]
        limit = self._kit.config.max_tool_result_chars
        last_node = (messages[-1].phase_id or "") if messages else None
        return opening_message(self._kit.ctx, last_node, shown, limit)

    async def _loop(self) -> Exit:
        while True:
            to_call, self._to_call = self._to_call, []
            approval = await go_on(self._kit, self._visit, to_call)
            if approval is not None:
                return Exit("paused", waiting=approval)
            self._hear([*self._kit.ctx.take_injected(), *self._gate.take()])
            if self._gate.is_shut:
                return Exit("success")
            if self._visit.cursor.question is not None:
                if not self._waits_here:
                    return self._waiting()
                await self._visit.commit()
                with resting():
                    await self._gate.wait()
                continue
            self._begin_iteration()
            await self._visit.commit()
            decision = await self._decide(await take_turn(self._kit, self._visit))
            found = self._act(decision)
            if found is not None:
                return found

    def _hear(self, said: list[str]) -> None:
        """Take in what was said to the node: it answers an open question and gives a new budget."""
        visit = self._visit
        for text in said:
            visit.conversation.append("user", text)
        if said:
            window = visit.cursor.window.renewed()
            visit.move(question=None, options=(), window=window)

    def _begin_iteration(self) -> None:
        visit = self._visit
        last = visit.conversation.last
        if last is not None and last.role == "assistant":
            visit.conversation.append("user", CONTINUE)
        window = visit.cursor.window
        visit.move(window=replace(window, iteration=window.iteration + 1))
        visit.tell(NodeLoopIteration(visit.node_id, visit.cursor.window.iteration))

    # --- judging ----------------------------------------------------------------------------

    async def _decide(self, taken: Taken) -> Decision:
        visit, config, turn = self._visit, self._kit.config, taken.turn
        window = visit.cursor.window.take(turn, config)
        if needs_verdict(turn, window, config):
            judged = await self._judge(taken)
            turn = replace(turn, verdict=judged.verdict)
            if judged.judge_type == "validation":
                window = replace(window, validations=window.validations + 1)
            self._tell_verdict(judged)
        else:
            visit.spend(continue_count=1)
        visit.move(window=window)
        return decide(turn, window, config)

    async def _judge(self, taken: Taken) -> Judged:
        visit, spec = self._visit, self._kit.spec
        if self._kit.judge is not None:
            await visit.commit()
            context = self._judge_context(taken)
            return await custom_verdict(self._kit.judge, context, taken.turn.missing)
        judged = implicit_verdict(spec, visit.outputs.values, visit.cursor.window.validations)
        is_done = judged.verdict.action == "ACCEPT"
        if not is_done or not spec.success_criteria or spec.skip_judge:
            return judged
        await visit.commit()
        return await self._judge_by_criteria(spec.success_criteria)

    async def _judge_by_criteria(self, criteria: str) -> Judged:
        visit, spec = self._visit, self._kit.spec
        constraints = for_the_judge(self._kit.ctx.goal)
        outputs = visit.outputs.to_dict()
        phase = Phase(spec.label, spec.description, criteria, outputs, constraints)
        began = self._kit.clock.monotonic()
        verdict, answer = await judge_phase(self._kit.llm, visit.conversation, phase)
        if answer is not None:
            visit.pay(answer, round(self._kit.clock.monotonic() - began, 6))
        broken = [each for each in constraints if each.id in verdict.violated]
        visit.tell(
            *(ConstraintViolation(visit.node_id, each.id, each.description) for each in broken)
        )
        violated = told_of(broken)
        if violated:
            raise ConstraintViolated(violated)
        action: Action = "RETRY" if verdict.action == "RETRY" else "ACCEPT"
        return Judged(JudgeVerdict(action, verdict.feedback), "criteria")

    def _judge_context(self, taken: Taken) -> dict[str, Any]:
        visit = self._visit
        return {
            "assistant_text": taken.turn.text,
            "tool_calls": [_shown(outcome) for outcome in taken.outcomes],
            "output_accumulator": visit.outputs.to_dict(),
            "accumulator": visit.outputs,
            "iteration": visit.cursor.window.iteration,
            "conversation_summary": visit.conversation.export_summary(),
            "output_keys": list(output_keys(self._kit.spec)),
            "missing_keys": list(taken.turn.missing),
        }

    def _tell_verdict(self, judged: Judged) -> None:
        visit, verdict = self._visit, judged.verdict
        visit.spend(**{_COUNTS[verdict.action]: 1})
        visit.tell(
            JudgeVerdictGiven(
                visit.node_id,
                action=verdict.action,
                feedback=verdict.feedback[:FEEDBACK_CHARS],
                judge_type=judged.judge_type,
                iteration=visit.cursor.window.iteration,
            )
        )
        if verdict.action == "ESCALATE":
            visit.tell(EscalationRequested(visit.node_id, verdict.feedback))

    # --- doing what was decided -------------------------------------------------------------

    def _act(self, decision: Decision) -> Exit | None:
        """Do what was decided; return the way out, None to go on."""
        visit = self._visit
        match decision:
            case Accept():
                return Exit("success")
            case Retry():
                if decision.feedback:
                    visit.conversation.append("user", decision.feedback)
                return None
            case AskUser():
                self._ask(decision)
                return None
            case Hold():
                if decision.question:
                    self._ask(AskUser(decision.question, decision.options))
                return None
            case Stalled():
                visit.tell(NodeStalled(visit.node_id, decision.reason))
                return Exit("stalled", decision.reason, "stalled")
            case DoomLoop():
                return self._warn(decision)
            case Escalate():
                return Exit("escalated", decision.reason or "help is needed", "escalated")
            case Exhausted():
                return Exit("failure", decision.reason, "max_iterations")

    def _ask(self, decision: AskUser) -> None:
        visit = self._visit
        visit.move(question=decision.question, options=decision.options)
        if self._waits_here:
            visit.tell(ClientInputRequested(visit.node_id, decision.question, decision.options))

    def _warn(self, decision: DoomLoop) -> Exit | None:
        visit = self._visit
        visit.tell(NodeToolDoomLoop(visit.node_id, decision.description))
        if decision.is_final:
            return Exit("stalled", decision.description, "doom_loop")
        visit.conversation.append(
            "user",
            f"You are going round in circles. {decision.description}. The next time will not differ: try another way, "
            "finish with what you have, or call escalate.",
        )
        visit.move(window=replace(visit.cursor.window, is_warned=True))
        return None

    # --- the way out ------------------------------------------------------------------------

    def _waiting(self) -> Exit:
        cursor = self._visit.cursor
        return Exit("paused", waiting=Waiting(cursor.question or "", cursor.options))

    async def _leave(self, found: Exit) -> NodeResult:
        visit = self._visit
        result = self._result(found)
        is_done = found.waiting is None
        if is_done:
            visit.move(ending=FAILED if found.error_type else ACCEPTED, open={})
            visit.tell(NodeLoopCompleted(visit.node_id, visit.cursor.window.iteration))
        if not is_done or found.error_type:
            visit.move(spent=_reported(visit.cursor.spent))
        await visit.commit()
        return result

    def _result(self, found: Exit) -> NodeResult:
        visit, ctx = self._visit, self._kit.ctx
        window, spent = visit.cursor.window, visit.cursor.spent
        took = self._kit.clock.monotonic() - self._began
        succeeds = found.waiting is None and not found.error_type
        output = visit.outputs.to_dict() if succeeds else {}
        for key, value in output.items():
            ctx.memory.write(key, value)
        return NodeResult(
            success=not found.error_type,
            output=output,
            error=found.error,
            error_type=found.error_type,
            retryable=found.is_retryable or not found.error_type,
            waiting=found.waiting,
            stats=replace(spent, iterations=window.iteration, exit_status=found.status),
            tokens_used=spent.input_tokens + spent.output_tokens,
            latency_ms=round(took * 1000),
            conversation=visit.conversation,
        )


def _reported(spent: NodeStats) -> NodeStats:
    """Return what is still to be reported after a run that ended: no cost, but the verdicts of the visit."""
    verdicts = {name: getattr(spent, name) for name in _VERDICTS}
    return replace(NOTHING_SPENT, iterations=spent.iterations, model=spent.model, **verdicts)


def _model_failed(failure: CallFailure) -> Exit:
    text = _sentence(failure, failure.hint)
    if isinstance(failure, CallUnavailable):
        return Exit("failure", text, failure.code, is_retryable=True)
    return Exit("failure", text, failure.kind.value)


def _sentence(error: Exception, hint: str) -> str:
    told = str(error)
    return f"{told.rstrip('.')}: {hint}" if hint else told


def _shown(outcome: Outcome) -> dict[str, Any]:
    return {
        "tool_use_id": outcome.use.id,
        "tool_name": outcome.use.name,
        "tool_input": outcome.use.input,
        "content": outcome.content,
        "is_error": outcome.is_error,
    }
