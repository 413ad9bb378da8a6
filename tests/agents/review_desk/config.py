"""Settings, with a look-alike of the older system's class."""

from dataclasses import dataclass, field


@dataclass
class RuntimeConfig:
    model: str = "scripted"
    max_tokens: int = 512
    api_key: str | None = None
    api_base: str | None = None
    extra_kwargs: dict = field(default_factory=dict)


default_config = RuntimeConfig()
metadata = {"name": "Review Desk", "intro_message": "What shall I review?"}
