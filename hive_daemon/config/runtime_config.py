"""`RuntimeConfig`: what the `config.py` of an agent folder says about its model.

Agent folders write `default_config = RuntimeConfig()` at import time. What they leave out comes from
`$HIVE_MODEL`, then from the `llm` block of `~/.hive/configuration.json` (the older system's file), then from the
constants here. Standard library only: importing an agent must stay cheap.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hive_daemon.errors import ConfigError

FALLBACK_MODEL = "anthropic/claude-sonnet-4-20250514"
"""The model of agents that name none on a machine that names none, as in the older system."""
FALLBACK_MAX_TOKENS = 8192
MAX_FILE_BYTES = 64 * 1024


def preferred_model() -> str:
    """Return the model that `RuntimeConfig()` takes: the machine's, else the older system's default.

    Raises ConfigError when `~/.hive/configuration.json` cannot be read.
    """
    if chosen := os.environ.get("HIVE_MODEL", ""):
        return chosen
    block = _llm_block()
    model, provider = _text(block, "model"), _text(block, "provider")
    if not model:
        return FALLBACK_MODEL
    return f"{provider}/{model}" if provider and not model.startswith(f"{provider}/") else model


def _preferred_max_tokens() -> int:
    chosen = _llm_block().get("max_tokens")
    return chosen if isinstance(chosen, int) and chosen > 0 else FALLBACK_MAX_TOKENS


def _preferred_api_key() -> str | None:
    variable = _text(_llm_block(), "api_key_env_var")
    return os.environ.get(variable) or None if variable else None


def _preferred_api_base() -> str | None:
    return _text(_llm_block(), "api_base") or None


def _llm_block() -> dict[str, object]:
    path = Path.home() / ".hive" / "configuration.json"
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(MAX_FILE_BYTES))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"cannot be read ({type(error).__name__})",
            hint="make it valid JSON, or remove it: hive.yaml and HIVE_MODEL take its place",
            source=str(path),
        ) from None
    block = document.get("llm") if isinstance(document, dict) else None
    return block if isinstance(block, dict) else {}


def _text(block: dict[str, object], key: str) -> str:
    value = block.get(key)
    return value if isinstance(value, str) else ""


@dataclass
class RuntimeConfig:
    """The model settings of one agent; `api_key` never shows in the repr."""

    model: str = field(default_factory=preferred_model)
    temperature: float = 0.7
    max_tokens: int = field(default_factory=_preferred_max_tokens)
    api_key: str | None = field(default_factory=_preferred_api_key, repr=False)
    api_base: str | None = field(default_factory=_preferred_api_base)
    extra_kwargs: dict[str, Any] = field(default_factory=dict)
