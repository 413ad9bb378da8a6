"""The way from blocking code to a coroutine: for `complete()` and its like, which programs call without a loop."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def run_blocking(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end and return its result, on an event loop of its own.

    Called on a thread that runs a loop already, it takes another thread and blocks the caller meanwhile: such a caller
    wants the asynchronous form.
    """
    if not _loop_is_running():
        return asyncio.run(work())
    context = contextvars.copy_context()
    with ThreadPoolExecutor(1, thread_name_prefix="hive-blocking") as pool:
        return pool.submit(context.run, _run, work).result()


def _run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return asyncio.run(work())


def _loop_is_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
