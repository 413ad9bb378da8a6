"""The process itself: what it holds of memory, descriptors and children. Source: proc(5)."""

from __future__ import annotations

import os
import resource
from pathlib import Path

_SELF = Path("/proc/self")


def resident_bytes() -> int:
    """Return how much memory the process holds; without /proc the most that it ever held."""
    try:
        pages = int((_SELF / "statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return pages * resource.getpagesize()


def open_descriptors() -> int:
    """Return how many file descriptors are open; 0 without /proc."""
    try:
        # Listing them opens one more.
        return len(os.listdir(_SELF / "fd")) - 1
    except OSError:
        return 0


def children() -> list[int]:
    """Return the ids of the child processes; empty where the system does not tell."""
    found: list[int] = []
    try:
        threads = os.listdir(_SELF / "task")
    except OSError:
        return found
    for thread in threads:
        try:
            found += map(int, (_SELF / "task" / thread / "children").read_text().split())
        except OSError:
            # The thread has ended meanwhile, or the kernel was built without it.
            continue
    return found
