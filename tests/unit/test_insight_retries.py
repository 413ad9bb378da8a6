"""What `hive why` says of an execution whose model call, or node, is tried again after a pause."""

import json

import pytest

from hive_daemon.insight.executions import Evidence, tell_execution
from hive_daemon.insight.story import Cause
from hive_daemon.storage.values import StoredEvent
from tests.fakes.rows import BEGAN, NAME, execution_row

ROW = execution_row(
    node_id="ask",
)
RETRY = StoredEvent(
    seq=1,
    execution_seq=1,
    type="node_retry",
    timestamp=BEGAN,
    agent="ops",
    graph_id="ops",
    stream_id="run",
    node_id="ask",
    execution_id=NAME,
    session_id=NAME,
    correlation_id="",
    causation=(),
    data=json.dumps(
        {"retry_count": 1, "max_retries": 8, "error": "429 slow down", "delay_seconds": 90.0}
    ).encode(),
)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (30.0, "tries again at 2026-03-02 09:01:30 UTC, in 1 min (1 of 8): 429 slow down"),
        (90.0, "tries again (1 of 8): 429 slow down"),
    ],
)
def test_a_call_that_is_rate_limited_says_until_when_it_waits(seconds, told):
    story = tell_execution(Evidence(ROW, BEGAN + seconds, (RETRY,)))
    assert story.cause is Cause.RETRYING
    assert told in story.answer
