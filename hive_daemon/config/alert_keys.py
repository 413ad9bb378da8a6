"""What hive.yaml may say of alerts: who is told of incidents, from which severity on, and how often."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from hive_daemon.config.kinds import ApiBase, Secret, Section
from hive_daemon.config.webhook_keys import Duration
from hive_daemon.monitoring.ticket import Severity
from hive_daemon.runtime.webhook_schemes import Verify, key_of


class AlertTarget(StrEnum):
    """Where alerts go that need no address."""

    LOG = "log"


class AlertWebhookConfig(Section):
    """A URL that alerts are posted to, signed as Standard Webhooks says if there is a secret."""

    url: ApiBase
    secret: Secret | None = None

    @field_validator("secret")
    @classmethod
    def _check_secret(cls, secret: Secret | None) -> Secret | None:
        if secret is not None:
            key_of(Verify.STANDARD, secret.get_secret_value())
        return secret


class AlertConfig(Section):
    """Who is told of incidents: just one of `to`, `command` and `webhook`."""

    to: Annotated[AlertTarget, Field(strict=False)] | None = None
    command: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] | None = None
    webhook: AlertWebhookConfig | None = None
    min_severity: Annotated[Severity, Field(strict=False)] = Severity.LOW
    cooldown: Duration = "1h"
    timeout: Duration = "10s"

    @model_validator(mode="after")
    def _check_sink(self) -> AlertConfig:
        given = [key for key in ("to", "command", "webhook") if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError("needs just one of to: log, command and webhook")
        if self.command is not None and not self.command[0].strip():
            raise ValueError("has an empty command, name a program first")
        return self
