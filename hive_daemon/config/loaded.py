"""A configuration that was read: the values, where each came from, and what a person may see of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from hive_daemon.config.model import HiveConfig
from hive_daemon.config.problems import hide_user_info
from hive_daemon.config.schema import is_secret
from hive_daemon.config.tree import KeyPath, Tree, dotted

MASK = "***"

TO_RUN = ", run: "
"""What stands between a warning and the command that mends it, where there is one."""


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A valid configuration and how it came about.

    `provenance` names the source of each dotted key: `flag`, `env HIVE_X`, `file` or `default`. `references` holds the
    text of each key that was given by reference (never of a secret key), `places` where each key is written.
    """

    config: HiveConfig
    path: Path | None = None
    warnings: tuple[str, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    references: Mapping[str, str] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict, repr=False)

    def sentence(self, path: KeyPath, text: str) -> str:
        """Write a problem of a key that was found later (a bad cron), as `load_config` writes its own."""
        above = (path[:length] for length in range(len(path), 0, -1))
        place = next(
            (self.places[key] for each in above if (key := dotted(each)) in self.places), ""
        )
        return f"{dotted(path)}: {text}{place}"


def secret_values(config: HiveConfig) -> list[str]:
    """Return every secret value of a configuration, for the redactor; also those under a secret name in free places."""
    return list(_secrets(config.model_dump(), ()))


def _secrets(value: object, path: KeyPath) -> Iterator[str]:
    match value:
        case Mapping():
            for key, inner in value.items():
                yield from _secrets(inner, (*path, str(key)))
        case list() | tuple():
            for at, inner in enumerate(value):
                yield from _secrets(inner, (*path, at))
        case SecretStr():
            yield value.get_secret_value()
        case str() if is_secret(path):
            yield value


def effective_tree(config: HiveConfig) -> dict[str, Tree]:
    """Return the configuration as plain values; of an agent only what is set."""
    tree: dict[str, Tree] = config.model_dump(mode="json")
    tree["agents"] = [agent.model_dump(mode="json", exclude_none=True) for agent in config.agents]
    return tree


def show(loaded: LoadedConfig) -> dict[str, Tree]:
    """Return what `hive config show` prints: `{file, config, provenance, warnings}`.

    Secrets are `***`, and what came by reference is shown as its reference: what it yields may be a secret too.
    """
    tree = effective_tree(loaded.config)
    return {
        "file": str(loaded.path) if loaded.path is not None else None,
        "config": {key: _visible(value, (key,), loaded.references) for key, value in tree.items()},
        "provenance": dict(loaded.provenance),
        "warnings": list(loaded.warnings),
    }


def _visible(value: Tree, path: KeyPath, references: Mapping[str, str]) -> Tree:
    match value:
        case dict():
            return {key: _visible(inner, (*path, key), references) for key, inner in value.items()}
        case list():
            return [_visible(inner, (*path, at), references) for at, inner in enumerate(value)]
        case None:
            return None
    if is_secret(path):
        return MASK
    if (reference := references.get(dotted(path))) is not None:
        return reference
    return hide_user_info(value) if isinstance(value, str) else value
