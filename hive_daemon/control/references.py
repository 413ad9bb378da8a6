"""Sessions and executions by what people type: an id, the beginning of one, or `latest`."""

from __future__ import annotations

from hive_daemon.control.errors import MOST_CANDIDATES, Ambiguous
from hive_daemon.control.query import shown
from hive_daemon.control.wire import LATEST, choose, is_reference
from hive_daemon.errors import ExecutionNotFound, HiveError, InvalidInput, SessionNotFound
from hive_daemon.ids import is_execution_id, is_session_id, session_of
from hive_daemon.storage.ports import ExecutionStore
from hive_daemon.storage.values import ExecutionFilter, ExecutionRow

_PREFIX = "session_"
_LOOK_AT = 50
_SEE_EXECUTIONS = "see `hive executions list`"
_SEE_SESSIONS = "see `hive sessions list`"


async def find_execution(store: ExecutionStore, reference: str) -> ExecutionRow:
    """Return the execution that a reference means. Raises InvalidInput, ExecutionNotFound, Ambiguous."""
    start = _start(reference, "execution")
    if reference == LATEST:
        newest = await store.query(ExecutionFilter(limit=1))
        return _the_only(newest, ExecutionNotFound("there is no execution yet"))
    if is_execution_id(start):
        exact = await _exactly(store, start)
        if exact is not None:
            return exact
    rows = await store.query(ExecutionFilter(id_prefix=start, limit=MOST_CANDIDATES + 1))
    ids = choose(reference, [row.execution_id for row in rows])
    _check_unique(reference, "executions", ids)
    missing = ExecutionNotFound(f"no execution is called {shown(reference)}", hint=_SEE_EXECUTIONS)
    return _the_only([row for row in rows if row.execution_id in ids], missing)


async def find_session(store: ExecutionStore, reference: str) -> ExecutionRow:
    """Return the latest execution that is not joined of the session that a reference means.

    Raises InvalidInput, SessionNotFound, Ambiguous.
    """
    start = _start(reference, "session")
    if reference == LATEST:
        return await _latest_session(store)
    missing = SessionNotFound(f"no session is called {shown(reference)}", hint=_SEE_SESSIONS)
    if is_execution_id(start) and not is_session_id(start):
        missing.hint = f"it names an execution of the session {session_of(start)}"
        raise missing
    rows = await store.query(
        ExecutionFilter(
            session_id=start if is_session_id(start) else None,
            id_prefix=start,
            latest_of_session=True,
            limit=MOST_CANDIDATES + 1,
        )
    )
    _check_unique(reference, "sessions", [row.session_id for row in rows])
    return _the_only(rows, missing)


async def find_session_id(store: ExecutionStore, reference: str) -> str:
    """Return the id of the session that a reference means. Raises like `find_session`."""
    return (await find_session(store, reference)).session_id


async def _latest_session(store: ExecutionStore) -> ExecutionRow:
    """Return the latest main execution of the session that was created last: the one whose first is the newest."""
    before: int | None = None
    while rows := await store.query(ExecutionFilter(before=before, limit=_LOOK_AT)):
        for row in rows:
            if row.ordinal == 1:
                return await find_session(store, row.session_id)
        before = rows[-1].n
    # The first executions of all sessions were pruned.
    newest = await store.query(ExecutionFilter(latest_of_session=True, limit=1))
    return _the_only(newest, SessionNotFound("there is no session yet"))


def _start(reference: str, noun: str) -> str:
    """Return what the id begins with. Raises InvalidInput for what can be no reference."""
    if not is_reference(reference):
        raise InvalidInput(
            f"{shown(reference)} is not the id of {'an' if noun[0] == 'e' else 'a'} {noun}",
            hint="an id looks like session_20260302_090000_1a2b3c4d; its beginning will do, or latest",
        )
    return f"{_PREFIX}{reference}" if reference[0].isdigit() else reference


async def _exactly(store: ExecutionStore, execution_id: str) -> ExecutionRow | None:
    try:
        return await store.load(execution_id)
    except ExecutionNotFound:
        return None


def _check_unique(reference: str, nouns: str, ids: list[str]) -> None:
    if len(ids) > 1:
        many = "several" if len(ids) > MOST_CANDIDATES else len(ids)
        raise Ambiguous(
            f"{shown(reference)} means {many} {nouns}", ids, hint="write more of the id"
        )


def _the_only(rows: list[ExecutionRow], missing: HiveError) -> ExecutionRow:
    if not rows:
        raise missing
    return rows[0]
