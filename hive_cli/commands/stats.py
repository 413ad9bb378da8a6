"""`hive stats`: what the daemon is doing."""

from __future__ import annotations

from collections.abc import Mapping

from hive_cli.durations import absolute, brief, relative
from hive_cli.grammar import Hive, command, single
from hive_cli.render import Json, size, status_cell, write, write_facts, write_json, write_table
from hive_daemon.control.wire import Route

app = single()


@command(app, "stats")
def stats(hive: Hive) -> None:
    """Show what the daemon is doing."""
    answer = hive.client.get(Route.STATS)
    if hive.as_json:
        write_json(answer)
        return
    write_facts(
        [
            ("hived", f"{answer.get('version')}, pid {answer.get('pid')}"),
            ("state", status_cell(answer.get("state"))),
            ("up", _uptime(answer)),
            ("executions", _executions(answer)),
            ("agents", _counts(answer.get("agents") or {})),
            ("timers", _timers(answer.get("timers") or {})),
            ("store", _store(answer.get("store") or {})),
            ("events", _counts(answer.get("events") or {})),
            ("memory", f"{answer.get('memory_mb') or 0:.0f} MB"),
        ]
    )
    _show_streams(answer.get("streams") or [])


def _uptime(answer: Json) -> str:
    return f"{brief(answer.get('uptime_seconds') or 0)}, since {absolute(answer.get('started_at'))}"


def _executions(answer: Json) -> str:
    busy = f"{answer.get('running')} running (limit {answer.get('limit')}), {answer.get('queued')} queued"
    by_status = answer.get("executions") or {}
    rest = {key: count for key, count in by_status.items() if key not in ("running", "queued")}
    return f"{busy}; {_counts(rest)}" if any(rest.values()) else busy


def _counts(counts: Mapping[str, object]) -> str:
    """Write numbers with their names; those that are zero say nothing."""
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count)


def _timers(timers: Json) -> str:
    soon = timers.get("next") or {}
    paused = f", {timers['paused']} paused" if timers.get("paused") else ""
    then = f"; next {soon.get('id')} {relative(soon.get('at'))}" if soon else ""
    return f"{timers.get('count') or 0}{paused}{then}"


def _store(store: Json) -> str:
    p50, p99 = store.get("commit_ms_p50") or 0, store.get("commit_ms_p99") or 0
    return f"{size(store.get('size_bytes'))}; commit p50 {p50:.1f} ms, p99 {p99:.1f} ms"


def _show_streams(streams: list[Json]) -> None:
    if not streams:
        return
    keys = ("address", "running", "queued", "max_concurrent")
    write("")
    write_table(
        ("ENTRY POINT", "RUNNING", "QUEUED", "MAX"),
        [[str(stream.get(key)) for key in keys] for stream in streams],
    )
