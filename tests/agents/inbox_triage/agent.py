"""The agent: goal, nodes, edges, and a class of its own as the older system's exports have it."""

from pathlib import Path

from framework.graph import Constraint, EdgeCondition, EdgeSpec, Goal, SuccessCriterion
from framework.graph.checkpoint_config import CheckpointConfig
from framework.graph.edge import AsyncEntryPointSpec, GraphSpec
from framework.graph.executor import ExecutionResult
from framework.llm import LiteLLMProvider
from framework.runner.tool_registry import ToolRegistry
from framework.runtime.agent_runtime import AgentRuntime, create_agent_runtime
from framework.runtime.execution_stream import EntryPointSpec

from .config import default_config, metadata
from .nodes import fetch_node, report_node, sort_node

goal = Goal(
    id="inbox-triage",
    name="Inbox triage",
    description="Every mail is sorted by the user's rules.",
    success_criteria=[
        SuccessCriterion(
            id="sorted", description="Mails are sorted", metric="share", target="100%", weight=1.0
        )
    ],
    constraints=[
        Constraint(
            id="no-sending",
            description="Never send a mail",
            constraint_type="hard",
            category="safety",
        )
    ],
)

nodes = [fetch_node, sort_node, report_node]

edges = [
    EdgeSpec(
        id="fetch-to-sort",
        source="fetch-mails",
        target="sort-mails",
        condition=EdgeCondition.ON_SUCCESS,
        priority=1,
    ),
    EdgeSpec(
        id="sort-to-report",
        source="sort-mails",
        target="report",
        condition=EdgeCondition.ON_SUCCESS,
        priority=1,
    ),
]

entry_node = "fetch-mails"
entry_points = {"start": "fetch-mails"}
pause_nodes = []
terminal_nodes = ["report"]
loop_config = {"max_iterations": 20, "max_tool_calls_per_turn": 5, "max_history_tokens": 32000}
conversation_mode = "continuous"
identity_prompt = "You sort mails."

async_entry_points = [
    AsyncEntryPointSpec(
        id="mail-timer",
        name="Check the mailbox",
        entry_node="fetch-mails",
        trigger_type="timer",
        trigger_config={"interval_minutes": 5, "run_immediately": False},
        isolation_level="shared",
        max_concurrent=1,
    ),
]


class InboxTriage:
    """What a program that does without AgentRunner would use."""

    def __init__(self, config=None):
        self.config = config or default_config
        self.info = metadata
        self._agent_runtime: AgentRuntime | None = None

    def build(self, storage_path: Path) -> AgentRuntime:
        registry = ToolRegistry()
        registry.discover_from_module(Path(__file__).parent / "tools.py")
        graph = GraphSpec(
            id="inbox-triage-graph",
            goal_id=goal.id,
            version=metadata.version,
            entry_node=entry_node,
            entry_points=entry_points,
            terminal_nodes=terminal_nodes,
            nodes=nodes,
            edges=edges,
            default_model=self.config.model,
            max_tokens=self.config.max_tokens,
            loop_config=loop_config,
            conversation_mode=conversation_mode,
            identity_prompt=identity_prompt,
        )
        return create_agent_runtime(
            graph=graph,
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
            llm=LiteLLMProvider(self.config.model, self.config.api_key, self.config.api_base),
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

    def failed(self) -> ExecutionResult:
        return ExecutionResult(success=False, error="not started")


default_agent = InboxTriage()
