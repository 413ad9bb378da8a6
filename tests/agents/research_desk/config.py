"""Settings."""

from dataclasses import dataclass

from framework.config import RuntimeConfig

default_config = RuntimeConfig()


@dataclass
class AgentMetadata:
    name: str = "Research Desk"
    version: str = "1.0.0"
    description: str = "Researches a topic, shows what it found, and digs deeper where asked."
    intro_message: str = "What shall I look into?"


metadata = AgentMetadata()
