"""Every error that Hive raises on purpose.

A class docstring is the sentence that a person reads when nothing more precise was given; `code` is the
stable word that logs, HTTP answers and tests use. HTTP status and exit code are tables at the edges
(`control/wire.py`), never attributes here.
"""

from __future__ import annotations

from collections.abc import Iterable


class HiveError(Exception):
    """Something went wrong in Hive."""

    code = "error"

    def __init__(self, message: str = "", *, hint: str = "", subject: str = "") -> None:
        super().__init__(message or self._default(subject))
        self.hint = hint
        self.subject = subject

    @classmethod
    def _default(cls, subject: str) -> str:
        sentence = (cls.__doc__ or cls.code).strip().splitlines()[0]
        return f"{sentence.rstrip('.')}: {subject}" if subject else sentence


class ConfigError(HiveError):
    """The configuration is not valid."""

    code = "config"

    def __init__(self, problems: str | Iterable[str], *, hint: str = "", source: str = "") -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        self.source = source
        prefix = f"{source}: " if source else ""
        super().__init__("\n".join(f"{prefix}{problem}" for problem in self.problems), hint=hint)


class AgentLoadError(ConfigError):
    """The agent folder cannot be loaded."""

    code = "agent_load"


class InvalidGraph(ConfigError, ValueError):
    """The graph is not valid."""

    code = "invalid_graph"


class InvalidInput(HiveError, ValueError):
    """The request is not valid."""

    code = "invalid"


class Denied(HiveError):
    """You may not do this."""

    code = "denied"


class NotFound(HiveError, LookupError):
    """There is no such thing."""

    code = "not_found"


class EntryPointNotFound(NotFound, ValueError):
    """No entry point has this id."""


class GraphNotFound(NotFound):
    """No graph has this id."""


class SessionNotFound(NotFound):
    """No session has this id."""


class ExecutionNotFound(NotFound):
    """No execution has this id."""


class TimerNotFound(NotFound):
    """No timer has this id."""


class AgentNotFound(NotFound):
    """No agent has this name."""


class CheckpointNotFound(NotFound):
    """No checkpoint has this id."""


class Conflict(HiveError):
    """The request does not fit the present state."""

    code = "conflict"


class AlreadyRegistered(Conflict, ValueError):
    """This id is registered already."""

    code = "already_registered"


class NotRunning(Conflict, RuntimeError):
    """The runtime is not running."""

    code = "not_running"


class AlreadyRunning(Conflict, RuntimeError):
    """This cannot be changed while the runtime runs."""

    code = "already_running"


class IllegalMove(Conflict):
    """The status cannot change that way."""

    code = "illegal_move"


class GraphChanged(Conflict):
    """The graph is not the one that the execution was put away in."""

    code = "graph_changed"


class Fenced(Conflict):
    """Another owner holds this execution now."""

    code = "fenced"


class StateConflict(Conflict):
    """A shared key was changed by another execution meanwhile."""

    code = "state_conflict"


class IdempotencyConflict(Conflict):
    """The same idempotency key was used with another body."""

    code = "idempotency_conflict"


class StateLocked(Conflict):
    """Another process owns this state directory."""

    code = "state_locked"


class Busy(Conflict):
    """This entry point is busy and does not queue."""

    code = "busy"


class Refused(HiveError):
    """The request is refused for now.

    `retry_after` is in seconds, None if nobody can tell when to ask again.
    """

    code = "refused"

    def __init__(
        self,
        message: str = "",
        *,
        hint: str = "",
        subject: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, hint=hint, subject=subject)
        self.retry_after = retry_after


class Draining(Refused):
    """The daemon is draining and takes no new work."""

    code = "draining"


class QueueFull(Refused):
    """The queue of this entry point is full.

    `depth` is how many wait, `oldest_age` how long the oldest of them has, in seconds.
    """

    code = "queue_full"

    def __init__(
        self,
        message: str = "",
        *,
        hint: str = "",
        subject: str = "",
        retry_after: float | None = None,
        depth: int = 0,
        oldest_age: float = 0.0,
    ) -> None:
        super().__init__(message, hint=hint, subject=subject, retry_after=retry_after)
        self.depth = depth
        self.oldest_age = oldest_age


class RateLimited(Refused):
    """This entry point takes no more triggers for now."""

    code = "rate_limited"


class StorageFull(Refused):
    """There is no space left for new work."""

    code = "storage_full"


class BudgetExceeded(Refused):
    """The budget is spent."""

    code = "budget_exceeded"


class ModelError(HiveError):
    """The model call failed."""

    code = "model"


class ModelUnavailable(ModelError):
    """The model did not answer, a later try may succeed."""

    code = "model_unavailable"


class ModelRejected(ModelError):
    """The model refused the request, trying again would not help."""

    code = "model_rejected"


class StorageError(HiveError):
    """The store failed."""

    code = "storage"


class StorageCorrupt(StorageError):
    """The store is damaged."""

    code = "storage_corrupt"


class StorageTooNew(StorageError):
    """The store was written by a newer version."""

    code = "storage_too_new"


class StorageUnavailable(StorageError):
    """The store cannot be written at the moment."""

    code = "storage_unavailable"
