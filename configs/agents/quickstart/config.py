"""How the quickstart agent is set up. HIVE_MODEL names another model, for example openai/gpt-4o-mini."""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """The model that writes the report: offline and free, following script.json, unless HIVE_MODEL says otherwise."""

    model: str = os.environ.get("HIVE_MODEL") or "scripted:script.json"
    max_tokens: int = 2048


default_config = Settings()
