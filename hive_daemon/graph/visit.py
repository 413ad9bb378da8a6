"""One visit of a model loop: its conversation, its outputs and its cursor, in memory and as session records.

Everything a later process needs is written together with the facts of that moment, by `commit`: at the start of a turn,
before tools run, after they ran, and at the end. Opened again after a crash a visit goes on where it stood: calls that
had a result keep it, what becomes of those without one `open_calls` says, nothing is said twice.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from hive_daemon.errors import HiveError
from hive_daemon.graph.conversation import Message, NodeConversation
from hive_daemon.graph.conversation_store import (
    OUTPUTS,
    STATE,
    covered,
    cursor_key,
    message_key,
    node_of,
    order_of,
    pack,
    phase_name,
    phases_in,
    unpack,
)
from hive_daemon.graph.cursor import Cursor
from hive_daemon.graph.facts import Fact, OutputKeySet, Recorder
from hive_daemon.graph.framework_tools import Handled
from hive_daemon.graph.loop import Window
from hive_daemon.graph.model_facts import call_told
from hive_daemon.graph.node import NOTHING_SPENT, NodeContext
from hive_daemon.graph.output_accumulator import OutputAccumulator
from hive_daemon.llm.stream_events import FinishEvent
from hive_daemon.llm.values import LLMResponse
from hive_daemon.spending import sum_costs

logger = logging.getLogger(__name__)

Phases = dict[str, list[Message]]


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where the records of one node are, in the session's."""

    recorder: Recorder
    prefix: str
    node_id: str


class Visit:
    """The state of one visit. What changes it is plain code; `commit` makes it durable."""

    def __init__(self, shelf: Shelf, cursor: Cursor, conversation: NodeConversation) -> None:
        self.cursor = cursor
        self.conversation = conversation
        self.outputs = OutputAccumulator()
        self.is_fresh = False
        self.discards: list[str] = []
        self._shelf = shelf
        self._facts: list[Fact] = []
        self._kept_outputs: dict[str, Any] = {}
        self._further: dict[str, bytes | None] = {}

    @property
    def node_id(self) -> str:
        """The node that is visited."""
        return self._shelf.node_id

    def move(self, **changes: Any) -> None:
        """Change fields of the cursor."""
        self.cursor = replace(self.cursor, **changes)

    def spend(self, **amounts: int) -> None:
        """Add to what the visit cost."""
        spent = self.cursor.spent
        more = {name: getattr(spent, name) + amount for name, amount in amounts.items()}
        self.move(spent=replace(spent, **more))

    def pay(self, call: FinishEvent | LLMResponse, latency_seconds: float) -> None:
        """Tell of a model call, and add it to what the visit cost."""
        iteration = self.cursor.window.iteration
        self.tell(call_told(self.node_id, call, iteration, latency_seconds))
        self.spend(
            llm_call_count=1,
            input_tokens=call.input_tokens,
            cached_tokens=call.cached_tokens,
            output_tokens=call.output_tokens,
            reasoning_tokens=call.reasoning_tokens,
        )
        spent = self.cursor.spent
        self.move(spent=replace(spent, cost_usd=sum_costs(spent.cost_usd, call.cost_usd)))

    def name_model(self, model: str) -> None:
        """Note which model answered last."""
        self.move(spent=replace(self.cursor.spent, model=model))

    def tell(self, *facts: Fact) -> None:
        """Add facts to the next commit."""
        self._facts.extend(facts)

    def put(self, key: str, value: Mapping[str, Any] | None) -> None:
        """Add a further session record to the next commit, under just this key; None deletes it."""
        self._further[key] = None if value is None else pack(value)

    def set_output(self, handled: Handled) -> None:
        """Set what a `set_output` call sets."""
        self.outputs.values[handled.key] = handled.value
        self.tell(OutputKeySet(self.node_id, handled.key))

    def load_outputs(self, values: Mapping[str, Any]) -> None:
        """Take over outputs that are kept already."""
        self.outputs.values.update(values)
        self._kept_outputs = dict(values)

    async def commit(self) -> None:
        """Make the facts told and all that changed durable, in one go."""
        facts, self._facts = tuple(self._facts), []
        records = self._records()
        await self._shelf.recorder.record(*facts, records=records)
        self.conversation.changes.clear()
        self.discards.clear()
        self._further.clear()
        self._kept_outputs = dict(self.outputs.values)
        self.is_fresh = False

    async def save_cancelled(self) -> None:
        """Commit at a cancellation; if that fails, the visit will go on from the commit before."""
        try:
            await self.commit()
        except HiveError as error:
            logger.warning("a cancelled node could not be saved", extra={"error": str(error)})

    def _records(self) -> dict[str, bytes | None]:
        shelf, own = self._shelf, self.cursor.phase
        records: dict[str, bytes | None] = {**dict.fromkeys(self.discards), **self._further}
        for (origin, seq), message in self.conversation.changes.items():
            key = message_key(shelf.prefix, origin or own, seq)
            records[key] = None if message is None else pack(message.to_storage_dict())
        records[cursor_key(shelf.prefix, shelf.node_id, STATE)] = pack(self.cursor.to_json())
        if self.outputs.values != self._kept_outputs or self.is_fresh:
            kept = pack(self.outputs.values)
            records[cursor_key(shelf.prefix, shelf.node_id, OUTPUTS)] = kept
        return records


async def open_visit(
    ctx: NodeContext, recorder: Recorder, prefix: str, window_tokens: int
) -> Visit:
    """Open the visit that a context is about: the one that was begun, or a new one after what was said before."""
    shelf = Shelf(recorder, prefix, ctx.node_id)
    cursors, outputs = _cursors(await recorder.recall(f"{prefix}cursor/"), shelf)
    stored = phases_in(await recorder.recall(f"{prefix}conv/"), prefix)
    phases = {
        name: [Message.from_storage_dict(part) for part in parts] for name, parts in stored.items()
    }
    conversation = NodeConversation(
        max_history_tokens=window_tokens, output_keys=ctx.node_spec.output_keys
    )
    conversation.set_current_phase(ctx.node_id)
    kept = cursors.get(ctx.node_id)
    if kept is not None and kept.is_of(ctx.execution_id, ctx.visit):
        conversation.load(_history(ctx, phases, kept))
        conversation.load(phases.get(kept.phase, []))
        visit = Visit(shelf, kept, conversation)
        # Nothing was said: it is to begin anew (`begun_anew`).
        visit.is_fresh = kept.phase not in phases
        visit.load_outputs(outputs)
        return visit
    cursor = _new_cursor(ctx, cursors, phases)
    conversation.load(_history(ctx, phases, cursor))
    for message in _handed_over(ctx):
        conversation.adopt(message)
    visit = Visit(shelf, cursor, conversation)
    visit.is_fresh = True
    if not cursor.beside:
        visit.discards = _superseded(phases, prefix)
    return visit


async def begun_anew(
    ctx: tuple[str, str], recorder: Recorder, prefix: str
) -> dict[str, bytes | None]:
    """Return the records with which the last visit of a node begins anew; `ctx` is the execution and the node.

    Nothing is said and nothing is set then. Its tool calls stay counted, so that none of them has the id of another.
    """
    execution_id, node_id = ctx
    kept = (await recorder.recall(place := cursor_key(prefix, node_id, STATE))).get(place)
    cursor = None if kept is None else Cursor.from_json(unpack(kept))
    if cursor is None or cursor.execution_id != execution_id:
        return {}
    said = await recorder.recall(f"{prefix}conv/{cursor.phase}/")
    anew = replace(
        cursor, ending="failure", window=Window(), question=None, options=(), turns=0, open={}
    )
    return {
        **dict.fromkeys(said),
        cursor_key(prefix, node_id, STATE): pack(anew.to_json()),
        cursor_key(prefix, node_id, OUTPUTS): pack({}),
    }


def _cursors(
    records: Mapping[str, bytes], shelf: Shelf
) -> tuple[dict[str, Cursor], dict[str, Any]]:
    """Return the cursors of all nodes, and the outputs of this one."""
    head = len(f"{shelf.prefix}cursor/")
    cursors: dict[str, Cursor] = {}
    outputs: dict[str, Any] = {}
    for key, record in records.items():
        node, _, part = key[head:].rpartition("/")
        if part == STATE:
            cursors[node] = Cursor.from_json(unpack(record))
        elif node == shelf.node_id and part == OUTPUTS:
            outputs = unpack(record)
    return cursors, outputs


def _new_cursor(ctx: NodeContext, cursors: Mapping[str, Cursor], phases: Phases) -> Cursor:
    """Begin a visit: after every phase there is, beside those of this execution that are still open."""
    last = max((order_of(phase) for phase in phases), default=0)
    before = cursors.get(ctx.node_id)
    goes_on = before is not None and before.execution_id == ctx.execution_id
    beside = sorted(
        cursor.phase
        for node, cursor in cursors.items()
        if node != ctx.node_id and cursor.is_open and cursor.execution_id == ctx.execution_id
    )
    return Cursor(
        execution_id=ctx.execution_id,
        visit=ctx.visit,
        phase=phase_name(last + 1, ctx.node_id),
        beside=tuple(beside),
        steps=before.steps if before is not None and goes_on else 0,
        spent=NOTHING_SPENT,
    )


def _history(ctx: NodeContext, phases: Phases, cursor: Cursor) -> Iterable[Message]:
    """Return what was said before a visit, as far as it is shared with it and no summary stands for it."""
    known = {
        phase: messages
        for phase, messages in phases.items()
        if order_of(phase) < order_of(cursor.phase)
        and phase not in cursor.beside
        and (ctx.continuous_mode or node_of(phase) == ctx.node_id)
    }
    hidden = covered([*known.values(), phases.get(cursor.phase, [])])
    for phase, messages in known.items():
        if phase not in hidden:
            yield from (replace(message, origin=phase) for message in messages)


def _handed_over(ctx: NodeContext) -> list[Message]:
    """Return the messages of a conversation that a program hands over."""
    given = ctx.inherited_conversation
    return given.messages if isinstance(given, NodeConversation) else []


def _superseded(phases: Phases, prefix: str) -> list[str]:
    """Return the keys of messages that no history will show again."""
    hidden = covered(phases.values())
    return [
        message_key(prefix, phase, message.seq)
        for phase in hidden
        for message in phases.get(phase, [])
    ]
