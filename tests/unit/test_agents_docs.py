"""docs/agents.md says what the code does."""

import re
from pathlib import Path

from hive_daemon.runner import agent_module
from hive_daemon.runner.agent_loader import load_agent
from hive_daemon.runner.entry_points import DeclaredEntryPoint

DOCS = (Path(__file__).parent.parent.parent / "docs" / "agents.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", DOCS, re.DOTALL)


def test_the_table_of_names_has_every_name_that_is_read():
    table = DOCS.split("| name | meaning")[1].split("\n\n")[0]
    documented = {
        name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])
    }
    source = Path(agent_module.__file__).read_text()
    read = {*agent_module.GRAPH_KEYS, *re.findall(r'names\.get\(\s*"(\w+)"', source)}
    assert documented == read


def test_the_keys_of_an_entry_point_are_those_that_are_read():
    said = DOCS.split("takes the place of ours. Keys: ")[1].split("; others")[0]
    assert set(re.findall(r"`(\w+)`", said)) == set(DeclaredEntryPoint.model_fields)


def test_the_module_example_loads(tmp_path):
    folder = tmp_path / "my_agent"
    folder.mkdir()
    (folder / "agent.py").write_text(blocks("python")[0])
    (folder / "tools.py").write_text(blocks("python")[1] + "\ndef look(): return 'Ada'\n")
    (folder / "triggers.json").write_text(blocks("json")[1])
    agent = load_agent(folder)
    assert set(agent.tools.get_registered_names()) == {"count_lines", "fetch"}
    assert [spec.id for spec in agent.entry_points] == ["default", "nightly"]
    agent.close()


def test_the_json_example_loads(tmp_path):
    folder = tmp_path / "greet"
    folder.mkdir()
    (folder / "agent.json").write_text(blocks("json")[0])
    load_agent(folder).close()
