"""One examination: every check in its order, what was mended, and how it is written for people and programs."""

from __future__ import annotations

import asyncio
import os
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hive_daemon.config.load import load_config
from hive_daemon.config.loaded import secret_values
from hive_daemon.config.sources import ConfigSources
from hive_daemon.doctor.daemon_checks import daemon_findings, exit_findings
from hive_daemon.doctor.finding import FINDINGS, Finding, Severity
from hive_daemon.doctor.machine_checks import child_findings, machine_findings
from hive_daemon.doctor.mending import mend
from hive_daemon.doctor.patient import Patient
from hive_daemon.doctor.state_checks import state_findings, store_findings
from hive_daemon.doctor.unit_checks import unit_findings
from hive_daemon.doctor.work_checks import (
    CHECK_CONFIG,
    agent_findings,
    config_warning,
    file_findings,
    keys_present,
)
from hive_daemon.errors import ConfigError, HiveError
from hive_daemon.observability.redaction import redactor, register_secret
from hive_daemon.storage.sqlite.reading import read_sqlite
from hive_daemon.storage.timer_values import TimerRow

EXIT_WELL = 0
EXIT_FINDINGS = 1

_TAKE_CONFIG = (CHECK_CONFIG, "hive doctor --fix")
"""Commands that have to be told of a configuration that is in no usual place."""


@dataclass(frozen=True, slots=True)
class Report:
    """What an examination found. `keys` are the names of the keys that are set, `mended` what was done."""

    findings: tuple[Finding, ...]
    keys: tuple[str, ...] = ()
    mended: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 if nothing is wrong, 1 if something is; what only tells does not count."""
        is_well = all(finding.severity is Severity.INFO for finding in self.findings)
        return EXIT_WELL if is_well else EXIT_FINDINGS

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "findings": [finding.to_json() for finding in self.findings],
            "keys": list(self.keys),
            "mended": redactor().redact_value(list(self.mended)),
        }

    def lines(self) -> Iterator[str]:
        """Yield it for people."""
        clean = redactor().redact_text
        for sentence in self.mended:
            yield clean(f"mended: {sentence}")
        for finding in self.findings:
            yield clean(f"{finding.severity} {finding.id} ({finding.subject}): {finding.cause}")
            yield clean(f"  {finding.command}")
        yield f"keys: {', '.join(self.keys) or 'none is set'}"
        yield self._summary()

    def _summary(self) -> str:
        count = Counter(finding.severity for finding in self.findings)
        bad = [(Severity.ERROR, "error"), (Severity.WARNING, "warning")]
        told = [
            f"{count[severity]} {word}{'s' if count[severity] > 1 else ''}"
            for severity, word in bad
            if count[severity]
        ]
        return ", ".join(told) or "nothing is wrong"


def examine_process(
    config_file: str | None, flags: Mapping[str, str | None], *, fix: bool
) -> Report:
    """Examine the daemon that this process's surroundings lead to."""
    try:
        loaded = load_config(ConfigSources.of_process(config_file, flags))
    except ConfigError as error:
        source = error.source or "hive.yaml"
        broken = [Finding("config_invalid", source, each, CHECK_CONFIG) for each in error.problems]
        return _naming(Report(tuple(broken)), config_file)
    for secret in secret_values(loaded.config):
        register_secret(secret)
    return _naming(examine(Patient(loaded, dict(os.environ)), fix=fix), config_file)


def _naming(report: Report, config_file: str | None) -> Report:
    """Return a report whose commands name the configuration, if one was named."""
    if config_file is None:
        return report
    option = f" --config {shlex.quote(config_file)}"
    told = [
        replace(each, command=f"{each.command}{option}") if each.command in _TAKE_CONFIG else each
        for each in report.findings
    ]
    return replace(report, findings=tuple(told))


def examine(patient: Patient, *, fix: bool = False) -> Report:
    """Look at everything; with `fix`, mend what is safe to mend and look again."""
    found = list(_findings(patient))
    mended: list[str] = []
    if fix and any(finding.mend is not None for finding in found):
        mended = mend(patient, found)
        found = list(_findings(patient))
    order = list(Severity)
    names = list(FINDINGS)
    found.sort(key=lambda finding: (order.index(finding.severity), names.index(finding.id)))
    return Report(tuple(found), tuple(keys_present(patient)), tuple(mended))


def _findings(patient: Patient) -> Iterator[Finding]:
    for warning in patient.loaded.warnings:
        yield config_warning(patient, warning)
    yield from state_findings(patient)
    yield from store_findings(patient)
    yield from daemon_findings(patient)
    yield from exit_findings(patient)
    yield from machine_findings(patient)
    yield from child_findings(patient)
    yield from unit_findings(patient)
    yield from agent_findings(patient, _ledger(patient))
    yield from file_findings(patient)


def _ledger(patient: Patient) -> list[TimerRow]:
    """Return what the ledger knows of the timers; nothing where the store cannot be read, which other checks tell."""
    try:
        return asyncio.run(_rows(patient.state_dir))
    except HiveError:
        return []


async def _rows(state_dir: Path) -> list[TimerRow]:
    async with read_sqlite(state_dir) as store:
        return await store.timers.rows()
