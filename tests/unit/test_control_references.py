"""What people type for a session or an execution, and pages of lists."""

import pytest

from hive_daemon.control.errors import Ambiguous
from hive_daemon.control.pages import Page, page_of_rows
from hive_daemon.control.query import Query
from hive_daemon.control.references import find_execution, find_session
from hive_daemon.errors import ExecutionNotFound, InvalidInput, SessionNotFound
from hive_daemon.storage.values import ExecutionFilter
from tests.fakes.memory_store import open_memory
from tests.fakes.store_kit import Ear, following, submission

FIRST = "session_20260302_090000_1a2b3c4d"
SECOND = "session_20260302_100000_ffffffff"


@pytest.fixture
async def store():
    async with open_memory(Ear()) as store:
        await store.queue.submit(submission(session_id=FIRST))
        await store.queue.submit(submission(session_id=SECOND))
        await store.queue.submit(following(FIRST))
        await store.queue.submit(following(SECOND, is_joined=True))
        yield store.executions


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        (FIRST, FIRST),
        (f"{FIRST}-2", f"{FIRST}-2"),
        ("20260302_090000_1a2b3c4d", FIRST),
        ("20260302_090000_1a2b3c4d-2", f"{FIRST}-2"),
        ("latest", f"{SECOND}-2"),
    ],
)
async def test_executions(store, reference, found):
    assert (await find_execution(store, reference)).execution_id == found


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        (FIRST, f"{FIRST}-2"),
        ("20260302_09", f"{FIRST}-2"),
        (SECOND, SECOND),
        ("session_20260302_1", SECOND),
        ("latest", SECOND),
    ],
)
async def test_a_session_is_known_by_its_latest_execution_that_is_not_joined(
    store, reference, found
):
    assert (await find_session(store, reference)).execution_id == found


async def test_several_executions_are_ambiguous(store):
    with pytest.raises(Ambiguous, match="means 2 executions") as caught:
        await find_execution(store, "20260302_09")
    assert set(caught.value.candidates) == {FIRST, f"{FIRST}-2"}


async def test_several_sessions_are_ambiguous(store):
    with pytest.raises(Ambiguous, match="means 2 sessions") as caught:
        await find_session(store, "2026")
    assert set(caught.value.candidates) == {FIRST, SECOND}


async def test_an_execution_is_not_a_session_and_the_hint_says_which_it_is_of(store):
    with pytest.raises(SessionNotFound) as caught:
        await find_session(store, f"{FIRST}-2")
    assert FIRST in caught.value.hint


@pytest.mark.parametrize(
    "reference", ["ffffffff", "session_2027", "20260302_0900001", f"{FIRST}-3"]
)
async def test_what_begins_no_id_is_not_found(store, reference):
    with pytest.raises(ExecutionNotFound, match="no execution is called"):
        await find_execution(store, reference)


@pytest.mark.parametrize("reference", ["", "..", "a/b", "x" * 65, "é"])
async def test_what_can_be_no_id_is_not_valid(store, reference):
    with pytest.raises(InvalidInput, match="is not the id of"):
        await find_execution(store, reference)
    with pytest.raises(InvalidInput, match="is not the id of"):
        await find_session(store, reference)


async def test_an_empty_store_has_no_latest():
    async with open_memory(Ear()) as empty:
        with pytest.raises(ExecutionNotFound, match="there is no execution yet"):
            await find_execution(empty.executions, "latest")
        with pytest.raises(SessionNotFound, match="there is no session yet"):
            await find_session(empty.executions, "latest")


async def test_rows_are_cut_into_pages(store):
    first, cursor = await page_of_rows(store, ExecutionFilter(), Page(limit=3))
    second, end = await page_of_rows(store, ExecutionFilter(), Page(limit=3, cursor=cursor))
    assert [row.execution_id for row in first] == [f"{SECOND}-2", f"{FIRST}-2", SECOND]
    assert ([row.execution_id for row in second], end) == ([FIRST], None)


async def test_a_full_last_page_is_the_last(store):
    assert (await page_of_rows(store, ExecutionFilter(), Page(limit=4)))[1] is None


def test_without_parameters_a_page_has_fifty_items():
    assert Page.of(Query()) == Page(50, None)


def test_a_cursor_of_another_list_is_refused():
    with pytest.raises(InvalidInput, match="does not belong to this list"):
        Page(cursor="n5").cut(["a"], str)
    with pytest.raises(InvalidInput, match="does not belong to this list"):
        Page(cursor="ka").before()
