"""`state.json` as a model. Unknown fields are kept, missing ones have a default."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, computed_field, model_validator

from hive_daemon.storage.session_state import SCHEMA_VERSION, is_resumable_status

_COMPUTED = ("is_resumable", "is_resumable_from_checkpoint")


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="allow")


class SessionTimestamps(_Lenient):
    """When things happened: ISO 8601, UTC with a Z since schema 1.2."""

    started_at: str = ""
    updated_at: str = ""
    completed_at: str | None = None
    paused_at_time: str | None = None


class SessionProgress(_Lenient):
    """How far it came."""

    current_node: str | None = None
    paused_at: str | None = None
    resume_from: str | None = None
    steps_executed: int = 0
    total_tokens: int = 0
    total_latency_ms: int = 0
    path: list[str] = Field(default_factory=list)
    total_retries: int = 0
    nodes_with_failures: list[str] = Field(default_factory=list)
    retry_details: dict[str, int] = Field(default_factory=dict)
    had_partial_failures: bool = False
    execution_quality: str = "clean"
    node_visit_counts: dict[str, int] = Field(default_factory=dict)


class SessionResult(_Lenient):
    """What came of it; `success` is None while it goes on."""

    success: bool | None = None
    error: str | None = None
    output: Any = Field(default_factory=dict)


class SessionMetrics(_Lenient):
    """Its figures."""

    decision_count: int = 0
    problem_count: int = 0
    total_input_tokens: int = 0
    total_cached_tokens: int = 0
    total_output_tokens: int = 0
    total_reasoning_tokens: int = 0
    total_cost_usd: float | None = None
    nodes_executed: list[str] = Field(default_factory=list)
    edges_traversed: list[str] = Field(default_factory=list)


class SessionState(_Lenient):
    """One session as its `state.json` shows it."""

    schema_version: str = SCHEMA_VERSION
    session_id: str
    execution_id: str = ""
    seq: int = 0
    stream_id: str = ""
    correlation_id: str = ""
    status: str = "running"
    goal_id: str = ""
    agent_id: str = ""
    entry_point: str = "default"
    timestamps: SessionTimestamps = Field(default_factory=SessionTimestamps)
    progress: SessionProgress = Field(default_factory=SessionProgress)
    result: SessionResult = Field(default_factory=SessionResult)
    memory: dict[str, Any] = Field(default_factory=dict)
    metrics: SessionMetrics = Field(default_factory=SessionMetrics)
    problems: list[Any] = Field(default_factory=list)
    decisions: list[Any] = Field(default_factory=list)
    input_data: Any = Field(default_factory=dict)
    isolation_level: str = "shared"
    checkpoint_enabled: bool = False
    latest_checkpoint_id: str | None = None
    duration_ms: int = 0

    @model_validator(mode="before")
    @classmethod
    def _drop_computed(cls, given: Any) -> Any:
        """What follows from other fields is not believed when it is read."""
        if not isinstance(given, dict):
            return given
        return {key: value for key, value in given.items() if key not in _COMPUTED}

    @computed_field  # type: ignore[prop-decorator]  # pydantic's own idiom
    @property
    def is_resumable(self) -> bool:
        """Whether somebody may go on with it, in this execution or in a next one."""
        return is_resumable_status(self.status)

    @computed_field  # type: ignore[prop-decorator]  # pydantic's own idiom
    @property
    def is_resumable_from_checkpoint(self) -> bool:
        """Whether going on would begin at a checkpoint."""
        return self.is_resumable and self.latest_checkpoint_id is not None
