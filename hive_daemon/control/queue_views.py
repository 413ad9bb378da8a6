"""What waits to run, as the control API shows it."""

from __future__ import annotations

from hive_daemon.clock import iso_z
from hive_daemon.control.answers import Json
from hive_daemon.control.views import time_view
from hive_daemon.storage.admission import Explained, Queued


def queued_view(queued: Queued) -> Json:
    """Return an execution that waits to run."""
    return {
        "execution_id": queued.execution_id,
        "session_id": queued.session_id,
        "entry_point": queued.lane,
        "key": queued.key,
        "source": queued.source,
        "priority": queued.priority,
        "position": queued.position,
        "created_at": iso_z(queued.created_at),
        "due_at": time_view(queued.due_at),
        "expires_at": time_view(queued.expires_at),
    }


def explained_view(explained: Explained) -> Json:
    """Return why an execution waits."""
    return {
        "queued": queued_view(explained.queued),
        "ahead": explained.ahead,
        "holds": [{"by": by.value, "told": told} for by, told in explained.holds],
    }
