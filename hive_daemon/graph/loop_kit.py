"""What one visit of a model loop works with: its model, tools, prompt and limits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hive_daemon.clock import Clock, utc_now
from hive_daemon.graph.facts import Recorder
from hive_daemon.graph.framework_tools import framework_tools
from hive_daemon.graph.judge import JudgeProtocol, output_keys
from hive_daemon.graph.loop_config import LoopConfig
from hive_daemon.graph.model_call import Caller, Request
from hive_daemon.graph.node import NodeContext, NodeSpec
from hive_daemon.graph.prompts import system_prompt
from hive_daemon.graph.tool_calls import ToolBench
from hive_daemon.graph.visit import Visit
from hive_daemon.llm.openai_shapes import function_tool
from hive_daemon.llm.provider import LLMProvider
from hive_daemon.llm.unconfigured import UnconfiguredProvider
from hive_daemon.llm.values import CallContext, Tool, ToolExecutor


@dataclass(frozen=True)
class LoopKit:
    """What a visit works with: the same for all its turns."""

    ctx: NodeContext
    config: LoopConfig
    clock: Clock
    recorder: Recorder
    judge: JudgeProtocol | None = None
    executor: ToolExecutor | None = None

    @property
    def spec(self) -> NodeSpec:
        """The node."""
        return self.ctx.node_spec

    @property
    def can_ask(self) -> bool:
        """Whether the node may put questions to a person: it faces one, and no event started the run."""
        return self.spec.client_facing and not self.ctx.event_triggered

    @cached_property
    def llm(self) -> LLMProvider:
        """The model; without one, the provider that says so."""
        return self.ctx.llm if self.ctx.llm is not None else UnconfiguredProvider()

    @cached_property
    def system(self) -> str:
        """The system prompt."""
        return system_prompt(self.ctx, utc_now(self.clock))

    @cached_property
    def framework(self) -> dict[str, Tool]:
        """The tools of the loop itself, by name."""
        return {tool.name: tool for tool in framework_tools(self.spec, can_ask=self.can_ask)}

    @cached_property
    def own_tools(self) -> list[Tool]:
        """The node's own tools; one that is named like a tool of the loop gives way to it."""
        return [tool for tool in self.ctx.available_tools if tool.name not in self.framework]

    @property
    def offered(self) -> list[Tool]:
        """The tools that the model is offered."""
        return [*self.own_tools, *self.framework.values()]

    @cached_property
    def request_chars(self) -> int:
        """How long a request is before its first message."""
        return len(self.system) + sum(len(str(function_tool(tool))) for tool in self.offered)

    @cached_property
    def caller(self) -> Caller:
        """Calls the model."""
        return Caller(
            self.llm,
            self.recorder,
            self.clock,
            self.config,
            self.ctx.node_id,
            is_client_facing=self.spec.client_facing,
        )

    @cached_property
    def bench(self) -> ToolBench:
        """Runs the tools."""
        folder = self.config.spillover_dir or self.ctx.data_dir
        return ToolBench(
            tools=self.own_tools,
            executor=self.executor or self.ctx.tool_executor,
            clock=self.clock,
            timeout_seconds=self.config.tool_call_timeout_seconds,
            result_chars=self.config.max_tool_result_chars,
            spill_dir=Path(folder).expanduser() if folder else None,
            framework=frozenset(self.framework),
        )

    def request(self, visit: Visit) -> Request:
        """Return what the model is asked next."""
        ctx = self.ctx
        context = CallContext(
            execution_id=ctx.execution_id,
            session_id=ctx.session_id,
            node_id=ctx.node_id,
            visit=ctx.visit,
            inputs={**ctx.memory.read_all(), **ctx.input_data},
            output_keys=output_keys(self.spec),
            output_schema=self.spec.output_schema,
            turn=visit.cursor.turns,
        )
        messages = visit.conversation.to_llm_messages()
        return Request(messages, self.system, self.offered, ctx.max_tokens, context)
