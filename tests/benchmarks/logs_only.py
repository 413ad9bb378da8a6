"""The mirror's process, writing L1, L2 and L3 only: neither state.json nor checkpoints. For `bench_overhead`."""

from __future__ import annotations

import sys

from hive_daemon.storage import mirror_desk, mirror_process
from hive_daemon.storage.chronicle import Chronicle
from hive_daemon.storage.mirror_pages import Pages
from hive_daemon.storage.session_logs import SUMMARY, summary_json


class LogPages(Pages):
    """Writes the logs."""

    def _checkpoints(self, chronicle: Chronicle, written: frozenset[str]) -> dict[str, bytes]:
        return {}

    def _summary_and_state(self, chronicle: Chronicle) -> dict[str, bytes]:
        return {SUMMARY: summary_json(chronicle)} if chronicle.has_summary else {}


if __name__ == "__main__":
    mirror_desk.Pages = LogPages  # type: ignore[attr-defined]  # the one way into another process
    sys.exit(mirror_process.main())
