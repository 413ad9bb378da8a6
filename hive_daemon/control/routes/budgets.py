"""`/v1/budgets`: how every budget stands, and what the timers will spend."""

from __future__ import annotations

from aiohttp import web

from hive_daemon.control.answers import answer
from hive_daemon.control.budget_views import (
    forecast_view,
    rule_view,
    rules_of,
    standing_view,
    standings,
)
from hive_daemon.control.context import Ask, Control

MOST_DAYS = 366
DAYS = 30


async def show_budgets(control: Control, ask: Ask) -> web.StreamResponse:
    """Show every budget, and how it stands."""
    found = await standings(control)
    budgets = control.host.services.budgets.budgets
    return answer(
        {
            "budgets": [rule_view(rule) for rule in rules_of(control)],
            "standings": [standing_view(standing) for standing in found],
            "unpriced": "allow" if budgets.allows_unpriced else "block",
        }
    )


async def forecast(control: Control, ask: Ask) -> web.StreamResponse:
    """Say what the timers will spend in the days to come."""
    days = ask.query.whole("days", 1, MOST_DAYS) or DAYS
    return answer(await forecast_view(control, days))
