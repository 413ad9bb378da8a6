"""`hive doctor`: what is wrong, and what can be done about it."""

from __future__ import annotations

from typing import Annotated

import typer

from hive_cli.grammar import Hive, command, single
from hive_cli.local import run_local

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
        *([f"--config={config}"] if config else []),
        *([f"--socket={socket}"] if socket else []),
    )
