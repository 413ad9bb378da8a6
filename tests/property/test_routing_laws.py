"""Whatever listens to whatever: events set each entry point off at most once in a chain, and every chain ends."""

from hypothesis import given, settings
from hypothesis import strategies as st

from hive_daemon.runtime.events import AgentEvent, EventFilter, EventType
from hive_daemon.runtime.routing import MAX_CHAIN, EventRoute, EventRouter

KINDS = [EventType.EXECUTION_COMPLETED, EventType.EXECUTION_FAILED, EventType.CUSTOM]
GRAPHS = ["primary", "judge"]
NAMES = [f"e{n}" for n in range(12)]


@st.composite
def routes(draw):
    name = draw(st.sampled_from(NAMES))
    return EventRoute(
        entry_point=name,
        lane=f"a/{name}",
        graph=GRAPHS[int(name[1:]) % 2],
        wanted=EventFilter(
            types=frozenset(draw(st.sets(st.sampled_from(KINDS), min_size=1))),
            stream=draw(st.sampled_from(["", "", *NAMES, *GRAPHS])),
            graph=draw(st.sampled_from(["", "", *GRAPHS])),
        ),
        exclude_own_graph=draw(st.booleans()),
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
