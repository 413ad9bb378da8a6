"""`hived --check`: everything that a start looks at, without starting anything."""

from __future__ import annotations

import sys

from hive_daemon.config.loaded import LoadedConfig
from hive_daemon.daemon.folders import check_agents

EXIT_OK = 0
EXIT_CONFIG = 78


def check(loaded: LoadedConfig) -> int:
    """Check the configuration and every agent folder; print what is wrong; answer 0 or 78."""
    problems = 0
    reports, aimless = check_agents(loaded)
    for warning in (*loaded.warnings, *aimless):
        sys.stdout.write(f"warning: {warning}\n")
    for report in reports:
        problems += len(report.errors)
        for warning in report.warnings:
            sys.stdout.write(f"{report.name}: warning: {warning}\n")
        for error in report.errors:
            sys.stdout.write(f"{report.name}: {error}\n")
        if not report.errors:
            sys.stdout.write(f"{report.name}: ok\n")
    where = loaded.path or "no file, the defaults"
    verdict = f"{problems} problems" if problems else "ok"
    sys.stdout.write(f"{where}: {verdict}\n")
    return EXIT_CONFIG if problems else EXIT_OK
