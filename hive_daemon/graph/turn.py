"""One turn of a model loop: ask the model, run the tools it calls, answer in order, until it calls none.

The tools of one answer run side by side; their results go into the history in the order of the calls. What the model
chose is durable before a tool starts, every result before the model is asked again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hive_daemon.graph.compaction import Room
from hive_daemon.graph.conversation import clean_json
from hive_daemon.graph.facts import EscalationRequested
from hive_daemon.graph.framework_tools import Handled, handle
from hive_daemon.graph.judge import missing_keys, output_keys
from hive_daemon.graph.loop import RAW_LIMIT, Round, Turn, TurnEnd, is_in_trouble
from hive_daemon.graph.loop_kit import LoopKit
from hive_daemon.graph.model_call import Answer
from hive_daemon.graph.open_calls import (
    answer as put_result,
)
from hive_daemon.graph.open_calls import (
    interrupted,
    run_calls,
    settle,
    stays_open,
    take_down,
)
from hive_daemon.graph.tool_calls import Outcome, mark_of
from hive_daemon.graph.visit import Visit
from hive_daemon.ids import new_span_id
from hive_daemon.llm.failures import CallRejected, FailureKind
from hive_daemon.llm.openai_shapes import assistant_message
from hive_daemon.llm.values import ToolUse
from hive_daemon.tools.policy import ALLOWED, Action, refusal


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
    visit.name_model(finish.model)
    visit.pay(finish, round(answer.latency_seconds, 6))
    return Answer(answer.text, tuple(calls), finish, answer.latency_seconds)


async def _answer_calls(kit: LoopKit, visit: Visit, answer: Answer, course: _Course) -> None:
    """Run the tools of an answer and put a result behind each call, also when the run is stopped amid them."""
    own, refused = _within_limit(kit, answer, course)
    own, denied, held = _permitted(kit, own)
    handled = {
        use.id: handle(kit.spec, use, answer.text)
        for use in answer.calls
        if use.name in kit.framework
    }
    done = {outcome.use.id: outcome for outcome in (*refused, *denied)}
    take_down(visit, own, held)
    runs = [use for use in own if use.id not in held]
    try:
        if runs:
            await run_calls(kit, visit, runs, done)
    finally:
        outcomes = [
            _settle(visit, use, handled, done, course)
            for use in answer.calls
            if use.id in done or not stays_open(kit, visit, use)
        ]
    course.made.extend(outcomes)
    if not held:
        _note_round(course, outcomes)
    await visit.commit()


def _note_round(course: _Course, outcomes: list[Outcome]) -> None:
    unusable = [outcome for outcome in outcomes if outcome.is_unusable]
    is_unusable = len(unusable) == len(outcomes)
    raw = str(unusable[-1].use.input)[:RAW_LIMIT] if is_unusable else ""
    course.rounds.append(Round(mark_of(outcomes), is_unusable, raw))


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


def _permitted(
    kit: LoopKit, own: list[ToolUse]
) -> tuple[list[ToolUse], list[Outcome], dict[str, str]]:
    """Part calls by the policy of the entry point: those that may run, the denied ones, and of the first those that a
    person is asked about, each with the reason."""
    permitted, denied, held = [], [], {}
    for use in own:
        # What cannot be called at all is no matter of permission.
        can_be_called = kit.bench.refusal(use) is None
        ruling = kit.ctx.tool_rights.ruling(use.name, use.input) if can_be_called else ALLOWED
        if ruling.action is Action.DENY:
            denied.append(Outcome(use, refusal(use.name, ruling), is_error=True))
            continue
        permitted.append(use)
        if ruling.action is Action.ASK:
            held[use.id] = ruling.told
    return permitted, denied, held


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
        put_result(visit, outcome)
    else:
        outcome = done.get(use.id) or interrupted(use)
        settle(visit, outcome)
    return outcome


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
    if visit.cursor.open:
        return TurnEnd.HELD
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
