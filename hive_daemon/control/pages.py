"""Pages of lists: how many items, and where the next page begins.

A cursor names the last item that was given, so it keeps its meaning when things are added. Only in the queue, where
items move by themselves, it is a position.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from hive_daemon.control.query import Query, shown
from hive_daemon.control.wire import PAGE_SIZE, PAGE_SIZE_MAX
from hive_daemon.errors import InvalidInput
from hive_daemon.storage.ports import ExecutionStore
from hive_daemon.storage.values import ExecutionFilter, ExecutionRow

T = TypeVar("T")

PARAMETERS = ("limit", "cursor")

_OFFSET = re.compile(r"o([0-9]{1,9})")
_ROW = re.compile(r"n([0-9]{1,18})")
_KEY = re.compile(r"k([A-Za-z0-9._/:-]{1,256})")


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is wanted. Readers of the cursor raise InvalidInput for one of another list."""

    limit: int = PAGE_SIZE
    cursor: str | None = None

    @classmethod
    def of(cls, query: Query) -> Page:
        """Read `limit` and `cursor`. Raises InvalidInput."""
        return cls(query.whole("limit", 1, PAGE_SIZE_MAX) or PAGE_SIZE, query.one("cursor"))

    def before(self) -> int | None:
        """Return the number of the row before which the page begins, None for the first page."""
        text = self._read(_ROW)
        return None if text is None else int(text)

    def offset(self) -> int:
        """Return how many items come before the page, of a list whose items move by themselves."""
        text = self._read(_OFFSET)
        return 0 if text is None else int(text)

    def cut(self, items: Sequence[T], key: Callable[[T], str]) -> tuple[list[T], str | None]:
        """Return the page of a list that is sorted by its keys, and the cursor of the next one."""
        last = self._read(_KEY)
        rest = [item for item in items if last is None or key(item) > last]
        page = rest[: self.limit]
        return page, f"k{key(page[-1])}" if len(rest) > len(page) else None

    def _read(self, pattern: re.Pattern[str]) -> str | None:
        if self.cursor is None:
            return None
        match = pattern.fullmatch(self.cursor)
        if match is None:
            raise InvalidInput(
                f"the cursor {shown(self.cursor)} does not belong to this list",
                hint="take it from next_cursor of the page before",
            )
        return match[1]


async def page_of_rows(
    store: ExecutionStore, wanted: ExecutionFilter, page: Page
) -> tuple[list[ExecutionRow], str | None]:
    """Return one page of executions, newest first, and the cursor of the next one."""
    rows = await store.query(replace(wanted, before=page.before(), limit=page.limit))
    if len(rows) < page.limit:
        return rows, None
    last = rows[-1].n
    more = await store.query(replace(wanted, before=last, limit=1))
    return rows, f"n{last}" if more else None
