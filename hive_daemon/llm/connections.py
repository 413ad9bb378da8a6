"""The connections of all providers, for whoever ends a process: the daemon closes them last.

A provider that is closed closes what it shares when it is the last; this is for those that nobody closed.
"""

from __future__ import annotations

import importlib
import sys

TRANSPORT = "hive_daemon.llm.openai_transport"
LITELLM = "hive_daemon.llm.litellm_provider"


async def close_connections() -> None:
    """Close what the providers of the running loop opened, on either transport; imports nothing for it.

    A call that is still under way fails; the next one opens new connections.
    """
    if TRANSPORT in sys.modules:
        await importlib.import_module(TRANSPORT).close_session()
    if LITELLM in sys.modules:
        await importlib.import_module(LITELLM).close_connections()
