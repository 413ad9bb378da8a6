"""Tools of a real daemon: MCP servers that come and go with it, and the policies that hive.yaml writes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.fakes import mcp_tiny
from tests.fakes.daemon_process import Place
from tests.fakes.mcp_world import gone, marked, new_mark

TINY = Path(mcp_tiny.__file__)


@pytest.fixture
def mark(place: Place) -> str:
    """The mark of the servers of an agent of this place."""
    folder = place.agent("counter")
    mark = new_mark()
    server = {"command": sys.executable, "args": ["-I", "-S", str(TINY), "good", mark]}
    (folder / "mcp_servers.json").write_text(json.dumps({"tiny": server}))
    place.write(agents=[str(folder)], llm={"model": "scripted"})
    return mark


async def test_servers_of_an_agent_run_with_the_daemon_and_die_with_it(place: Place, mark: str):
    daemon = place.start().ready()
    (server,) = place.get("/v1/mcp")["items"]
    assert (server["agent"], server["name"], server["state"]) == ("counter", "tiny", "ready")
    listed = place.hive("mcp", "tools")
    assert listed.returncode == 0, listed.stderr
    assert "tiny" in listed.stdout
    assert marked(mark)
    daemon.kill()
    assert await gone(mark) == []


def test_what_is_logged_of_a_server_names_its_agent(place: Place):
    folder = place.agent("counter")
    away = {"away": {"command": "no-such-command-of-hive"}}
    (folder / "mcp_servers.json").write_text(json.dumps(away))
    place.write(agents=[str(folder)], llm={"model": "scripted"}, log={"format": "json"})
    place.start().ready()
    lines = [json.loads(line) for line in place.log.splitlines() if line.startswith("{")]
    (told,) = [line for line in lines if line["message"] == "tool server is degraded"]
    assert (told["agent"], told["server"]) == ("counter", "away")


async def test_an_orderly_stop_ends_the_servers_too(place: Place, mark: str):
    daemon = place.start().ready()
    assert marked(mark)
    assert daemon.terminate() == 0
    assert marked(mark) == []


def test_hive_yaml_writes_the_policy_of_an_entry_point(place: Place):
    folder = place.agent("counter")
    deny = {"policy": [{"tool": "*", "action": "deny", "message": "by order"}]}
    script = {"nodes": {"count": [{"tool_calls": [{"name": "once", "input": {}}]}]}}
    script["nodes"]["count"].append({"set_output": {"said": "{{ $last }}"}})
    (folder / "script.json").write_text(json.dumps(script))
    place.environ["USES"] = str(place.path / "uses")
    entry_points = {"careful": {"tools": deny}}
    place.write(
        agents=[
            {
                "path": str(folder),
                "model": f"scripted:{folder}/script.json",
                "entry_points": entry_points,
            }
        ]
    )
    place.start().ready()
    execution = place.settled(place.trigger("counter/careful"))
    assert execution["status"] == "completed", execution
    assert "once was not called: by order" in execution["output"]["said"]
    assert not (place.path / "uses").exists()


def test_a_mistake_in_a_policy_of_hive_yaml_stops_the_start_and_is_named(place: Place):
    folder = place.agent("counter")
    tools = {"policy": [{"tool": "once", "action": "perhaps"}]}
    place.write(agents=[{"path": str(folder), "entry_points": {"careful": {"tools": tools}}}])
    code, said = place.refused("--check")
    assert code == 78
    assert "agents[0].entry_points.careful.tools.policy[0].action" in said
    assert "use allow, deny or ask" in said
