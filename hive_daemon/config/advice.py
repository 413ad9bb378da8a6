"""What is valid in hive.yaml and would still do nothing: a budget of nobody, an alert that calls no program."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from hive_daemon.config.draft import Draft
from hive_daemon.config.model import HiveConfig


def advice(config: HiveConfig, draft: Draft, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a warning for each key that is probably not meant; programs are looked for as the environment says."""
    yield from _budgets_of_nobody(config, draft)
    yield from _missing_programs(config, draft, environ.get("PATH"))


def _budgets_of_nobody(config: HiveConfig, draft: Draft) -> Iterator[str]:
    names = [agent.agent_name for agent in config.agents]
    for index, budget in enumerate(config.budgets):
        kind, _, subject = (budget.scope or "").partition(":")
        agent, slash, _ = subject.partition("/")
        if agent in names or not (kind == "agent" or (kind == "entry_point" and slash)):
            continue
        close = get_close_matches(agent, names, n=1)
        remedy = f"did you mean {close[0]}?" if close else "no agent of this file is called so"
        place = draft.place(("budgets", index, "scope"))
        yield f'budgets[{index}].scope: "{budget.scope}" limits nothing: {remedy}{place}'


def _missing_programs(config: HiveConfig, draft: Draft, path: str | None) -> Iterator[str]:
    for index, alert in enumerate(config.alerts):
        if alert.command is not None and shutil.which(alert.command[0], path=path) is None:
            place = draft.place(("alerts", index, "command"))
            yield (
                f'alerts[{index}].command: "{alert.command[0]}" cannot be run, so nobody would be told; '
                f"correct the path, or make it executable{place}"
            )
