"""The intake of a stream: from a call to a durable submission."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from hive_daemon.errors import (
    AlreadyRegistered,
    BudgetExceeded,
    EntryPointNotFound,
    IllegalMove,
    InvalidInput,
    Refused,
)
from hive_daemon.graph.resumption import ACCEPTS_CHANGE, check_state
from hive_daemon.ids import check_session_id, new_session_id, new_trace_id, session_of
from hive_daemon.observability.trace_context import current_parent
from hive_daemon.runtime.admitting import Arrival, admission_of
from hive_daemon.runtime.budget_desk import REFUSES_TRIGGERS
from hive_daemon.runtime.encoding import dumps
from hive_daemon.runtime.execution import Execution
from hive_daemon.runtime.flow import FlowRules
from hive_daemon.runtime.services import Services
from hive_daemon.runtime.session_binding import (
    RESUMABLE,
    Binding,
    Continue,
    GoOn,
    Join,
    Known,
    NewSession,
    bind_named,
)
from hive_daemon.runtime.session_state import Beginning
from hive_daemon.runtime.stream_setup import StreamSetup
from hive_daemon.storage.values import (
    Dedupe,
    ExecutionFilter,
    ExecutionRow,
    Submission,
    Submitted,
)

DEDUPE_SECONDS = 7 * 24 * 3600.0
"""How long an idempotency key is remembered."""

EARLY = 10_000
"""How many executions are remembered that began or ended before their submission was answered."""

_COLLISIONS = 5
_OWN = frozenset({"resume_session_id", "execution_id"})
"""What a session state says of itself rather than of the execution to begin."""


@dataclass(frozen=True, slots=True)
class Call:
    """Somebody wants an execution of an entry point.

    `session_id` (or `resume_session_id` in `session_state`) names the session to continue; `joins` binds it to a live
    session instead. `source` says who calls; `causation` names the entry points whose events led here. `replaces`
    cancels what the stream runs, as one with a bare `max_concurrent: 1` does unless the call `queues`. `gives_up` makes
    the session's next execution begin although its last one was put away, which is cancelled. `idempotency_key` makes
    the execution that begins unique; going on with one that was put away begins none. `refusal` is why nothing new may
    begin just now: then only what is the same as a call before has an answer.
    """

    input_data: Mapping[str, Any] = field(default_factory=dict)
    correlation_id: str = ""
    session_state: Mapping[str, Any] = field(default_factory=dict)
    session_id: str = ""
    joins: Join | None = None
    idempotency_key: str = ""
    namespace: str = ""
    body_hash: str = ""
    dedupe_seconds: float = DEDUPE_SECONDS
    source: str = "api"
    causation: tuple[str, ...] = ()
    priority: int | None = None
    replaces: bool = False
    queues: bool = False
    gives_up: bool = False
    refusal: Refused | None = None

    @property
    def names_session(self) -> str:
        """The session that the call wants to continue; empty for none."""
        return self.session_id or str(self.session_state.get("resume_session_id") or "")

    @property
    def handed_in(self) -> dict[str, Any]:
        """The session state without what names the session."""
        return {k: v for k, v in self.session_state.items() if k not in _OWN}

    @property
    def accepts_change(self) -> bool:
        """Whether the session may go on in a graph that was changed."""
        return bool(self.session_state.get(ACCEPTS_CHANGE))

    @classmethod
    def of(
        cls,
        input_data: Mapping[str, Any] | None,
        correlation_id: str | None,
        session_state: Mapping[str, Any] | None,
        idempotency_key: str | None = None,
    ) -> Call:
        """Read a call as programs make it. Raises InvalidInput for an input or a state that is no dict."""
        for what, given in (("input_data", input_data), ("session_state", session_state)):
            if given is not None and not isinstance(given, Mapping):
                raise InvalidInput(f"{what} must be a dict, not {type(given).__name__}")
        return cls(
            input_data=dict(input_data or {}),
            correlation_id=correlation_id or "",
            session_state=dict(session_state or {}),
            idempotency_key=idempotency_key or "",
        )


Send = Callable[[Submission], Awaitable[Submitted | None]]
"""Makes a submission durable; answers None if it was settled before."""


class Stage(Protocol):
    """What the intake knows of its stream."""

    @property
    def running(self) -> Mapping[str, Execution]:
        """The executions that run now, by id."""

    def has_begun(self, execution_id: str) -> bool:
        """Say whether an execution runs, or ran and is remembered."""

    def replaced(self, execution_ids: Iterable[str], by: str) -> None:
        """Carry out that these executions gave way to another, which is durable."""


def accepted(submitted: Submitted | None) -> Submitted:
    """Return what the queue answered: it never settles a call without an execution."""
    if submitted is None:
        raise AlreadyRegistered("the call was settled before")
    return submitted


class Intake:
    """Accepts calls for one stream. A call is accepted once it is durable."""

    def __init__(self, setup: StreamSetup, services: Services, stage: Stage) -> None:
        self._setup = setup
        self._services = services
        self._stage = stage
        self._rules = setup.spec.flow_rules
        # Names alone: a hundred thousand of them are a few megabytes.
        self._queued: dict[str, None] = {}
        # What went on before whoever submitted it heard of it; kept only as long as somebody is to hear.
        self._early: dict[str, None] = {}
        self._hearing = 0

    # --- what waits -------------------------------------------------------------------------

    @property
    def rules(self) -> FlowRules:
        """Under which rules calls are accepted."""
        return self._rules

    @property
    def count(self) -> int:
        """How many executions wait to be claimed."""
        return len(self._queued)

    @property
    def waiting(self) -> list[str]:
        """The executions that wait to be claimed."""
        return list(self._queued)

    def knows(self, execution_id: str) -> bool:
        """Say whether an execution waits to be claimed."""
        return execution_id in self._queued

    def queued(self, execution_id: str) -> None:
        """Note that an execution waits to be claimed."""
        if execution_id not in self._early and not self._stage.has_begun(execution_id):
            self._queued[execution_id] = None

    async def learn(self) -> None:
        """Learn what waits to be claimed from earlier."""
        with self._listening():
            for name in await self._services.store.queue.names(self._setup.lane):
                self.queued(name)

    def again(self, execution_id: str) -> None:
        """Note that an execution that was put away waits to be claimed again."""
        self._queued[execution_id] = None

    def claimed(self, execution_id: str) -> None:
        """Note that an execution waits no more."""
        if execution_id in self._queued:
            del self._queued[execution_id]
        elif self._hearing:
            self._early[execution_id] = None
            if len(self._early) > EARLY:
                del self._early[next(iter(self._early))]

    # --- accepting --------------------------------------------------------------------------

    async def submit(self, call: Call, send: Send | None = None) -> Submitted | None:
        """Accept a call; durable on return. `send` submits instead of the queue; None if it submitted nothing.

        Raises InvalidInput, EntryPointNotFound, GraphChanged, IdempotencyConflict, Busy, QueueFull, RateLimited,
        BudgetExceeded, StorageFull, StorageUnavailable.
        """
        send = send or self._services.store.queue.submit
        refusal = await self._refusal(call)
        if refusal is not None:
            call = replace(call, refusal=refusal)
        return await self._place(call, await self._bind(call), send)

    async def _refusal(self, call: Call) -> BudgetExceeded | None:
        """Return the refusal of a budget that is spent and takes in no more work, None if there is none."""
        setup = self._setup
        spender = setup.spender(call.names_session)
        return await self._services.budgets.refusal(spender, setup.budgets, REFUSES_TRIGGERS)

    def open_executions(self) -> dict[str, str]:
        """Return what runs or is queued as `{execution_id: session_id}`, oldest first; not what joined a session."""
        running = self._stage.running
        mine = {name: e.session_id for name, e in running.items() if not e.claim.is_joined}
        return {**mine, **{name: session_of(name) for name in self._queued}}

    async def _bind(self, call: Call) -> Binding:
        """Choose the session."""
        session_id = call.names_session
        if call.joins is not None:
            return call.joins
        if not session_id:
            return NewSession(beginning=Beginning(call.handed_in))
        check_session_id(session_id)
        rows = await self._services.store.executions.query(
            ExecutionFilter(session_id=session_id, latest_of_session=True, limit=1)
        )
        if rows and rows[0].agent != self._setup.agent:
            raise InvalidInput(f"session {session_id} belongs to agent {rows[0].agent}")
        known = _known(rows[0]) if rows else None
        if known is not None and known.status in RESUMABLE and call.gives_up:
            return Continue(session_id, Beginning(call.handed_in), (known.execution_id,))
        return bind_named(session_id, call.handed_in, call.input_data, known)

    async def _place(self, call: Call, binding: Binding, send: Send) -> Submitted | None:
        match binding:
            case GoOn():
                return await self._go_on(call, binding, send)
            case NewSession():
                check_state(self._setup.topology, binding.beginning.session_state)
                return await self._begin_session(call, binding, send)
            case Continue(session_id, beginning, replaces):
                check_state(self._setup.topology, beginning.session_state)
                submission = self._submission(call, session_id, beginning, bool(call.names_session))
                continued = replace(submission, is_new_session=False, replaces=replaces)
                return await self._send(continued, send)
            case Join(session_id, copied):
                joined = replace(call, input_data={**copied, **call.input_data})
                submission = self._submission(joined, session_id, Beginning(), True)
                beside = replace(submission, is_new_session=False, is_joined=True)
                return await self._send(beside, send)

    async def _go_on(self, call: Call, binding: GoOn, send: Send) -> Submitted | None:
        """Queue an execution again that was put away; if it is no more, bind anew."""
        if call.refusal is not None:
            raise call.refusal
        name, services = binding.execution_id, self._services
        lane = services.dispatcher.lane(binding.lane)
        if lane is None:
            raise EntryPointNotFound(
                f"{name} belongs to the entry point {binding.lane}, which is not here any more",
                hint="bring the entry point back, then go on with the session",
            )
        graph_hash = await lane.check_graph(name, accepts_change=call.accepts_change)
        beginning = binding.beginning
        if call.accepts_change and beginning is not None:
            beginning = replace(beginning, accepted_graph=graph_hash)
        state = None if beginning is None else beginning.encode() or b"{}"
        for other in self._give_way(call):
            await services.store.inbox.cancel(other, f"replaced by {name}")
            self._stage.replaced((other,), name)
        try:
            await services.store.queue.requeue(name, state)
        except IllegalMove:
            # Somebody else was faster: it goes on already, or was cancelled.
            return await self._place(call, await self._bind(call), send)
        lane.goes_on(name)
        return Submitted(name, session_of(name), False)

    def _give_way(self, call: Call) -> tuple[str, ...]:
        """Return what gives way to an execution that goes on: the lane's, where one slot stands for all of it."""
        rules = self._rules
        is_single = rules.takes_over and rules.key is None and rules.most == 1 and not call.queues
        return tuple(self.open_executions()) if is_single or call.replaces else ()

    async def _begin_session(self, call: Call, binding: NewSession, send: Send) -> Submitted | None:
        """Begin a session; random ids that collide are drawn again."""
        for _ in range(_COLLISIONS):
            name = binding.session_id or new_session_id(self._services.clock.time())
            submission = self._submission(call, name, binding.beginning, bool(binding.session_id))
            try:
                return await self._send(submission, send)
            except AlreadyRegistered:
                if binding.session_id:
                    return await self._place(call, await self._bind(call), send)
        raise AlreadyRegistered("no free session id was found", hint="try again")

    async def _send(self, submission: Submission, send: Send) -> Submitted | None:
        if submission.refusal is not None and not submission.keys:
            # It can be the same as none before: the store need not be asked.
            raise submission.refusal
        with self._listening():
            submitted = await send(submission)
            if submitted is not None and submitted.created:
                self.took(submitted)
                self._stage.replaced(submission.replaces, submitted.execution_id)
            return submitted

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Remember what goes on while the store is asked: its answer may be older than that."""
        self._hearing += 1
        try:
            yield
        finally:
            self._hearing -= 1
            if not self._hearing:
                self._early.clear()

    def took(self, submitted: Submitted) -> None:
        """Carry out what a submission of this stream means that is durable now."""
        if submitted.created:
            self.queued(submitted.execution_id)
            self._stage.replaced(submitted.replaced, submitted.execution_id)

    def _submission(
        self, call: Call, session_id: str, beginning: Beginning, is_named: bool
    ) -> Submission:
        setup = self._setup
        arrival = Arrival(
            setup.lane,
            call.source,
            session_id if is_named else "",
            call.correlation_id,
            is_joined=call.joins is not None,
            replaces=call.replaces,
            queues=call.queues,
        )
        admission, once = admission_of(self._rules, arrival, call.input_data)
        parent = current_parent()
        try:
            content = dumps(call.input_data)
        except TypeError as error:
            raise InvalidInput(f"the input cannot be kept as JSON: {error}") from error
        return Submission(
            agent=setup.agent,
            graph_id=setup.graph_id,
            entry_point=setup.spec.id,
            stream_id=setup.stream_id,
            session_id=session_id,
            input=content,
            source=call.source,
            correlation_id=call.correlation_id,
            priority=setup.spec.priority if call.priority is None else call.priority,
            causation=call.causation,
            dedupe=self._dedupe(call, content),
            once=once,
            state=beginning.encode(),
            trace_id=new_trace_id() if parent is None else parent.trace_id,
            trace_parent="" if parent is None else parent.span_id,
            admission=admission,
            refusal=call.refusal,
        )

    def _dedupe(self, call: Call, content: bytes) -> Dedupe | None:
        if not call.idempotency_key:
            return None
        body = call.body_hash or hashlib.sha256(content).hexdigest()
        namespace = call.namespace or self._setup.lane
        return Dedupe(namespace, call.idempotency_key, body, call.dedupe_seconds)


def _known(row: ExecutionRow) -> Known:
    return Known(
        row.execution_id,
        row.status,
        f"{row.agent}/{row.stream_id}",
        row.seq,
        has_walked=row.steps > 0,
    )
