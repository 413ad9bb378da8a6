"""However many deliveries are kept, the writer finds those of a request by an index: it never reads all of them."""

from __future__ import annotations

import re
import sqlite3

import pytest

from hive_daemon.storage.sqlite import webhook_deliveries as deliveries
from hive_daemon.storage.sqlite.webhook_deliveries import DELIVERY_TABLES

WAITING = deliveries._WAITING
STATEMENTS = {
    "a delivery that came before": deliveries._KNOWN,
    "what became of it": deliveries._SETTLE,
    "those that it superseded": deliveries._SUPERSEDED,
    "the first of a burst": f"SELECT min(received_at) FROM deliveries WHERE {WAITING}",
    "the last of a burst": f"SELECT id FROM deliveries WHERE {WAITING} ORDER BY n DESC",
    "what is old": deliveries._PRUNE,
    "what is still open": f"SELECT id FROM deliveries WHERE status IN (?, ?) AND {deliveries._OPEN}",
}


@pytest.mark.parametrize("what", STATEMENTS)
def test_an_index_leads_to(what: str) -> None:
    statement = STATEMENTS[what]
    with sqlite3.connect(":memory:") as connection:
        for table in DELIVERY_TABLES:
            connection.execute(table)
        values = ["x"] * statement.count("?")
        plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
    connection.close()
    steps = [step[3] for step in plan]
    assert not [step for step in steps if re.fullmatch(r"SCAN deliveries", step)], steps
    assert any("USING INDEX" in step or "USING COVERING INDEX" in step for step in steps), steps
    if "burst" in what:
        assert "deliveries_open" in steps[0]
