"""A tool and a node that let every line of the file LEAK out: into the log, into errors, into events of their own."""

import logging
import os
from pathlib import Path

from framework.runner.tool_registry import tool

from hive_daemon.graph.facts import EscalationRequested, NodeActionPlan

logger = logging.getLogger("leaker")


def secrets():
    return Path(os.environ["LEAK"]).read_text().splitlines()


@tool
def peek() -> str:
    """Look into the vault."""
    for secret in secrets():
        logger.warning("the tool found %s", secret, extra={"found": secret, "repeat_key": secret})
    raise ValueError(f"the vault does not open with {' nor '.join(secrets())}")


async def spill(said, ctx):
    for secret in secrets():
        logger.error("spilled", extra={"nested": {"deep": [secret]}, "repeat_key": secret})
        await ctx.recorder.record(
            NodeActionPlan(ctx.node_id, f"use {secret}"),
            EscalationRequested(ctx.node_id, f"{secret} is refused", secret),
        )
    raise RuntimeError(f"it ends with {' and '.join(secrets())}")
