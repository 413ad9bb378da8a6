"""Identifiers: how they are made, what they may look like, which of them may become a path.

Session ids are `session_YYYYMMDD_HHMMSS_{8 hex}`; the first execution of a session has the session's id, the
later ones `{session}-2`, `{session}-3`. Names (agents, graphs, entry points, nodes) are short and
path-safe. Anything that reaches the file system passed one of the checks below.
"""

from __future__ import annotations

import hashlib
import os
import re
from datetime import UTC, datetime
from random import Random, SystemRandom

from hive_daemon.errors import InvalidInput

SESSION_ID = re.compile(r"session_\d{8}_\d{6}_[0-9a-f]{8}")
EXECUTION_ID = re.compile(r"session_\d{8}_\d{6}_[0-9a-f]{8}(-[1-9]\d*)?")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
GRAPH_SEPARATOR = "::"

# Ids must differ, they need not be secret: a generator seeded once spares a system call for each.
_random = Random(SystemRandom().getrandbits(256))


def _seed_anew() -> None:
    _random.seed(SystemRandom().getrandbits(256))


# A forked process would draw the ids that its parent draws.
os.register_at_fork(after_in_child=_seed_anew)


def _hex(digits: int) -> str:
    return f"{_random.getrandbits(4 * digits):0{digits}x}"


def new_session_id(now: float) -> str:
    """Make a session id for the wall second `now`; the eight hex digits are random."""
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%d_%H%M%S")
    return f"session_{stamp}_{_hex(8)}"


def execution_id(session_id: str, ordinal: int) -> str:
    """Name the `ordinal`-th execution of a session, counting from 1."""
    return session_id if ordinal == 1 else f"{session_id}-{ordinal}"


def session_of(execution_id: str) -> str:
    """Return the session that an execution belongs to, by its id."""
    return execution_id.split("-", 1)[0]


def is_session_id(text: str) -> bool:
    """Say whether the text has the shape of a session id."""
    return SESSION_ID.fullmatch(text) is not None


def is_execution_id(text: str) -> bool:
    """Say whether the text has the shape of an execution id."""
    return EXECUTION_ID.fullmatch(text) is not None


NAME_RULE = "use letters, digits, '.', '_' and '-', at most 64, beginning with a letter or digit"
"""What a name has to be, for people."""


def is_name(text: str) -> bool:
    """Say whether the text may name an agent, a graph, an entry point or a node."""
    return NAME.fullmatch(text) is not None


def check_session_id(text: str) -> str:
    """Return the session id, or raise InvalidInput."""
    if is_session_id(text):
        return text
    raise InvalidInput(
        f"{text[:80]!r} is not a session id",
        hint="a session id looks like session_20260302_090000_1a2b3c4d; see `hive sessions list`",
    )


def check_name(what: str, text: str) -> str:
    """Return the name, or raise InvalidInput that says what it was meant to name."""
    if is_name(text):
        return text
    raise InvalidInput(
        f"{what} {text[:80]!r} is not a valid name",
        hint=NAME_RULE,
    )


def new_trace_id() -> str:
    """Make a W3C trace id: 32 hex digits."""
    return _hex(32)


def new_span_id() -> str:
    """Make a W3C span id: 16 hex digits."""
    return _hex(16)


def span_id_of(*names: str | int) -> str:
    """Return the W3C span id of something that has a name: the same names have the same id, in any process."""
    text = "\0".join(map(str, names))
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16]


def new_node_id() -> str:
    """Make the id of one life of one daemon process: 16 hex digits."""
    return _hex(16)
