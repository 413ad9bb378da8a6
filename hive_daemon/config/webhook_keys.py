"""The types of a webhook route's keys in hive.yaml: checked by the readers that read them later, kept as written."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from hive_daemon.errors import ConfigError
from hive_daemon.runtime.webhook_filters import read_filter
from hive_daemon.runtime.webhook_places import Place
from hive_daemon.runtime.webhook_rate import Rate
from hive_daemon.runtime.webhook_route import (
    read_coalesce,
    read_duration,
    read_header,
    read_hmac,
    read_input,
    read_network,
    read_respond,
    read_size,
    read_verify,
    route_of,
)

_WEBHOOK_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]{0,511}")


def _through(read: Callable[[Any], object], value: Any) -> Any:
    read(value)
    return value


def _with_unit(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"has no unit, write for example {value}s or {value}m")
    return value


def _check_path(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError("must begin with '/', for example /webhooks/github")
    if not _WEBHOOK_PATH.fullmatch(path):
        raise ValueError("holds a character that a webhook path may not, or has more than 512")
    if any(part in (".", "..") for part in path.split("/")):
        raise ValueError("must not hold the parts '.' or '..'")
    return path


def check_route(written: dict[str, Any]) -> None:
    """Check the keys of a route together. Raises ValueError with the predicate of a sentence."""
    try:
        route_of(written)
    except ConfigError as error:
        sentence = str(error).removeprefix(f"webhook route {written['path']}: ")
        raise ValueError(f"is no valid route: {sentence}") from None


Path = Annotated[str, AfterValidator(_check_path)]
Scheme = Annotated[str, AfterValidator(partial(_through, read_verify))]
Duration = Annotated[
    str, BeforeValidator(_with_unit), AfterValidator(partial(_through, read_duration))
]
Size = Annotated[str | int, AfterValidator(partial(_through, read_size))]
RequestRate = Annotated[str, AfterValidator(partial(_through, Rate.read))]
Network = Annotated[str, AfterValidator(partial(_through, read_network))]
Networks = Annotated[tuple[Network, ...], Field(strict=False)]
Header = Annotated[str, AfterValidator(partial(_through, read_header))]
Headers = Annotated[tuple[Header, ...], Field(strict=False)]
FilterText = Annotated[dict[str, Any], AfterValidator(partial(_through, read_filter))]
Filters = Annotated[tuple[FilterText, ...], Field(strict=False)]
Inputs = Annotated[dict[str, Any], AfterValidator(partial(_through, read_input))]
PlaceText = Annotated[str, AfterValidator(partial(_through, Place.read))]
Coalescing = Annotated[dict[str, Any], AfterValidator(partial(_through, read_coalesce))]
Mac = Annotated[dict[str, Any], AfterValidator(partial(_through, read_hmac))]
Answering = Annotated[str, AfterValidator(partial(_through, read_respond))]
