"""`AgentRunner`: an agent folder run from a program.

    runner = AgentRunner.load("exports/my_agent", model="anthropic/claude-sonnet-4-20250514")
    result = await runner.run({"query": "hello"})

It makes an AgentRuntime with the folder's graph, tools and entry points and leaves the program's logging alone.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hive_daemon import framework_alias
from hive_daemon.errors import AlreadyRunning
from hive_daemon.graph.checkpoint_config import CheckpointConfig
from hive_daemon.graph.edge import GraphSpec
from hive_daemon.graph.executor import ExecutionResult
from hive_daemon.graph.goal import Goal
from hive_daemon.llm.blocking import run_blocking
from hive_daemon.llm.factory import SCRIPTED
from hive_daemon.llm.models import Models, OneModel
from hive_daemon.llm.values import Tool
from hive_daemon.runner.agent_info import AgentInfo, ValidationResult, validate
from hive_daemon.runner.agent_loader import load_agent
from hive_daemon.runner.console import Conversation, terminal
from hive_daemon.runner.deciding import ASKING, asked
from hive_daemon.runner.entry_points import DEFAULT
from hive_daemon.runner.loaded_agent import LoadedAgent
from hive_daemon.runner.model_choice import settled, shelf_of
from hive_daemon.runner.model_needs import keys_to_run
from hive_daemon.runner.plain_agent import plain_agent
from hive_daemon.runtime.agent_runtime import AgentRuntime, AgentRuntimeConfig
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.intake import Call
from hive_daemon.status import ExecutionStatus
from hive_daemon.tasks import Scope
from hive_daemon.tools.registry import ToolRegistry

__all__ = ["AgentInfo", "AgentRunner", "ValidationResult"]

STORAGE = Path("~/.hive/agents")

_WITHOUT_EFFECT = frozenset(
    {
        "skip_guardian",
        "requires_account_selection",
        "configure_for_account",
        "list_accounts",
    }
)
"""Keyword arguments that older programs pass and that have nothing to act on here."""


class AgentRunner:
    """One agent of one folder, from loading to cleanup.

    `mock_mode` works with the scripted model. The state is under `storage_path`, by default `~/.hive/agents/{folder}`.
    With `interactive` a person at a terminal is shown what nodes say to people and is asked what they ask; everywhere
    else a question ends the run with `paused_at`, to be resumed with its `session_state`. `latest_execution_id` is that
    of the last `run`, as soon as it is durable. `source` is what records say began it: `api`, or `cli`.
    """

    def __init__(
        self,
        agent_path: str | Path,
        graph: GraphSpec,
        goal: Goal,
        mock_mode: bool = False,
        storage_path: str | Path | None = None,
        model: str | None = None,
        intro_message: str = "",
        runtime_config: AgentRuntimeConfig | None = None,
        interactive: bool = True,
        skip_credential_validation: bool = False,
        *,
        agent: LoadedAgent | None = None,
        source: str = "api",
        **older: Any,
    ) -> None:
        unknown = sorted(set(older) - _WITHOUT_EFFECT)
        if unknown:
            raise TypeError(f"AgentRunner takes no argument {unknown[0]!r}")
        self._agent = agent or plain_agent(Path(agent_path), graph, goal)
        self.agent_path = self._agent.path
        self.graph = self._agent.graph
        self.goal = self._agent.goal
        self.mock_mode = mock_mode
        self.interactive = interactive
        self.intro_message = intro_message or self._agent.intro_message
        self._llm = settled(SCRIPTED if mock_mode else model, self._agent.llm)
        self.model = self._llm.model
        self._skips_key = skip_credential_validation or self._agent.skips_credential_check
        self.latest_execution_id = ""
        self._source = source
        self._runtime_config = runtime_config or _config_of(self._agent)
        place = Path(storage_path) if storage_path else STORAGE / self._agent.name
        self._storage_path = place.expanduser()
        self._agent_runtime: AgentRuntime | None = None
        self._models: Models = OneModel()
        self._scope = Scope(f"agent runner {self._agent.name}")
        self._resources = ExitStack()
        self._resources.callback(self._agent.close)
        # Code of the folder may import `framework…` at any time.
        self._resources.enter_context(framework_alias.installed())

    @classmethod
    def load(
        cls,
        agent_path: str | Path,
        mock_mode: bool = False,
        storage_path: str | Path | None = None,
        model: str | None = None,
        interactive: bool = True,
        **options: Any,
    ) -> Self:
        """Load an agent folder; nothing is started. Raises AgentLoadError with everything that is wrong.

        The model is the one asked for, else the folder's, else the machine's (`HIVE_MODEL`,
        `~/.hive/configuration.json`). `options` are further arguments of the class.
        """
        agent = load_agent(agent_path)
        with ExitStack() as undo:
            undo.callback(agent.close)
            runner = cls(
                agent.path,
                agent.graph,
                agent.goal,
                mock_mode=mock_mode,
                storage_path=storage_path,
                model=model,
                interactive=interactive,
                agent=agent,
                **options,
            )
            undo.pop_all()
        return runner

    # --- running ----------------------------------------------------------------------------

    async def run(
        self,
        input_data: Mapping[str, Any] | None = None,
        session_state: Mapping[str, Any] | None = None,
        entry_point_id: str | None = None,
        *,
        follows: str | None = None,
    ) -> ExecutionResult:
        """Run one execution until it ends, or waits for somebody who is not there; start the runtime if need be.

        What keeps the agent from running at all (a missing tool or key) is a failed result. The runtime stays on.
        With `follows`, an execution that the start takes up again is seen through instead of a new one.
        """
        reason = self._reason_not_to_run(entry_point_id or DEFAULT)
        if reason:
            return ExecutionResult(
                False, error=reason, execution_quality="failed", status=ExecutionStatus.FAILED
            )
        await self.start()
        name = entry_point_id or DEFAULT
        person = terminal() if self.interactive and self._talks_to_people else None
        talk = Conversation(person) if person is not None else None
        with talk.attached(self.runtime) if talk is not None else nullcontext():
            if follows is None:
                result = await self._once(name, input_data, session_state)
            else:
                result = await self._seen_through(follows)
            while talk is not None and result.status in ASKING:
                node = result.paused_at or ""
                answer = await asked(talk, self.runtime, result)
                if answer is None:
                    break
                result = await self._once(name, {node: answer}, result.session_state)
            if talk is not None:
                await talk.end_line()
        return result

    async def _once(
        self,
        entry_point_id: str,
        input_data: Mapping[str, Any] | None,
        session_state: Mapping[str, Any] | None,
    ) -> ExecutionResult:
        call = replace(Call.of(input_data, None, session_state), source=self._source)
        submitted = await self.runtime.submit(entry_point_id, call)
        return await self._seen_through(submitted.execution_id)

    async def _seen_through(self, execution_id: str) -> ExecutionResult:
        self.latest_execution_id = execution_id
        result = await self.runtime.wait_for_completion(execution_id)
        assert result is not None  # only a wait with a time limit may come to None
        return result

    @property
    def _talks_to_people(self) -> bool:
        asks = any(spec.tool_policy.rules for spec in self._agent.entry_points)
        return asks or any(
            node.client_facing or node.node_type == "human_input" for node in self.graph.nodes
        )

    def _reason_not_to_run(self, entry_point_id: str) -> str:
        errors = self.validate().errors or self.missing_keys(entry_point_id)
        return "; ".join(errors)

    def missing_keys(self, entry_point_id: str = DEFAULT) -> list[str]:
        """Say, in sentences that name variables, which keys an entry point cannot run without."""
        if self._skips_key:
            return []
        needs = keys_to_run(self._agent, self._llm, entry_point_id, os.environ)
        return [need.told() for need in needs]

    async def start(self) -> None:
        """Start the runtime: timers, events and triggers take effect. Nothing happens if it runs."""
        await self.runtime.start()

    async def stop(self) -> None:
        """Stop the runtime; it can be started again."""
        if self._agent_runtime is not None:
            await self._agent_runtime.stop()

    async def trigger(
        self,
        entry_point_id: str,
        input_data: Mapping[str, Any] | None = None,
        correlation_id: str | None = None,
        session_state: Mapping[str, Any] | None = None,
    ) -> str:
        """Accept an execution and return its id without waiting; start the runtime if need be."""
        await self.start()
        return await self.runtime.trigger(entry_point_id, input_data, correlation_id, session_state)

    @property
    def is_running(self) -> bool:
        """Whether the runtime takes triggers."""
        return self._agent_runtime is not None and self._agent_runtime.is_running

    # --- the runtime ------------------------------------------------------------------------

    @property
    def runtime(self) -> AgentRuntime:
        """The runtime, made when it is first needed. Raises InvalidGraph, ConfigError."""
        if self._agent_runtime is None:
            self._agent_runtime = self._setup_agent_runtime()
        return self._agent_runtime

    def _setup_agent_runtime(self) -> AgentRuntime:
        agent, tools = self._agent, self._agent.tools
        self._models = shelf = shelf_of(self._llm, agent.path)
        runtime = AgentRuntime(
            agent.graph,
            agent.goal,
            self._storage_path,
            llm=shelf.own,
            models=shelf,
            tools=list(tools.get_tools().values()),
            tool_executor=tools.get_executor(),
            config=self._runtime_config,
            checkpoint_config=CheckpointConfig(checkpoint_on_node_start=False),
            graph_id=agent.graph.id,
            node_registry=agent.node_registry,
        )
        runtime.intro_message = self.intro_message
        for spec in agent.entry_points:
            runtime.register_entry_point(spec)
        return runtime

    # --- tools ------------------------------------------------------------------------------

    def register_tool(
        self,
        name: str,
        tool_or_func: Tool | Callable[..., Any],
        executor: Callable[[dict[str, Any]], Any] | None = None,
    ) -> None:
        """Add a tool, or a function as one, before the runtime is made. Raises AlreadyRunning."""
        registry = self._open_registry()
        if not isinstance(tool_or_func, Tool):
            registry.register_function(tool_or_func, name)
        elif executor is None:
            raise TypeError("a Tool needs an executor")
        else:
            registry.register(name, tool_or_func, executor)

    def register_tools_from_module(self, module_path: str | Path) -> int:
        """Execute a Python file and add its tools; return how many."""
        return self._open_registry().discover_from_module(module_path)

    def register_mcp_server(self, name: str, transport: str, **settings: Any) -> None:
        """Note an MCP server: it starts with the runtime, and is expected to offer the tools that are missing.

        Raises ConfigError.
        """
        registry = self._open_registry()
        registry.register_mcp_server({"name": name, "transport": transport, **settings})
        registry.expect_from_servers(self._agent.missing_tools)

    def _open_registry(self) -> ToolRegistry:
        if self._agent_runtime is not None:
            raise AlreadyRunning("tools cannot be added once the runtime is made")
        return self._agent.tools

    # --- asking -----------------------------------------------------------------------------

    def get_entry_points(self) -> list[EntryPointSpec]:
        """Return the entry points; `default` is one of them."""
        return list(self._agent.entry_points)

    async def get_goal_progress(self) -> dict[str, Any]:
        """Reckon how far the goal is reached; see `OutcomeAggregator.evaluate_goal_progress`."""
        return await self.runtime.get_goal_progress()

    def info(self) -> AgentInfo:
        """Describe the agent."""
        return AgentInfo.of(self._agent)

    def validate(self) -> ValidationResult:
        """Say whether it can be run, and why not."""
        return validate(self._agent, self._llm, skips_key=self._skips_key)

    # --- the end ----------------------------------------------------------------------------

    def cleanup(self) -> None:
        """Stop the runtime and give everything back.

        On an event loop the stop goes on in the background, and `cleanup_async` waits for it.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            run_blocking(self.cleanup_async)
        else:
            self._scope.spawn("cleanup", self._close())

    async def cleanup_async(self) -> None:
        """Stop the runtime and give everything back."""
        await self._scope.drain(None)
        await self._close()

    async def _close(self) -> None:
        await self.stop()
        await self._models.aclose()
        self._resources.close()

    async def __aenter__(self) -> Self:
        """Start the runtime."""
        try:
            await self.start()
        except BaseException:
            await self.cleanup_async()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.cleanup_async()


def _config_of(agent: LoadedAgent) -> AgentRuntimeConfig | None:
    """Return the limits of the folder, with all of its webhook routes."""
    if not agent.webhook_routes:
        return agent.runtime_config
    config = agent.runtime_config or AgentRuntimeConfig()
    return replace(config, webhook_routes=[dict(route) for route in agent.webhook_routes])
