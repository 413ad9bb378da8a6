"""`hive doctor`: what is wrong, and what can be done about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from hive_cli.failures import Failure
from hive_cli.grammar import Hive, command, single
from hive_cli.local import run_local
from hive_cli.reading import PATIENCE_SECONDS
from hive_daemon.control.wire import Route

app = single()


@command(app, "doctor")
def doctor(
    hive: Hive,
    fix: Annotated[
        bool, typer.Option("--fix", help="Mend what is safe to mend, and say what was done.")
    ] = False,
    config: Annotated[
        str, typer.Option("--config", metavar="FILE", help="The file, instead of the usual places.")
    ] = "",
) -> int:
    """Look for what is wrong, with the cause of each finding and the command that mends it."""
    socket = hive.client.socket_path
    return run_local(
        "doctor",
        *(["--json"] if hive.as_json else []),
        *(["--fix"] if fix else []),
        *([f"--config={config}"] if config else _places(hive)),
        *([f"--socket={socket}"] if socket else []),
    )


def _places(hive: Hive) -> list[str]:
    """Return where a daemon that answers has its file and its state; nothing if none does."""
    try:
        stats = replace(hive.client, patience=PATIENCE_SECONDS).get(Route.STATS)
    except Failure:
        return []
    known = {"--config": stats.get("config"), "--state-dir": stats.get("state_dir")}
    return [f"{option}={path}" for option, path in known.items() if path]
