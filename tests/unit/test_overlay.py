"""What hive.yaml lays over an agent folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hive_daemon.config.agent_model import AgentConfig, EntryPointConfig
from hive_daemon.daemon.overlay import merged, remarks
from hive_daemon.graph.healing import Ladder, Rung
from hive_daemon.runner.agent_loader import load_agent
from hive_daemon.runtime.entry_point import EntryPointSpec
from tests.agents.broken import GOOD, STEPS, timer, write

FOLDER = EntryPointSpec(
    id="daily",
    trigger_type="timer",
    trigger_config={"cron": "0 9 * * *", "overlap": "skip"},
    entry_node="collect",
    concurrency={"max": 3, "strategy": "queue"},
    flow={"rate_limit": {"limit": 5, "per": "1h"}},
)

WRITTEN: dict[str, Any] = {
    "trigger_type": "api",
    "entry_node": "report",
    "isolation_level": "isolated",
    "max_concurrent": 4,
    "priority": -7,
    "session": "reuse",
    "timeout": 90.0,
    "on_input": "default",
    "input_default": "yes",
    "tools": {"policy": [{"tool": "*", "action": "deny"}]},
    "model": "openai/other",
    "fallbacks": ("openai/third",),
    "max_tokens": 80,
    "heal": ("retry_node", "escalate"),
    "max_resurrections": 5,
}


@pytest.mark.parametrize("key", WRITTEN)
def test_what_hive_yaml_writes_wins_over_the_folder(key: str):
    found = merged(FOLDER, EntryPointConfig.model_validate({key: WRITTEN[key]}))
    assert getattr(found, key) == WRITTEN[key]
    assert found == FOLDER.merged({key: WRITTEN[key]})


@pytest.mark.parametrize(
    ("key", "written", "kept"),
    [
        ("trigger_config", {"overlap": None}, {"cron": "0 9 * * *"}),
        ("concurrency", {"strategy": "reject"}, {"max": 3, "strategy": "reject"}),
        ("flow", {"rate_limit": None}, {}),
    ],
)
def test_a_mapping_is_merged_key_by_key_and_a_null_takes_one_away(
    key: str, written: dict[str, Any], kept: dict[str, Any]
):
    found = merged(FOLDER, EntryPointConfig.model_validate({key: written}))
    assert getattr(found, key) == kept


def test_the_attempts_of_an_entry_point_go_over_those_of_the_daemon():
    written = EntryPointConfig.model_validate({"recovery": {"max_attempts": 7}})
    assert merged(FOLDER, written).recovery_attempts == 7


def test_the_ladder_that_hive_yaml_writes_wins_over_the_folder():
    folder = FOLDER.merged({"heal": ["restart_from_checkpoint"], "max_resurrections": 1})
    found = merged(folder, EntryPointConfig(heal=("retry_node", "escalate"), max_resurrections=5))
    assert found.ladder == Ladder((Rung.RETRY_NODE, Rung.ESCALATE), 5)


def test_what_is_not_written_stays_as_declared():
    assert merged(FOLDER, EntryPointConfig()) == FOLDER


# --- what sets nothing off ----------------------------------------------------------------------

ROUTES = [{"source_id": "github", "path": "/github", "secret": "s3cret"}]
IDLE = (
    "trigger_config has no effect, it is manual: say trigger_type as well: timer, event or webhook"
)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({"trigger_config": {"cron": "0 9 * * *"}}, [IDLE]),
        ({"trigger_type": "manual", "trigger_config": {"every": "5m"}}, [IDLE]),
        (
            {"trigger_type": "webhook", "trigger_config": {"source_id": "githbu"}},
            ["trigger_config.source_id: no webhook route has 'githbu', did you mean github?"],
        ),
        (
            {"trigger_type": "webhook", "trigger_config": {"source_id": "crm"}},
            ["trigger_config.source_id: no webhook route has 'crm', only a program can set it off"],
        ),
        ({"trigger_type": "webhook", "trigger_config": {"source_id": "github"}}, []),
        ({"trigger_type": "webhook"}, []),
        ({"trigger_type": "timer", "trigger_config": {"every": "5m"}}, []),
    ],
)
def test_what_is_written_of_an_entry_point_and_sets_nothing_off_is_told(
    tmp_path: Path, written: dict[str, Any], told: list[str]
):
    found = [text for text in remarked(tmp_path, "new", written) if "webhook route '" not in text]
    assert found == [f"entry point 'new': {text}" for text in told]


@pytest.mark.parametrize(
    ("written", "is_heard"),
    [
        ({"trigger_type": "webhook", "trigger_config": {"source_id": "github"}}, True),
        ({"trigger_type": "webhook", "trigger_config": {"source_id": "crm"}}, False),
        ({"trigger_type": "event", "trigger_config": {"event_types": ["webhook_received"]}}, True),
        ({"trigger_type": "event", "trigger_config": {"event_types": ["custom"]}}, False),
        ({"trigger_type": "api"}, False),
    ],
)
def test_a_route_that_nobody_listens_to_is_told(
    tmp_path: Path, written: dict[str, Any], is_heard: bool
):
    found = remarked(tmp_path, "new", written)
    lonely = "webhook route 'github': no entry point listens to it, what it takes sets nothing off"
    assert (lonely in found) is not is_heard


def test_a_timer_of_the_folder_that_is_laid_over_as_manual_is_meant_to_stop(tmp_path: Path):
    found = remarked(tmp_path, "t", {"trigger_type": "manual"})
    assert not any("trigger_config" in text for text in found)


def remarked(tmp_path: Path, name: str, written: dict[str, Any]) -> list[str]:
    """What is told of a folder with a timer `t`, over which this entry point is laid."""
    files = {"agent.py": GOOD, "steps.py": STEPS, "triggers.json": timer(cron="0 9 * * *")}
    agent = load_agent(write(tmp_path / "agent", files))
    laid = {"path": str(agent.path), "entry_points": {name: written}, "webhook_routes": ROUTES}
    try:
        return remarks(agent, AgentConfig.model_validate(laid))
    finally:
        agent.close()
