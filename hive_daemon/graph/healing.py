"""The ladder of self-healing: what is tried when an execution fails, by the cause of the failure. Pure.

Laws: a rung is taken only for causes that it can mend; each further failure takes a further rung, and the last one that
fits again; nothing is tried more often than the ladder's cap; what a budget refused is never tried again. Causes are
decided by the codes of errors, never by reading a message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

HEALING_TRIES = 3
"""How often a ladder that is written helps, if nobody says otherwise."""


class Rung(StrEnum):
    """What may be tried, from the cheapest on; `escalate` asks a person, and tries nothing."""

    RETRY_NODE = "retry_node"
    RESTART_FROM_CHECKPOINT = "restart_from_checkpoint"
    FALLBACK_MODEL = "fallback_model"
    ESCALATE = "escalate"


class Cause(StrEnum):
    """Why an execution failed."""

    TRANSIENT = "transient"
    STALL = "stall"
    LOOP = "loop"
    PROVIDER = "provider"
    REFUSED = "refused"
    BUDGET = "budget"
    OTHER = "other"
    CRASH = "crash"


_CAUSES: Mapping[str, Cause] = {
    "node_failed": Cause.TRANSIENT,
    "timeout": Cause.TRANSIENT,
    "branch_timeout": Cause.TRANSIENT,
    "TimeoutError": Cause.TRANSIENT,
    "ConnectionError": Cause.TRANSIENT,
    "stalled": Cause.STALL,
    "doom_loop": Cause.LOOP,
    "max_iterations": Cause.LOOP,
    "model_unavailable": Cause.PROVIDER,
    "transient": Cause.PROVIDER,
    "rate_limited": Cause.PROVIDER,
    "model_rejected": Cause.REFUSED,
    "quota": Cause.REFUSED,
    "auth": Cause.REFUSED,
    "bad_request": Cause.REFUSED,
    "context_length": Cause.REFUSED,
    "budget_exceeded": Cause.BUDGET,
}

MENDS: Mapping[Rung, frozenset[Cause]] = {
    Rung.RETRY_NODE: frozenset({Cause.TRANSIENT, Cause.PROVIDER}),
    Rung.RESTART_FROM_CHECKPOINT: frozenset({Cause.TRANSIENT, Cause.STALL, Cause.LOOP}),
    Rung.FALLBACK_MODEL: frozenset({Cause.PROVIDER, Cause.REFUSED, Cause.STALL, Cause.LOOP}),
    Rung.ESCALATE: frozenset(Cause) - {Cause.BUDGET},
}
"""Which causes each rung can mend; whoever escalates mends nothing, and is right for all."""


def cause_of(code: str | None) -> Cause:
    """Return the cause that the code of a failure stands for."""
    return _CAUSES.get(code or "", Cause.OTHER)


@dataclass(frozen=True, slots=True)
class Ladder:
    """The rungs of an entry point, in the order in which they are tried, and how often at most."""

    rungs: tuple[Rung, ...] = ()
    most: int = 0

    def rung_for(self, cause: Cause, tries: int, *, has_fallback: bool) -> Rung | None:
        """Return what to do after a failure that follows so many tries, None for nothing.

        `has_fallback`: there is a model that was not tried yet.

        >>> Ladder((Rung.RETRY_NODE, Rung.ESCALATE), 3).rung_for(Cause.LOOP, 0, has_fallback=False)
        <Rung.ESCALATE: 'escalate'>
        """
        fit = [
            rung
            for rung in self.rungs
            if cause in MENDS[rung] and (has_fallback or rung is not Rung.FALLBACK_MODEL)
        ]
        if not fit:
            return None
        if tries >= self.most:
            return Rung.ESCALATE if Rung.ESCALATE in fit else None
        return fit[min(tries, len(fit) - 1)]

    @property
    def mends_stalls(self) -> bool:
        """Whether something is tried when a node falls silent."""
        return any(Cause.STALL in MENDS[rung] for rung in self.rungs if rung is not Rung.ESCALATE)


NO_LADDER = Ladder()
"""Nothing is tried."""


def read_ladder(heal: Sequence[str], max_resurrections: int) -> Ladder:
    """Return the ladder that an entry point is given.

    `max_resurrections` alone is a ladder of one rung, `retry_node`; beside `heal` it is the cap, HEALING_TRIES if it is
    0. Raises ValueError with the predicate of a sentence.
    """
    if isinstance(heal, str) or not all(isinstance(word, str) for word in heal):
        raise ValueError("must be a list of rungs")
    known = [rung.value for rung in Rung]
    unknown = [word for word in heal if word not in known]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is unknown, use some of {', '.join(known)}")
    if len(set(heal)) < len(heal):
        raise ValueError("names a rung twice")
    if Rung.ESCALATE in heal and heal[-1] != Rung.ESCALATE:
        raise ValueError("has rungs behind escalate, which must be the last")
    if not heal:
        return Ladder((Rung.RETRY_NODE,), max_resurrections) if max_resurrections else NO_LADDER
    return Ladder(tuple(Rung(word) for word in heal), max_resurrections or HEALING_TRIES)
