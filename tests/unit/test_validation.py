"""What is wrong with a graph: each check by itself, all of them at once, and what is not wrong."""

import pytest

from hive_daemon.graph.edge import AsyncEntryPointSpec, ParallelExecutionConfig
from hive_daemon.graph.node import NodeSpec
from hive_daemon.graph.validation import Severity, errors_of, problems_of, warnings_of
from tests.fakes.graphs import edge, graph_of


def entry(id="tick", **fields):
    return AsyncEntryPointSpec(id=id, **{"entry_node": "a", **fields})


def graph_by(*edges, **fields):
    """Return a graph whose function nodes have a function, unless they say otherwise."""
    graph = graph_of(*edges, **fields)
    for node in graph.nodes:
        if node.node_type == "function" and "function" not in node.model_fields_set:
            node.function = "work:run"
    return graph


def chain(*more, **fields):
    """Return a -> b, with more edges and with what more is said."""
    return graph_by(edge("a", "b"), *more, **fields)


def fan(**fields):
    """Return a -> b and a -> c, both writing the key x."""
    writes = {"b": {"output_keys": ["x", "y"]}, "c": {"output_keys": ["x"]}}
    return graph_by(edge("a", "b"), edge("a", "c"), **{"nodes": writes, **fields})


NAME_RULE = "use letters, digits, '.', '_' and '-', at most 64, beginning with a letter or digit"
NODE = "is not a node of the graph"

ERRORS = {
    "graph name": (
        chain(id="../up"),
        [f"graph '../up': '../up' is not a valid name; {NAME_RULE}"],
    ),
    "node name": (
        chain(nodes={"a b": {}}, entry_points={"other": "a b"}),
        [f"nodes[2] 'a b': 'a b' is not a valid name; {NAME_RULE}"],
    ),
    "entry point name": (
        chain(async_entry_points=[entry("x/y")]),
        [f"async_entry_points[0] 'x/y': 'x/y' is not a valid name; {NAME_RULE}"],
    ),
    "two edges of one id": (
        chain(edge("b", "a", id="a-b")),
        [
            "edges[1] 'a-b': the edge id 'a-b' is taken by edges[0]; give each edge its own",
        ],
    ),
    "two entry points of one id": (
        chain(async_entry_points=[entry(), entry()]),
        [
            "async_entry_points[1] 'tick': the entry point id 'tick' is taken by async_entry_points[0]; "
            "give each entry point its own",
        ],
    ),
    "entry node": (
        chain(entry_node="B"),
        [f"entry_node: entry node 'B' {NODE}; add the node, or name another"],
    ),
    "terminal node": (
        chain(terminal_nodes=["b", "bb"]),
        [f"terminal_nodes[1]: terminal node 'bb' {NODE}; did you mean 'b'?"],
    ),
    "pause node": (
        chain(pause_nodes=["zzz"]),
        [f"pause_nodes[0]: pause node 'zzz' {NODE}; add the node, or name another"],
    ),
    "resume node": (
        chain(pause_nodes=["a"], entry_points={"a_resume": "c"}),
        [f"entry_points['a_resume']: node 'c' {NODE}; add the node, or name another"],
    ),
    "node of an entry point": (
        chain(async_entry_points=[entry(entry_node="c")]),
        [
            f"async_entry_points[0] 'tick': entry node 'c' {NODE}; add the node, or name another",
        ],
    ),
    "former node type": (
        chain(nodes={"b": {"node_type": "llm_generate"}}),
        [
            "nodes[1] 'b': node type 'llm_generate' is unknown; write node_type event_loop: a model loop does this",
        ],
    ),
    "node type": (
        chain(nodes={"b": {"node_type": "magic"}}),
        [
            "nodes[1] 'b': node type 'magic' is unknown; use one of event_loop, function, router, human_input, "
            "or register a node of your own for this id",
        ],
    ),
    "router without routes": (
        chain(nodes={"b": {"node_type": "router", "route_on": "x"}}),
        [
            "nodes[1] 'b': a router needs routes: write routes: {value: node id, default: node id}",
        ],
    ),
    "router without a key": (
        chain(nodes={"b": {"node_type": "router", "routes": {"default": "a"}}}),
        [
            "nodes[1] 'b': a router needs a key to go by: write route_on, or give it an input key",
        ],
    ),
    "route to nowhere": (
        chain(nodes={"b": {"node_type": "router", "route_on": "x", "routes": {"1": "zzz"}}}),
        [
            f"nodes[1] 'b': the target of route '1', 'zzz' {NODE}; add the node, or name another",
        ],
    ),
    "function node without a function": (
        chain(nodes={"b": {"function": None}}),
        ["nodes[1] 'b': a function node needs a function: write function: module:attr"],
    ),
    "conditional edge without a condition": (
        chain(edge("b", "a", "conditional"), edge("b", "b", expr="  ")),
        [
            "edges[1] 'b-a': a conditional edge needs a condition_expr, such as output.score > 0.8",
            "edges[2] 'b-b': a conditional edge needs a condition_expr, such as output.score > 0.8",
        ],
    ),
    "parallel targets that write one key": (
        fan(),
        [
            "node 'a': its parallel targets 'b' and 'c' both write x; give them different output keys, or set "
            "parallel_config.memory_conflict_strategy",
        ],
    ),
    "parallel targets that face a person": (
        fan(nodes={"b": {"client_facing": True}, "c": {"client_facing": True}}),
        ["node 'a': several of its parallel targets face a person (b, c); at most one may"],
    ),
    "trigger type": (
        chain(async_entry_points=[entry(trigger_type="cron")]),
        [
            "async_entry_points[0] 'tick': trigger_type 'cron' is unknown; use one of webhook, api, timer, event, "
            "manual",
        ],
    ),
    "isolation level": (
        chain(async_entry_points=[entry(isolation_level="own")]),
        [
            "async_entry_points[0] 'tick': isolation_level 'own' is unknown; use one of isolated, shared, "
            "synchronized",
        ],
    ),
    "value in loop_config": (
        chain(loop_config={"max_iterations": 0}),
        [
            "graph 'g': loop_config.max_iterations: 0 does not fit, write a whole number above 0",
        ],
    ),
}


@pytest.mark.parametrize(("graph", "said"), ERRORS.values(), ids=ERRORS)
def test_an_error_names_the_place_and_the_remedy(graph, said):
    assert errors_of(graph) == said


def test_two_nodes_of_one_id_are_refused():
    graph = chain()
    graph.nodes.append(NodeSpec(id="a", node_type="human_input"))
    said = "nodes[2] 'a': the node id 'a' is taken by nodes[0]; give each node its own"
    assert errors_of(graph) == [said]


def test_an_edge_names_each_end_that_does_not_exist():
    graph = chain()
    graph.edges.append(edge("x1", "y1"))
    assert errors_of(graph) == [
        f"edges[1] 'x1-y1': source 'x1' {NODE}; add the node, or name another",
        f"edges[1] 'x1-y1': target 'y1' {NODE}; add the node, or name another",
    ]


@pytest.mark.parametrize(
    "expr", ["output.x >", "lambda: 1", "__import__('os')", "x.__class__", "[a for a in x]"]
)
def test_an_expression_that_cannot_be_read_is_refused_with_the_edges_id(expr):
    (said,) = errors_of(chain(edge("b", "a", expr=expr)))
    assert said.startswith("edges[1] 'b-a': condition_expr cannot be read: ")


WARNINGS = {
    "edge out of a terminal node": (
        chain(edge("b", "a"), terminal_nodes=["b"]),
        ["edges[1] 'b-a': 'b' is a terminal node: this edge is never followed"],
    ),
    "always out of a terminal node": (
        chain(edge("b", "a", "always"), terminal_nodes=["b"]),
        ["edges[1] 'b-a': 'b' is a terminal node: this edge is followed only if it fails"],
    ),
    "input that nobody produces": (
        chain(
            nodes={"a": {"output_keys": ["x"]}, "b": {"input_keys": ["z"], "output_keys": ["y"]}}
        ),
        [
            "nodes[1] 'b': nobody produces its input 'z': add it to the output_keys of a node before, or to the "
            "input_keys of the entry node",
        ],
    ),
    "unreachable node": (
        chain(nodes={"c": {}}),
        [
            "nodes[2] 'c': no way leads here: add an edge or an entry point, or remove the node",
        ],
    ),
    "node behind a terminal node": (
        chain(edge("b", "c"), terminal_nodes=["b"]),
        [
            "edges[1] 'b-c': 'b' is a terminal node: this edge is never followed",
            "nodes[2] 'c': no way leads here: add an edge or an entry point, or remove the node",
        ],
    ),
    "name that nothing declares": (
        chain(edge("b", "a", expr="scor > 1 and zebra"), nodes={"b": {"output_keys": ["score"]}}),
        [
            "edges[1] 'b-a': condition_expr names 'scor', which nothing declares; did you mean 'score'?",
            "edges[1] 'b-a': condition_expr names 'zebra', which nothing declares; declare it in output_keys or "
            "memory_keys",
        ],
    ),
    "key in loop_config": (
        chain(loop_config={"max_iteration": 3}),
        [
            "graph 'g': loop_config.max_iteration is unknown and has no effect; did you mean max_iterations?",
        ],
    ),
    "conversation_mode": (
        chain(conversation_mode="continous"),
        [
            "graph 'g': conversation_mode: 'continous' is unknown and counts as isolated; "
            "write continuous or isolated",
        ],
    ),
}


@pytest.mark.parametrize(("graph", "said"), WARNINGS.values(), ids=WARNINGS)
def test_a_warning_names_the_place_and_refuses_nothing(graph, said):
    assert warnings_of(graph) == said
    assert errors_of(graph) == []


SOUND = {
    "a loop": chain(edge("b", "a", expr="output.again and memory.n < 3 or result is None")),
    "an entry point without a node": chain(async_entry_points=[entry(entry_node="")]),
    "a failure edge out of a terminal node": chain(
        edge("b", "a", "on_failure"), terminal_nodes=["b"]
    ),
    "a node after a pause": chain(
        pause_nodes=["b"], entry_points={"b_resume": "c"}, nodes={"c": {}}
    ),
    "a node of an entry point": chain(nodes={"c": {}}, async_entry_points=[entry(entry_node="c")]),
    "a node that another may call": chain(nodes={"b": {"sub_agents": ["c"]}, "c": {}}),
    "a fan-out with a strategy": fan(
        parallel_config=ParallelExecutionConfig(memory_conflict_strategy="last_wins")
    ),
    "no fan-out at all": fan(parallel_config=ParallelExecutionConfig(is_enabled=False)),
    "targets of which one is chosen": graph_by(
        edge("a", "b", expr="x == 1"),
        edge("a", "c", expr="x != 1"),
        nodes={"b": {"output_keys": ["x"]}, "c": {"output_keys": ["x"]}},
    ),
    "an input from an edge": graph_by(
        edge("a", "b", input_mapping={"z": "x"}),
        nodes={"a": {"output_keys": ["x"]}, "b": {"input_keys": ["z"], "output_keys": ["y"]}},
    ),
    "an input of the execution": chain(
        nodes={
            "a": {"input_keys": ["z"], "output_keys": ["x"]},
            "b": {"input_keys": ["z", "event"], "output_keys": ["y"]},
        }
    ),
    "an input that a free node may write": chain(nodes={"b": {"input_keys": ["z"]}}),
    "an alias in loop_config": chain(loop_config={"max_context_tokens": 5_000}),
}


@pytest.mark.parametrize("graph", SOUND.values(), ids=SOUND)
def test_a_sound_graph_has_no_problem(graph):
    assert problems_of(graph) == []


def test_a_registered_node_needs_no_type_function_or_routes():
    graph = chain(
        nodes={
            "a": {"node_type": "magic"},
            "b": {"node_type": "router"},
            "c": {"function": None},
        },
        entry_points={"other": "c"},
    )
    assert problems_of(graph, ["a", "b", "c"]) == []


def test_everything_is_reported_at_once_and_errors_come_first():
    graph = chain(
        edge("b", "zzz", expr="1 +"),
        entry_node="nowhere",
        nodes={"b": {"node_type": "magic"}, "c": {}},
        loop_config={"max_iterations": -1, "speed": 1},
        async_entry_points=[entry(trigger_type="cron")],
    )
    graph.nodes = [node for node in graph.nodes if node.id != "zzz"]
    problems = problems_of(graph)
    assert [(p.severity, p.where) for p in problems] == [
        (Severity.ERROR, "entry_node"),
        (Severity.ERROR, "edges[1] 'b-zzz'"),
        (Severity.ERROR, "nodes[1] 'b'"),
        (Severity.ERROR, "edges[1] 'b-zzz'"),
        (Severity.ERROR, "async_entry_points[0] 'tick'"),
        (Severity.ERROR, "graph 'g'"),
        (Severity.WARNING, "nodes[2] 'c'"),
        (Severity.WARNING, "graph 'g'"),
    ]


def test_a_graph_says_its_errors_itself():
    graph = chain(entry_node="zzz", loop_config={"x": 1})
    assert graph.validate() == [
        f"entry_node: entry node 'zzz' {NODE}; add the node, or name another"
    ]
