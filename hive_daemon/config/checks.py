"""What no single key of hive.yaml can get wrong alone: names and webhook paths that clash, doors left open.

These look at the plain tree, not at the model, so that they speak also when something else is wrong elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hive_daemon.config.addresses import ListenAddress, parse_listen
from hive_daemon.config.model import HttpConfig
from hive_daemon.config.problems import Problem, shown
from hive_daemon.config.tree import KeyPath, Tree, dotted, value_at
from hive_daemon.ids import is_name


@dataclass(frozen=True, slots=True)
class _Route:
    at: KeyPath
    path: str
    is_signed: bool
    allow_insecure: bool


def cross_check(tree: Mapping[str, Tree], written: Mapping[str, Tree]) -> Iterator[Problem]:
    """Yield what is wrong between the keys; a key of the wrong type is left to the model.

    `tree` holds the values, `written` the same before references were resolved: only that is ever quoted.
    """
    agents = tree.get("agents")
    entries = list(enumerate(agents)) if isinstance(agents, list) else []
    quote = _Quote(dict(written))
    yield from _clashing_names(entries, quote)
    routes = [route for at, agent in entries for route in _routes(("agents", at), agent)]
    yield from _clashing_paths(routes, quote)
    listen = _listen(tree)
    for route in routes:
        if is_open_door(listen, has_secret=route.is_signed, allow_insecure=route.allow_insecure):
            yield _open_door(route, listen, quote)


def is_open_door(listen: ListenAddress, *, has_secret: bool, allow_insecure: bool) -> bool:
    """Say whether a webhook route would take requests that nobody signed, from other machines, unasked."""
    return not (has_secret or allow_insecure or listen.is_loopback)


@dataclass(frozen=True, slots=True)
class _Quote:
    written: dict[str, Tree]

    def __call__(self, path: KeyPath) -> str:
        return shown(path, value_at(self.written, path))


def _clashing_names(entries: list[tuple[int, Tree]], quote: _Quote) -> Iterator[Problem]:
    owners: dict[str, int] = {}
    for at, agent in entries:
        match agent:
            case {"name": str(name)}:
                place: KeyPath = ("agents", at, "name")
            case {"path": str(path)} if path.strip():
                name, place = Path(path).name, ("agents", at, "path")
            case _:
                continue
        if place[-1] == "path" and not is_name(name):
            yield Problem(
                place,
                f"the last part of {quote(place)} cannot be an agent's name, give it a name beside its path",
            )
            continue
        owner = owners.setdefault(name, at)
        if owner != at:
            yield Problem(
                place,
                f"{quote(place)} gives the name that agents[{owner}] has, give this one another name",
            )


def _routes(at: KeyPath, agent: Tree) -> Iterator[_Route]:
    routes = value_at(agent, ("webhook_routes",))
    for index, route in enumerate(routes if isinstance(routes, list) else []):
        path = value_at(route, ("path",))
        if isinstance(path, str):
            has_secret = any(value_at(route, (key,)) for key in ("secret", "secrets"))
            is_signed = has_secret and value_at(route, ("verify",)) != "none"
            allow_insecure = value_at(route, ("allow_insecure",)) is True
            yield _Route((*at, "webhook_routes", index), path, is_signed, allow_insecure)


def _clashing_paths(routes: list[_Route], quote: _Quote) -> Iterator[Problem]:
    owners: dict[str, _Route] = {}
    for route in routes:
        owner = owners.setdefault(route.path, route)
        if owner is not route:
            place = (*route.at, "path")
            yield Problem(
                place, f"{quote(place)} is taken by {dotted(owner.at)}, choose another path"
            )


def _open_door(route: _Route, listen: ListenAddress, quote: _Quote) -> Problem:
    path = quote((*route.at, "path"))
    return Problem(
        (*route.at, "secret"),
        f"is missing, so {path} would take unsigned requests on {listen}; give the route a secret, "
        "listen on 127.0.0.1, or set allow_insecure: true",
    )


def _listen(tree: Mapping[str, Tree]) -> ListenAddress:
    default = HttpConfig().listen
    value = value_at(dict(tree), ("http", "listen"))
    try:
        return default if value is None else parse_listen(str(value))
    except ValueError:
        return default
