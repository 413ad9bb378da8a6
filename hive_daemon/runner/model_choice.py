"""Which model an agent that is run as a library works with, and whether the key for it is at hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hive_daemon.config.runtime_config import preferred_model
from hive_daemon.llm.factory import SCRIPTED, ModelChoice
from hive_daemon.llm.model_shelf import ModelShelf
from hive_daemon.runner.loaded_agent import ModelSettings

KEY_VARIABLES: Mapping[str, tuple[str, ...]] = {
    "anthropic": ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
    "claude": ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
    "azure": ("AZURE_API_KEY", "AZURE_AD_TOKEN"),
    "cerebras": ("CEREBRAS_API_KEY",),
    "cohere": ("COHERE_API_KEY", "CO_API_KEY"),
    "deepseek": ("DEEPSEEK_API_KEY",),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "google": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "gpt-": ("OPENAI_API_KEY",),
    "groq": ("GROQ_API_KEY",),
    "mistral": ("MISTRAL_API_KEY",),
    "openai": ("OPENAI_API_KEY",),
    "openrouter": ("OPENROUTER_API_KEY", "OR_API_KEY"),
    "replicate": ("REPLICATE_API_KEY", "REPLICATE_API_TOKEN"),
    "together": ("TOGETHERAI_API_KEY", "TOGETHER_API_KEY", "TOGETHER_AI_TOKEN"),
    "xai": ("XAI_API_KEY",),
}
"""How the names of models begin, and the variables of which one must be set. Services not listed are not judged."""


def settled(wanted: str | None, said: ModelSettings) -> ModelSettings:
    """Return the settings in force: those of the model asked for, else the folder's, else the machine's.

    Key and address of the folder go with its own choice only: another service must not see them.
    """
    if wanted:
        return ModelSettings(model=wanted)
    return ModelSettings(said.model or preferred_model(), said.api_key, said.api_base, said.options)


def shelf_of(settings: ModelSettings, folder: Path) -> ModelShelf:
    """Make the provider, with room for further ones; a script is looked for in the folder. Raises ConfigError."""
    is_scripted = settings.model.partition(":")[0] == SCRIPTED
    return ModelShelf(
        ModelChoice(settings.model, settings.api_key, settings.api_base),
        base_dir=folder,
        options={} if is_scripted else settings.options,
    )


def missing_key(settings: ModelSettings, environ: Mapping[str, str]) -> str:
    """Return the name of the variable that should hold the model's key and does not; empty if all is well."""
    if settings.api_key or settings.api_base:
        return ""
    name = settings.model.lower()
    variables = next((each for start, each in KEY_VARIABLES.items() if name.startswith(start)), ())
    if not variables or any(environ.get(variable) for variable in variables):
        return ""
    return variables[0]
