"""The `hive` command in a process of its own, against a control socket of the test."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from tests.fakes.control_client import SECONDS

ROOT = Path(__file__).parents[2]


async def run_hive(socket: Path, *words: str, **environ: str) -> tuple[int | None, str, str]:
    """Run one command to its end; answer its exit code, stdout and stderr."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "hive_cli",
        *words,
        cwd=ROOT,
        env={**os.environ, "HIVE_SOCKET": str(socket), **environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    async with asyncio.timeout(SECONDS):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()
