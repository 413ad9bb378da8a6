"""Tasks with owners: the only module that creates asyncio tasks.

A `Scope` owns the tasks it spawned until they end. A task that fails is logged by name, never lost; when the
scope closes, its tasks are cancelled and awaited, within a deadline.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

from hive_daemon.interrupts import ENDS_PROCESS, pass_on_of_person

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Scope:
    """The owner of a set of tasks.

    Laws: a task belongs to exactly one scope; after `close` returned an empty list, none of its tasks runs.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, name: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start `work` as a task of this scope."""
        task = asyncio.get_running_loop().create_task(work, name=f"{self.name}: {name}")
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            logger.error("task failed", extra={"task": task.get_name()}, exc_info=error)

    async def drain(self, timeout: float | None) -> list[str]:
        """Wait for the tasks to end by themselves; return the names of those that did not."""
        pending = set(self._tasks)
        if pending:
            _, pending = await asyncio.wait(pending, timeout=timeout)
        return sorted(task.get_name() for task in pending)

    async def close(self, timeout: float | None = 5.0) -> list[str]:
        """Cancel the tasks and wait for them; return the names of those still alive."""
        for task in tuple(self._tasks):
            task.cancel()
        return await self.drain(timeout)


async def run_all(
    name: str, works: list[Coroutine[Any, Any, T]], *, on_cancel: Callable[[], None] | None = None
) -> list[T]:
    """Run coroutines side by side and return their results in order.

    The first failure cancels the others and is raised as it is, without an ExceptionGroup around it.
    """
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(work, name=f"{name} {i}") for i, work in enumerate(works)]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        if on_cancel is not None:
            on_cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def run_through(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    """Run the main work of a process on its loop, to the end, whatever ends the loop meanwhile.

    A loop ends at SystemExit and KeyboardInterrupt of any task or callback, and when somebody stops it. What an agent's
    code starts beside its node may do either: that is logged, and everything else goes on. What `work` itself raises is
    raised, and so is Ctrl-C as long as nothing handles the signal.
    """
    task = loop.create_task(work, name="main")
    task.add_done_callback(functools.partial(_stop_loop, loop))
    while not task.done():
        try:
            loop.run_forever()
        except ENDS_PROCESS as error:
            if not task.done():
                pass_on_of_person(error)
                logger.exception("a task or a callback tried to end the process")
        else:
            if not task.done():
                logger.error("something stopped the event loop, it goes on")
    return task.result()


def _stop_loop(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any]) -> None:
    # A loop that the task's own SystemExit ended is not to be stopped again: it is needed to clean up.
    if task.cancelled() or not isinstance(task.exception(), ENDS_PROCESS):
        loop.stop()


MAX_THREADS = 256
"""Calls that may block at the same time; each blocked call holds one thread."""

_pool = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="hive-call")


def run_in_thread(call: Callable[..., T], *args: Any, **kwargs: Any) -> asyncio.Future[T]:
    """Start a blocking call in a worker thread, with the context variables of the caller.

    The future can be abandoned, the thread cannot: it ends when the call returns. What would stop the event loop or
    hang whoever awaits it, SystemExit, KeyboardInterrupt and StopIteration, comes back as RuntimeError.
    """
    work = functools.partial(copy_context().run, _guarded, call, *args, **kwargs)
    return asyncio.get_running_loop().run_in_executor(_pool, work)


def _guarded(call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    try:
        return call(*args, **kwargs)
    except (StopIteration, SystemExit, KeyboardInterrupt) as error:
        name = getattr(call, "__name__", repr(call))
        said = f": {error}" if error.args else ""
        raise RuntimeError(f"{name} raised {type(error).__name__}{said}") from error


async def to_thread(call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Run a blocking call in a worker thread and return its answer."""
    return await run_in_thread(call, *args, **kwargs)
