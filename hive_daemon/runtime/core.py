"""`Runtime`: the record of a program's own decisions, as the older system's programs keep it.

Agents that run under hived do not need it: what their executions do is in the store. It stays in memory.
"""

from __future__ import annotations

import logging
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from hive_daemon.clock import SYSTEM_CLOCK, utc_now
from hive_daemon.schemas.decision import Decision, DecisionType, Option, Outcome
from hive_daemon.schemas.run import Run, RunStatus

logger = logging.getLogger(__name__)

MAX_RUNS = 100
"""Ended runs that are remembered."""


class Runtime:
    """Keeps the decisions, outcomes and problems of one run at a time.

    Nothing is written under `storage_path`. Outside a run the calls have no effect, answer an empty id, and a warning
    is logged.
    """

    def __init__(self, storage_path: str | Path | None = None) -> None:
        self.storage_path = None if storage_path is None else Path(storage_path).expanduser()
        self.execution_id = ""
        self.ended_runs: deque[Run] = deque(maxlen=MAX_RUNS)
        self._run: Run | None = None
        self._node = "unknown"

    @property
    def current_run(self) -> Run | None:
        """The run in progress."""
        return self._run

    def start_run(
        self,
        goal_id: str,
        goal_description: str = "",
        input_data: Mapping[str, Any] | None = None,
    ) -> str:
        """Begin a run and return its id."""
        run_id = f"run_{utc_now():%Y%m%d_%H%M%S}_{secrets.token_hex(4)}"
        self._run = Run(
            id=run_id,
            goal_id=goal_id,
            goal_description=goal_description,
            input_data=dict(input_data or {}),
        )
        return run_id

    def end_run(
        self,
        success: bool,
        narrative: str = "",
        output_data: Mapping[str, Any] | None = None,
    ) -> None:
        """End the run in progress."""
        run = self._in_progress("end_run")
        if run is None:
            return
        run.output_data = dict(output_data or {})
        run.complete(RunStatus.COMPLETED if success else RunStatus.FAILED, narrative)
        self.ended_runs.append(run)
        self._run = None

    def set_node(self, node_id: str) -> None:
        """Say which node the next decisions belong to."""
        self._node = node_id

    def decide(
        self,
        intent: str,
        options: Iterable[Mapping[str, Any]],
        chosen: str,
        reasoning: str,
        node_id: str | None = None,
        decision_type: DecisionType = DecisionType.CUSTOM,
        **context: Any,
    ) -> str:
        """Record a decision and return its id. `chosen` is the id of one of the options."""
        run = self._in_progress("decide")
        if run is None:
            return ""
        decision = Decision(
            id=f"dec_{len(run.decisions)}",
            node_id=node_id or self._node,
            intent=intent,
            decision_type=decision_type,
            options=[Option.model_validate({"action_type": "", **each}) for each in options],
            chosen_option_id=chosen,
            reasoning=reasoning,
            **context,
        )
        run.add_decision(decision)
        return decision.id

    def quick_decision(
        self, intent: str, action: str, reasoning: str, node_id: str | None = None
    ) -> str:
        """Record a decision between one thing, and return its id."""
        option = {"id": "action", "description": action, "action_type": "execute"}
        return self.decide(intent, [option], "action", reasoning, node_id)

    def record_outcome(
        self,
        decision_id: str,
        success: bool,
        result: Any = None,
        error: str | None = None,
        summary: str = "",
        **facts: Any,
    ) -> None:
        """Say how a decision turned out; `facts` are tokens_used, latency_ms and state_changes."""
        run = self._in_progress("record_outcome")
        if run is not None:
            outcome = Outcome(success=success, result=result, error=error, summary=summary, **facts)
            run.record_outcome(decision_id, outcome)

    def report_problem(
        self,
        severity: str,
        description: str,
        decision_id: str | None = None,
        root_cause: str | None = None,
        suggested_fix: str | None = None,
    ) -> str:
        """Record a problem and return its id."""
        run = self._in_progress("report_problem")
        if run is None:
            return ""
        return run.add_problem(severity, description, decision_id, root_cause, suggested_fix)

    def decide_and_execute(
        self,
        intent: str,
        options: Iterable[Mapping[str, Any]],
        chosen: str,
        reasoning: str,
        executor: Callable[[], Any],
        **context: Any,
    ) -> tuple[str, Any]:
        """Record a decision, carry it out, record how it turned out; return its id and the result.

        What the executor raises is recorded and raised.
        """
        decision_id = self.decide(intent, options, chosen, reasoning, **context)
        began = SYSTEM_CLOCK.monotonic()
        try:
            result = executor()
        except BaseException as error:
            told = f"{type(error).__name__}: {error}"
            self.record_outcome(decision_id, False, error=told, latency_ms=_since(began))
            raise
        self.record_outcome(decision_id, True, result=result, latency_ms=_since(began))
        return decision_id, result

    def _in_progress(self, call: str) -> Run | None:
        if self._run is None:
            logger.warning("no run is in progress, the call has no effect", extra={"call": call})
        return self._run


def _since(began: float) -> int:
    return int((SYSTEM_CLOCK.monotonic() - began) * 1000)
