"""Whatever listens to whatever: events set each entry point off at most once in a chain, and every chain ends."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from hive_daemon.graph.expression import Expression
from hive_daemon.runtime.events import AgentEvent, EventFilter, EventType
from hive_daemon.runtime.routing import (
    MAX_CHAIN,
    CancelRule,
    CancelScope,
    EventPattern,
    EventRoute,
    EventRouter,
)

KINDS = [EventType.EXECUTION_COMPLETED, EventType.EXECUTION_FAILED, EventType.CUSTOM]
GRAPHS = ["primary", "judge"]
NAMES = [f"e{n}" for n in range(12)]


@st.composite
def patterns(draw):
    wanted = EventFilter(
        types=frozenset(draw(st.sets(st.sampled_from(KINDS), min_size=1))),
        stream=draw(st.sampled_from(["", "", *NAMES, *GRAPHS])),
        graph=draw(st.sampled_from(["", "", *GRAPHS])),
    )
    return EventPattern(wanted, exclude_own_graph=draw(st.booleans()))


ONCE = st.just(1)


@st.composite
def routes(draw, depths=ONCE):
    name = draw(st.sampled_from(NAMES))
    return EventRoute(
        entry_point=name,
        lane=f"a/{name}",
        graph=GRAPHS[int(name[1:]) % 2],
        pattern=draw(patterns()),
        max_depth=draw(depths),
    )


def event(kind, stream, causation):
    graph = GRAPHS[int(stream[1:]) % 2]
    return AgentEvent(kind, stream, graph_id=graph, causation=causation)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(routes(), max_size=5, unique_by=lambda route: route.lane),
    st.sampled_from(KINDS),
    st.sampled_from(NAMES),
)
def test_every_chain_ends_and_holds_each_entry_point_once(listening, kind, stream):
    router = EventRouter(listening)
    open_ones = [event(kind, stream, (f"a/{stream}",))]
    started = 0
    while open_ones:
        told = open_ones.pop()
        chosen, kept_back = router.match(told)
        assert not {route.lane for route in chosen} & set(told.causation)
        assert all(
            suppressed.route.lane in told.causation or len(told.causation) >= MAX_CHAIN
            for suppressed in kept_back
        )
        for route in chosen:
            chain = (*told.causation, route.lane)
            assert len(chain) <= MAX_CHAIN + 1
            started += 1
            # The worst that an execution can do: tell of everything.
            open_ones += [event(kind, route.entry_point, chain) for kind in KINDS]
    # As many as there are ordered choices of five, each step told in three ways.
    assert started < 100_000


@settings(max_examples=100, deadline=None)
@given(st.lists(routes(), max_size=8, unique_by=lambda route: route.lane), st.sampled_from(KINDS))
def test_a_router_chooses_what_matches_and_nothing_else(listening, kind):
    told = event(kind, "e11", ())
    chosen, kept_back = EventRouter(listening).match(told)
    assert chosen == [route for route in listening if route.matches(told)]
    assert kept_back == []


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        routes(st.integers(1, MAX_CHAIN)),
        min_size=1,
        max_size=6,
        unique_by=lambda route: route.lane,
    ),
    st.sampled_from(NAMES),
    st.data(),
)
def test_a_chain_holds_an_entry_point_as_often_as_it_says_and_ends_after_eight(
    listening, stream, data
):
    router = EventRouter(listening)
    told = event(data.draw(st.sampled_from(KINDS)), stream, (f"a/{stream}",))
    while True:
        chosen, kept_back = router.match(told)
        chain = told.causation
        wanted = [route for route in listening if route.matches(told)]
        allowed = [
            r for r in wanted if len(chain) < MAX_CHAIN and chain.count(r.lane) < r.max_depth
        ]
        assert chosen == allowed
        assert [item.route for item in kept_back] == [r for r in wanted if r not in allowed]
        assert len(chain) <= MAX_CHAIN
        if not chosen:
            break
        route = data.draw(st.sampled_from(chosen))
        kind = data.draw(st.sampled_from(KINDS))
        told = event(kind, route.entry_point, (*chain, route.lane))


@settings(max_examples=100, deadline=None)
@given(
    routes(),
    patterns(),
    st.sampled_from(list(CancelScope)),
    st.sampled_from(KINDS),
    st.sampled_from(NAMES),
    st.sampled_from(["x1", "x2"]),
)
def test_an_event_calls_back_by_its_own_filter_and_never_what_it_comes_from(
    route, pattern, of, kind, stream, name
):
    route = replace(route, cancel_on=CancelRule(pattern, of))
    told = replace(event(kind, stream, ()), execution_id=name, correlation_id="c1", session_id="s1")
    orders, unclear = EventRouter([route]).cancels(told)
    assert (len(orders), unclear) == (pattern.passes(told, route.graph), [])
    for order in orders:
        assert order.lane == route.lane
        for other in ("x1", "x2", "x3"):
            is_related = of is CancelScope.ALL
            assert order.concerns(other, "s1", "c2") == (other != name)
            assert order.concerns(other, "s2", "c1") == (other != name)
            assert order.concerns(other, "s2", "c2") == (is_related and other != name)


def test_a_condition_that_cannot_be_evaluated_matches_nothing_and_is_told():
    pattern = EventPattern(
        EventFilter(types=frozenset({EventType.CUSTOM})), where=Expression.parse("event.data.n > 3")
    )
    route = EventRoute("e", "a/e", "primary", pattern, cancel_on=CancelRule(pattern))
    router = EventRouter([route])
    told = {n: event(EventType.CUSTOM, "e1", ()) for n in (2, 4, "many")}
    for n, item in told.items():
        item.data = {"n": n}
    assert router.match(told[2]) == ([], [])
    assert router.match(told[4]) == ([route], [])
    chosen, [kept_back] = router.match(told["many"])
    assert (chosen, kept_back.route) == ([], route)
    assert kept_back.reason.startswith("where: cannot evaluate")
    orders, [unclear] = router.cancels(told["many"])
    assert (orders, unclear.reason.startswith("cancel_on.where: ")) == ([], True)
