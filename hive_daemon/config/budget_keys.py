"""The keys of one budget in hive.yaml; what they mean is docs/budgets.md's."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hive_daemon.budgets.written import BudgetKeys, Place, read_rules
from hive_daemon.config.kinds import Section
from hive_daemon.errors import ConfigError


class BudgetConfig(BudgetKeys, Section):
    """A limit on what may be spent."""


BudgetList = Annotated[tuple[BudgetConfig, ...], Field(strict=False)]


def check_budgets(written: tuple[BudgetConfig, ...], place: Place, where: str = "") -> None:
    """Check budgets where they are written. Raises ValueError with the predicate of a sentence."""
    try:
        read_rules(written, place)
    except ConfigError as error:
        raise ValueError(f"is not right: {where}{'; '.join(error.problems)}") from None
