"""Broken agent folders, one for each kind of fault: the files, and what must be said about them."""

from __future__ import annotations

import json
from pathlib import Path

GOOD = """
from framework.graph import EdgeCondition, EdgeSpec, Goal, NodeSpec
goal = Goal(id="g", name="G", description="A goal.")
nodes = [NodeSpec(id="a", name="A", description="", node_type="function", function="steps:run", output_keys=["x"])]
edges = []
"""
STEPS = "def run(): return 1\n"

EXPORT = {
    "agent": {"id": "x", "name": "X"},
    "graph": {"id": "x-graph", "nodes": [{"id": "a", "name": "A"}], "edges": []},
    "goal": {"id": "g", "name": "G", "description": "A goal."},
}


def export(**changes: object) -> str:
    """`agent.json`, with the graph changed."""
    return json.dumps({**EXPORT, "graph": {**EXPORT["graph"], **changes}})


def timer(**config: object) -> str:
    """`triggers.json` with one timer."""
    return json.dumps([{"id": "t", "trigger_type": "timer", "trigger_config": config}])


BROKEN: dict[str, tuple[dict[str, str], list[str]]] = {
    "neither_form": ({"readme.md": ""}, ["holds neither agent.py nor agent.json"]),
    "syntax_error": (
        {"agent.py": "goal = (\n"},
        ["agent.py: cannot be imported: agent.py line 1: SyntaxError: '(' was never closed"],
    ),
    "import_raises": (
        {"agent.py": "from .config import x\n", "config.py": "\nx = 1 / 0\n"},
        ["agent.py: cannot be imported: config.py line 2: ZeroDivisionError: division by zero"],
    ),
    "import_exits": (
        {"agent.py": "raise SystemExit(3)\n"},
        ["agent.py: cannot be imported: agent.py line 1: SystemExit: 3"],
    ),
    "missing_package": (
        {"agent.py": "import nowhere_to_be_found\n"},
        [
            "agent.py: cannot be imported: agent.py line 1: ModuleNotFoundError: No module named "
            "'nowhere_to_be_found'; install it where Hive is installed, or take the import out"
        ],
    ),
    "sibling_import": (
        {"agent.py": "from settings_of_mine import x\n", "settings_of_mine.py": "x = 1\n"},
        [
            "agent.py: cannot be imported: agent.py line 1: ModuleNotFoundError: No module named "
            "'settings_of_mine'; it is a file of this folder, write: from .settings_of_mine import …"
        ],
    ),
    "names_missing": (
        {"agent.py": "nodes = []\n"},
        [
            "agent.py: goal is missing, the module must define goal, nodes and edges",
            "agent.py: edges is missing, the module must define goal, nodes and edges",
        ],
    ),
    "bad_node": (
        {
            "agent.py": "from framework.graph import NodeSpec\n"
            "NodeSpec(id='a', name='A', description='', max_retries='many')\n"
        },
        [
            "agent.py: cannot be imported: agent.py line 2: NodeSpec.max_retries: input should be a valid integer, "
            "unable to parse string as an integer, not str"
        ],
    ),
    "wrong_kinds": (
        {"agent.py": "goal = 3\nnodes = [{'name': 'A'}]\nedges = 'none'\n"},
        [
            "agent.py: goal: must be a Goal, not int",
            "agent.py: entry_node: input should be a valid string, not NoneType",
            "agent.py: nodes[0].id: is missing",
            "agent.py: edges: input should be a valid list, not str",
        ],
    ),
    "graph_and_timer_and_tools": (
        {
            "agent.py": GOOD
            + "edges = [EdgeSpec(id='e', source='a', target='b', condition=EdgeCondition.CONDITIONAL)]\n"
            + "async_entry_points = [{'id': 'ep', 'entry_node': 'c'}]\n",
            "steps.py": STEPS,
            "triggers.json": timer(cron="0 9 * *", idle_timeout=3),
            "tools.py": "1 / 0\n",
            "mcp_servers.json": "{",
        },
        [
            "tools.py: cannot be imported: tools.py line 1: ZeroDivisionError: division by zero",
            "mcp_servers.json: is not valid JSON: Expecting property name enclosed in double quotes: line 1 column 2 "
            "(char 1)",
            "agent.py: edges[0] 'e': target 'b' is not a node of the graph; add the node, or name another",
            "agent.py: edges[0] 'e': a conditional edge needs a condition_expr, such as output.score > 0.8",
            "entry point 'ep': there is no node 'c' in the graph",
            "entry point 't': trigger_config.cron: \"0 9 * *\" has 4 fields, a cron expression needs 5",
            "entry point 't': trigger_config.idle_timeout: unknown key, did you mean idle_timeout_seconds?",
        ],
    ),
    "functions": (
        {
            "agent.py": GOOD
            + "nodes = [NodeSpec(id=str(n), name='', description='', node_type='function', function=f)\n"
            "    for n, f in enumerate(['steps', 'steps:nothing', 'steps:VALUE', 'gone:run', 'bad:run'])]\n"
            "edges = [EdgeSpec(id=str(n), source=str(n), target=str(n + 1)) for n in range(4)]\n",
            "steps.py": STEPS + "VALUE = 3\n",
            "bad.py": "raise ValueError('no')\n",
        },
        [
            "agent.py: node '0': function 'steps' is not of the form module:attr",
            "agent.py: node '1': function 'steps:nothing': steps has no nothing",
            "agent.py: node '2': function 'steps:VALUE' is a int, not a function",
            "agent.py: node '3': function 'gone:run': gone cannot be imported: ModuleNotFoundError: No module named "
            "'gone'",
            "agent.py: node '4': function 'bad:run': bad cannot be imported: bad.py line 1: ValueError: no",
        ],
    ),
    "entry_points": (
        {
            "agent.py": GOOD
            + "async_entry_points = [{'id': 'x'}, {'id': 'x'}, {'name': 'y'}, 7]\n",
            "steps.py": STEPS,
            "triggers.json": json.dumps(
                [{"id": "z", "trigger_type": "pigeon", "max_concurrent": 0}]
            ),
        },
        [
            "agent.py: async_entry_points[1].id: 'x' is declared twice",
            "agent.py: async_entry_points[2].id: is missing",
            "agent.py: async_entry_points[3]: must be an entry point, not int",
            "entry point 'z': trigger_type: 'pigeon' is unknown, use one of manual, api, timer, event, webhook",
            "entry point 'z': max_concurrent: 0 must be a whole number, at least 1",
        ],
    ),
    "tools_table": (
        {
            "agent.py": GOOD + "webhook_routes = [{'path': 'x', 'source_id': 's'}, {}]\n",
            "steps.py": STEPS,
            "tools.py": "TOOLS = 3\n",
        },
        [
            "tools.py: TOOLS is a int, it must be {name: Tool}",
            "agent.py: webhook_routes[0]: path must begin with '/'",
            "agent.py: webhook_routes[1]: source_id is missing",
        ],
    ),
    "json_syntax": (
        {"agent.json": '{\n"agent": }'},
        ["agent.json: line 2: is not valid JSON: expecting value"],
    ),
    "json_parts": (
        {"agent.json": '{"graph": [], "agent": {}}', "triggers.json": '"x"'},
        [
            "agent.json: graph: must be an object",
            "agent.json: goal: is missing",
            "triggers.json: must be a list of entry points, not str",
        ],
    ),
    "json_values": (
        {
            "agent.json": export(
                nodes=[{"id": "a", "max_retries": -1}],
                edges=[{"source": "a", "target": "a", "condition": "sometimes"}],
            )
        },
        [
            "agent.json: graph.nodes[0].max_retries: input should be greater than or equal to 0, not -1",
            "agent.json: graph.edges[0].condition: input should be 'always', 'on_success', 'on_failure', 'conditional' "
            "or 'llm_decide', not 'sometimes'",
        ],
    ),
    "no_goal": (
        {
            "agent.py": GOOD.replace("goal = Goal", "aim = Goal") + "terminal_nodes = ['z']\n",
            "steps.py": STEPS,
        },
        [
            "agent.py: goal is missing, the module must define goal, nodes and edges",
            "agent.py: terminal_nodes[0]: terminal node 'z' is not a node of the graph; add the node, or name another",
        ],
    ),
    "json_goal_and_graph": (
        {
            "agent.json": json.dumps(
                {
                    **EXPORT,
                    "goal": {"id": "g"},
                    "graph": {**EXPORT["graph"], "terminal_nodes": ["z"]},
                }
            )
        },
        [
            "agent.json: goal.name: is missing",
            "agent.json: terminal_nodes[0]: terminal node 'z' is not a node of the graph; add the node, or name "
            "another",
        ],
    ),
}

_CHAIN = [
    {
        "id": "a",
        "name": "A",
        "node_type": "function",
        "function": "steps:run",
        "output_keys": ["x"],
    },
    {"id": "b", "name": "B", "input_keys": ["x"], "output_keys": ["y"], "tools": ["search"]},
]

UNSOUND: dict[str, tuple[dict[str, str], list[str], list[str]]] = {
    "unknown_tools": (
        {
            "agent.json": export(
                nodes=[{"id": "a", "tools": ["search", "fetch"]}, {"id": "b", "tools": ["fetch"]}],
                edges=[{"source": "a", "target": "b"}],
                default_model="scripted",
            )
        },
        [
            "nobody offers the tool 'search' (nodes: a)",
            "nobody offers the tool 'fetch' (nodes: a, b)",
        ],
        [],
    ),
    "bad_expressions": (
        {
            "agent.json": export(
                nodes=_CHAIN,
                edges=[
                    {
                        "id": "1",
                        "source": "a",
                        "target": "b",
                        "condition": "conditional",
                        "condition_expr": "x >",
                    },
                    {
                        "id": "2",
                        "source": "a",
                        "target": "b",
                        "condition": "conditional",
                        "condition_expr": "__import__('os')",
                    },
                    {"id": "3", "source": "b", "target": "a", "condition": "conditional"},
                ],
                default_model="openai/x",
            ),
            "steps.py": STEPS,
        },
        [
            "agent.json: edges[0] '1': condition_expr cannot be read: expression 'x >' is not valid at column 1: "
            "invalid syntax",
            "agent.json: edges[1] '2': condition_expr cannot be read: expression \"__import__('os')\" is not valid at "
            "column 1: __import__() cannot be called, only len, int, float, str, bool, list, dict, tuple, set, min, "
            "max, sum, abs, round, all, any can",
            "agent.json: edges[2] '3': a conditional edge needs a condition_expr, such as output.score > 0.8",
            "nobody offers the tool 'search' (nodes: b)",
        ],
        ["the model 'openai/x' needs a key, set OPENAI_API_KEY"],
    ),
    "bad_timers": (
        {
            "agent.json": export(nodes=[{"id": "a"}], default_model="scripted"),
            "triggers.json": json.dumps(
                [
                    {"id": name, "trigger_type": "timer", "trigger_config": config}
                    for name, config in (
                        ("never", {}),
                        ("odd", {"cron": "61 * * * *"}),
                        ("backward", {"interval_minutes": -5}),
                        ("nowhere", {"cron": "0 9 * * *", "timezone": "Mars/Olympus"}),
                    )
                ]
            ),
        },
        [
            "entry point 'never': trigger_config: a timer needs one of cron, crons, interval_minutes, every and at",
            'entry point \'odd\': trigger_config.cron: "61 * * * *": minute "61" is out of range, it goes from 0 to 59',
            "entry point 'backward': trigger_config.interval_minutes: must be greater than 0, not -5",
            "entry point 'nowhere': trigger_config.timezone: \"Mars/Olympus\" is not a time zone, write a name such as "
            "Europe/Berlin",
        ],
        [],
    ),
    "everything_at_once": (
        {
            "agent.json": export(
                nodes=[
                    *_CHAIN,
                    {"id": "end", "name": "End", "input_keys": ["z"]},
                    {"id": "island", "name": "Island"},
                ],
                edges=[
                    {
                        "id": "1",
                        "source": "a",
                        "target": "b",
                        "condition": "conditional",
                        "condition_expr": "xx == 1",
                    },
                    {"id": "2", "source": "b", "target": "end"},
                    {"id": "3", "source": "end", "target": "a"},
                ],
                terminal_nodes=["end"],
                loop_config={"max_iteration": 3},
                default_model="anthropic/claude-x",
            ),
            "steps.py": STEPS,
        },
        ["nobody offers the tool 'search' (nodes: b)"],
        [
            "agent.json: edges[2] '3': 'end' is a terminal node: this edge is never followed",
            "agent.json: nodes[2] 'end': nobody produces its input 'z': add it to the output_keys of a node before, or "
            "to the input_keys of the entry node",
            "agent.json: nodes[3] 'island': no way leads here: add an edge or an entry point, or remove the node",
            "agent.json: edges[0] '1': condition_expr names 'xx', which nothing declares; did you mean 'x'?",
            "agent.json: graph 'x-graph': loop_config.max_iteration is unknown and has no effect; did you mean "
            "max_iterations?",
            "the model 'anthropic/claude-x' needs a key, set ANTHROPIC_API_KEY",
        ],
    ),
}
"""Folders that load as far as that goes, with the errors and the warnings that `hive agents validate` finds."""


def write(folder: Path, files: dict[str, str]) -> Path:
    """Make an agent folder of these files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    return folder
