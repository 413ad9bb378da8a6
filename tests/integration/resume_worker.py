"""A process of its own that goes on with a session state: `resume_worker DIRECTORY`, with both inputs on stdin."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from tests.fakes.embedded import running
from tests.integration.test_runtime_resume_state import Desk, asking, resting


async def main(directory: Path, given: dict[str, Any]) -> None:
    """Resume in a store of its own and write what it came to."""
    desk = {"paused": resting, "waiting": asking}.get(given["stop"], Desk)()
    await desk.turnstile.let_through()
    async with running(directory, desk.graph) as runtime:
        done = await runtime.trigger_and_wait(
            "default", given["said"], session_state=given["state"]
        )
    print(json.dumps([done.status, done.output.get("published"), done.path, desk.ran]))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), json.load(sys.stdin)))
