"""Credentials: what a program is told when one is missing."""

from __future__ import annotations

from typing import Any

from hive_daemon.exports import public_name, rooms_of

_ROOMS = rooms_of(
    {
        "models": "CredentialError",
    }
)


def __getattr__(name: str) -> Any:
    return public_name(__name__, _ROOMS, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_ROOMS])
