"""From a model's name, as configuration writes it, to its provider.

""  or None            no model: each call is refused with the remedy
scripted               the scripted model, making up its answers
scripted:PATH          the scripted model, following a script; PATH is relative to `base_dir`
anything else          litellm's name of a model, over our own transport where it applies (`transport`), else litellm

With fallbacks, several of them behind one provider.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hive_daemon.llm.fallbacks import FallbackProvider
from hive_daemon.llm.litellm_provider import LiteLLMProvider
from hive_daemon.llm.openai_provider import OpenAIProvider
from hive_daemon.llm.provider import LLMProvider
from hive_daemon.llm.scripted import ScriptedProvider
from hive_daemon.llm.transport import OPENAI, OPENAI_NAMES, Transport, is_native, transport_named
from hive_daemon.llm.unconfigured import UnconfiguredProvider

SCRIPTED = "scripted"
ANTHROPIC = "anthropic"


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model with the key and the address that go with it."""

    model: str
    api_key: str | None = field(default=None, repr=False)
    api_base: str | None = None

    @property
    def service(self) -> str:
        """What stands before the first slash of the name; known names without one have theirs too."""
        head, slash, _ = self.model.partition("/")
        if slash:
            return head
        if OPENAI_NAMES.fullmatch(self.model):
            return OPENAI
        return ANTHROPIC if self.model.startswith("claude-") else self.model

    def beside(self, first: ModelChoice) -> ModelChoice:
        """Return this choice as a fallback of another.

        Key and address are shared with a model of the same service, unless it brings its own; no other sees them.
        """
        if self.api_key or self.api_base or self.service != first.service:
            return self
        return ModelChoice(self.model, first.api_key, first.api_base)


def make_provider(
    model: str | None,
    *,
    api_key: str | None = None,
    api_base: str | None = None,
    base_dir: Path | None = None,
    fallbacks: Sequence[ModelChoice | str] = (),
    **options: Any,
) -> LLMProvider:
    """Make the provider of a model and of its fallbacks; neither the network nor litellm is touched.

    `options` are `transport`, the fields of `CallLimits`, and what goes to the service as it is; they count for every
    model of a chain. Raises ConfigError for a faulty script or option.
    """
    first = ModelChoice((model or "").strip(), api_key, api_base)
    others = [_choice(each).beside(first) for each in fallbacks]
    chain = [_one(choice, base_dir, options) for choice in (first, *others)]
    return chain[0] if len(chain) == 1 else FallbackProvider(chain)


def _choice(written: ModelChoice | str) -> ModelChoice:
    return ModelChoice(written.strip()) if isinstance(written, str) else written


def _one(choice: ModelChoice, base_dir: Path | None, options: Mapping[str, Any]) -> LLMProvider:
    others = dict(options)
    transport = transport_named(others.pop("transport", Transport.AUTO))
    name = choice.model
    if not name:
        return UnconfiguredProvider()
    if name == SCRIPTED:
        return ScriptedProvider()
    kind, _, path = name.partition(":")
    if kind == SCRIPTED:
        return ScriptedProvider((base_dir or Path()) / Path(path).expanduser(), model=name)
    native = is_native(transport, name, choice.api_base, others)
    provider = OpenAIProvider if native else LiteLLMProvider
    return provider(name, choice.api_key, choice.api_base, **others)
