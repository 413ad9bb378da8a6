"""Goal, nodes, edges, and a class for programs that do without a runner."""

from pathlib import Path

from framework.graph import Constraint, EdgeCondition, EdgeSpec, Goal, SuccessCriterion
from framework.graph.checkpoint_config import CheckpointConfig
from framework.graph.edge import GraphSpec
from framework.graph.executor import ExecutionResult
from framework.llm import LiteLLMProvider
from framework.runner.tool_registry import ToolRegistry
from framework.runtime.agent_runtime import AgentRuntime, create_agent_runtime
from framework.runtime.execution_stream import EntryPointSpec

from .config import default_config, metadata
from .nodes import intake_node, report_node, research_node, review_node

goal = Goal(
    id="research-desk",
    name="Research desk",
    description="A question is answered from sources, and the user is content with the answer.",
    success_criteria=[
        SuccessCriterion(
            id="sourced",
            description="Every finding has a source",
            metric="source_count",
            target=">=1",
            weight=0.6,
        ),
        SuccessCriterion(
            id="reviewed",
            description="The user saw the findings",
            metric="reviewed",
            target="true",
            weight=0.4,
        ),
    ],
    constraints=[
        Constraint(
            id="no-invention",
            description="Nothing is made up",
            constraint_type="hard",
            category="quality",
        )
    ],
)

nodes = [intake_node, research_node, review_node, report_node]

edges = [
    EdgeSpec(
        id="intake-to-research",
        source="intake",
        target="research",
        condition=EdgeCondition.ON_SUCCESS,
        priority=1,
    ),
    EdgeSpec(
        id="research-to-review",
        source="research",
        target="review",
        condition=EdgeCondition.ON_SUCCESS,
        priority=1,
    ),
    EdgeSpec(
        id="review-to-research",
        source="review",
        target="research",
        condition=EdgeCondition.CONDITIONAL,
        condition_expr="needs_more_research == True",
        priority=1,
    ),
    EdgeSpec(
        id="review-to-report",
        source="review",
        target="report",
        condition=EdgeCondition.CONDITIONAL,
        condition_expr="needs_more_research == False",
        priority=2,
    ),
]

entry_node = "intake"
entry_points = {"start": "intake"}
pause_nodes = []
terminal_nodes = ["report"]
conversation_mode = "continuous"
identity_prompt = "You are a careful researcher who names sources."
loop_config = {
    "max_iterations": 30,
    "max_tool_calls_per_turn": 10,
    "max_history_tokens": 32000,
}


class ResearchDesk:
    """The agent for programs: build, run, read."""

    def __init__(self, config=None):
        self.config = config or default_config
        self.info = metadata
        self.goal = goal
        self._agent_runtime: AgentRuntime | None = None

    def _build_graph(self) -> GraphSpec:
        return GraphSpec(
            id="research-desk-graph",
            goal_id=goal.id,
            version="1.0.0",
            entry_node=entry_node,
            entry_points=entry_points,
            terminal_nodes=terminal_nodes,
            pause_nodes=pause_nodes,
            nodes=nodes,
            edges=edges,
            default_model=self.config.model,
            max_tokens=self.config.max_tokens,
            loop_config=loop_config,
            conversation_mode=conversation_mode,
            identity_prompt=identity_prompt,
        )

    def _setup(self, storage_path=None) -> None:
        registry = ToolRegistry()
        tools_file = Path(__file__).parent / "tools.py"
        if tools_file.exists():
            registry.discover_from_module(tools_file)
        self._agent_runtime = create_agent_runtime(
            graph=self._build_graph(),
            goal=goal,
            storage_path=storage_path,
            entry_points=[
                EntryPointSpec(
                    id="default",
                    name="Default",
                    entry_node=entry_node,
                    trigger_type="manual",
                    isolation_level="shared",
                )
            ],
            llm=LiteLLMProvider(
                model=self.config.model,
                api_key=self.config.api_key,
                api_base=self.config.api_base,
            ),
            tools=list(registry.get_tools().values()),
            tool_executor=registry.get_executor(),
            checkpoint_config=CheckpointConfig(
                enabled=True,
                checkpoint_on_node_start=False,
                checkpoint_on_node_complete=True,
                checkpoint_max_age_days=7,
                async_checkpoint=True,
            ),
        )

    async def start(self, storage_path=None) -> None:
        if self._agent_runtime is None:
            self._setup(storage_path)
        if not self._agent_runtime.is_running:
            await self._agent_runtime.start()

    async def stop(self) -> None:
        if self._agent_runtime and self._agent_runtime.is_running:
            await self._agent_runtime.stop()
        self._agent_runtime = None

    async def trigger_and_wait(self, entry_point="default", input_data=None, session_state=None):
        if self._agent_runtime is None:
            raise RuntimeError("Agent not started. Call start() first.")
        return await self._agent_runtime.trigger_and_wait(
            entry_point_id=entry_point, input_data=input_data or {}, session_state=session_state
        )

    async def run(self, context, session_state=None, storage_path=None) -> ExecutionResult:
        await self.start(storage_path)
        try:
            result = await self.trigger_and_wait("default", context, session_state)
            return result or ExecutionResult(success=False, error="Execution timeout")
        finally:
            await self.stop()

    def validate(self):
        known = {node.id for node in nodes}
        errors = [f"edge {e.id}: {e.target}" for e in edges if e.target not in known]
        return {"valid": not errors, "errors": errors, "warnings": []}


default_agent = ResearchDesk()
