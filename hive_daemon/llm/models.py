"""The port that answers a wish for a model."""

from __future__ import annotations

from typing import Protocol

from hive_daemon.llm.provider import LLMProvider
from hive_daemon.llm.wish import Wish


class Models(Protocol):
    """The models of an agent. Law: equal wishes get the same provider."""

    def named(self, wish: Wish, otherwise: LLMProvider) -> LLMProvider:
        """Return the provider wished for, `otherwise` for an empty wish. Raises ConfigError for a faulty one."""

    async def aclose(self) -> None:
        """Give back the connections of every provider; they may be used again."""


class OneModel:
    """A program's own provider, that works for everybody whatever they name."""

    def named(self, wish: Wish, otherwise: LLMProvider) -> LLMProvider:
        """Return `otherwise`."""
        return otherwise

    async def aclose(self) -> None:
        """Do nothing: the provider is the program's."""
