"""Which way a call to a model goes: through litellm, or by our own client of the OpenAI chat completions protocol.

Names are litellm's (`service/model`). Our own client costs a fiftieth of litellm's CPU per token and needs no import of
seconds; it speaks one protocol only, so that `auto` takes it where the name says that the service speaks it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hive_daemon.errors import ConfigError

OPENAI = "openai"
OPENAI_BASE = "https://api.openai.com/v1"
BASE_VARIABLES = ("OPENAI_BASE_URL", "OPENAI_API_BASE")
"""Where programs of OpenAI, and litellm, look for another address; the first that is set counts."""

COMPATIBLE = frozenset(
    {OPENAI, "custom_openai", "hosted_vllm", "litellm_proxy", "lm_studio", "openai_like"}
)
"""What litellm calls services that speak the protocol at an address of their own."""

OPENAI_NAMES = re.compile(r"(gpt-[3-9]|chatgpt-|o[134](-|$))[^/]*")
"""OpenAI's own models, which litellm also takes without `openai/`."""

OTHER_PROTOCOL = re.compile(r".*-(pro|codex|deep-research)(-.*)?|computer-use.*|.*daybreak.*")
"""OpenAI's own models that speak its responses protocol only, which litellm translates."""

LIBRARY_OPTIONS = frozenset(
    {"api_version", "azure_ad_token", "base_model", "custom_llm_provider", "mock_response"}
)
"""Options that only litellm understands."""


class Transport(StrEnum):
    """Who carries a model call."""

    AUTO = "auto"
    LITELLM = "litellm"
    NATIVE = "native"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a native call goes, and as whom. `api_key` is empty if nobody gave one."""

    model: str
    """The name that the service knows."""
    base: str
    api_key: str = field(default="", repr=False)
    key_variable: str = ""
    """The variable that holds the key where the configuration gives none."""

    @property
    def is_openai(self) -> bool:
        """Whether this is OpenAI itself."""
        return self.base == OPENAI_BASE

    @property
    def url(self) -> str:
        """The address of chat completions."""
        return f"{self.base}/chat/completions"


def transport_named(value: object) -> Transport:
    """Read a transport's name. Raises ConfigError."""
    try:
        return Transport(str(value))
    except ValueError:
        raise ConfigError(
            f"transport: {str(value)!r} is none of {', '.join(Transport)}", source="model options"
        ) from None


def is_native(
    wanted: Transport, model: str, api_base: str | None, options: Mapping[str, Any]
) -> bool:
    """Say whether a call goes over our own client.

    `auto` takes it for `openai/…`, for OpenAI's own names, and for the other services of `COMPATIBLE` when an address
    is given; not for models of OpenAI that speak another protocol, and never where an option asks for litellm.
    """
    if wanted is not Transport.AUTO:
        return wanted is Transport.NATIVE
    if LIBRARY_OPTIONS & options.keys():
        return False
    service, slash, name = model.partition("/")
    if not slash:
        return _speaks_chat(model) and OPENAI_NAMES.fullmatch(model) is not None
    if api_base:
        return service in COMPATIBLE
    return service == OPENAI and _speaks_chat(name)


def _speaks_chat(name: str) -> bool:
    return OTHER_PROTOCOL.fullmatch(name) is None


def target_of(
    model: str, api_base: str | None, api_key: str | None, environ: Mapping[str, str]
) -> Target:
    """Say where a native call goes; variables are read at each call, so that a key may change meanwhile.

    Only a service of `COMPATIBLE` is taken off the name: what else stands before a slash belongs to it.
    """
    service, slash, name = model.partition("/")
    is_prefixed = bool(slash) and service in COMPATIBLE
    kind = service if is_prefixed else OPENAI
    variable = f"{kind.upper()}_API_KEY"
    given = (environ[name] for name in BASE_VARIABLES if environ.get(name))
    base = api_base or (next(given, "") if kind == OPENAI else "") or OPENAI_BASE
    return Target(
        model=name if is_prefixed else model,
        base=base.rstrip("/"),
        api_key=(api_key or environ.get(variable, "")).strip(),
        key_variable=variable,
    )
