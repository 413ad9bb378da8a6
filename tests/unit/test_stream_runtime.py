"""The record of decisions of a stream, execution by execution."""

from hive_daemon.graph.executor import GraphExecutor
from hive_daemon.runtime.stream_runtime import (
    MAX_EXECUTIONS,
    StreamRuntime,
    StreamRuntimeAdapter,
)
from tests.fakes.graphs import GOAL, edge, graph_of


class Noting:
    """A stream's record of a program's own: it takes the execution id first."""

    def __init__(self):
        self.calls = []

    def decide(self, *args, **named):
        self.calls.append((args, named))
        return "dec_7"


def test_executions_do_not_see_each_others_runs():
    stream = StreamRuntime("webhook")
    one, other = (StreamRuntimeAdapter(stream, name) for name in ("one", "other"))
    one.start_run("g", "Goal")
    other.start_run("g", "Goal")
    one.quick_decision("go", "left", "it is shorter")
    one.end_run(True, "there")
    assert [len(run.decisions) for run in stream.runtime_of("one").ended_runs] == [1]
    assert stream.runtime_of("other").current_run.decisions == []


def test_a_programs_own_record_is_given_the_execution_id_first():
    noting = Noting()
    assert StreamRuntimeAdapter(noting, "one").decide("go", [], "left", reasoning="r") == "dec_7"
    assert noting.calls == [(("one", "go", [], "left"), {"reasoning": "r"})]


async def test_a_graph_that_runs_alone_takes_it_as_its_runtime():
    stream = StreamRuntime()
    graph = graph_of(edge("a", "b"))
    for node in graph.nodes:
        node.function = lambda: None
    runtime = StreamRuntimeAdapter(stream, "one")
    assert (await GraphExecutor(runtime).execute(graph, GOAL)).success
    assert [run.goal_id for run in stream.runtime_of("one").ended_runs] == [GOAL.id]


def test_the_oldest_execution_is_forgotten_first():
    stream = StreamRuntime()
    first = stream.runtime_of("0")
    for number in range(1, MAX_EXECUTIONS + 1):
        stream.runtime_of(str(number))
    assert stream.runtime_of(str(MAX_EXECUTIONS)) is stream.runtime_of(str(MAX_EXECUTIONS))
    assert stream.runtime_of("0") is not first
