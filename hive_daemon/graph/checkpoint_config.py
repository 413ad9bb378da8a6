"""How checkpoints are kept."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CheckpointConfig:
    """Which checkpoints of an execution stay readable after it ended.

    Every node boundary is committed in any case: that is what crash recovery stands on, and no setting turns it off.
    `keep` is the number of newest checkpoints that stay once the execution is over; `checkpoint_max_age_days` is for
    how long. The other fields are accepted for programs written against older versions, where writing was optional.
    """

    enabled: bool = True
    checkpoint_on_node_start: bool = True
    checkpoint_on_node_complete: bool = True
    checkpoint_max_age_days: int = 7
    prune_every_n_nodes: int = 10
    async_checkpoint: bool = True
    include_full_memory: bool = True
    include_metrics: bool = True
    keep: int = 5


DEFAULT_CHECKPOINT_CONFIG = CheckpointConfig()
MINIMAL_CHECKPOINT_CONFIG = CheckpointConfig(checkpoint_on_node_start=False, keep=1)
DISABLED_CHECKPOINT_CONFIG = CheckpointConfig(enabled=False, keep=1)
