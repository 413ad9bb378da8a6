"""`hive config`: the configuration, read from its file; no daemon is needed."""

from __future__ import annotations

from typing import Annotated

import typer

from hive_cli.grammar import Hive, command, group
from hive_cli.local import run_local

app = group("Check and show the configuration.")

ConfigOption = Annotated[
    str, typer.Option("--config", metavar="FILE", help="The file, instead of the usual places.")
]


@command(app, "check")
def check(hive: Hive, config: ConfigOption = "") -> int:
    """Check the configuration and the agent folders it names, and say everything that is wrong."""
    return run_local("config", "check", *_arguments(hive, config))


@command(app, "show")
def show(hive: Hive, config: ConfigOption = "") -> int:
    """Show the configuration as the daemon would use it, with secrets masked."""
    return run_local("config", "show", *_arguments(hive, config))


def _arguments(hive: Hive, config: str) -> list[str]:
    return [*(["--config", config] if config else []), *(["--json"] if hive.as_json else [])]
