"""What a node is given: what belongs to the execution, to the node, and to this one run of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Self, overload

from hive_daemon.graph.choice import route_key
from hive_daemon.graph.edge import GraphSpec
from hive_daemon.graph.goal import Goal
from hive_daemon.graph.input_policy import InputPolicy
from hive_daemon.graph.journal import Journal
from hive_daemon.graph.memory import NodeMemory, is_much
from hive_daemon.graph.node import NodeContext, NodeSpec
from hive_daemon.graph.topology import EVENT_KEY, Topology
from hive_daemon.graph.walk_state import Run
from hive_daemon.llm.models import Models, OneModel, after
from hive_daemon.llm.values import Tool, ToolExecutor
from hive_daemon.llm.wish import NO_WISH, Wish
from hive_daemon.tools.policy import ALL_RIGHTS, ToolRights

if TYPE_CHECKING:
    from hive_daemon.llm.provider import LLMProvider


def _nothing_said(node_id: str) -> list[str]:
    return []


@dataclass(frozen=True, slots=True)
class Given:
    """What every node of an execution is given.

    `llm` and `max_tokens` are those of the entry point, whose `wish` was answered with `llm`; a node may name its own.
    `take_injected` returns what was said to a node since it asked last; `record_prefix` goes before the keys of its
    session records; `on_question` says what becomes of a question to a person. `heals_stalls`: a node that falls silent
    is cut off; `passed_over` is how many of the first models are not asked any more, where others are left.
    """

    goal: Goal
    llm: LLMProvider
    tools: Mapping[str, Tool] = field(default_factory=dict)
    tool_executor: ToolExecutor | None = None
    runtime: Any = None
    execution_id: str = ""
    session_id: str = ""
    stream_id: str = ""
    accounts_prompt: str = ""
    data_dir: str = ""
    max_tokens: int = 4096
    record_prefix: str = ""
    take_injected: Callable[[str], list[str]] = _nothing_said
    tool_rights: ToolRights = ALL_RIGHTS
    on_question: InputPolicy = field(default_factory=InputPolicy)
    models: Models = field(default_factory=OneModel)
    wish: Wish = NO_WISH
    heals_stalls: bool = False
    passed_over: int = 0

    def model_of(self, spec: NodeSpec) -> LLMProvider:
        """Return the model that works for a node. Raises ConfigError."""
        usual = self.llm
        if spec.model is not None:
            usual = self.models.named(replace(self.wish, model=spec.model), usual)
        return after(usual, self.passed_over) or usual

    def without(self, spec: NodeSpec) -> Given | None:
        """Return the same without the model that works for a node, None if no other is left."""
        usual = replace(self, passed_over=0).model_of(spec)
        count = self.passed_over + 1
        return replace(self, passed_over=count) if after(usual, count) is not None else None


class PathSoFar(Sequence[str]):
    """The beginning of a path that only grows: a view that costs the same however long the path is."""

    __slots__ = ("_length", "_path")

    def __init__(self, path: Sequence[str]) -> None:
        self._path = path
        self._length = len(path)

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return [self._path[i] for i in range(self._length)[place]]
        return self._path[range(self._length)[place]]

    def __iter__(self) -> Iterator[str]:
        return islice(self._path, self._length)


@dataclass(frozen=True, slots=True)
class Scene:
    """What is special about one run.

    `values` is what its branch sees, `ambient` what is shared beyond that, and `seconds` what its branch has left.
    """

    values: Mapping[str, Any]
    ambient: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    path: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Kit:
    """What one node is given at every run."""

    spec: NodeSpec
    graph: GraphSpec
    given: Given
    journal: Journal
    pause: asyncio.Event
    reads: frozenset[str]
    writes: frozenset[str]
    tools: tuple[Tool, ...]
    attempts: int
    goal_context: str
    llm: LLMProvider

    @classmethod
    def of(
        cls, topology: Topology, node_id: str, given: Given, journal: Journal, pause: asyncio.Event
    ) -> Self:
        """Put together what a node of this execution is given."""
        spec = topology.nodes[node_id]
        reads = {*spec.input_keys}
        key = route_key(spec)
        if reads and key is not None:
            reads.add(key)
        writes = {*spec.output_keys, *spec.nullable_output_keys} if spec.output_keys else ()
        return cls(
            spec=spec,
            graph=topology.graph,
            given=given,
            journal=journal,
            pause=pause,
            reads=frozenset(reads),
            writes=frozenset(writes),
            tools=tuple(given.tools[name] for name in spec.tools if name in given.tools),
            attempts=topology.attempts(node_id),
            goal_context=given.goal.to_prompt_context(),
            llm=given.model_of(spec),
        )

    def is_given_much(self, scene: Scene) -> bool:
        """Say whether what the node may read takes long to copy."""
        return is_much(
            value
            for source in (scene.values, scene.ambient)
            for key, value in source.items()
            if not self.reads or key in self.reads
        )

    def context(self, command: Run, scene: Scene, deadline: float | None) -> NodeContext:
        """Return what the node is given for one attempt."""
        given, graph, spec = self.given, self.graph, self.spec
        memory = NodeMemory(
            scene.values, read_keys=self.reads, write_keys=self.writes, ambient=scene.ambient
        )
        return NodeContext(
            runtime=given.runtime,
            node_id=spec.id,
            node_spec=spec,
            memory=memory,
            input_data=memory.read_all(),
            llm=self.llm,
            available_tools=[*self.tools],
            goal_context=self.goal_context,
            goal=given.goal,
            max_tokens=spec.max_tokens or given.max_tokens,
            attempt=command.attempt,
            max_attempts=self.attempts,
            pause_event=self.pause,
            continuous_mode=graph.conversation_mode == "continuous",
            accounts_prompt=given.accounts_prompt,
            event_triggered=isinstance(scene.values.get(EVENT_KEY), dict),
            execution_id=given.execution_id,
            session_id=given.session_id,
            stream_id=given.stream_id,
            visit=command.visit,
            answer=command.answer,
            answers=command.answers,
            identity_prompt=graph.identity_prompt or "",
            path=scene.path,
            graph=graph,
            tool_executor=given.tool_executor,
            recorder=self.journal,
            data_dir=given.data_dir,
            deadline=deadline,
            record_prefix=given.record_prefix,
            take_injected=partial(given.take_injected, spec.id),
            tool_rights=given.tool_rights,
        )
