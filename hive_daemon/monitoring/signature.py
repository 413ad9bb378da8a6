"""What stays of an error from one time to the next: the part of it that makes two troubles the same. Pure.

Law: normalising what was normalised changes nothing.
"""

from __future__ import annotations

import re

MOST_CHARS = 160

_VARYING = (
    re.compile(r"\bsession_[\w#-]+"),
    re.compile(r"\b0x[0-9a-f]+\b"),
    re.compile(r"\b(?=[0-9a-f-]*\d)[0-9a-f]{6,}(?:-[0-9a-f]{2,})*\b"),
    re.compile(r"\d+(?:[.,:_\-tz/]*\d+)*"),
)
"""Names of sessions, addresses, hashes and UUIDs, then numbers, dates and times of day."""

_SPACE = re.compile(r"\s+")
_MARKS = re.compile(r"#(?:\W?#)+")


def normalise(error: str) -> str:
    """Return an error without what differs from time to time, at most MOST_CHARS long.

    >>> normalise("File 17 of 20 not found: /tmp/job-4711/out.txt")
    'file # of # not found: /tmp/job-#/out.txt'
    """
    text = _SPACE.sub(" ", error.strip().lower())
    for varying in _VARYING:
        text = varying.sub("#", text)
    return _MARKS.sub("#", text)[:MOST_CHARS].rstrip()
