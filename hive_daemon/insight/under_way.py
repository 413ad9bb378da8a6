"""What the nodes that have not ended spent so far: from the newest events of an execution. Pure.

What an execution came to is kept with each step, when a node ends; a model loop may run for an hour before that.
"""

from __future__ import annotations

from collections.abc import Iterable

from hive_daemon.insight.happenings import data_of
from hive_daemon.spending import NO_CALLS, Spending
from hive_daemon.storage.values import StoredEvent

_CALL = "llm_turn_complete"
_ENDED = "node_completed"
_KEPT = ("node_retry", "client_input_requested", "state_conflict")
"""What tells that the calls of a node before it are kept with a step, as its end does."""

_BEGUN = "node_started"
_GONE_ON = ("execution_resumed", "execution_resurrected")
"""What may let a node go on that had failed, without its being told as begun."""

SPENDING = (_CALL, _BEGUN, _ENDED, *_KEPT, *_GONE_ON)
"""The types of events that say what is spent."""


def spent_under_way(events: Iterable[StoredEvent]) -> Spending:
    """Return what calls came to that no step holds yet; `events` are of the types SPENDING, oldest first.

    The tries of a model call, which are told as `node_retry` too, are a part of that call. A call after the end of its
    node decided on an edge, and is kept with that step.
    """
    by_node: dict[str | None, Spending] = {}
    ended: set[str | None] = set()
    for event in events:
        node = event.node_id
        if event.type == _CALL:
            if node not in ended:
                by_node[node] = by_node.get(node, NO_CALLS).plus(Spending.of(data_of(event)))
        elif event.type in _GONE_ON:
            ended.clear()
        elif event.type == _BEGUN:
            ended.discard(node)
        elif event.type == _ENDED or not data_of(event).get("model"):
            by_node.pop(node, None)
            if event.type == _ENDED:
                ended.add(node)
    total = NO_CALLS
    for spent in by_node.values():
        total = total.plus(spent)
    return total
