"""What hive.yaml may say: every key, its type, its limits, its default.

Strict: no text counts as a number, unknown keys are refused, values are frozen. `load_config` fills in `state_dir`
and `socket`, whose defaults depend on the process, and makes every path absolute.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from hive_daemon.budgets.written import TOP, Unpriced
from hive_daemon.config.addresses import ListenAddress
from hive_daemon.config.agent_model import AgentConfig, FallbackConfig
from hive_daemon.config.alert_keys import AlertConfig
from hive_daemon.config.budget_keys import BudgetConfig, BudgetList, check_budgets
from hive_daemon.config.kinds import (
    ApiBase,
    ApiKey,
    Count,
    Folder,
    Id,
    Listen,
    Seconds,
    Section,
    Socket,
    Upper,
    Zone,
)
from hive_daemon.config.trace_keys import TracesConfig
from hive_daemon.llm.transport import Transport
from hive_daemon.monitoring.health import USUAL
from hive_daemon.storage.incident_book import FAILURES_IN_A_ROW


class LogLevel(StrEnum):
    """The least severity that is logged."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


class LogFormat(StrEnum):
    """How a log line is written."""

    AUTO = "auto"
    JSON = "json"
    HUMAN = "human"


class Mirror(StrEnum):
    """Which readable files are kept beside the database."""

    FULL = "full"
    STATE = "state"
    OFF = "off"


Threshold = Annotated[int, Field(ge=0, le=1_000_000)]
LevelChoice = Annotated[LogLevel, Field(strict=False), Upper]


class RecoveryConfig(Section):
    """How often an execution that a crash cut off is taken up again; then it is `recovery_exhausted`."""

    max_attempts: Count = 3


class HttpConfig(Section):
    """The TCP listener; it starts when an agent has a webhook route, or something else is wanted on it."""

    listen: Listen = ListenAddress("127.0.0.1", 8080)
    health: bool = False
    metrics: bool = False


class ShutdownConfig(Section):
    """How the daemon stops."""

    drain_seconds: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] = 30.0


class LogConfig(Section):
    """What is logged, how, and where: in `file`, else on stderr."""

    level: LevelChoice = LogLevel.INFO
    format: Annotated[LogFormat, Field(strict=False)] = LogFormat.AUTO
    file: Folder | None = None


class LlmConfig(Section):
    """The model that agents use when they name none, and how models are called."""

    model: str = ""
    api_key: ApiKey | None = None
    api_base: ApiBase | None = None
    fallbacks: Annotated[tuple[FallbackConfig, ...], Field(strict=False)] = ()
    transport: Annotated[Transport, Field(strict=False)] = Transport.AUTO
    preload: bool = False
    timeout_seconds: Seconds = 600.0
    ttft_timeout_seconds: Seconds = 120.0
    stream_idle_timeout_seconds: Seconds = 60.0
    max_attempts: Annotated[int, Field(ge=1, le=20)] = 3


class CheckpointsConfig(Section):
    """What is kept of an execution that has ended."""

    keep: Annotated[int, Field(ge=0, le=1_000_000)] = 5


class ControlConfig(Section):
    """Who may use the control socket, beside root and the daemon's own user."""

    allow_uids: Annotated[tuple[Id, ...], Field(strict=False)] = ()
    allow_gids: Annotated[tuple[Id, ...], Field(strict=False)] = ()


class EventsConfig(Section):
    """What each event bus keeps in memory."""

    max_history: Count = 1000


class HealthConfig(Section):
    """When an execution counts as not getting on, and when the process does."""

    stall_seconds: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] = 240.0
    loop_blocked_seconds: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] = 60.0
    non_accepts: Threshold = USUAL.non_accepts
    doom_loop: Threshold = USUAL.doom_loop
    same_error: Threshold = USUAL.same_error
    cost_usd: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)] = USUAL.cost_usd
    failures: Threshold = FAILURES_IN_A_ROW


class HiveConfig(Section):
    """The whole of hive.yaml, with absolute paths."""

    state_dir: Folder
    socket: Socket
    agents: Annotated[tuple[AgentConfig, ...], Field(strict=False)] = ()
    max_concurrent_executions: Count = 100
    interactive_slots: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    timezone: Zone = "UTC"
    mirror: Annotated[Mirror, Field(strict=False)] = Mirror.FULL
    http: HttpConfig = HttpConfig()
    shutdown: ShutdownConfig = ShutdownConfig()
    log: LogConfig = LogConfig()
    traces: TracesConfig = TracesConfig()
    llm: LlmConfig = LlmConfig()
    recovery: RecoveryConfig = RecoveryConfig()
    checkpoints: CheckpointsConfig = CheckpointsConfig()
    control: ControlConfig = ControlConfig()
    events: EventsConfig = EventsConfig()
    health: HealthConfig = HealthConfig()
    budgets: BudgetList = ()
    unpriced: Annotated[Unpriced, Field(strict=False)] = Unpriced.BLOCK
    alerts: Annotated[tuple[AlertConfig, ...], Field(strict=False)] = ()

    @field_validator("budgets")
    @classmethod
    def _says_all(cls, value: tuple[BudgetConfig, ...]) -> tuple[BudgetConfig, ...]:
        check_budgets(value, TOP)
        return value

    @field_validator("interactive_slots")
    @classmethod
    def _leaves_some_to_timers(cls, value: int | None, about: ValidationInfo) -> int | None:
        total = about.data.get("max_concurrent_executions")
        if value is not None and total is not None and value >= total:
            raise ValueError(f"must leave timers and events a slot, write at most {total - 1}")
        return value
