"""`hive drain`: the orderly stop."""

from __future__ import annotations

from hive_cli.grammar import Hive, command, single
from hive_cli.render import write, write_json
from hive_daemon.control.wire import Route

app = single()


@command(app, "drain")
def drain(hive: Hive) -> None:
    """Stop the daemon in good order: no new work, what runs may end, the rest is kept for its next start."""
    answer = hive.client.post(Route.DRAIN.path(), {})
    if hive.as_json:
        write_json(answer)
    else:
        write(f"draining: {answer.get('running')} running, {answer.get('queued')} queued")
