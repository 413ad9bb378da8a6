"""The decision after each turn of a model loop: one pure function family.

`Window.take` works a turn into what is remembered of the turns before, `decide` says what follows. Laws, each with a
property test: a turn is accepted only with a verdict for it and no required output missing; a loop that is fed any
turns ends within its iterations; equal rounds of tool calls, also in pairs (A, B, A, B), are noticed, and rounds with
new results never are; what went wrong outside, and waiting for a person, counts for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Literal, Self

from hive_daemon.graph.loop_config import LoopConfig

RAW_LIMIT = 1_000
"""Characters of an unusable answer that an error quotes."""

NO_ANSWER = "Your last answer was empty. Go on with the work: call a tool, or say what is done."
NOBODY = "Nobody can be asked in this run. Decide yourself with what you know, and go on."


Action = Literal["ACCEPT", "RETRY", "ESCALATE"]


@dataclass(frozen=True, slots=True)
class JudgeVerdict:
    """What a judge says of a turn; the model is told the feedback of a RETRY."""

    action: Action
    feedback: str = ""


class TurnEnd(StrEnum):
    """How a turn ended."""

    TEXT = "text"
    """The model called no further tool and said something."""
    EMPTY = "empty"
    """It said nothing and called nothing."""
    CUT = "cut"
    """A limit, or trouble that was noticed, ended it amid tool calls."""
    ASKED = "asked"
    """It put a question to a person."""
    ESCALATED = "escalated"
    """It asked for help."""
    HELD = "held"
    """It called a tool that a person must be asked about first."""


@dataclass(frozen=True, slots=True)
class Round:
    """One answer of the model with tool calls, and their results.

    `mark` is the same for the same calls with the same results, and begins with the tools' names; it is empty when what
    happened says nothing about the model (a timeout, an unreachable server). `is_unusable`: no call could be run as
    written; `raw` quotes it.
    """

    mark: str = ""
    is_unusable: bool = False
    raw: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """What a turn came to, as far as the loop decides on it.

    `can_wait`: a person may be asked. `verdict` is set when a judge looked at it. `has_outputs`: there is something to
    show for it, an output, or work and words where the node has no outputs to set.
    """

    end: TurnEnd
    text: str = ""
    rounds: tuple[Round, ...] = ()
    question: str = ""
    options: tuple[str, ...] = ()
    reason: str = ""
    missing: tuple[str, ...] = ()
    has_outputs: bool = True
    is_client_facing: bool = False
    can_wait: bool = False
    verdict: JudgeVerdict | None = None

    @property
    def is_talk(self) -> bool:
        """Whether it was words only."""
        return self.end is TurnEnd.TEXT and not self.rounds


@dataclass(frozen=True, slots=True)
class Window:
    """What is remembered of the turns of a visit: JSON-shaped, bounded.

    `base` is the iteration at which the budget began. `says` is what the last turns of mere talk said, `repeats` how
    often. `unusable` counts answers in a row that could not be used; `raw` quotes the last.
    """

    iteration: int = 0
    base: int = 0
    marks: tuple[str, ...] = ()
    says: str = ""
    repeats: int = 0
    unusable: int = 0
    raw: str = ""
    is_warned: bool = False
    validations: int = 0

    def take(self, turn: Turn, config: LoopConfig) -> Window:
        """Return the window with a turn worked in."""
        after = self.with_rounds(turn.rounds, config)
        if turn.end is TurnEnd.EMPTY and not turn.rounds:
            after = replace(after, unusable=after.unusable + 1, raw="an empty answer")
        elif turn.end is TurnEnd.TEXT:
            after = replace(after, unusable=0, raw="")
        if not turn.is_talk:
            return replace(after, says="", repeats=0)
        says = " ".join(turn.text.split())
        return replace(after, says=says, repeats=after.repeats + 1 if says == self.says else 1)

    def with_rounds(self, rounds: Sequence[Round], config: LoopConfig) -> Window:
        """Return the window with rounds of tool calls worked in."""
        after = self
        for one in rounds:
            unusable = after.unusable + 1 if one.is_unusable else 0
            marks = (*after.marks, one.mark) if one.mark else after.marks
            after = replace(
                after,
                unusable=unusable,
                raw=one.raw if one.is_unusable else "",
                marks=marks[-4 * config.tool_doom_loop_threshold :],
            )
        if repetitions(after.marks)[0] < config.tool_doom_loop_threshold:
            after = replace(after, is_warned=False)
        return after

    def renewed(self) -> Window:
        """Return the window with its budget begun anew and nothing held against the model."""
        return Window(iteration=self.iteration, base=self.iteration, validations=self.validations)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values; `from_json` is its inverse."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(**{**data, "marks": tuple(data["marks"])})


@dataclass(frozen=True, slots=True)
class Accept:
    """The node is done."""


@dataclass(frozen=True, slots=True)
class Retry:
    """The loop goes on; the model is told the feedback, if there is any."""

    feedback: str = ""


@dataclass(frozen=True, slots=True)
class AskUser:
    """A person must answer before the loop goes on."""

    question: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hold:
    """A person must decide on tool calls first; then the question, if there is one, is put."""

    question: str = ""
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stalled:
    """The node makes no progress."""

    reason: str


@dataclass(frozen=True, slots=True)
class DoomLoop:
    """The node repeats itself; unless this is the end, the model is warned and may do better."""

    description: str
    is_final: bool


@dataclass(frozen=True, slots=True)
class Escalate:
    """The node gives up and asks for help."""

    reason: str


@dataclass(frozen=True, slots=True)
class Exhausted:
    """The node used up its iterations."""

    reason: str


Decision = Accept | Retry | AskUser | Hold | Stalled | DoomLoop | Escalate | Exhausted


def needs_verdict(turn: Turn, window: Window, config: LoopConfig) -> bool:
    """Say whether a judge has to look at the turn before it is decided."""
    if turn.end not in (TurnEnd.TEXT, TurnEnd.EMPTY) or _waits_for_person(turn):
        return False
    if turn.end is TurnEnd.EMPTY and (turn.missing or not turn.has_outputs):
        return False
    return window.iteration % config.judge_every_n_turns == 0


def decide(turn: Turn, window: Window, config: LoopConfig) -> Decision:
    """Say what follows a turn; `window` has it worked in."""
    if turn.end is TurnEnd.HELD:
        return Hold(turn.question, turn.options)
    accepts = turn.verdict is not None and turn.verdict.action == "ACCEPT" and not turn.missing
    if accepts and turn.end in (TurnEnd.TEXT, TurnEnd.EMPTY):
        return Accept()
    found = _person_or_help(turn) or _trouble(window, config) or _go_on(turn)
    goes_on = isinstance(found, Retry) or (isinstance(found, DoomLoop) and not found.is_final)
    if goes_on and window.iteration - window.base >= config.max_iterations:
        lacking = f" without setting {', '.join(turn.missing)}" if turn.missing else ""
        limit = config.max_iterations
        return Exhausted(f"the {limit} iterations (max_iterations) were used up{lacking}")
    return found


def is_in_trouble(window: Window, config: LoopConfig) -> bool:
    """Say whether a turn should end amid its tool calls, for the loop to decide."""
    return _trouble(window, config) is not None


def about_missing(missing: Sequence[str]) -> str:
    """Say to the model which outputs are missing."""
    return f"These outputs are still missing: {', '.join(missing)}. Set each with set_output."


def repetitions(marks: Sequence[str]) -> tuple[int, int]:
    """Return how often the last round, or the last two, come in a row at the end, and of how many rounds it is.

    >>> repetitions(["x", "a", "b", "a", "b"])
    (2, 2)
    """
    singles = _repeats(marks, 1)
    pairs = _repeats(marks, 2)
    return (pairs, 2) if pairs > singles else (singles, 1)


def _repeats(marks: Sequence[str], period: int) -> int:
    count = 0
    tail = list(marks[-period:])
    for end in range(len(marks), period - 1, -period):
        if list(marks[end - period : end]) != tail:
            break
        count += 1
    return count


def _waits_for_person(turn: Turn) -> bool:
    is_unfinished = bool(turn.missing) or not turn.has_outputs
    return turn.end is TurnEnd.TEXT and turn.is_client_facing and turn.can_wait and is_unfinished


def _person_or_help(turn: Turn) -> Decision | None:
    if turn.end is TurnEnd.ESCALATED:
        return Escalate(turn.reason)
    if turn.verdict is not None and turn.verdict.action == "ESCALATE":
        return Escalate(turn.verdict.feedback)
    if turn.end is TurnEnd.ASKED:
        return AskUser(turn.question, turn.options) if turn.can_wait else Retry(NOBODY)
    if _waits_for_person(turn):
        return AskUser(turn.text.strip())
    return None


def _trouble(window: Window, config: LoopConfig) -> Stalled | DoomLoop | None:
    most = config.stall_detection_threshold
    if window.unusable >= most:
        return Stalled(f"{window.unusable} answers in a row could not be used; last: {window.raw}")
    if window.repeats >= most:
        said = window.says[:RAW_LIMIT]
        return Stalled(f"the model said the same {window.repeats} times and did nothing: {said}")
    if not config.tool_doom_loop_enabled:
        return None
    limit = config.tool_doom_loop_threshold
    times, length = repetitions(window.marks)
    if times < (2 * limit if window.is_warned else limit):
        return None
    tools = " and ".join(mark.partition("#")[0] for mark in window.marks[-length:])
    description = f"{tools}: the same arguments with the same results, {times} times in a row"
    return DoomLoop(description, is_final=window.is_warned)


def _go_on(turn: Turn) -> Retry:
    if turn.end is TurnEnd.CUT:
        return Retry()
    if turn.verdict is None:
        return Retry(NO_ANSWER if turn.end is TurnEnd.EMPTY else "")
    if turn.verdict.action == "RETRY":
        return Retry(turn.verdict.feedback)
    return Retry(about_missing(turn.missing))
