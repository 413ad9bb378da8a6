"""What hive.yaml says of health and alerts, as the vigil takes it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from hive_daemon.clock import Clock
from hive_daemon.config.alert_keys import AlertConfig
from hive_daemon.config.model import HealthConfig
from hive_daemon.durations import parse_duration
from hive_daemon.http.outbound import WebhookSink
from hive_daemon.monitoring.alert_command import CommandSink
from hive_daemon.monitoring.alerts import AlertRule, LogSink, Sink, log_rule
from hive_daemon.monitoring.health import Thresholds
from hive_daemon.runtime.webhook_schemes import Verify, key_of


def thresholds_of(health: HealthConfig) -> Thresholds:
    """Return from where on something is wrong with an execution."""
    return Thresholds(
        stall_seconds=health.stall_seconds,
        non_accepts=health.non_accepts,
        doom_loop=health.doom_loop,
        same_error=health.same_error,
        cost_usd=health.cost_usd,
    )


def alert_rules(written: Iterable[AlertConfig], clock: Clock) -> list[AlertRule]:
    """Return the rules; the log is told also if nobody wrote that."""
    rules: dict[str, AlertRule] = {}
    for config in written:
        sink, shown = _sink_of(config, clock)
        name = _name_of(config, shown)
        rules[name] = AlertRule(
            name,
            sink,
            shown,
            config.min_severity,
            parse_duration(config.cooldown),
            parse_duration(config.timeout),
        )
    usual = log_rule()
    return list({usual.name: usual, **rules}.values())


def _sink_of(config: AlertConfig, clock: Clock) -> tuple[Sink, str]:
    if config.webhook is not None:
        secret = config.webhook.secret
        key = None if secret is None else key_of(Verify.STANDARD, secret.get_secret_value())
        host = config.webhook.url.partition("://")[2].partition("/")[0]
        return WebhookSink(config.webhook.url, clock, key), f"webhook {host}"
    if config.command is not None:
        return CommandSink(config.command), f"command {config.command[0]}"
    return LogSink(), "log"


def _name_of(config: AlertConfig, shown: str) -> str:
    """Return a name that stays while the address does, and gives nothing of it away."""
    address = config.webhook.url if config.webhook else "\0".join(config.command or ())
    if not address:
        return "log"
    return f"{shown.partition(' ')[0]}:{hashlib.sha256(address.encode()).hexdigest()[:12]}"
