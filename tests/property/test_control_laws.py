"""Laws of the control API's own machinery."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field, replace

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from hive_daemon.control import feed as feed_module
from hive_daemon.control import tail as tail_module
from hive_daemon.control.feed import Feed, Wanted, line_of, stored_line
from hive_daemon.control.pages import Page
from hive_daemon.control.places import Lane
from hive_daemon.control.query import Query
from hive_daemon.control.selection import Selection
from hive_daemon.control.table import find_route
from hive_daemon.control.tail import Ends, Source, Start, Tail
from hive_daemon.control.wire import Message, MessageReader, Route, Until
from hive_daemon.errors import InvalidInput
from hive_daemon.runtime.events import AgentEvent, EventType, from_stored
from hive_daemon.runtime.hub import Hub
from hive_daemon.storage.values import MAX_PAGE, StoredEvent

AGENTS = ("ops", "desk")
STREAMS = ("triage", "ask")
TYPES = ("execution_started", "node_started", "execution_completed")
SESSION = "session_20260302_090000_1a2b3c4d"


def stored(seq, agent="ops", stream="triage", kind="node_started", size=0):
    return StoredEvent(
        seq=seq,
        execution_seq=seq,
        type=kind,
        timestamp=5.0,
        agent=agent,
        graph_id="graph",
        stream_id=stream,
        node_id=None,
        execution_id=SESSION,
        session_id=SESSION,
        correlation_id="c",
        causation=("ops/other",),
        data=b'{"text": "%s"}' % (b"x" * size),
    )


events = st.builds(
    stored,
    seq=st.just(0),
    agent=st.sampled_from(AGENTS),
    stream=st.sampled_from(STREAMS),
    kind=st.sampled_from(TYPES),
    size=st.integers(0, 40),
)
selections = st.builds(
    Selection,
    agent=st.sampled_from(("", *AGENTS)),
    types=st.frozensets(st.sampled_from(TYPES), max_size=2),
    lanes=st.frozensets(
        st.builds(Lane, st.sampled_from(AGENTS), st.sampled_from(STREAMS)), max_size=2
    ),
)


def passes(wanted, event):
    """What the store does with a filter."""
    return (
        event.seq > wanted.after_seq
        and wanted.agent in (None, event.agent)
        and wanted.stream_id in (None, event.stream_id)
        and (not wanted.types or event.type in wanted.types)
    )


@dataclass
class History:
    """A store of events alone."""

    events: list = field(default_factory=list)

    async def history(self, wanted):
        await asyncio.sleep(0)
        found = [event for event in self.events if passes(wanted, event)]
        limit = min(wanted.limit, MAX_PAGE)
        return found[-limit:] if wanted.newest else found[:limit]


class NoMirror:
    def offer(self, *_):
        """Nothing is mirrored."""


@dataclass
class SlowReader:
    """Takes what is sent only when it is let."""

    may_read: asyncio.Event = field(default_factory=asyncio.Event)
    content: bytes = b""

    async def send(self, content):
        await self.may_read.wait()
        self.content += content

    def leave(self, content):
        self.content += content


@settings(max_examples=60, deadline=None)
@given(
    given_events=st.lists(events, min_size=20, max_size=60),
    selection=selections,
    script=st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 9), st.booleans(), st.integers(0, 25)),
        min_size=5,
        max_size=20,
    ),
    start=st.one_of(
        st.builds(Start),
        st.builds(Start, after=st.integers(0, 20)),
        st.builds(Start, last=st.integers(0, 20)),
    ),
    before=st.integers(0, 15),
    room=st.integers(1, 4),
)
def test_a_tail_gives_every_wanted_event_once_and_in_order(
    given_events, selection, script, start, before, room
):
    """Whatever is committed, published and read in whichever order, and however little room there is."""
    numbered = [replace(event, seq=n) for n, event in enumerate(given_events, 1)]
    old_room, old_reach = feed_module.BOX_MESSAGES, tail_module.READ_AT_ONCE
    feed_module.BOX_MESSAGES, tail_module.READ_AT_ONCE = room, 3
    try:
        text = asyncio.run(_play(numbered, selection, script, start, before))
    finally:
        feed_module.BOX_MESSAGES, tail_module.READ_AT_ONCE = old_room, old_reach
    reader = MessageReader()
    messages = [m for line in text.split(b"\n") if (m := reader.feed(line)) is not None]
    seen = [int(message.id) for message in messages if message.id is not None]
    matching = [event.seq for event in numbered if selection.matches(event)]
    if start.after is not None:
        assert seen == [seq for seq in matching if seq > start.after]
    elif start.last is None:
        assert seen == matching
    else:
        # The newest when it looked, and all that came after.
        assert seen == matching[len(matching) - len(seen) :]
        assert len(seen) >= min(start.last, len(matching))
    assert messages[-1].event == "stream.end"


async def _play(numbered, selection, script, start, before):
    """Commit, publish and read as the script says; then let everything come to its end."""
    history, reader = History(numbered[:before]), SlowReader()
    feed = Feed(Hub(NoMirror(), lambda lane: None))
    loop = asyncio.get_running_loop()
    ends = Ends(loop.create_future(), loop.create_future())
    tail = Tail(history, feed, Source(Wanted(selection), start, Until.NEVER), ends, reader)
    running = asyncio.create_task(tail.run())
    coming = numbered[before:]
    committed = published = 0
    for commit, publish, reads, turns in [*script, (len(coming), len(coming), True, 1)]:
        history.events.extend(coming[committed : committed + commit])
        committed = min(committed + commit, len(coming))
        for event in coming[published : min(published + publish, committed)]:
            feed._tell(from_stored(event))
        published = min(published + publish, committed)
        if reads:
            reader.may_read.set()
        else:
            reader.may_read.clear()
        for _ in range(turns):
            await asyncio.sleep(0)
    while not _is_calm(feed, reader):
        await asyncio.sleep(0)
    for _ in range(50):
        await asyncio.sleep(0)
    ends.closing.set_result(None)
    await running
    return reader.content


written = st.tuples(
    st.sampled_from(("one", "two")),
    st.text("xy", min_size=1, max_size=3),
    st.sampled_from(("goes on", "anew", "is told", "is read", "is forgotten")),
)


@settings(max_examples=80)
@given(script=st.lists(written, max_size=40), room=st.integers(0, 3))
def test_whoever_is_told_a_piece_of_a_text_has_it_whole(script, room):
    """Whatever found no room or was forgotten unread, and however many nodes write, go on and begin anew."""
    old_room = feed_module.BOX_MESSAGES
    feed_module.BOX_MESSAGES = room
    try:
        asyncio.run(_write_and_read([*script, ("one", "x", "is read")]))
    finally:
        feed_module.BOX_MESSAGES = old_room


async def _write_and_read(script):
    feed, wholes, whole, told = Feed(Hub(NoMirror(), lambda lane: None)), [], {}, {}
    with feed.watched(Wanted(Selection()), ()) as box:
        for node, content, then in script:
            whole[node] = content if then == "anew" else whole.get(node, "") + content
            data = {"content": content, "snapshot": whole[node], "attempt": len(wholes)}
            wholes.append(whole[node])
            feed._tell(AgentEvent(EventType.LLM_TEXT_DELTA, "s", node, "e", data))
            if then == "is told":
                feed._tell(AgentEvent(EventType.LLM_TURN_COMPLETE, "s", node, "e", seq=1))
                whole[node] = ""
            if then == "is forgotten":
                box.clear()
            lines = box.take() if then == "is read" else ()
            for said in [orjson.loads(line.content.split(b"data: ")[1]) for line in lines]:
                if said["seq"] is None:
                    by, piece = said["node_id"], said["data"]
                    told[by] = piece.get("snapshot", told.get(by, "") + piece["content"])
                    assert told[by] == wholes[piece["attempt"]]


def _is_calm(feed, reader):
    """Say whether everything was fetched."""
    waiting = any(box._lines or box.is_behind for box in feed._boxes)
    return b"caught_up" in reader.content and not waiting


@given(selection=selections, event=events, after=st.integers(0, 3), seq=st.integers(1, 4))
def test_the_store_leaves_out_nothing_that_is_wanted(selection, event, after, seq):
    numbered = replace(event, seq=seq)
    found = passes(selection.stored(after), numbered)
    wanted = selection.matches(numbered) and seq > after
    if wanted:
        assert found
    if selection.is_exact:
        assert found == wanted


@given(event=events, seq=st.integers(1, 10**15))
def test_an_event_reads_the_same_stored_or_live_and_as_the_contract_writes_it(event, seq):
    numbered = replace(event, seq=seq)
    was, happens = stored_line(numbered), line_of(from_stored(numbered))
    assert was.content == happens.content.replace(b'"text":"', b'"text": "')
    reader = MessageReader()
    messages = [m for line in happens.content.split(b"\n") if (m := reader.feed(line))]
    assert [message.id for message in messages] == [str(seq)]
    (message,) = messages
    assert Message(message.event, message.data, message.id).encode() == happens.content


names = st.text(min_size=1, max_size=30)


@given(
    route=st.sampled_from(list(Route)),
    first=names,
    second=names,
)
def test_what_a_client_asks_for_is_what_the_daemon_finds(route, first, second):
    """Source: `Route.path` is how clients write a path."""
    wanted = [part.strip("{}") for part in route.template.split("/") if part.startswith("{")]
    given_names = dict(zip(wanted, (first, second), strict=False))
    found = find_route(route.method, route.path(**given_names))
    assert (found.route, found.names) == (route, given_names)


@given(keys=st.sets(st.from_regex(r"[a-z0-9./:-]{1,8}", fullmatch=True)), limit=st.integers(1, 5))
def test_pages_hold_every_item_once_in_order(keys, limit):
    items = sorted(keys)
    found, cursor = [], None
    while True:
        page, cursor = Page(limit, cursor).cut(items, str)
        found += page
        if cursor is None:
            break
        assert len(page) == limit
    assert found == items


@given(text=st.text(max_size=40))
def test_no_parameter_breaks_a_reader(text):
    query = Query([("a", text)])
    for read in (
        lambda: query.whole("a", 0, 10**17),
        lambda: query.seconds("a", 60),
        lambda: query.flag("a", True),
        lambda: query.choice("a", Until.NEVER),
        lambda: Page(5, text).before(),
        lambda: Page(5, text).cut([], str),
    ):
        with suppress(InvalidInput):
            read()
