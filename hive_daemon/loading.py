"""How a process loads its code: without looking for garbage meanwhile, and without looking through it ever after."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Import within: the garbage collector rests, and what is there at the end is hidden from it.

    Code stays until the process ends. Searching it would be a tenth of a start, and later hold up the event loop for
    some ten milliseconds at each full collection. It is for the one start of a process: what is garbage then stays.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
