"""What the TCP port shows beside webhooks, where hive.yaml says so: health for orchestrators, metrics for Prometheus.

Anybody who reaches the port may ask, so that answers name checks and never what is behind them.
"""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web

from hive_daemon.control.context import Control
from hive_daemon.control.errors import retry_after
from hive_daemon.control.metric_readings import metrics_text
from hive_daemon.control.vitals import Verdict
from hive_daemon.http.answers import json_answer
from hive_daemon.observability.metrics import CONTENT_TYPE


class OpenPages:
    """The pages of one daemon."""

    def __init__(self, control: Control) -> None:
        self._control = control

    async def livez(self) -> web.Response:
        """Say whether the process is alive, from memory alone."""
        return _bare(self._control.vitals.health())

    async def readyz(self) -> web.Response:
        """Say whether new work is welcome."""
        return _bare(await self._control.vitals.ready())

    async def metrics(self) -> web.Response:
        """Return the metrics."""
        return metrics_answer(await metrics_text(self._control))


def metrics_answer(text: bytes) -> web.Response:
    """Return metrics as an answer."""
    return web.Response(
        body=text, headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"}
    )


def _bare(verdict: Verdict) -> web.Response:
    checks = {name: check.is_ok for name, check in verdict.checks.items()}
    status = HTTPStatus.OK if verdict.is_ok else HTTPStatus.SERVICE_UNAVAILABLE
    answer = json_answer(status, {"status": verdict.status, "checks": checks})
    if not verdict.is_ok:
        answer.headers.update(retry_after(verdict.status))
    return answer
