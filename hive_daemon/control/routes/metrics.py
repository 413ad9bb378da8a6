"""`/metrics`."""

from __future__ import annotations

from aiohttp import web

from hive_daemon.control.context import Ask, Control
from hive_daemon.control.metric_readings import metrics_text
from hive_daemon.control.open_pages import metrics_answer


async def metrics(control: Control, ask: Ask) -> web.StreamResponse:
    """Return the metrics in the text format of Prometheus."""
    return metrics_answer(await metrics_text(control))
