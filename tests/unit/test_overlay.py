"""What hive.yaml lays over an agent folder."""

from __future__ import annotations

from typing import Any

import pytest

from hive_daemon.config.agent_model import EntryPointConfig
from hive_daemon.daemon.overlay import merged
from hive_daemon.runtime.entry_point import EntryPointSpec

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


def test_what_is_not_written_stays_as_declared():
    assert merged(FOLDER, EntryPointConfig()) == FOLDER
