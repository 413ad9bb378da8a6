"""hive.yaml: its model and how it is loaded. Agent folders find their `RuntimeConfig` here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hive_daemon.config.runtime_config import RuntimeConfig

__all__ = ["RuntimeConfig"]


def __getattr__(name: str) -> object:
    if name == "RuntimeConfig":
        from hive_daemon.config.runtime_config import RuntimeConfig

        return RuntimeConfig
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
