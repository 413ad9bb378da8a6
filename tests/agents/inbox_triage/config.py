"""Settings."""

from dataclasses import dataclass

from framework.config import RuntimeConfig

default_config = RuntimeConfig(model="scripted:script.json", max_tokens=2048)


@dataclass
class AgentMetadata:
    name: str = "Inbox Triage"
    version: str = "1.2.0"
    description: str = "Sorts mails by what has to be done with them."
    intro_message: str = "I sort your mails. What are your rules?"


metadata = AgentMetadata()
