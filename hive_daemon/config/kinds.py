"""The kinds of values that hive.yaml holds: texts, numbers, paths, addresses, secrets, and what each must look like.

The messages are the predicates of sentences about the value (`config.problems` writes the subject).
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, ClassVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
)

from hive_daemon.config.addresses import ListenAddress, parse_listen
from hive_daemon.ids import is_name

MAX_SOCKET_BYTES = 107
"""The longest path of a Unix socket on Linux (sun_path without its closing zero)."""


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _check_name(text: str) -> str:
    if is_name(text):
        return text
    raise ValueError(
        "is no valid name, use letters, digits, '.', '_' and '-', at most 64, beginning with a letter or digit"
    )


def _check_path(value: object) -> object:
    if isinstance(value, str) and not value.strip():
        raise ValueError("is empty, give a path")
    if isinstance(value, str) and "\0" in value:
        raise ValueError("holds a zero byte, which no path may")
    return value


def _check_socket(path: Path) -> Path:
    size = len(str(path).encode())
    if size > MAX_SOCKET_BYTES:
        raise ValueError(
            f"has {size} bytes, a socket's path may have {MAX_SOCKET_BYTES}, choose a shorter one"
        )
    return path


def _check_listen(value: object) -> object:
    if isinstance(value, ListenAddress):
        return value
    if isinstance(value, str):
        return parse_listen(value)
    raise ValueError("is no address, write host:port, for example 127.0.0.1:8080")


def _check_zone(name: str) -> str:
    # UTC needs no database, and a slim container may have none.
    if name == "UTC":
        return name
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"is no known IANA time zone, {_zone_hint(name)}") from None
    return name


def _zone_hint(name: str) -> str:
    if not (zones := available_timezones()):
        return "this machine knows none but UTC, install tzdata"
    close = get_close_matches(name, zones, n=1)
    return f"did you mean {close[0]}?" if close else "write for example UTC or Europe/Berlin"


def _check_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is no URL, write for example https://llm.example.com/v1")
    if "@" in parts.netloc:
        raise ValueError("holds a user name or password, put the key in api_key")
    return url


def _check_secret(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not text.strip():
        raise ValueError("is empty, remove the key or give it a value")
    if text != text.strip():
        raise ValueError("begins or ends with a space or line break, which would never match")
    return secret


def _check_api_key(secret: SecretStr) -> SecretStr:
    if not secret.get_secret_value().isprintable():
        raise ValueError("holds a line break or another control character, a key is one line")
    return secret


Count = Annotated[int, Field(ge=1, le=1_000_000)]
Id = Annotated[int, Field(ge=0, le=2**32 - 2)]
Seconds = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
Name = Annotated[str, AfterValidator(_check_name)]
ModelName = Annotated[str, Field(min_length=1)]
Folder = Annotated[Path, Field(strict=False), BeforeValidator(_check_path)]
Socket = Annotated[Folder, AfterValidator(_check_socket)]
Secret = Annotated[SecretStr, AfterValidator(_check_secret)]
ApiKey = Annotated[Secret, AfterValidator(_check_api_key)]
ApiBase = Annotated[str, AfterValidator(_check_url)]
Listen = Annotated[ListenAddress, BeforeValidator(_check_listen), PlainSerializer(str)]
Zone = Annotated[str, AfterValidator(_check_zone)]
Upper = BeforeValidator(_upper)
"""Takes the value in any case."""


class Section(BaseModel):
    """A mapping of hive.yaml."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    SHORTHAND: ClassVar[str | None] = None
    """The key that a bare text in place of the mapping sets."""
