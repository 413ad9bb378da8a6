"""Settings."""

from framework.config import RuntimeConfig

default_config = RuntimeConfig(max_tokens=4096)
metadata = {
    "name": "Outreach",
    "version": "1.1.0",
    "intro_message": "Whom shall I write to?",
}
