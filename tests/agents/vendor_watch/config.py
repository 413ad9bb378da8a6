"""Settings, with a look-alike of the older system's class."""

import os
from dataclasses import dataclass, field


@dataclass
class RuntimeConfig:
    model: str = "openai/watcher"
    temperature: float = 0.7
    max_tokens: int = 1024
    api_key: str | None = field(default_factory=lambda: os.environ.get("VENDOR_WATCH_KEY"))
    api_base: str | None = field(default_factory=lambda: os.environ.get("VENDOR_WATCH_BASE"))


default_config = RuntimeConfig()

metadata = {
    "name": "Vendor Watch",
    "version": "0.3.0",
    "description": "Watches what vendors change.",
}
