"""The graph executor: what an execution comes to, and running a graph on its own, without a runtime."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hive_daemon.clock import SYSTEM_CLOCK, Clock
from hive_daemon.graph.checkpoint_config import CheckpointConfig
from hive_daemon.graph.edge import GraphSpec, ParallelExecutionConfig
from hive_daemon.graph.goal import Goal
from hive_daemon.graph.node import NODE_TYPES

__all__ = ["ExecutionResult", "GraphExecutor", "ParallelExecutionConfig"]


@dataclass
class ExecutionResult:
    """What an execution came to.

    `output` is everything its memory held at the end. `paused_at` is set, and `success` true, when it was put away;
    `session_state` is then enough to go on from, in this process or another. `execution_quality` is clean, degraded
    (it succeeded after failures or retries) or failed. `cost_usd` is what its model calls cost, None if the price of
    one is not known.
    """

    success: bool
    output: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    steps_executed: int = 0
    total_tokens: int = 0
    total_latency_ms: int = 0
    path: list[str] = field(default_factory=list)
    paused_at: str | None = None
    session_state: dict[str, Any] = field(default_factory=dict)
    total_retries: int = 0
    nodes_with_failures: list[str] = field(default_factory=list)
    retry_details: dict[str, int] = field(default_factory=dict)
    had_partial_failures: bool = False
    execution_quality: str = "clean"
    node_visit_counts: dict[str, int] = field(default_factory=dict)
    status: str = ""
    error_code: str = ""
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd: float | None = 0.0
    execution_id: str = ""
    session_id: str = ""

    @property
    def is_clean_success(self) -> bool:
        """Whether it succeeded without a failure or a retry."""
        return self.success and self.execution_quality == "clean"

    @property
    def is_degraded_success(self) -> bool:
        """Whether it succeeded after failures or retries."""
        return self.success and self.execution_quality == "degraded"

    def to_dict(self) -> dict[str, Any]:
        """Return the result's fields by name."""
        return dict(vars(self))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ExecutionResult:
        """Read what `to_dict` wrote; unknown keys are passed over."""
        known = {key: value for key, value in data.items() if key in cls.__dataclass_fields__}
        return cls(**known)


class GraphExecutor:
    """Runs a graph from its entry to its end, in this process, keeping nothing.

    For programs that bring their own surroundings. Under an `AgentRuntime` the same performer runs with a durable
    journal instead. `runtime` may be any object with `start_run`, `end_run` and `report_problem`. A node that names a
    `model` works with that one, made beside `llm` (its key goes to models of its service only); a program's own
    provider works for every node.
    """

    VALID_NODE_TYPES = frozenset(NODE_TYPES)

    def __init__(
        self,
        runtime: Any = None,
        llm: Any = None,
        tools: list[Any] | None = None,
        tool_executor: Callable[..., Any] | None = None,
        node_registry: Mapping[str, Any] | None = None,
        *,
        enable_parallel_execution: bool = True,
        parallel_config: ParallelExecutionConfig | None = None,
        event_bus: Any = None,
        stream_id: str = "",
        storage_path: str | Path | None = None,
        loop_config: Mapping[str, Any] | None = None,
        accounts_prompt: str = "",
        execution_id: str = "",
        clock: Clock = SYSTEM_CLOCK,
        **ignored: Any,
    ) -> None:
        self.runtime = runtime
        self.llm = llm
        self.tools = list(tools or ())
        self.tool_executor = tool_executor
        self.node_registry: dict[str, Any] = dict(node_registry or {})
        self.event_bus = event_bus
        self.stream_id = stream_id
        self.execution_id = execution_id or _own_id(runtime)
        self.clock = clock
        self.pause = asyncio.Event()
        """Set while a pause is asked for; the run that it puts away takes it back."""
        self._is_parallel = enable_parallel_execution
        self._parallel_config = parallel_config
        self._storage_path = Path(storage_path).expanduser() if storage_path else None
        self._loop_config = dict(loop_config or {})
        self._accounts_prompt = accounts_prompt

    def register_node(self, node_id: str, implementation: Any) -> None:
        """Let this implementation run whenever the walk comes to `node_id`."""
        self.node_registry[node_id] = implementation

    def request_pause(self) -> None:
        """Put the run away at its next node boundary: its result has `paused_at`, and a state to go on from."""
        self.pause.set()

    async def execute(
        self,
        graph: GraphSpec,
        goal: Goal,
        input_data: Mapping[str, Any] | None = None,
        session_state: Mapping[str, Any] | None = None,
        checkpoint_config: CheckpointConfig | None = None,
    ) -> ExecutionResult:
        """Run the graph and return what it came to; an invalid graph is a failed result that says why."""
        from hive_daemon.graph.standalone import Task, run_standalone

        task = Task(self._adapted(graph), goal, input_data or {}, session_state or {})
        return await run_standalone(self, task)

    def _adapted(self, graph: GraphSpec) -> GraphSpec:
        updates: dict[str, Any] = {}
        parallel = self._parallel_config or graph.parallel_config
        if not self._is_parallel:
            parallel = parallel.model_copy(update={"is_enabled": False})
        if parallel is not graph.parallel_config:
            updates["parallel_config"] = parallel
        if self._loop_config:
            updates["loop_config"] = {**graph.loop_config, **self._loop_config}
        return graph.model_copy(update=updates) if updates else graph

    @property
    def data_dir(self) -> str:
        """Where tools of this execution keep their files; empty without a storage path."""
        return str(self._storage_path / "data") if self._storage_path else ""

    @property
    def accounts_prompt(self) -> str:
        """What nodes are told about connected accounts."""
        return self._accounts_prompt


def _own_id(runtime: Any) -> str:
    """Return the execution id that a program's runtime object carries, if it does."""
    found = getattr(runtime, "execution_id", "")
    return found if isinstance(found, str) else ""
