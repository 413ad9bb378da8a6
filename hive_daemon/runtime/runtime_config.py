"""How an AgentRuntime is set up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hive_daemon.budgets.written import Unpriced, budget_problems
from hive_daemon.errors import ConfigError
from hive_daemon.runtime.services import Services
from hive_daemon.runtime.stall_watch import STALL_SECONDS
from hive_daemon.storage.mirror_fold import MirrorMode

if TYPE_CHECKING:
    from hive_daemon.runtime.webhook_server import WebhookServer

_LEAST = {
    "max_concurrent_executions": 1,
    "max_history": 0,
    "execution_result_max": 0,
    "drain_seconds": 0,
    "recovery_attempts": 1,
    "stall_seconds": 0,
}


@dataclass
class AgentRuntimeConfig:
    """Limits and addresses of a runtime.

    `max_concurrent_executions` bounds all entry points together; `interactive_slots` of them are never taken by timers
    and events (None: a fifth). `execution_result_max` and
    `execution_result_ttl_seconds` bound the results kept in memory per entry point; older ones are read from the store.
    `cache_ttl` and `batch_interval` are for `runtime.storage`. `webhook_routes` are dicts of source_id, path, methods,
    secret. `drain_seconds` is how long `stop` lets executions end before it puts them away. `recovery_attempts` is how
    often an execution may run that takes the process down with it. A node that gives no sign of life for
    `stall_seconds` is told of (`node_stalled`), 0: none is. `budgets` are those of the agent (docs/budgets.md), under
    which a call without a known price is blocked or, with `unpriced: allow`, not. With `mirror_process` the readable
    files are written by a process of its own, which a daemon has and a short program need not. Raises ConfigError with
    everything that is wrong.
    """

    max_concurrent_executions: int = 100
    interactive_slots: int | None = None
    cache_ttl: float = 60.0
    batch_interval: float = 0.1
    max_history: int = 1000
    execution_result_max: int = 1000
    execution_result_ttl_seconds: float | None = None
    webhook_host: str = "127.0.0.1"
    webhook_port: int = 8080
    webhook_routes: list[dict[str, Any]] = field(default_factory=list)
    drain_seconds: float = 5.0
    timezone: str = "UTC"
    mirror: MirrorMode = MirrorMode.FULL
    mirror_process: bool = False
    recovery_attempts: int = 3
    stall_seconds: float = STALL_SECONDS
    budgets: list[dict[str, Any]] = field(default_factory=list)
    unpriced: str = Unpriced.BLOCK

    def __post_init__(self) -> None:
        problems = [
            f"{name}: {getattr(self, name)!r} must be at least {least}"
            for name, least in _LEAST.items()
            if not getattr(self, name) >= least
        ]
        kept, total = self.interactive_slots, self.max_concurrent_executions
        if kept is not None and not 0 <= kept < total:
            problems.append(f"interactive_slots: {kept!r} must be from 0 to {total - 1}")
        modes = [mode.value for mode in MirrorMode]
        if self.mirror not in modes:
            problems.append(f"mirror: {self.mirror!r} is unknown, use one of {', '.join(modes)}")
        problems.extend(budget_problems(self.budgets))
        choices = [choice.value for choice in Unpriced]
        if self.unpriced not in choices:
            problems.append(f"unpriced: {self.unpriced!r} is unknown, use {' or '.join(choices)}")
        if problems:
            raise ConfigError(problems, source="AgentRuntimeConfig")
        self.mirror = MirrorMode(self.mirror)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a runtime lives inside a process that shares its services among several agents."""

    services: Services
    agent: str
    directory: Path
    webhooks: WebhookServer
    options: Mapping[str, Any] = field(default_factory=dict)
