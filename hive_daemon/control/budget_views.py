"""Budgets, as the control API shows them: how each stands, and what the timers will spend."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from datetime import date, datetime, timedelta, tzinfo

from hive_daemon.budgets.decisions import nearing, spent_out
from hive_daemon.budgets.outlook import HIGH, USUAL, Cost, Prospect, percentile, runs_out, times
from hive_daemon.budgets.rules import Amount, Measure, Rule, Scope, Spender, Use
from hive_daemon.clock import iso_z
from hive_daemon.control.answers import Json
from hive_daemon.control.context import Control
from hive_daemon.control.places import Place, places
from hive_daemon.control.timer_views import Clockwork, clockworks
from hive_daemon.ids import session_of
from hive_daemon.runtime.budget_desk import Standing
from hive_daemon.runtime.endings import read_result
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.values import ExecutionFilter
from hive_daemon.tasks import to_thread

LEADING = 3
"""How many executions or sessions are named of a budget that each of them has."""

LOOKED_AT = 20
"""How many of them are looked at to find these."""

OBSERVED = 100
"""How many of the last executions say what one comes to."""

_LIVES = (Scope.EXECUTION.value, Scope.SESSION.value)


async def standings(control: Control) -> list[Standing]:
    """Return how every budget stands, for each subject that it has; of executions and sessions the first few."""
    desk = control.host.services.budgets
    found: dict[tuple[Rule, str], None] = {}
    for rule, subject in rules_with_subjects(control):
        if subject.partition(":")[0] in _LIVES:
            # Every execution has such a budget of its own.
            for leader in await _leaders(control, rule, f"{subject.partition(':')[0]}:"):
                found[rule, leader] = None
        else:
            found[rule, subject] = None
    return await desk.standings(found)


async def shared_standings(control: Control) -> list[Standing]:
    """Return how those budgets stand that are no execution's or session's own."""
    shared = [
        (rule, subject)
        for rule, subject in rules_with_subjects(control)
        if subject.partition(":")[0] not in _LIVES
    ]
    return await control.host.services.budgets.standings(shared)


def left_of(standing: Standing) -> dict[Measure, float]:
    """Return what is left of a budget, by what it limits."""
    total = standing.use.total
    return {
        measure: max(0.0, _rounded(limit - total.of(measure)))
        for measure, limit in standing.rule.limits.written.items()
    }


async def _leaders(control: Control, rule: Rule, prefix: str) -> list[str]:
    """Return the executions or sessions that spent the most of a budget which each of them has."""
    found = []
    for subject, _ in await control.store.budgets.leading(prefix, LOOKED_AT):
        name = subject.removeprefix(prefix)
        rows = await control.store.executions.query(
            ExecutionFilter(session_id=session_of(name), latest_of_session=True, limit=1)
        )
        spenders = (Spender(row.agent, row.stream_id, row.session_id, name) for row in rows)
        if any(rule.subject(spender) == subject for spender in spenders):
            found.append(subject)
    return found[:LEADING]


def rules_of(control: Control) -> list[Rule]:
    """Return every budget, those at the top first."""
    top = control.host.services.budgets.budgets.rules
    return list(dict.fromkeys([*top, *(rule for rule, _ in rules_with_subjects(control))]))


def rules_with_subjects(control: Control) -> list[tuple[Rule, str]]:
    """Return every budget with every subject that the entry points of the daemon give it."""
    found: dict[tuple[Rule, str], None] = {}
    for place in places(control.host):
        stream = place.stream
        if stream is None:
            continue
        spender = stream.setup.spender("*", "*")
        desk = control.host.services.budgets
        found |= dict.fromkeys(desk.concerning(spender, stream.setup.budgets))
    return list(found)


def rule_view(rule: Rule) -> Json:
    """Return a budget as it is written."""
    return {
        "id": rule.id,
        "scope": rule.target,
        "agent": rule.agent or None,
        "entry_point": rule.entry_point or None,
        "per": rule.per.value,
        "limits": {measure.value: limit for measure, limit in rule.limits.written.items()},
        "warn_at": rule.warn_at,
        "on_exceed": rule.on_exceed.value,
    }


def standing_view(standing: Standing) -> Json:
    """Return how a budget stands for one subject."""
    rule, use, window = standing.rule, standing.use, standing.window
    return {
        **rule_view(rule),
        "subject": standing.subject,
        "state": _state(rule, use),
        "used": _amount(use.spent),
        "held": _amount(use.held),
        "lost": _amount(use.lost),
        "remaining": {measure.value: left for measure, left in left_of(standing).items()},
        "unpriced": use.unpriced,
        "since": iso_z(window.since) if rule.per.is_window else None,
        "until": None if window.until is None else iso_z(window.until),
    }


def _state(rule: Rule, use: Use) -> str:
    if spent_out(rule.limits, use) is not None:
        return "exceeded"
    return "ok" if nearing(rule.limits, use, rule.warn_at) is None else "warning"


def _amount(amount: Amount) -> Json:
    return {measure.value: _rounded(amount.of(measure)) for measure in Measure}


def _rounded(number: float) -> float:
    return number if isinstance(number, int) else round(number, 9)


# --- the forecast -----------------------------------------------------------------------------


async def forecast_view(control: Control, days: int) -> Json:
    """Return what the timers will spend in the days to come, and which budgets they will bring to their limit."""
    start = control.now()
    end = start + days * 86_400.0
    prospects = [
        await _prospect(control, clockwork, start, end)
        for _, clockwork in sorted((await clockworks(control.host)).items())
    ]
    found = await standings(control)
    return {
        "start": iso_z(start),
        "end": iso_z(end),
        "timers": [_prospect_view(each) for each in prospects],
        "total": {
            "usd_usual": _total([times(each.count, each.usual.usd) for each in prospects]),
            "usd_high": _total([times(each.count, each.high.usd) for each in prospects]),
        },
        "budgets": [
            _outlook(standing, prospects)
            for standing in found
            if standing.rule.per.is_window and standing.rule.limits.usd is not None
        ],
    }


async def _prospect(control: Control, clockwork: Clockwork, start: float, end: float) -> Prospect:
    place = clockwork.place
    row = clockwork.row
    left = row.remaining if row is not None else clockwork.config.remaining_actions
    zone = control.host.services.budgets.zone
    fires = await to_thread(_fires, clockwork, (start, end), left, zone)
    costs = await _observed(control, place)
    usds = [cost.usd for cost in costs if cost.usd is not None]
    tokens = [cost.tokens for cost in costs if cost.tokens is not None]
    usual, high = (
        Cost(percentile(usds, share), percentile(tokens, share)) for share in (USUAL, HIGH)
    )
    spender = Spender(place.agent.name, place.stream_id)
    subjects = frozenset(spender.subjects.values())
    return Prospect(place.address, subjects, fires, len(costs), usual, high)


def _fires(
    clockwork: Clockwork, span: tuple[float, float], left: int | None, zone: tzinfo
) -> Mapping[date, int]:
    """Count the fires of each day within a span."""
    schedule, (since, end) = clockwork.schedule, span
    counted: Counter[date] = Counter()
    while since < end and (left is None or left > 0):
        day = datetime.fromtimestamp(since, zone).date()
        midnight = datetime.combine(day + timedelta(1), datetime.min.time(), zone).timestamp()
        until = min(end, max(midnight, math.nextafter(since, math.inf)))
        count = schedule.count(since - schedule.delay, until - schedule.delay)
        counted[day] += count if left is None else min(left, count)
        left = None if left is None else left - count
        since = until
    return counted


async def _observed(control: Control, place: Place) -> list[Cost]:
    """Return what the last executions of an entry point came to."""
    rows = await control.store.executions.query(
        ExecutionFilter(
            agent=place.agent.name,
            stream_id=place.stream_id,
            statuses=(ExecutionStatus.COMPLETED, ExecutionStatus.FAILED),
            limit=OBSERVED,
        )
    )
    results = [read_result(row.result) for row in rows if row.result is not None]
    return [Cost(result.cost_usd, float(result.total_tokens)) for result in results]


def _prospect_view(prospect: Prospect) -> Json:
    count = prospect.count
    return {
        "timer": prospect.timer_id,
        "fires": count,
        "observed": prospect.observed,
        "usd_p50": prospect.usual.usd,
        "usd_p95": prospect.high.usd,
        "tokens_p50": prospect.usual.tokens,
        "tokens_p95": prospect.high.tokens,
        "usd_usual": times(count, prospect.usual.usd),
        "usd_high": times(count, prospect.high.usd),
    }


def _outlook(standing: Standing, prospects: list[Prospect]) -> Json:
    rule, subject = standing.rule, standing.subject
    used = standing.use.spent.usd
    days = [runs_out(rule, subject, used, prospects, high=high) for high in (False, True)]
    usual, high = (None if day is None else day.isoformat() for day in days)
    return {
        "id": rule.id,
        "subject": subject,
        "usd": rule.limits.usd,
        "used_usd": _rounded(used),
        "exceeded_on_usual": usual,
        "exceeded_on_high": high,
    }


def _total(parts: list[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return _rounded(sum(known)) if len(known) == len(parts) else None
