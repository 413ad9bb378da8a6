"""Questions that the store can answer too: asked of the daemon, and of its store when it is down."""

from __future__ import annotations

from dataclasses import replace

from hive_cli.client import AnswerLost, Query, Request, Unreachable
from hive_cli.failures import Failure
from hive_cli.grammar import Hive
from hive_cli.local import ask_local
from hive_cli.render import Json, note
from hive_daemon.control.wire import ErrorCode, Route

PATIENCE_SECONDS = 0.3
"""How long a daemon may take to come up before its store is read instead."""


def read(hive: Hive, route: Route, query: Query | None = None, **names: str) -> Json:
    """Ask the daemon; read its store if it is down, and say so on stderr. Raises Failure."""
    try:
        return replace(hive.client, patience=PATIENCE_SECONDS).get(route, query, **names)
    except AnswerLost:
        raise
    except Unreachable as unreachable:
        request = Request(route.method, route.path(**names), query or {})
        return _of_store(request, unreachable)


def is_reachable(hive: Hive) -> bool:
    """Say whether a daemon answers, or is too busy to answer at once."""
    try:
        replace(hive.client, patience=PATIENCE_SECONDS).get(Route.LIVEZ)
    except AnswerLost:
        return True
    except Unreachable:
        return False
    except Failure:
        return True
    return True


def _of_store(request: Request, unreachable: Unreachable) -> Json:
    try:
        answer = ask_local("ask", request.target)
    except Failure as error:
        if error.code == ErrorCode.STORAGE_UNAVAILABLE:
            raise unreachable from None
        raise
    note("hived is not running: this is what its store says")
    return answer
