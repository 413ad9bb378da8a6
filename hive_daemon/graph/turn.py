"""One turn of a model loop: ask the model, run the tools it calls, answer in order, until it calls none.

The tools of one answer run side by side; their results go into the history in the order of the calls. What the model
chose is durable before a tool starts, every result before the model is asked again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hive_daemon.graph.compaction import Room
from hive_daemon.graph.conversation import INTERRUPTED, clean_json
from hive_daemon.graph.facts import (
    RESULT_LIMIT,
    EscalationRequested,
    LlmTurnComplete,
    ToolCallCompleted,
    ToolCallStarted,
)
from hive_daemon.graph.framework_tools import Handled, handle
from hive_daemon.graph.judge import missing_keys, output_keys
from hive_daemon.graph.loop import RAW_LIMIT, Round, Turn, TurnEnd, is_in_trouble
from hive_daemon.graph.loop_kit import LoopKit
from hive_daemon.graph.model_call import Answer
from hive_daemon.graph.tool_calls import Outcome, mark_of
from hive_daemon.graph.visit import Visit
from hive_daemon.ids import new_span_id
from hive_daemon.llm.failures import CallRejected, FailureKind
from hive_daemon.llm.openai_shapes import assistant_message
from hive_daemon.llm.values import ToolUse


@dataclass(slots=True)
class _Course:
    """How a turn goes."""

    rounds: list[Round] = field(default_factory=list)
    tool_calls: int = 0
    made: list[Outcome] = field(default_factory=list)
    text: str = ""
    question: str = ""
    options: tuple[str, ...] = ()
    reason: str = ""
    asks: bool = False
    was_cut: bool = False


@dataclass(frozen=True, slots=True)
class Taken:
    """A turn, and the tool calls that a judge may look at."""

    turn: Turn
    outcomes: tuple[Outcome, ...]


async def take_turn(kit: LoopKit, visit: Visit) -> Taken:
    """Take one turn. Raises CallRejected, CallUnavailable, ContextTooLarge; what was done by then is kept."""
    room = Room(kit, visit)
    course = _Course()
    while True:
        answer = await _ask(kit, visit, room)
        course.text = answer.text if answer.text.strip() else course.text
        if not answer.calls:
            end = TurnEnd.TEXT if answer.text.strip() else TurnEnd.EMPTY
            return _taken(kit, visit, course, end)
        await _answer_calls(kit, visit, answer, course)
        found = _end_of(kit, visit, course)
        if found is not None:
            return _taken(kit, visit, course, found)


async def _ask(kit: LoopKit, visit: Visit, room: Room) -> Answer:
    """Ask the model, making room as often as a turn may."""
    visit.conversation.reserve(kit.request_chars)
    while True:
        await room.ensure()
        try:
            answer = await kit.caller.call(kit.request(visit))
        except CallRejected as error:
            if error.kind is not FailureKind.CONTEXT_LENGTH:
                raise
            await room.force()
            continue
        return _heard(visit, answer)


def _heard(visit: Visit, answer: Answer) -> Answer:
    """Take an answer into the conversation and the books; its calls get ids that no other call has."""
    finish = answer.finish
    taken = {
        call["id"] for message in visit.conversation.messages for call in message.tool_calls or ()
    }
    calls = []
    for use in answer.calls:
        fresh = use.id if use.id and use.id not in taken else f"call_{new_span_id()}"
        taken.add(fresh)
        calls.append(ToolUse(fresh, use.name, clean_json(use.input)))
    if answer.text.strip() or calls:
        shaped = assistant_message(answer.text, calls)
        visit.conversation.append("assistant", answer.text, tool_calls=shaped.get("tool_calls"))
        counted = finish.input_tokens + finish.output_tokens if finish.input_tokens else 0
        visit.conversation.update_token_count(counted)
    visit.move(turns=visit.cursor.turns + 1)
    visit.spend(
        llm_call_count=1, input_tokens=finish.input_tokens, output_tokens=finish.output_tokens
    )
    visit.name_model(finish.model)
    visit.tell(
        LlmTurnComplete(
            visit.node_id,
            stop_reason=finish.stop_reason,
            model=finish.model,
            input_tokens=finish.input_tokens,
            output_tokens=finish.output_tokens,
            cached_tokens=finish.cached_tokens,
            iteration=visit.cursor.window.iteration,
            latency_seconds=round(answer.latency_seconds, 6),
            reasoning_tokens=finish.reasoning_tokens,
        )
    )
    return Answer(answer.text, tuple(calls), finish, answer.latency_seconds)


async def _answer_calls(kit: LoopKit, visit: Visit, answer: Answer, course: _Course) -> None:
    """Run the tools of an answer and put a result behind each call, also when the run is stopped amid them."""
    own, refused = _within_limit(kit, answer, course)
    handled = {
        use.id: handle(kit.spec, use, answer.text)
        for use in answer.calls
        if use.name in kit.framework
    }
    done: dict[str, Outcome] = {outcome.use.id: outcome for outcome in refused}
    try:
        if own:
            await _run(kit, visit, own, done)
    finally:
        outcomes = [_settle(visit, use, handled, done, course) for use in answer.calls]
    course.made.extend(outcomes)
    unusable = [outcome for outcome in outcomes if outcome.is_unusable]
    is_unusable = len(unusable) == len(outcomes)
    raw = str(unusable[-1].use.input)[:RAW_LIMIT] if is_unusable else ""
    course.rounds.append(Round(mark_of(outcomes), is_unusable, raw))
    await visit.commit()


def _within_limit(
    kit: LoopKit, answer: Answer, course: _Course
) -> tuple[list[ToolUse], list[Outcome]]:
    """Part the calls of real tools into those that the turn may still make, and the refused rest."""
    own = [use for use in answer.calls if use.name not in kit.framework]
    room = max(0, kit.config.hard_tool_limit - course.tool_calls)
    course.tool_calls += len(own[:room])
    limit = kit.config.hard_tool_limit
    text = f"Not called: a turn may make {limit} tool calls, and they are used up. Go on with what you have."
    refused = [Outcome(use, text, is_error=True, is_outside=True) for use in own[room:]]
    course.was_cut = course.was_cut or bool(refused)
    return own[:room], refused


async def _run(kit: LoopKit, visit: Visit, own: list[ToolUse], done: dict[str, Outcome]) -> None:
    """Make it durable that these calls start, then run them."""
    ctx, keyed = kit.ctx, {}
    for use in own:
        visit.move(calls=visit.cursor.calls + 1)
        key = f"{ctx.execution_id}:{ctx.node_id}:{ctx.visit}:{visit.cursor.calls}"
        keyed[key] = use
        visit.tell(ToolCallStarted(visit.node_id, use.id, use.name, use.input))
    await visit.commit()
    await kit.bench.run(keyed, done)


def _settle(
    visit: Visit,
    use: ToolUse,
    handled: dict[str, Handled],
    done: dict[str, Outcome],
    course: _Course,
) -> Outcome:
    """Put the result of one call into the history, and what it did into the books."""
    if use.id in handled:
        outcome = _take_handled(visit, use, handled[use.id], course)
    else:
        stopped = Outcome(use, INTERRUPTED, is_error=True, is_outside=True)
        outcome = done.get(use.id, stopped)
        tell_completed(visit, outcome)
    visit.conversation.append(
        "tool", outcome.content, tool_use_id=use.id, is_error=outcome.is_error
    )
    return outcome


def tell_completed(visit: Visit, outcome: Outcome) -> None:
    """Tell that a tool call ended, and count it."""
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


def _take_handled(visit: Visit, use: ToolUse, handled: Handled, course: _Course) -> Outcome:
    if handled.key:
        visit.set_output(handled)
    if handled.question:
        course.asks, course.question, course.options = True, handled.question, handled.options
    if handled.reason:
        course.reason = handled.reason
        visit.tell(EscalationRequested(visit.node_id, handled.reason, handled.context))
    return Outcome(use, handled.content, handled.is_error, is_unusable=handled.is_unusable)


def _end_of(kit: LoopKit, visit: Visit, course: _Course) -> TurnEnd | None:
    """Say whether the turn ends amid tool calls, and how."""
    if course.reason:
        return TurnEnd.ESCALATED
    if course.asks:
        return TurnEnd.ASKED
    window = visit.cursor.window.with_rounds(course.rounds, kit.config)
    too_long = len(course.rounds) > kit.config.hard_tool_limit
    if course.was_cut or too_long or is_in_trouble(window, kit.config):
        return TurnEnd.CUT
    return None


def _taken(kit: LoopKit, visit: Visit, course: _Course, end: TurnEnd) -> Taken:
    values = visit.outputs.values
    if output_keys(kit.spec):
        has_outputs = any(value is not None for value in values.values())
    else:
        spoke = end is not TurnEnd.EMPTY or bool(course.rounds)
        has_outputs = spoke and not kit.spec.client_facing
    turn = Turn(
        end=end,
        text=course.text,
        rounds=tuple(course.rounds),
        question=course.question,
        options=course.options,
        reason=course.reason,
        missing=missing_keys(kit.spec, values),
        has_outputs=has_outputs,
        is_client_facing=kit.spec.client_facing,
        can_wait=kit.can_ask,
    )
    return Taken(turn, tuple(course.made))
