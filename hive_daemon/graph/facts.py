"""Facts: what the engine says happened.

A fact is a value with a `kind` (the event type it becomes) and `data()` (its payload), handed to a `Recorder`. Durable
facts are part of a commit; live ones (text deltas) are shown to whoever listens and then gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Protocol

RESULT_LIMIT = 65_536
"""Characters of a tool's result that a fact carries; the whole is kept with the session's data."""


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that happened, at a node or to the execution as a whole (`node_id` None)."""

    kind: ClassVar[str] = ""
    live: ClassVar[bool] = False

    node_id: str | None

    def data(self) -> dict[str, Any]:
        """Return the payload: every field but the node's id."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "node_id"}


class Recorder(Protocol):
    """Where facts go. Laws: what `record` returned for is durable; facts become visible in the order given."""

    def note(self, *facts: Fact) -> None:
        """Add facts to the next commit."""

    async def record(self, *facts: Fact, records: Mapping[str, bytes | None] | None = None) -> None:
        """Make facts, and the session records given with them (None deletes), durable now."""

    def show(self, fact: Fact) -> None:
        """Show a live fact to whoever listens, at most once."""

    @property
    def is_watched(self) -> bool:
        """Whether anybody listens to live facts of this execution."""

    async def recall(self, prefix: str) -> dict[str, bytes]:
        """Return the session records whose key begins with `prefix`."""


@dataclass(frozen=True, slots=True)
class ExecutionStarted(Fact):
    """An execution began to run."""

    kind = "execution_started"
    input: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ExecutionCompleted(Fact):
    """An execution reached its end."""

    kind = "execution_completed"
    output: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ExecutionFailed(Fact):
    """An execution failed; `code` names the kind of failure."""

    kind = "execution_failed"
    error: str
    code: str = "failed"


@dataclass(frozen=True, slots=True)
class ExecutionCancelled(Fact):
    """An execution was cancelled."""

    kind = "execution_cancelled"
    reason: str


@dataclass(frozen=True, slots=True)
class ExecutionPaused(Fact):
    """An execution was put away until somebody goes on with it; `status` says how."""

    kind = "execution_paused"
    reason: str
    status: str = "paused"


@dataclass(frozen=True, slots=True)
class ExecutionResumed(Fact):
    """An execution that was put away goes on."""

    kind = "execution_resumed"
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ExecutionResurrected(Fact):
    """An execution goes on after a crash or a failure, by itself; `rung` and `cause` are those of `graph.healing`."""

    kind = "execution_resurrected"
    attempt: int
    max_resurrections: int
    error: str
    resume_from: str | None
    rung: str = ""
    cause: str = ""


@dataclass(frozen=True, slots=True)
class NodeStarted(Fact):
    """A visit of a node begins; a further try of it is not told so."""

    kind = "node_started"
    node_type: str
    visit: int
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class NodeCompleted(Fact):
    """A try of a node ended; the L2 log is this fact.

    `result` is the documented word for how it ended: success, failure, or what the node itself says.
    """

    kind = "node_completed"
    node_name: str
    node_type: str
    success: bool
    result: str
    error: str | None
    visit: int
    attempt: int
    duration_seconds: float
    iterations: int = 0
    llm_call_count: int = 0
    tool_call_count: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd: float | None = None
    accept_count: int = 0
    retry_count: int = 0
    escalate_count: int = 0
    continue_count: int = 0
    exit_status: str = ""
    model: str = ""
    span_id: str = ""
    undeclared_outputs: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class NodeSkipped(Fact):
    """A node was passed over."""

    kind = "node_skipped"
    reason: str
    visits: int


@dataclass(frozen=True, slots=True)
class NodeRetry(Fact):
    """A node failed and will be tried again, or a call of `model` in it did."""

    kind = "node_retry"
    retry_count: int
    max_retries: int
    error: str
    delay_seconds: float
    model: str = ""


@dataclass(frozen=True, slots=True)
class EdgeTraversed(Fact):
    """The walk went from one node to another."""

    kind = "edge_traversed"
    source_node: str
    target_node: str
    edge_condition: str
    edge_id: str


@dataclass(frozen=True, slots=True)
class EdgeError(Fact):
    """An edge's expression could not be evaluated as written."""

    kind = "edge_error"
    edge_id: str
    expression: str
    error: str


@dataclass(frozen=True, slots=True)
class BranchFailed(Fact):
    """A branch of a fan-out ended without handling its failure."""

    kind = "branch_failed"
    error: str
    policy: str


@dataclass(frozen=True, slots=True)
class NodeLoopStarted(Fact):
    """A model loop began."""

    kind = "node_loop_started"
    max_iterations: int


@dataclass(frozen=True, slots=True)
class NodeLoopIteration(Fact):
    """A model loop began an iteration."""

    kind = "node_loop_iteration"
    iteration: int


@dataclass(frozen=True, slots=True)
class NodeLoopCompleted(Fact):
    """A model loop ended."""

    kind = "node_loop_completed"
    iterations: int


@dataclass(frozen=True, slots=True)
class NodeActionPlan(Fact):
    """The model said what it means to do."""

    kind = "node_action_plan"
    plan: str


@dataclass(frozen=True, slots=True)
class NodeStalled(Fact):
    """A node makes no progress: for so many seconds, or (None) because it repeats itself."""

    kind = "node_stalled"
    reason: str
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class NodeToolDoomLoop(Fact):
    """A node repeats the same tool calls with the same results."""

    kind = "node_tool_doom_loop"
    description: str


@dataclass(frozen=True, slots=True)
class JudgeVerdictGiven(Fact):
    """A judge looked at a turn."""

    kind = "judge_verdict"
    action: str
    feedback: str
    judge_type: str
    iteration: int


@dataclass(frozen=True, slots=True)
class OutputKeySet(Fact):
    """A node set one of its outputs."""

    kind = "output_key_set"
    key: str


@dataclass(frozen=True, slots=True)
class ToolCallStarted(Fact):
    """A tool call began."""

    kind = "tool_call_started"
    tool_use_id: str
    tool_name: str
    tool_input: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolCallCompleted(Fact):
    """One tool call ended; the L3 log is this fact."""

    kind = "tool_call_completed"
    tool_use_id: str
    tool_name: str
    result: str
    is_error: bool
    tool_input: Mapping[str, Any] = field(default_factory=dict)
    step_number: int = 0
    duration_seconds: float = 0.0
    tool_error: str | None = None


@dataclass(frozen=True, slots=True)
class ClientInputRequested(Fact):
    """A node needs an answer from a person."""

    kind = "client_input_requested"
    prompt: str
    options: Sequence[str] = ()
    input_kind: str = "waiting_input"


@dataclass(frozen=True, slots=True)
class ClientInputReceived(Fact):
    """The answer of a person arrived."""

    kind = "client_input_received"


@dataclass(frozen=True, slots=True)
class EscalationRequested(Fact):
    """A node asks for somebody who can help."""

    kind = "escalation_requested"
    reason: str
    context: str = ""


@dataclass(frozen=True, slots=True)
class ConstraintViolation(Fact):
    """A constraint of the goal does not hold."""

    kind = "constraint_violation"
    constraint_id: str
    description: str


@dataclass(frozen=True, slots=True)
class ContextCompacted(Fact):
    """A conversation was shortened to fit the model's window."""

    kind = "context_compacted"
    level: str
    usage_before: float
    usage_after: float


@dataclass(frozen=True, slots=True)
class StateConflicted(Fact):
    """Another execution changed a synchronized key while the node ran; the node runs again."""

    kind = "state_conflict"
    keys: Sequence[str]
    retry_count: int


@dataclass(frozen=True, slots=True)
class TriggerSuppressed(Fact):
    """An event would have set an entry point off, and was kept from it."""

    kind = "trigger_suppressed"
    entry_point: str
    reason: str
    event_type: str
