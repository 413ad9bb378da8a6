"""The files of `checkpoints/` as models. Unknown fields are kept, missing ones have a default."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class CheckpointSummary(BaseModel):
    """A checkpoint as the index lists it."""

    model_config = ConfigDict(extra="allow")

    checkpoint_id: str
    checkpoint_type: str = "node_complete"
    created_at: str = ""
    current_node: str | None = None
    next_node: str | None = None
    is_clean: bool = True
    description: str = ""


class Checkpoint(CheckpointSummary):
    """Where an execution stood at the boundary of a node."""

    session_id: str = ""
    execution_path: list[str] = Field(default_factory=list)
    shared_memory: dict[str, Any] = Field(default_factory=dict)
    accumulated_outputs: dict[str, Any] = Field(default_factory=dict)
    metrics_snapshot: dict[str, Any] = Field(default_factory=dict)


class CheckpointIndex(BaseModel):
    """The checkpoints of a session that are kept, oldest first."""

    model_config = ConfigDict(extra="allow")

    session_id: str = ""
    checkpoints: list[CheckpointSummary] = Field(default_factory=list)
    latest_checkpoint_id: str | None = None
    total_checkpoints: int = 0
