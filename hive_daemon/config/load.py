"""From flags, environment, file and defaults to one valid configuration, or to every reason why there is none.

Flags win over `HIVE_*` variables, those over the file, the file over the defaults. Nothing here prints, and nothing is
changed on disk: `hived --check` and `hived` read alike.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from hive_daemon.config import references
from hive_daemon.config.advice import advice
from hive_daemon.config.checks import cross_check
from hive_daemon.config.document import MAX_BYTES, Document, parse, parse_value
from hive_daemon.config.draft import FILE, FLAG, Draft, Setting, draft_of_file, empty_keys
from hive_daemon.config.environment import EnvironmentReading, read_environment
from hive_daemon.config.files import is_world_readable, locate, read_text
from hive_daemon.config.loaded import TO_RUN, LoadedConfig, effective_tree, show
from hive_daemon.config.model import HiveConfig
from hive_daemon.config.problems import Problem, explain
from hive_daemon.config.references import Surroundings
from hive_daemon.config.schema import Kind, is_secret, key_at
from hive_daemon.config.sources import ConfigSources, default_socket, default_state_dir, find_file
from hive_daemon.config.tree import KeyPath, Tree, dotted, leaves, map_texts
from hive_daemon.errors import ConfigError

__all__ = ["ConfigSources", "LoadedConfig", "load_config", "show"]


def load_config(sources: ConfigSources) -> LoadedConfig:
    """Read and check the whole configuration.

    No file at all gives the defaults, without agents. Raises ConfigError with all problems at once.
    """
    path, search_warnings = find_file(sources)
    document = _read(path) if path is not None else Document({})
    environment = read_environment(sources.environ)
    draft = _draft(document, environment, sources)
    settled = _Settler(draft, sources, path.parent if path is not None else sources.cwd).settle()
    config, problems = _validate(settled, draft)
    sentences = (
        *document.problems,
        *environment.problems,
        *(each.sentence(draft) for each in problems),
    )
    if config is None or sentences:
        raise ConfigError(
            sentences, hint="docs/config.md describes every key", source=str(path or "")
        )
    warnings = (
        *search_warnings,
        *environment.warnings,
        *_file_warnings(path, document, draft),
        *advice(config, draft, sources.environ),
    )
    places = {dotted(written): draft.place(written) for written in draft.origins}
    provenance = _provenance(config, draft)
    return LoadedConfig(config, path, warnings, provenance, settled.references, places)


def _read(path: Path) -> Document:
    try:
        text = read_text(path, MAX_BYTES)
    except ConfigError as error:
        remedy = "correct the file or the path (--config, HIVE_CONFIG)"
        raise ConfigError(f"{error.problems[0]}, {remedy}", source=str(path)) from None
    if not text.strip():
        # What a full disk or a cut copy leaves behind.
        raise ConfigError(
            "is empty, write at least a comment, or remove the file", source=str(path)
        )
    try:
        document = parse(text)
    except ConfigError as error:
        raise ConfigError(error.problems, source=str(path)) from None
    if not isinstance(document.tree, dict | None):
        raise ConfigError("must be a mapping, lines of the form 'key: value'", source=str(path))
    return document


def _draft(document: Document, environment: EnvironmentReading, sources: ConfigSources) -> Draft:
    tree = document.tree if isinstance(document.tree, dict) else {}
    flags = [
        Setting(tuple(key.split(".")), value, FLAG)
        for key, value in sources.flags.items()
        if value is not None
    ]
    return draft_of_file(tree, document.lines).overlaid([*environment.settings, *flags])


@dataclass(frozen=True, slots=True)
class _Settled:
    """A draft's values with references resolved, paths absolute and path defaults filled in.

    `broken` are the keys whose reference yields nothing: the problems say so, the model need not.
    """

    tree: dict[str, Tree]
    references: Mapping[str, str]
    problems: tuple[Problem, ...]
    broken: frozenset[KeyPath]


class _Settler:
    """Resolves what a draft's texts mean."""

    def __init__(self, draft: Draft, sources: ConfigSources, file_base: Path) -> None:
        self._draft = draft
        self._sources = sources
        self._file_base = file_base
        self._references: dict[str, str] = {}
        self._problems: list[Problem] = []

    def settle(self) -> _Settled:
        tree = {
            key: map_texts(value, self._text, (key,)) for key, value in self._draft.tree.items()
        }
        tree.setdefault("state_dir", str(default_state_dir(self._sources)))
        tree.setdefault("socket", str(default_socket(self._sources, Path(str(tree["state_dir"])))))
        broken = frozenset(problem.path for problem in self._problems)
        return _Settled(tree, self._references, tuple(self._problems), broken)

    def _text(self, path: KeyPath, text: str) -> Tree:
        key = key_at(path)
        kind = key.kind if key is not None else None
        base = self._file_base if self._draft.origin(path) == FILE else self._sources.cwd
        value = self._resolved(path, text, base) if references.has_reference(text) else text
        if kind is Kind.PATH and value.strip() and "\0" not in value:
            return str(locate(value, base, self._sources.home))
        if value is not text and kind in (Kind.NUMBER, Kind.SWITCH):
            return _typed(value)
        return value

    def _resolved(self, path: KeyPath, text: str, base: Path) -> str:
        around = Surroundings(self._sources.environ, base, self._sources.home)
        if not is_secret(path):
            self._references[dotted(path)] = text
        try:
            return references.resolve(text, around)
        except ConfigError as error:
            self._problems.extend(Problem(path, problem) for problem in error.problems)
            return text


def _typed(text: str) -> Tree:
    """Return the number or the yes or no that a reference yielded; the model refuses what is neither."""
    try:
        return parse_value(text)
    except ConfigError:
        return text


def _validate(settled: _Settled, draft: Draft) -> tuple[HiveConfig | None, list[Problem]]:
    problems = list(settled.problems)
    config = None
    try:
        config = HiveConfig.model_validate(settled.tree)
    except ValidationError as error:
        problems.extend(
            problem for problem in explain(error, draft) if problem.path not in settled.broken
        )
    problems.extend(cross_check(settled.tree, draft.tree))
    return config, sorted(problems, key=lambda problem: draft.line(problem.path))


def _file_warnings(path: Path | None, document: Document, draft: Draft) -> Iterator[str]:
    if path is None:
        return
    for empty in empty_keys(document.tree):
        yield f"{dotted(empty)}: nothing is given, so the default holds{draft.place(empty)}"
    secrets = [at for at, value in leaves(draft.tree) if _is_literal_secret(at, value, draft)]
    for at in secrets:
        yield (
            f"{dotted(at)} stands in the file in clear, "
            f"write ${{env:NAME}} or ${{file:PATH}} instead{draft.place(at)}"
        )
    if secrets and is_world_readable(path):
        told = f"{path}: every user of this machine can read the secrets in it"
        yield f"{told}{TO_RUN}chmod o-r {shlex.quote(str(path))}"


def _is_literal_secret(path: KeyPath, value: Tree, draft: Draft) -> bool:
    is_text = isinstance(value, str) and bool(value)
    return (
        is_text
        and is_secret(path)
        and draft.origin(path) == FILE
        and references.is_literal(str(value))
    )


def _provenance(config: HiveConfig, draft: Draft) -> dict[str, str]:
    return {dotted(path): draft.origin(path) for path, _ in leaves(effective_tree(config))}
