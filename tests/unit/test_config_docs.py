"""The keys of the model, of docs/config.md and of configs/hive.yaml are the same."""

import re
from pathlib import Path

import pytest
from pydantic_core import PydanticUndefined

from hive_daemon.config.agent_model import (
    AgentConfig,
    EntryPointConfig,
    EntryPointRecoveryConfig,
    FallbackConfig,
    WebhookRouteConfig,
)
from hive_daemon.config.alert_keys import AlertConfig, AlertWebhookConfig
from hive_daemon.config.budget_keys import BudgetConfig
from hive_daemon.config.document import parse, parse_value
from hive_daemon.config.environment import NO_KEYS, SHORT_NAMES, variable_of
from hive_daemon.config.load import ConfigSources, load_config
from hive_daemon.config.loaded import effective_tree
from hive_daemon.config.model import HiveConfig
from hive_daemon.config.schema import patterns
from hive_daemon.config.tree import leaves

ROOT = Path(__file__).parents[2]
ROW = re.compile(
    r"^\| `(?P<key>[^`]+)` \| (?P<type>.+?) \| (?P<default>.+?) \| (?P<variable>\S+) \| (?P<meaning>.+) \|$"
)
NESTED = {
    "agents[].entry_points.ID.budgets[]": BudgetConfig,
    "agents[].budgets[]": BudgetConfig,
    "budgets[]": BudgetConfig,
    "agents[].entry_points.ID.recovery": EntryPointRecoveryConfig,
    "agents[].entry_points.ID": EntryPointConfig,
    "agents[].webhook_routes[]": WebhookRouteConfig,
    "agents[].fallbacks[]": FallbackConfig,
    "llm.fallbacks[]": FallbackConfig,
    "agents[]": AgentConfig,
    "alerts[].webhook": AlertWebhookConfig,
    "alerts[]": AlertConfig,
}
DEPEND_ON_THE_PROCESS = ("state_dir", "socket")


def sources(home: Path, config_file: Path | None = None, **environ: str) -> ConfigSources:
    return ConfigSources(
        config_file=config_file, environ=environ, cwd=home, home=home, system_file=home / "none"
    )


def documented() -> dict[str, re.Match[str]]:
    lines = (ROOT / "docs" / "config.md").read_text().splitlines()
    return {
        row["key"]: row
        for line in lines
        if (row := ROW.match(line)) and row["variable"] in ("–", f"`{variable_of(row['key'])}`")
    }


def pattern_of(path: tuple[str | int, ...]) -> str:
    text = "".join("[]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")
    return re.sub(
        r"entry_points\.[a-z]+",
        "entry_points.ID",
        re.sub(
            r"(trigger_config|concurrency|flow|tools|methods|allow_[ug]ids|allow_ips|headers|secrets|filters|input|coalesce|hmac|command|heal)\b.*",
            r"\1",
            text,
        ),
    ).replace("ID.fallbacks[]", "ID.fallbacks")


def uncommented(text: str) -> str:
    """Turn `#key: value` into YAML; prose is `# ` and a word."""
    return re.sub(r"^#(?! \S)", "", text, flags=re.MULTILINE)


def default_of(key: str) -> object:
    for prefix, model in NESTED.items():
        if key.startswith(f"{prefix}."):
            default = model.model_fields[key.removeprefix(f"{prefix}.")].get_default(
                call_default_factory=True
            )
            return list(default) if isinstance(default, tuple) else default
    config = HiveConfig(state_dir=Path("/s"), socket=Path("/s/s"))
    value = effective_tree(config)
    for part in key.split("."):
        value = value[part]
    return value


def test_the_documentation_has_exactly_the_keys_of_the_model_in_its_order_of_groups():
    assert set(documented()) == set(patterns())


@pytest.mark.parametrize("key", patterns())
def test_the_documentation_names_the_default(key):
    if key in DEPEND_ON_THE_PROCESS:
        return
    written = documented()[key]["default"]
    expected = default_of(key)
    if expected is PydanticUndefined:
        assert written == "required"
    elif expected is None:
        assert written == "none"
    else:
        assert parse_value(written.strip("`")) == expected


@pytest.mark.parametrize("key", patterns())
def test_the_documentation_names_the_variable(key):
    variable = variable_of(key)
    assert documented()[key]["variable"] == (f"`{variable}`" if variable else "–")


def test_the_documentation_names_every_variable_of_its_own():
    text = (ROOT / "docs" / "config.md").read_text()
    assert [name for name in (*NO_KEYS, *SHORT_NAMES) if f"| `{name}` |" not in text] == []


def test_the_sample_file_says_only_defaults(tmp_path):
    loaded = load_config(sources(tmp_path, ROOT / "configs" / "hive.yaml"))
    assert loaded.config == load_config(sources(tmp_path)).config
    assert loaded.warnings == ()


def test_the_sample_file_has_every_key_of_the_model_and_no_other():
    tree = parse(uncommented((ROOT / "configs" / "hive.yaml").read_text())).tree
    written = {pattern_of(path) for path, _ in leaves(tree)}
    containers = {
        "agents",
        "agents[].entry_points",
        "agents[].fallbacks",
        "agents[].webhook_routes",
        "llm.fallbacks",
        "budgets",
        "agents[].budgets",
        "agents[].entry_points.ID.budgets",
        "alerts",
    }
    # A bare path is an item of its own, and so is a bare name.
    bare = {"agents[]", "agents[].fallbacks[]", "llm.fallbacks[]"}
    assert written - bare | containers == set(patterns())


def test_the_sample_file_is_valid_with_everything_uncommented(tmp_path):
    path = tmp_path / "hive.yaml"
    path.write_text(uncommented((ROOT / "configs" / "hive.yaml").read_text()))
    environ = {"OPENAI_API_KEY": "x", "GITHUB_WEBHOOK_SECRET": "y", "ALERT_SECRET": "whsec_eA=="}
    loaded = load_config(sources(tmp_path, path, **environ))
    assert [agent.agent_name for agent in loaded.config.agents] == ["triage", "reports"]
    [missing] = loaded.warnings  # The sample's pager is on no machine of ours.
    assert missing.startswith('alerts[1].command: "/usr/local/bin/page"')


def test_the_smallest_file_of_the_documentation_is_valid(tmp_path):
    (sample,) = re.findall(
        r"```yaml\n(.*?)```", (ROOT / "docs" / "config.md").read_text(), re.DOTALL
    )
    path = tmp_path / "hive.yaml"
    path.write_text(sample)
    loaded = load_config(sources(tmp_path, path, OPENAI_API_KEY="x"))
    assert loaded.config.agents[0].path == tmp_path / "agents" / "triage"
