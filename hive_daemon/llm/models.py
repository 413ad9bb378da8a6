"""The ports that answer a wish for a model, and for another one than the first."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from hive_daemon.llm.provider import LLMProvider
from hive_daemon.llm.wish import Wish


@runtime_checkable
class Chain(Protocol):
    """A provider that asks several models in turn."""

    def after(self, count: int) -> LLMProvider | None:
        """Return those behind the first so many, None if there is none. Law: the same answer every time."""


def after(llm: LLMProvider, count: int) -> LLMProvider | None:
    """Return what is left of a provider without its first so many models, None if nothing is."""
    if count == 0:
        return llm
    return llm.after(count) if isinstance(llm, Chain) else None


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
