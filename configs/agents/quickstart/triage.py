"""What the quickstart agent does without a model: read a log, count, pick the evidence."""

import re
from collections import Counter

LINE = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S*)\s+(?P<level>[A-Z]+)\s+(?P<service>[\w.-]+)[:\s]+(?P<message>.*)"
)
BAD = ("ERROR", "CRITICAL", "FATAL")
EVIDENCE = 6


def parse(log=None, event=None):
    """Read `2026-03-02T09:14:07Z ERROR payments: message`, one entry a line; other lines go on with the one before."""
    text = log or text_of(event)
    entries, skipped = [], 0
    for line in text.splitlines():
        found = LINE.match(line.strip())
        if found:
            entries.append(found.groupdict())
        elif entries and line.strip():
            entries[-1]["message"] += " | " + line.strip()
        elif line.strip():
            skipped += 1
    if not entries:
        raise ValueError(
            "the input has no log line such as '2026-03-02T09:14:07Z ERROR payments: message'"
        )
    return {"entries": entries, "skipped_lines": skipped}


def text_of(event):
    """Return the log that a webhook delivered: its `log`, or the whole body as text."""
    payload = ((event or {}).get("data") or {}).get("payload") or {}
    if isinstance(payload, dict):
        return str(payload.get("log") or payload.get("raw_body") or "")
    return str(payload)


def count(entries):
    """Count entries by level and by failing service, and judge how severe it is."""
    levels = Counter(entry["level"] for entry in entries)
    failing = Counter(entry["service"] for entry in entries if entry["level"] in BAD)
    bad = [entry for entry in entries if entry["level"] in BAD]
    share = len(bad) / len(entries)
    worst, failures = failing.most_common(1)[0] if failing else ("none", 0)
    summary = {
        "lines": len(entries),
        "levels": dict(levels),
        "failures": len(bad),
        "error_percent": round(100 * share, 1),
        "worst_service": worst,
        "worst_failures": failures,
        "failing_services": [f"{name} ({number})" for name, number in failing.most_common(5)],
        "first_failure": bad[0]["time"] if bad else "",
        "last_failure": bad[-1]["time"] if bad else "",
    }
    return {"summary": summary, "severity": severity(levels, share)}


def severity(levels, share):
    """Judge: critical with a FATAL or CRITICAL line or every fifth line failing, major from every twentieth on."""
    if levels["FATAL"] or levels["CRITICAL"] or share >= 0.2:
        return "critical"
    return "major" if share >= 0.05 else "minor"


def evidence(entries, summary):
    """Pick the first failing lines of the service that fails most, then those of others."""
    bad = [entry for entry in entries if entry["level"] in BAD]
    own = [entry for entry in bad if entry["service"] == summary["worst_service"]]
    others = [entry for entry in bad if entry not in own]
    return [
        f"{entry['time']} {entry['level']} {entry['service']}: {entry['message']}"
        for entry in (own + others)[:EVIDENCE]
    ]
