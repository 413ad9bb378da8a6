"""JSON in the midst of other text: what models write around an answer that was to be JSON alone."""

from __future__ import annotations

import json
import re

_DECODER = json.JSONDecoder()
_BEGINNING = re.compile(r'\{(?=\s*["}])')


def find_json_object(text: str) -> str | None:
    """Return the first part of a text that is a JSON object, as it stands there; None if there is none."""
    for beginning in _BEGINNING.finditer(text):
        try:
            _, end = _DECODER.raw_decode(text, beginning.start())
        except (ValueError, RecursionError):
            continue
        return text[beginning.start() : end]
    return None
