"""The event-loop node: works with a language model until its outputs are set.

What happens in a visit is in `loop_run`; this is the node as the walk, and programs that hold one, see it. A node that
needs a person returns `waiting` and holds nothing: run again with the answer, it goes on where it stood.
"""

from __future__ import annotations

from hive_daemon.clock import SYSTEM_CLOCK, Clock
from hive_daemon.graph.conversation_store import ConversationStore, StoreJournal
from hive_daemon.graph.facts import Recorder
from hive_daemon.graph.input_gate import InputGate
from hive_daemon.graph.journal import LocalJournal
from hive_daemon.graph.judge import JudgeProtocol
from hive_daemon.graph.loop import JudgeVerdict
from hive_daemon.graph.loop_config import LoopConfig
from hive_daemon.graph.loop_kit import LoopKit
from hive_daemon.graph.loop_run import LoopRun
from hive_daemon.graph.node import NodeContext, NodeResult
from hive_daemon.graph.output_accumulator import OutputAccumulator
from hive_daemon.graph.visit import open_visit
from hive_daemon.llm.values import ToolExecutor

__all__ = ["EventLoopNode", "JudgeProtocol", "JudgeVerdict", "LoopConfig", "OutputAccumulator"]


class EventLoopNode:
    """A model loop.

    Within a graph the context brings its recorder, model and tools. A program may also hold a node and run it with a
    context that has no recorder: facts then go to its `event_bus` (any object with `emit_{kind}` methods), messages to
    its `conversation_store`. A question is in that case asked over the bus and waited for until `inject_event` or
    `signal_shutdown`; without a bus the result is `waiting`, and the next `execute` goes on.
    """

    def __init__(
        self,
        event_bus: object = None,
        judge: JudgeProtocol | None = None,
        config: LoopConfig | None = None,
        tool_executor: ToolExecutor | None = None,
        conversation_store: ConversationStore | None = None,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._event_bus = event_bus
        self._judge = judge
        self._config = config or LoopConfig()
        self._tool_executor = tool_executor
        self._store = conversation_store
        self._clock = clock
        self._gate = InputGate()
        self._own_journal: Recorder | None = None

    async def execute(self, ctx: NodeContext) -> NodeResult:
        """Run the loop to its end, or to a question. A failure is a result, nothing but a fault is raised."""
        config = self._config
        recorder = ctx.recorder or self._journal_for(ctx)
        prefix = f"{ctx.record_prefix}{config.store_prefix}"
        visit = await open_visit(ctx, recorder, prefix, config.max_history_tokens)
        kit = LoopKit(ctx, config, self._clock, recorder, self._judge, self._tool_executor)
        waits_here = ctx.recorder is None and self._event_bus is not None
        result = await LoopRun(kit, visit, self._gate, waits_here=waits_here).run()
        if result.waiting is None:
            self._own_journal = None
        return result

    async def inject_event(self, content: str, *, is_client_input: bool = False) -> None:
        """Say something to the node; it hears it at its next iteration, marked if it is no person's input."""
        self._gate.put(content, is_client=is_client_input)

    def signal_shutdown(self) -> None:
        """End the loop before its next iteration, with the outputs set so far."""
        self._gate.shut()

    def _journal_for(self, ctx: NodeContext) -> Recorder:
        """Return the journal of a node that is run on its own: it lasts until the visit has ended."""
        if self._own_journal is None:
            ids = (ctx.stream_id or ctx.node_id, ctx.execution_id)
            if self._store is not None:
                self._own_journal = StoreJournal(self._store, ctx.node_id, self._event_bus, ids)
            else:
                self._own_journal = LocalJournal(self._event_bus, *ids)
        return self._own_journal
