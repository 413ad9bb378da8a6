"""What docs/tools.md shows is what is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from hive_daemon.tools.data_tools import BUILT_IN
from hive_daemon.tools.mcp_config import read_mcp_config
from hive_daemon.tools.policy import Action, ToolPolicy
from hive_daemon.tools.registry import ToolRegistry

TEXT = (Path(__file__).parents[2] / "docs" / "tools.md").read_text(encoding="utf-8")


def sample(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_servers_shown_can_be_read(tmp_path):
    path = tmp_path / "mcp_servers.json"
    path.write_text(sample("json"))
    files, search = read_mcp_config(path)
    assert files.offers("read_file")
    assert not files.offers("write_file")
    assert search.call_seconds == 20
    assert json.loads(sample("json")).keys() == {"files", "search"}


def test_the_policy_shown_does_what_is_said_of_it():
    policy = ToolPolicy.parse(yaml.safe_load(sample("yaml"))["tools"])
    assert policy.settle("send_mail", {"amount": 101}, "timer").action is Action.ASK
    assert policy.settle("send_mail", {"amount": 1}, "timer").action is Action.ALLOW
    assert policy.settle("delete_all", {}, "api").action is Action.DENY


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_built_in_tool_is_shown_with_its_arguments(name):
    row = next(line for line in TEXT.splitlines() if line.startswith(f"| `{name}`"))
    (tool,) = ToolRegistry().equip([name])
    shown = re.findall(r"(\w+)(?:=[^,`]+)?", row.split("|")[2])
    assert list(tool.parameters["properties"]) == [
        word for word in shown if not word.isdigit() and word not in ("false", "true")
    ]
