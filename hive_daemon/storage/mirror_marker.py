"""How far the mirror has come: a small file from which a new process knows what the last one may have left unwritten.

The mirror never fsyncs, so what it wrote survives the death of the process but perhaps not that of the machine. The
marker therefore names the life of the machine (`boot`). In the same life, or after an orderly end, everything up to
`seq` is on disk. Otherwise only what was written ten minutes earlier is taken for safe: the kernel writes dirty pages
back within a minute.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path

import orjson

from hive_daemon.storage.files import read_file
from hive_daemon.storage.mirror_files import Change, Files

MARKER = "mirror.json"
SETTLED_SECONDS = 600.0

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Start:
    """Where a new mirror goes on: the events after `after_seq` may be missing; if `is_doubtful`, what there is may
    be damaged too, and is written again unseen.
    """

    after_seq: int = 0
    is_doubtful: bool = False


def read_marker(root: Path, mode: str) -> Start:
    """Return where to go on below `root`; without a usable marker, at the beginning."""
    try:
        marker = orjson.loads(read_file(root / MARKER) or b"")
        if marker["mode"] != mode:
            return Start()
        if marker["boot"] == _boot_id() or marker["is_closed"] is True:
            return Start(int(marker["seq"]))
        return Start(int(marker["settled_seq"]), is_doubtful=True)
    except (ValueError, KeyError, TypeError):
        return Start()


class Marker:
    """Keeps the marker below `root`."""

    def __init__(self, root: Path, mode: str, files: Files, start: Start) -> None:
        self._place = (str(root),)
        self._mode = mode
        self._files = files
        self._boot = _boot_id()
        self._settled = start.after_seq
        self._written: tuple[int, int, bool] | None = None
        self._past: deque[tuple[float, int]] = deque()

    def write(self, seq: int, now: float, *, is_closed: bool = False) -> None:
        """Note that everything up to `seq` is written, at monotonic second `now`. Raises OSError."""
        self._past.append((now, seq))
        while self._past and self._past[0][0] <= now - SETTLED_SECONDS:
            self._settled = self._past.popleft()[1]
        if self._written == (seq, self._settled, is_closed):
            return
        marker = {
            "mode": self._mode,
            "seq": seq,
            "settled_seq": self._settled,
            "boot": self._boot,
            "is_closed": is_closed,
        }
        self._files.update(self._place, Change(documents={MARKER: orjson.dumps(marker)}))
        self._written = (seq, self._settled, is_closed)


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
