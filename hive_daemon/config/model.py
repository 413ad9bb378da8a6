"""What hive.yaml may say: every key, its type, its limits, its default.

Strict: no text counts as a number, unknown keys are refused, values are frozen. The messages of the validators are the
predicates of sentences about the value (`config.problems` writes the subject). `load_config` fills in `state_dir`
and `socket`, whose defaults depend on the process, and makes every path absolute.
"""

from __future__ import annotations

from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    model_validator,
)

from hive_daemon.config import webhook_keys as keys
from hive_daemon.config.addresses import ListenAddress, parse_listen
from hive_daemon.graph.input_policy import OnInput
from hive_daemon.ids import is_name
from hive_daemon.llm.transport import Transport

MAX_SOCKET_BYTES = 107
"""The longest path of a Unix socket on Linux (sun_path without its closing zero)."""


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


class TriggerType(StrEnum):
    """What starts the executions of an entry point."""

    MANUAL = "manual"
    API = "api"
    TIMER = "timer"
    EVENT = "event"
    WEBHOOK = "webhook"


class Isolation(StrEnum):
    """What the executions of an entry point share."""

    ISOLATED = "isolated"
    SHARED = "shared"
    SYNCHRONIZED = "synchronized"


class SessionUse(StrEnum):
    """Whether a fire of an isolated entry point opens a session or goes on in the entry point's own."""

    NEW = "new"
    REUSE = "reuse"


class HttpMethod(StrEnum):
    """The methods that a webhook route may take."""

    GET = "GET"
    POST = "POST"
    PUT = "PUT"
    PATCH = "PATCH"
    DELETE = "DELETE"


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _check_name(text: str) -> str:
    if is_name(text):
        return text
    raise ValueError(
        "is no valid name, use letters, digits, '.', '_' and '-', at most 64, beginning with a letter or digit"
    )


def _check_path(value: object) -> object:
    if isinstance(value, str) and not value.strip():
        raise ValueError("is empty, give a path")
    if isinstance(value, str) and "\0" in value:
        raise ValueError("holds a zero byte, which no path may")
    return value


def _check_socket(path: Path) -> Path:
    size = len(str(path).encode())
    if size > MAX_SOCKET_BYTES:
        raise ValueError(
            f"has {size} bytes, a socket's path may have {MAX_SOCKET_BYTES}, choose a shorter one"
        )
    return path


def _check_listen(value: object) -> object:
    if isinstance(value, ListenAddress):
        return value
    if isinstance(value, str):
        return parse_listen(value)
    raise ValueError("is no address, write host:port, for example 127.0.0.1:8080")


def _check_zone(name: str) -> str:
    # UTC needs no database, and a slim container may have none.
    if name == "UTC":
        return name
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"is no known IANA time zone, {_zone_hint(name)}") from None
    return name


def _zone_hint(name: str) -> str:
    if not (zones := available_timezones()):
        return "this machine knows none but UTC, install tzdata"
    close = get_close_matches(name, zones, n=1)
    return f"did you mean {close[0]}?" if close else "write for example UTC or Europe/Berlin"


def _check_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is no URL, write for example https://llm.example.com/v1")
    if "@" in parts.netloc:
        raise ValueError("holds a user name or password, put the key in api_key")
    return url


def _check_secret(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not text.strip():
        raise ValueError("is empty, remove the key or give it a value")
    if text != text.strip():
        raise ValueError("begins or ends with a space or line break, which would never match")
    return secret


def _check_api_key(secret: SecretStr) -> SecretStr:
    if not secret.get_secret_value().isprintable():
        raise ValueError("holds a line break or another control character, a key is one line")
    return secret


Count = Annotated[int, Field(ge=1, le=1_000_000)]
Id = Annotated[int, Field(ge=0, le=2**32 - 2)]
Seconds = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
Name = Annotated[str, AfterValidator(_check_name)]
ModelName = Annotated[str, Field(min_length=1)]
Folder = Annotated[Path, Field(strict=False), BeforeValidator(_check_path)]
Socket = Annotated[Folder, AfterValidator(_check_socket)]
Secret = Annotated[SecretStr, AfterValidator(_check_secret)]
ApiKey = Annotated[Secret, AfterValidator(_check_api_key)]
ApiBase = Annotated[str, AfterValidator(_check_url)]
Listen = Annotated[ListenAddress, BeforeValidator(_check_listen), PlainSerializer(str)]
LevelChoice = Annotated[LogLevel, Field(strict=False), BeforeValidator(_upper)]
MethodChoice = Annotated[HttpMethod, Field(strict=False), BeforeValidator(_upper)]


class Section(BaseModel):
    """A mapping of hive.yaml."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    SHORTHAND: ClassVar[str | None] = None
    """The key that a bare text in place of the mapping sets."""


class RecoveryConfig(Section):
    """How often an execution that a crash cut off is taken up again; then it is `recovery_exhausted`."""

    max_attempts: Count = 3


class EntryPointRecoveryConfig(Section):
    """The same for one entry point; None leaves what the folder or the daemon says."""

    max_attempts: Count | None = None


class EntryPointConfig(Section):
    """What hive.yaml sets at one entry point; None leaves what the agent folder declares.

    `trigger_config` is merged key by key; a null in it removes the folder's key. The trigger reads it.
    """

    enabled: bool | None = None
    trigger_type: Annotated[TriggerType, Field(strict=False)] | None = None
    trigger_config: dict[str, Any] | None = Field(default=None, repr=False)
    entry_node: Name | None = None
    isolation_level: Annotated[Isolation, Field(strict=False)] | None = None
    max_concurrent: Count | None = None
    priority: Annotated[int, Field(ge=-1000, le=1000)] | None = None
    session: Annotated[SessionUse, Field(strict=False)] | None = None
    timeout: Seconds | None = None
    on_input: Annotated[OnInput, Field(strict=False)] | None = None
    input_default: str | dict[Name, Any] | None = Field(default=None, repr=False)
    tools: dict[str, Any] | None = None
    model: ModelName | None = None
    fallbacks: Annotated[tuple[ModelName, ...], Field(strict=False)] | None = None
    max_tokens: Count | None = None
    recovery: EntryPointRecoveryConfig | None = None


class FallbackConfig(Section):
    """A model that is asked when those before it did not answer; a bare text is its name.

    Without a key and an address it shares those of the first model if the service is the same.
    """

    SHORTHAND: ClassVar[str | None] = "model"

    model: ModelName
    api_key: ApiKey | None = None
    api_base: ApiBase | None = None

    @model_validator(mode="before")
    @classmethod
    def _accept_name(cls, value: object) -> object:
        return {"model": value} if isinstance(value, str) else value


class WebhookRouteConfig(Section):
    """A path that takes webhooks and publishes them as events of `source_id`.

    What the values mean is `runtime.webhook_route`'s; here they stay as they are written.
    """

    source_id: Name
    path: keys.Path
    methods: Annotated[tuple[MethodChoice, ...], Field(strict=False, min_length=1)] = (
        HttpMethod.POST,
    )
    verify: keys.Scheme | None = None
    secret: Secret | None = None
    secrets: Annotated[tuple[Secret, ...], Field(strict=False)] | None = None
    hmac: keys.Mac | None = None
    tolerance: keys.Duration | None = None
    max_body: keys.Size | None = None
    read_timeout: keys.Duration | None = None
    rate: keys.RequestRate | None = None
    allow_ips: keys.Networks | None = None
    headers: keys.Headers | None = None
    filters: keys.Filters | None = None
    input: keys.Inputs | None = None
    dedupe: keys.PlaceText | None = None
    coalesce: keys.Coalescing | None = None
    respond: keys.Answering | None = None
    allow_insecure: bool = False

    @model_validator(mode="after")
    def _check_together(self) -> WebhookRouteConfig:
        keys.check_route(self.written())
        return self

    def written(self) -> dict[str, Any]:
        """Return the route as `runtime.webhook_route.route_of` reads it, with its secrets."""
        return {
            **self.model_dump(exclude_none=True),
            "methods": [method.value for method in self.methods],
            "secret": self.secret.get_secret_value() if self.secret else None,
            "secrets": [secret.get_secret_value() for secret in self.secrets or ()],
        }


class AgentConfig(Section):
    """One agent folder; a bare text is its path."""

    SHORTHAND: ClassVar[str | None] = "path"

    path: Folder
    name: Name | None = None
    model: ModelName | None = None
    fallbacks: Annotated[tuple[FallbackConfig, ...], Field(strict=False)] | None = None
    entry_points: dict[Name, EntryPointConfig] = Field(default_factory=dict)
    webhook_routes: Annotated[tuple[WebhookRouteConfig, ...], Field(strict=False)] = ()

    @model_validator(mode="before")
    @classmethod
    def _accept_path(cls, value: object) -> object:
        return {"path": value} if isinstance(value, str) else value

    @property
    def agent_name(self) -> str:
        """The name that the agent goes by: `name`, else the folder's."""
        return self.name or self.path.name


class HttpConfig(Section):
    """The TCP listener; it starts when an agent has a webhook route."""

    listen: Listen = ListenAddress("127.0.0.1", 8080)


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


class HiveConfig(Section):
    """The whole of hive.yaml, with absolute paths."""

    state_dir: Folder
    socket: Socket
    agents: Annotated[tuple[AgentConfig, ...], Field(strict=False)] = ()
    max_concurrent_executions: Count = 100
    timezone: Annotated[str, AfterValidator(_check_zone)] = "UTC"
    mirror: Annotated[Mirror, Field(strict=False)] = Mirror.FULL
    http: HttpConfig = HttpConfig()
    shutdown: ShutdownConfig = ShutdownConfig()
    log: LogConfig = LogConfig()
    llm: LlmConfig = LlmConfig()
    recovery: RecoveryConfig = RecoveryConfig()
    checkpoints: CheckpointsConfig = CheckpointsConfig()
    control: ControlConfig = ControlConfig()
    events: EventsConfig = EventsConfig()
