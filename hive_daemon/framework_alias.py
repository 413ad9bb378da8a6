"""`import framework…` gives the modules of `hive_daemon`: agent folders and programs are written that way.

Guarantees: a module has one object under both names, so classes, enums and context variables are the same whichever
way they were imported; a package that is really installed under the name `framework` is never hidden (one warning says
that the alias stays off then); when the last user is gone, nothing of the alias is left behind.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

logger = logging.getLogger(__name__)

OLD_NAME = "framework"
OUR_NAME = "hive_daemon"

RENAMED = {
    "framework.graph.validator": "hive_daemon.graph.output_validator",
    "framework.tools.worker_monitoring_tools": "hive_daemon.monitoring.tools",
}
"""Modules that moved; all others have their old name under ours."""


def install() -> bool:
    """Put the alias on for the life of the process; say whether it is on."""
    return _alias.acquire()


@contextmanager
def installed() -> Iterator[bool]:
    """Keep the alias on meanwhile; uses may overlap. Gives whether it is on."""
    is_on = _alias.acquire()
    try:
        yield is_on
    finally:
        if is_on:
            _alias.release()


def our_name(name: str) -> str:
    """Return the module that `framework…` stands for."""
    return RENAMED.get(name, OUR_NAME + name.removeprefix(OLD_NAME))


def _is_old(name: str) -> bool:
    return name == OLD_NAME or name.startswith(f"{OLD_NAME}.")


class _SameModule(Loader):
    """Loads a module by putting the one that it stands for in its place."""

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        # The import system hands out what stands here afterwards. Returning our module from create_module instead
        # would have it overwrite the module's own __spec__.
        sys.modules[module.__name__] = importlib.import_module(our_name(module.__name__))


class _Alias(MetaPathFinder):
    """The finder, and how many still need it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._has_warned = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module of ours under its old name."""
        if not _is_old(fullname) or importlib.util.find_spec(our_name(fullname)) is None:
            return None
        return ModuleSpec(fullname, _SameModule())

    def acquire(self) -> bool:
        """Count one more user; say whether the alias is on."""
        with self._lock:
            if self._users == 0:
                origin = _real_package()
                if origin is not None:
                    self._warn(origin)
                    return False
                # First: a mere folder called framework on the path must not win over it.
                sys.meta_path.insert(0, self)
            self._users += 1
            return True

    def release(self) -> None:
        """Count one user less; the last one takes the alias off."""
        with self._lock:
            self._users -= 1
            if self._users:
                return
            sys.meta_path.remove(self)
            for name in [name for name in sys.modules if _is_old(name)]:
                del sys.modules[name]

    def _warn(self, origin: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "a package named framework is installed: agents get that one, uninstall it to run them here",
                extra={"origin": origin},
            )


def _real_package() -> str | None:
    """Return where a package really named `framework` is; a folder without `__init__.py` is none."""
    loaded = sys.modules.get(OLD_NAME)
    spec = loaded.__spec__ if loaded is not None else importlib.util.find_spec(OLD_NAME)
    return spec.origin if spec is not None and spec.has_location else None


_alias = _Alias()
