"""The record of decisions of a stream: a `Runtime` for each of its executions, and the face that one execution sees.

For programs that hand such an object to a `GraphExecutor` or to nodes of their own. What executions of an
`AgentRuntime` do is in the store; this record stays in memory.
"""

from __future__ import annotations

from typing import Any

from hive_daemon.runtime.core import Runtime

MAX_EXECUTIONS = 1_000
"""Executions that are remembered; the oldest goes first."""


class StreamRuntime:
    """Keeps the records of the executions of a stream apart."""

    def __init__(self, stream_id: str = "") -> None:
        self.stream_id = stream_id
        self._runtimes: dict[str, Runtime] = {}

    def runtime_of(self, execution_id: str) -> Runtime:
        """Return the record of an execution, a new one if there is none."""
        found = self._runtimes.get(execution_id)
        if found is None:
            found = self._runtimes[execution_id] = Runtime()
            found.execution_id = execution_id
            if len(self._runtimes) > MAX_EXECUTIONS:
                del self._runtimes[next(iter(self._runtimes))]
        return found


class StreamRuntimeAdapter:
    """A stream's record as one execution sees it: the methods of `Runtime`, without an execution id.

    `stream_runtime` is a `StreamRuntime`, or any object whose methods take the execution id first.
    """

    def __init__(self, stream_runtime: Any, execution_id: str) -> None:
        self.execution_id = execution_id
        self._stream_runtime = stream_runtime

    def start_run(self, *args: Any, **named: Any) -> Any:
        """Begin the run of the execution; see `Runtime.start_run`."""
        return self._call("start_run", args, named)

    def end_run(self, *args: Any, **named: Any) -> Any:
        """End it; see `Runtime.end_run`."""
        return self._call("end_run", args, named)

    def set_node(self, *args: Any, **named: Any) -> Any:
        """Say which node the next decisions belong to."""
        return self._call("set_node", args, named)

    def decide(self, *args: Any, **named: Any) -> Any:
        """Record a decision; see `Runtime.decide`."""
        return self._call("decide", args, named)

    def quick_decision(self, *args: Any, **named: Any) -> Any:
        """Record a decision between one thing; see `Runtime.quick_decision`."""
        return self._call("quick_decision", args, named)

    def record_outcome(self, *args: Any, **named: Any) -> Any:
        """Say how a decision turned out; see `Runtime.record_outcome`."""
        return self._call("record_outcome", args, named)

    def report_problem(self, *args: Any, **named: Any) -> Any:
        """Record a problem; see `Runtime.report_problem`."""
        return self._call("report_problem", args, named)

    def _call(self, name: str, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        if isinstance(self._stream_runtime, StreamRuntime):
            own = self._stream_runtime.runtime_of(self.execution_id)
            return getattr(own, name)(*args, **named)
        return getattr(self._stream_runtime, name)(self.execution_id, *args, **named)
