"""From a model's name, as configuration writes it, to its provider.

""  or None            no model: each call is refused with the remedy
scripted               the scripted model, making up its answers
scripted:PATH          the scripted model, following a script; PATH is relative to `base_dir`
anything else          litellm's name of a model
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hive_daemon.llm.litellm_provider import LiteLLMProvider
from hive_daemon.llm.provider import LLMProvider
from hive_daemon.llm.scripted import ScriptedProvider
from hive_daemon.llm.unconfigured import UnconfiguredProvider

SCRIPTED = "scripted"


def make_provider(
    model: str | None,
    *,
    api_key: str | None = None,
    api_base: str | None = None,
    base_dir: Path | None = None,
    **options: Any,
) -> LLMProvider:
    """Make the provider of a model; neither the network nor litellm is touched.

    `options` are those of `LiteLLMProvider`. Raises ConfigError for a faulty script or option.
    """
    name = (model or "").strip()
    if not name:
        return UnconfiguredProvider()
    if name == SCRIPTED:
        return ScriptedProvider()
    kind, _, path = name.partition(":")
    if kind == SCRIPTED:
        return ScriptedProvider((base_dir or Path()) / Path(path).expanduser(), model=name)
    return LiteLLMProvider(name, api_key, api_base, **options)
