"""What a package offers by name, loaded when it is first asked for: importing a package stays cheap."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from typing import Any


def public_name(package: str, rooms: Mapping[str, str], name: str) -> Any:
    """Return a name that a package offers from one of its modules (`{name: module}`), or a module of it.

    For a package's `__getattr__` (PEP 562). Raises AttributeError for a name that it does not have.
    """
    if name in rooms:
        return getattr(importlib.import_module(f"{package}.{rooms[name]}"), name)
    module = f"{package}.{name}"
    if name.startswith("_") or importlib.util.find_spec(module) is None:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    return importlib.import_module(module)


def rooms_of(layout: Mapping[str, str]) -> dict[str, str]:
    """Turn `{module: "Name Name …"}` into `{name: module}`."""
    return {name: module for module, names in layout.items() for name in names.split()}
