"""Redaction: no secret leaves the process by a log, an event, a stored error or an answer.

A `Redactor` knows two things: the secret values of this process, told to it by `register`, which it finds in
the forms that programs write them in, and the shapes of `secret_patterns`. One of them, `redactor()`, serves
the whole process. Guarantees: linear time, safe to call from any thread, never raises on text or JSON, and
redacting twice changes nothing more.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote, quote_plus

from hive_daemon.observability.secret_patterns import MASK, RULES, is_secret_name

SHORTEST_SECRET = 6
"""Characters; a shorter value would blank out ordinary words and guard nothing."""

LONGEST_SECRET = 4096
"""Characters; `redact_head` looks this far past a cut so that no half of a secret shows."""

_EXACT = tuple((rule.anchor, rule) for rule in RULES if not rule.folds)
_FOLDED = tuple((rule.anchor, rule) for rule in RULES if rule.folds)
_CACHED_LENGTH = 256
_CACHED_TEXTS = 4096
_DEEPEST = 100


class Redactor:
    """Finds secrets in text and in JSON-like values, and puts `[redacted]` in their place."""

    def __init__(self, *secrets: str) -> None:
        self._lock = threading.Lock()
        self._forms: tuple[str, ...] = ()
        # Ids and fixed messages come again and again: most texts are looked up, not read.
        self._remembered = lru_cache(_CACHED_TEXTS)(self._redact)
        for secret in secrets:
            self.register(secret)

    def register(self, value: str) -> str | None:
        """Redact this value from now on; return None, or why the value is ignored.

        It is found as it is, URL-quoted, in base64 (also in the middle of a longer base64 text), in hex,
        escaped as JSON, once or twice, and as Python shows it. White space around it does not count.
        """
        secret = value.strip()
        if len(secret) < SHORTEST_SECRET:
            return f"a secret of fewer than {SHORTEST_SECRET} characters would hide ordinary words"
        if secret in MASK:
            return "the value is a part of the mask itself"
        with self._lock:
            self._forms = tuple(sorted({*self._forms, *_forms(secret)}, key=len, reverse=True))
            self._remembered = lru_cache(_CACHED_TEXTS)(self._redact)
        return None

    def redact_text(self, text: str) -> str:
        """Return the text without secrets."""
        return self._remembered(text) if len(text) <= _CACHED_LENGTH else self._redact(text)

    def redact_head(self, text: str, limit: int) -> str:
        """Return at most `limit` characters of the text, redacted before it was cut.

        Cutting first would show the first half of a secret; this reads only as much as it must.
        """
        beyond = limit + LONGEST_SECRET
        if len(text) <= beyond:
            return self.redact_text(text)[:limit]
        return self.redact_text(text[:beyond])[:-LONGEST_SECRET][:limit]

    def redact_value(self, value: Any, *, text_limit: int | None = None) -> Any:
        """Return a copy of a JSON-like value without secrets.

        Mappings (keys too), lists and tuples are walked. What stands under a secret name (`is_secret_name`)
        is masked: every text, and every number unless the name ends in `token`; flags, empty texts and
        references such as `${env:NAME}` stay. Other objects are returned as they are: shape them first
        (`strict_json.json_shape`). With `text_limit` every text is cut by `redact_head`.
        """
        return self._walk(value, text_limit, 0)

    def _walk(self, value: Any, limit: int | None, depth: int) -> Any:
        if isinstance(value, str):
            return self.redact_text(value) if limit is None else self.redact_head(value, limit)
        if not isinstance(value, Mapping | list | tuple):
            return value
        if depth >= _DEEPEST:
            return MASK
        if isinstance(value, Mapping):
            return {
                self._key(key): self._masked(item, key, depth + 1)
                if isinstance(key, str) and is_secret_name(key)
                else self._walk(item, limit, depth + 1)
                for key, item in value.items()
            }
        return [self._walk(item, limit, depth + 1) for item in value]

    def _key(self, key: Any) -> Any:
        return self.redact_text(key) if isinstance(key, str) else key

    def _masked(self, value: Any, name: str, depth: int) -> Any:
        """Mask what stands under a secret name, but keep its shape."""
        if isinstance(value, Mapping | list | tuple) and depth >= _DEEPEST:
            return MASK
        if isinstance(value, Mapping):
            return {
                self._key(key): self._masked(item, name, depth + 1) for key, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [self._masked(item, name, depth + 1) for item in value]
        return value if _tells_nothing(value, name) else MASK

    def _redact(self, text: str) -> str:
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        for anchor, rule in _EXACT:
            if anchor in text:
                text = rule.pattern.sub(rule.replacement, text)
        folded = text.lower()
        for anchor, rule in _FOLDED:
            if anchor in folded:
                text = rule.pattern.sub(rule.replacement, text)
        return text


_PROCESS = Redactor()


def redactor() -> Redactor:
    """Return the redactor of this process, which every sink shares."""
    return _PROCESS


def register_secret(value: str) -> str | None:
    """Redact this value everywhere from now on; return None, or why the value is ignored."""
    return _PROCESS.register(value)


def _tells_nothing(value: object, name: str) -> bool:
    if isinstance(value, str):
        return not value or (value.startswith("${") and value.find("}") == len(value) - 1)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return name.lower().endswith("token")
    return True


def _forms(secret: str) -> Iterator[str]:
    """Yield the ways in which programs write the secret."""
    escaped = json.dumps(secret)[1:-1]
    readable = json.dumps(secret, ensure_ascii=False)[1:-1]
    yield from (secret, escaped, readable, repr(secret)[1:-1])
    yield from (json.dumps(escaped)[1:-1], json.dumps(readable, ensure_ascii=False)[1:-1])
    raw = secret.encode("utf-8", "surrogatepass")
    for quoted in (quote(raw, safe=""), quote(raw), quote_plus(raw)):
        yield from (quoted, _with_lower_escapes(quoted))
    yield from (raw.hex(), raw.hex().upper())
    yield from _base64_forms(raw)


def _with_lower_escapes(quoted: str) -> str:
    """Write `%2F` as `%2f`."""
    head, *rest = quoted.split("%")
    return head + "".join(f"%{part[:2].lower()}{part[2:]}" for part in rest)


def _base64_forms(raw: bytes) -> Iterator[str]:
    """Yield what the secret's own bits look like in base64, at each of the three places a byte can have."""
    for offset in range(3):
        first = (8 * offset + 5) // 6
        last = 8 * (offset + len(raw)) // 6
        padded = bytes(offset) + raw + b"\0\0"
        yield base64.b64encode(padded)[first:last].decode()
        yield base64.urlsafe_b64encode(padded)[first:last].decode()
