"""The providers of one agent: that of its own model, and one for each other model that its parts name.

Laws: a key and an address go to models of the service that they belong to and to no other; a provider is made once; the
scripted model stands in for every model that is not scripted itself, so that a rehearsal never leaves the machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hive_daemon.llm.factory import SCRIPTED, ModelChoice, make_provider
from hive_daemon.llm.litellm_provider import LiteLLMProvider
from hive_daemon.llm.models import Models, OneModel
from hive_daemon.llm.openai_provider import OpenAIProvider
from hive_daemon.llm.provider import LLMProvider
from hive_daemon.llm.transport import Transport
from hive_daemon.llm.unconfigured import UnconfiguredProvider
from hive_daemon.llm.wish import Wish


class ModelShelf:
    """Makes and keeps the providers of an agent whose own model is `first`.

    `fallbacks` hold for every model; `also` are choices whose key other models of their service may use; `options` are
    those of `make_provider`. Neither the network nor litellm is touched. Raises ConfigError as `make_provider`.
    """

    def __init__(
        self,
        first: ModelChoice,
        *,
        fallbacks: Sequence[ModelChoice | str] = (),
        also: Sequence[ModelChoice] = (),
        base_dir: Path | None = None,
        options: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self._first = first
        self._known = (first, *also)
        self._fallbacks = tuple(
            self._choice(each) if isinstance(each, str) else each.beside(first)
            for each in fallbacks
        )
        self._base_dir = base_dir
        self._options = options
        self._made: dict[Wish, LLMProvider] = {}
        self.own = self._make(Wish())

    def named(self, wish: Wish, otherwise: LLMProvider) -> LLMProvider:
        """Return the provider wished for, `otherwise` for an empty wish. Raises ConfigError."""
        if wish.is_empty or (_is_scripted(self._first.model) and not _is_scripted(wish.model)):
            return otherwise
        found = self._made.get(wish)
        if found is None:
            found = self._made[wish] = self._make(wish)
        return found

    async def aclose(self) -> None:
        """Give back the connections of every provider; they may be used again."""
        for provider in (self.own, *self._made.values()):
            await provider.aclose()

    def _make(self, wish: Wish) -> LLMProvider:
        first = self._first if wish.model is None else self._choice(wish.model)
        fallbacks = self._fallbacks
        if wish.fallbacks is not None:
            fallbacks = tuple(self._choice(name) for name in wish.fallbacks)
        return make_provider(
            first.model,
            api_key=first.api_key,
            api_base=first.api_base,
            base_dir=self._base_dir,
            fallbacks=fallbacks,
            **self._options,
        )

    def _choice(self, name: str) -> ModelChoice:
        """Return a model by its name, with the key and address of its service as far as they are known here."""
        choice = ModelChoice(name.strip())
        for known in self._known:
            if known.model == choice.model:
                return known
        for known in self._known:
            shared = choice.beside(known)
            if shared.api_key or shared.api_base:
                return shared
        return choice


def models_beside(llm: LLMProvider) -> Models:
    """Return the models for a program that brings one provider of ours, or none; one of its own works for all."""
    if isinstance(llm, UnconfiguredProvider):
        return ModelShelf(ModelChoice(""))
    if isinstance(llm, OpenAIProvider | LiteLLMProvider):
        by_litellm = isinstance(llm, LiteLLMProvider)
        return ModelShelf(
            ModelChoice(llm.model, llm.api_key, llm.api_base),
            options={
                "transport": Transport.LITELLM if by_litellm else Transport.AUTO,
                **asdict(llm.limits),
                **llm.extra_kwargs,
            },
        )
    return OneModel()


def _is_scripted(model: str | None) -> bool:
    return (model or "").strip().partition(":")[0] == SCRIPTED
