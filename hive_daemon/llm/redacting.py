"""Keeping keys out of what a service says: some repeat the key in their error."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

SECRET_NAMES = ("key", "token", "secret", "password", "credential", "authorization")
SHORTEST_SECRET = 6
LONGEST_ERROR = 1000


def secrets_in(*named: Mapping[str, object]) -> list[str]:
    """Return the texts that, by their names, are secrets; also those of mappings inside, such as headers."""
    found: list[str] = []
    for name, value in (item for mapping in named for item in mapping.items()):
        if isinstance(value, Mapping):
            found += secrets_in(value)
        elif isinstance(value, str) and _is_secret(name, value):
            found.append(value)
    return found


def without(text: str, secrets: Iterable[str]) -> str:
    """Return a text of a bounded length with stars in place of the secrets."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text[:LONGEST_ERROR]


def _is_secret(name: str, value: str) -> bool:
    lowered = name.lower()
    return len(value) >= SHORTEST_SECRET and any(word in lowered for word in SECRET_NAMES)
