"""The shape of a graph as people write it: edges, the graph, and the entry points an agent folder declares."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from hive_daemon.graph.node import NodeSpec


class EdgeCondition(StrEnum):
    """When an edge is followed."""

    ALWAYS = "always"
    ON_SUCCESS = "on_success"
    ON_FAILURE = "on_failure"
    CONDITIONAL = "conditional"
    LLM_DECIDE = "llm_decide"


class ConflictStrategy(StrEnum):
    """What happens when two branches of a fan-out wrote the same key."""

    LAST_WINS = "last_wins"
    FIRST_WINS = "first_wins"
    ERROR = "error"


class BranchFailure(StrEnum):
    """What a failed branch means for its siblings."""

    FAIL_ALL = "fail_all"
    CONTINUE_OTHERS = "continue_others"
    WAIT_ALL = "wait_all"


class ParallelExecutionConfig(BaseModel):
    """How a fan-out behaves. First and last are meant in branch order, never in finishing order.

    `branch_timeout_seconds` bounds the work of a branch, from a fork or a join to the next; waiting for other branches
    or for a person does not count. `on_branch_failure` is about failures that no edge handles: `fail_all` stops the
    others and fails, `wait_all` fails once the others have ended, `continue_others` goes on without the branch as long
    as there is another. With `is_enabled` false there is no fan-out: of several matching edges the first is followed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    on_branch_failure: BranchFailure = BranchFailure.FAIL_ALL
    memory_conflict_strategy: ConflictStrategy = ConflictStrategy.LAST_WINS
    branch_timeout_seconds: float = Field(default=300.0, gt=0)
    is_enabled: bool = True

    def __init__(
        self,
        on_branch_failure: str | None = None,
        memory_conflict_strategy: str | None = None,
        branch_timeout_seconds: float | None = None,
        **extra: Any,
    ) -> None:
        given = {
            "on_branch_failure": on_branch_failure,
            "memory_conflict_strategy": memory_conflict_strategy,
            "branch_timeout_seconds": branch_timeout_seconds,
        }
        # What was not given must not count as set: a strategy that somebody chose allows more than the default.
        super().__init__(**{k: v for k, v in given.items() if v is not None}, **extra)


class EdgeSpec(BaseModel):
    """A way from one node to another. `input_mapping` is `{target key: source key}`."""

    model_config = ConfigDict(extra="allow")

    id: str
    source: str
    target: str
    condition: EdgeCondition = EdgeCondition.ALWAYS
    condition_expr: str | None = None
    input_mapping: dict[str, str] = Field(default_factory=dict)
    priority: int = 0
    description: str = ""


class AsyncEntryPointSpec(BaseModel):
    """An entry point as an agent folder declares it; the runtime turns it into an EntryPointSpec."""

    model_config = ConfigDict(extra="allow")

    id: str
    name: str = ""
    entry_node: str = ""
    trigger_type: str = "manual"
    trigger_config: dict[str, Any] = Field(default_factory=dict)
    isolation_level: str = "shared"
    priority: int = 0
    max_concurrent: int = 10
    task: str = ""


class GraphSpec(BaseModel):
    """A graph of nodes: where it begins, how it goes on, where it may pause and end.

    `max_steps` bounds the number of node visits of one execution; reaching it is a failure.
    """

    model_config = ConfigDict(extra="allow", arbitrary_types_allowed=True)

    id: str
    goal_id: str = ""
    version: str = "1.0.0"
    entry_node: str
    entry_points: dict[str, str] = Field(default_factory=dict)
    async_entry_points: list[AsyncEntryPointSpec] = Field(default_factory=list)
    terminal_nodes: list[str] = Field(default_factory=list)
    pause_nodes: list[str] = Field(default_factory=list)
    nodes: list[NodeSpec] = Field(default_factory=list)
    edges: list[EdgeSpec] = Field(default_factory=list)
    memory_keys: list[str] = Field(default_factory=list)
    default_model: str = ""
    max_tokens: int | None = None
    cleanup_llm_model: str | None = None
    max_steps: int = Field(default=100, gt=0)
    max_retries_per_node: int = Field(default=3, ge=0)
    loop_config: dict[str, Any] = Field(default_factory=dict)
    conversation_mode: str = "continuous"
    identity_prompt: str | None = None
    description: str = ""
    created_by: str = ""
    parallel_config: ParallelExecutionConfig = Field(default_factory=ParallelExecutionConfig)

    def get_node(self, node_id: str) -> NodeSpec | None:
        """Return the node with this id, or None."""
        return next((node for node in self.nodes if node.id == node_id), None)

    def get_outgoing_edges(self, node_id: str) -> list[EdgeSpec]:
        """Return the edges out of a node, highest priority first, else in the order written."""
        edges = [edge for edge in self.edges if edge.source == node_id]
        return sorted(edges, key=lambda edge: -edge.priority)

    def get_incoming_edges(self, node_id: str) -> list[EdgeSpec]:
        """Return the edges into a node, in the order written."""
        return [edge for edge in self.edges if edge.target == node_id]

    def detect_fan_out_nodes(self) -> dict[str, list[str]]:
        """Return `{node: targets}` for the nodes with more than one on_success edge."""
        found: dict[str, list[str]] = {}
        for node in self.nodes:
            targets = [
                edge.target
                for edge in self.get_outgoing_edges(node.id)
                if edge.condition is EdgeCondition.ON_SUCCESS
            ]
            if len(targets) > 1:
                found[node.id] = targets
        return found

    def detect_fan_in_nodes(self) -> dict[str, list[str]]:
        """Return `{node: sources}` for the nodes with more than one edge into them."""
        incoming = {
            node.id: [edge.source for edge in self.get_incoming_edges(node.id)]
            for node in self.nodes
        }
        return {node: sources for node, sources in incoming.items() if len(sources) > 1}

    def has_async_entry_points(self) -> bool:
        """Say whether the graph declares entry points of its own."""
        return bool(self.async_entry_points)

    def get_async_entry_point(self, entry_point_id: str) -> AsyncEntryPointSpec | None:
        """Return the declared entry point with this id, or None."""
        return next((ep for ep in self.async_entry_points if ep.id == entry_point_id), None)

    def get_entry_point(self, session_state: dict[str, Any] | None = None) -> str:
        """Return the node where an execution begins or, given the state of an earlier one, goes on."""
        state = session_state or {}
        paused_at = state.get("paused_at")
        if paused_at in self.pause_nodes and f"{paused_at}_resume" in self.entry_points:
            return self.entry_points[f"{paused_at}_resume"]
        resume_from = state.get("resume_from")
        if isinstance(resume_from, str):
            if resume_from in self.entry_points:
                return self.entry_points[resume_from]
            if self.get_node(resume_from) is not None:
                return resume_from
        return self.entry_node

    def validate(self) -> list[str]:  # type: ignore[override]  # the documented name
        """Return every error of the graph as a sentence; empty when it can run."""
        from hive_daemon.graph.validation import errors_of

        return errors_of(self)
