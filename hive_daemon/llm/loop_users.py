"""Who shares the connections of an event loop, so that the last one can close them.

A connection belongs to the loop that opened it; a process has one that matters, and short ones for blocking calls.
"""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary, WeakSet


class LoopUsers:
    """The users of what the running loop shares; one that is forgotten counts no more."""

    def __init__(self) -> None:
        self._users: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakSet[object]] = (
            WeakKeyDictionary()
        )

    def enter(self, user: object) -> None:
        """Count a user, once."""
        self._users.setdefault(asyncio.get_running_loop(), WeakSet()).add(user)

    def leave(self, user: object) -> bool:
        """Count a user no more; say whether somebody entered and nobody is left."""
        users = self._users.get(asyncio.get_running_loop())
        if users is None:
            return False
        users.discard(user)
        return not users

    def clear(self) -> bool:
        """Count nobody any more; say whether somebody ever entered."""
        return self._users.pop(asyncio.get_running_loop(), None) is not None
