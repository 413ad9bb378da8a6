"""What a daemon whose event loop is blocked leaves behind before it ends itself: which node, in which line, since when.

The loop cannot be asked any more, so this looks from another thread, without locks; what changes under its hands is
left out. Nothing here may keep the process from ending: a disk that does not answer is given up after a moment.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from hive_daemon.clock import SYSTEM_CLOCK, Clock
from hive_daemon.errors import HiveError
from hive_daemon.insight.exits import AtWork, ExitNote
from hive_daemon.runtime.execution import Execution
from hive_daemon.storage.exits import note_exit

WRITING_SECONDS = 2.0
"""How long the note may take to be written."""

_FRAMES = 12


@dataclass(frozen=True, slots=True)
class LastWords:
    """Made on the thread of the event loop that it will tell of; `running` answers the executions at work."""

    root: Path
    running: Callable[[], Iterable[Execution]]
    clock: Clock = SYSTEM_CLOCK
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    thread: int = field(default_factory=threading.get_ident)

    def leave(self, seconds: float, code: int) -> None:
        """Note that the loop has been blocked for so long, and that the process ends with this code."""
        note = ExitNote(self.clock.time(), code, seconds, self._stack(), self._at_work())
        writing = threading.Thread(target=self._write, args=(note,), daemon=True)
        writing.start()
        writing.join(WRITING_SECONDS)

    def _write(self, note: ExitNote) -> None:
        try:
            note_exit(self.root, note)
        except HiveError as error:
            sys.stderr.write(f"hived: its end is not noted: {error}\n")

    def _stack(self) -> tuple[str, ...]:
        """Return where the loop hangs, the innermost frame first."""
        frame, found = sys._current_frames().get(self.thread), list[str]()
        while frame is not None and len(found) < _FRAMES:
            code = frame.f_code
            found.append(f"{code.co_name} ({code.co_filename}:{frame.f_lineno})")
            frame = frame.f_back
        return tuple(found)

    def _at_work(self) -> tuple[AtWork, ...]:
        try:
            task = asyncio.current_task(self.loop)
            words = task.get_name().split(": ") if task is not None else []
            return tuple(_work_of(each, words) for each in self.running())
        except RuntimeError:
            # The loop goes on after all, and begins or ends an execution while they are counted.
            return ()


def _work_of(execution: Execution, words: list[str]) -> AtWork:
    claim = execution.claim
    nodes = tuple(pulse.node_id for pulse in execution.pulses if pulse.node_id)
    is_blocking = claim.execution_id in words
    return AtWork(claim.execution_id, f"{claim.agent}/{claim.stream_id}", nodes, is_blocking)
