"""Requests that the daemon makes: alerts to a webhook, signed as Standard Webhooks says.

Guarantees: no redirect is followed, no proxy or cookie of the environment is used, no body of an answer is read beyond
its first bytes; a status of 200 to 299 means that it was taken.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import aiohttp
import orjson

from hive_daemon.clock import Clock
from hive_daemon.monitoring.alert_rules import Alert
from hive_daemon.monitoring.alerts import AlertFailed
from hive_daemon.runtime.webhook_schemes import Check, Verify, proof


@dataclass(frozen=True, slots=True)
class WebhookSink:
    """Posts each alert to a URL. Without a key it is not signed.

    The signature is that of Standard Webhooks 1.0: `webhook-id`, `webhook-timestamp` and `webhook-signature`; the id is
    the alert's, so that the receiver knows a second delivery of it.
    """

    url: str
    clock: Clock
    key: bytes | None = field(default=None, repr=False)

    async def deliver(self, alert: Alert) -> None:
        """Post it. Raises AlertFailed."""
        body = orjson.dumps(alert.document())
        try:
            async with (
                aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
                session.post(
                    self.url, data=body, headers=self._headers(alert, body), allow_redirects=False
                ) as answer,
            ):
                status = answer.status
        except aiohttp.ClientError as error:
            raise AlertFailed(f"the webhook could not be reached: {error}") from error
        if not 200 <= status < 300:
            raise AlertFailed(f"the webhook answered {status}")

    def _headers(self, alert: Alert, body: bytes) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "User-Agent": "hived"}
        if self.key is None:
            return headers
        check = Check(Verify.STANDARD, (self.key,))
        return {**headers, **proof(check, body, self.clock.time(), alert.id)}
