"""A node: its description, what it is given, what it answers, and the protocol a custom one implements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field

from hive_daemon.graph.json_text import find_json_object
from hive_daemon.graph.memory import SharedMemory
from hive_daemon.tools.policy import ALL_RIGHTS, ToolRights

if TYPE_CHECKING:
    from hive_daemon.graph.edge import GraphSpec
    from hive_daemon.graph.facts import Recorder
    from hive_daemon.graph.goal import Goal
    from hive_daemon.graph.memory import NodeMemory
    from hive_daemon.llm.provider import LLMProvider, Tool, ToolExecutor

__all__ = [
    "EVENT_LOOP",
    "FUNCTION",
    "HUMAN_INPUT",
    "NODE_TYPES",
    "ROUTER",
    "NodeContext",
    "NodeProtocol",
    "NodeResult",
    "NodeSpec",
    "NodeStats",
    "SharedMemory",
    "Waiting",
    "find_json_object",
    "missing_inputs",
]

EVENT_LOOP = "event_loop"
FUNCTION = "function"
ROUTER = "router"
HUMAN_INPUT = "human_input"
NODE_TYPES = (EVENT_LOOP, FUNCTION, ROUTER, HUMAN_INPUT)


class NodeSpec(BaseModel):
    """What a node does and which memory keys it reads and writes.

    No `input_keys` means it reads everything; no `output_keys` means it may write any key. `max_retries` counts
    attempts in all, for nodes that are not model loops. `max_node_visits` 0 means no limit.
    `function` is `module:attr` relative to the agent folder, or the callable itself; `routes` maps the value of
    `route_on` to a node id, `default` catching the rest. `model` and `max_tokens` go over those of the entry point.
    """

    model_config = ConfigDict(extra="allow", arbitrary_types_allowed=True)

    id: str
    name: str = ""
    description: str = ""
    node_type: str = EVENT_LOOP
    input_keys: list[str] = Field(default_factory=list)
    output_keys: list[str] = Field(default_factory=list)
    nullable_output_keys: list[str] = Field(default_factory=list)
    input_schema: dict[str, dict[str, Any]] = Field(default_factory=dict)
    output_schema: dict[str, dict[str, Any]] = Field(default_factory=dict)
    system_prompt: str | None = None
    tools: list[str] = Field(default_factory=list)
    model: str | None = Field(default=None, min_length=1)
    max_tokens: int | None = Field(default=None, gt=0)
    function: str | Callable[..., Any] | None = None
    routes: dict[str, str] = Field(default_factory=dict)
    route_on: str | None = None
    max_retries: int = Field(default=3, ge=0)
    retry_on: list[str] = Field(default_factory=list)
    timeout_seconds: float | None = Field(default=None, gt=0)
    max_node_visits: int = Field(default=0, ge=0)
    output_model: type[BaseModel] | None = None
    max_validation_retries: int = Field(default=2, ge=0)
    client_facing: bool = False
    success_criteria: str | None = None
    skip_judge: bool = False
    sub_agents: list[str] = Field(default_factory=list)

    @property
    def label(self) -> str:
        """The name for people: `name`, else the id."""
        return self.name or self.id

    @property
    def required_output_keys(self) -> list[str]:
        """The output keys that must be set before the node counts as done."""
        return [key for key in self.output_keys if key not in self.nullable_output_keys]


@dataclass
class NodeResult:
    """What a node answers.

    `next_node` sends the walk there, whatever the edges say. `waiting` is set by a node that cannot go on before a
    person answers: the execution is then parked durably, and the node runs again with the answer.
    """

    success: bool
    output: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    next_node: str | None = None
    route_reason: str | None = None
    tokens_used: int = 0
    latency_ms: int = 0
    validation_errors: list[str] = field(default_factory=list)
    conversation: Any = None
    waiting: Waiting | None = None
    stats: NodeStats | None = None
    error_type: str = ""
    retryable: bool = True

    def to_summary(self, node_spec: NodeSpec | None = None) -> str:
        """Say in one line what came out."""
        name = node_spec.label if node_spec else "node"
        if not self.success:
            return f"{name} failed: {self.error}"
        keys = ", ".join(self.output) or "no output"
        return f"{name} succeeded: {keys}"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A question that only a person can answer."""

    question: str
    options: tuple[str, ...] = ()
    kind: Literal["waiting_input", "waiting_approval"] = "waiting_input"


@dataclass(frozen=True, slots=True)
class NodeStats:
    """What one visit of a node cost and how it went; the L2 log is made of it. `cost_usd` None: not known."""

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

    @property
    def cost(self) -> float | None:
        """What it cost in dollars: nothing where no model was asked, None where the price is not known."""
        was_asked = self.llm_call_count or self.input_tokens or self.output_tokens
        return self.cost_usd if was_asked else self.cost_usd or 0.0


NOTHING_SPENT = NodeStats(cost_usd=0.0)
"""The stats of a visit before its first model call."""


@dataclass
class NodeContext:
    """Everything a node is given for one attempt.

    `answer` carries what a person said, the `answers`-th time, when the node runs again after it waited. `path` holds
    the nodes entered so far. `recorder` takes facts; `pause_event` is set when the execution was asked to pause at the
    next safe point; `deadline` is the monotonic second until which this attempt may take. `record_prefix` goes before
    the keys of the node's session records: an execution that joined a session has one of its own. `take_injected`
    returns what was said to the node since it was asked last. `tool_rights` say which tool calls run.
    """

    runtime: Any
    node_id: str
    node_spec: NodeSpec
    memory: NodeMemory
    input_data: dict[str, Any] = field(default_factory=dict)
    llm: LLMProvider | None = None
    available_tools: list[Tool] = field(default_factory=list)
    goal_context: str = ""
    goal: Goal | None = None
    max_tokens: int = 4096
    attempt: int = 1
    max_attempts: int = 3
    runtime_logger: Any = None
    pause_event: Any = None
    continuous_mode: bool = False
    inherited_conversation: Any = None
    cumulative_output_keys: list[str] = field(default_factory=list)
    accounts_prompt: str = ""
    event_triggered: bool = False
    execution_id: str = ""
    session_id: str = ""
    stream_id: str = ""
    visit: int = 1
    answer: str | None = None
    answers: int = 0
    identity_prompt: str = ""
    path: Sequence[str] = ()
    graph: GraphSpec | None = None
    tool_executor: ToolExecutor | None = None
    recorder: Recorder | None = None
    data_dir: str = ""
    deadline: float | None = None
    record_prefix: str = ""
    take_injected: Callable[[], list[str]] = list
    tool_rights: ToolRights = ALL_RIGHTS

    @property
    def buffer(self) -> NodeMemory:
        """The node's memory, under its later name."""
        return self.memory


@runtime_checkable
class NodeProtocol(Protocol):
    """A node of your own: registered for a node id, it runs whenever the walk comes there."""

    async def execute(self, ctx: NodeContext) -> NodeResult:
        """Do the node's work."""


def missing_inputs(ctx: NodeContext) -> list[str]:
    """Name the declared input keys that nobody has set."""
    return [key for key in ctx.node_spec.input_keys if key not in ctx.input_data]
