"""What hive.yaml may say of an agent: its folder, its model, its entry points, its webhook routes."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from hive_daemon.budgets.written import Place
from hive_daemon.config import webhook_keys as keys
from hive_daemon.config.budget_keys import BudgetList, check_budgets
from hive_daemon.config.kinds import (
    ApiBase,
    ApiKey,
    Count,
    Folder,
    ModelName,
    Name,
    Seconds,
    Secret,
    Section,
    Upper,
)
from hive_daemon.graph.input_policy import OnInput


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


MethodChoice = Annotated[HttpMethod, Field(strict=False), Upper]


class EntryPointRecoveryConfig(Section):
    """The same for one entry point; None leaves what the folder or the daemon says."""

    max_attempts: Count | None = None


class EntryPointConfig(Section):
    """What hive.yaml sets at one entry point; None leaves what the agent folder declares.

    `trigger_config`, `concurrency` and `flow` are merged key by key; a null in one removes the folder's key. What they
    mean is the trigger's and `runtime.flow_reading`'s.
    """

    enabled: bool | None = None
    trigger_type: Annotated[TriggerType, Field(strict=False)] | None = None
    trigger_config: dict[str, Any] | None = Field(default=None, repr=False)
    entry_node: Name | None = None
    isolation_level: Annotated[Isolation, Field(strict=False)] | None = None
    max_concurrent: Count | None = None
    concurrency: dict[str, Any] | None = None
    flow: dict[str, Any] | None = None
    priority: Annotated[int, Field(ge=-1000, le=1000)] | None = None
    session: Annotated[SessionUse, Field(strict=False)] | None = None
    timeout: Seconds | None = None
    on_input: Annotated[OnInput, Field(strict=False)] | None = None
    input_default: str | dict[Name, Any] | None = Field(default=None, repr=False)
    tools: dict[str, Any] | None = None
    model: ModelName | None = None
    fallbacks: Annotated[tuple[ModelName, ...], Field(strict=False)] | None = None
    max_tokens: Count | None = None
    budgets: BudgetList | None = None
    recovery: EntryPointRecoveryConfig | None = None
    heal: Annotated[tuple[str, ...], Field(strict=False)] | None = None
    max_resurrections: Annotated[int, Field(ge=0, le=1_000)] | None = None


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
    budgets: BudgetList | None = None

    @model_validator(mode="before")
    @classmethod
    def _accept_path(cls, value: object) -> object:
        return {"path": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check_budgets(self) -> AgentConfig:
        check_budgets(self.budgets or (), Place(self.agent_name))
        for name, entry_point in self.entry_points.items():
            place = Place(self.agent_name, name)
            check_budgets(entry_point.budgets or (), place, f"entry_points.{name}.")
        return self

    @property
    def agent_name(self) -> str:
        """The name that the agent goes by: `name`, else the folder's."""
        return self.name or self.path.name
