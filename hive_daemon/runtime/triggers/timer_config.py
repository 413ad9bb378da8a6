"""What a person may write into the `trigger_config` of a timer, and how mistakes in it are told.

Every key here is honoured; a key that nobody acts on does not exist, and an unknown one is refused.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StrictBool,
    StrictStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from hive_daemon.durations import format_duration, parse_duration
from hive_daemon.errors import ConfigError, InvalidInput
from hive_daemon.runtime.triggers.catchup import CatchUp
from hive_daemon.runtime.triggers.cron import parse_cron
from hive_daemon.runtime.triggers.schedule import (
    CronSchedule,
    IntervalSchedule,
    Schedule,
)
from hive_daemon.runtime.triggers.zones import read_zone


class Overlap(StrEnum):
    """What a timer does when it is due and its last execution still runs."""

    SKIP = "skip"
    BUFFER_ONE = "buffer_one"
    BUFFER_ALL = "buffer_all"
    CANCEL_OTHER = "cancel_other"
    ALLOW_ALL = "allow_all"


@dataclass(frozen=True, slots=True)
class TimerRules:
    """What a timer goes by while it runs, beside its schedule."""

    run_immediately: bool
    idle_timeout_seconds: float | None
    overlap: Overlap | None
    catchup: CatchUp
    catchup_window: float

    def overlap_for(self, max_concurrent: int) -> Overlap:
        """Return the overlap policy in force: the written one, else cancel_other for one slot, else skip."""
        if self.overlap is not None:
            return self.overlap
        return Overlap.CANCEL_OTHER if max_concurrent == 1 else Overlap.SKIP


@lru_cache(maxsize=1024)
def _one(rules: TimerRules) -> TimerRules:
    """Return the one object that stands for these rules: thousands of timers share a few."""
    return rules


def _read_duration(value: object) -> float:
    if not isinstance(value, str):
        raise InvalidInput(f"{value!r} has no unit, write for example 90s, 5m or 1h30m")
    return parse_duration(value)


Duration = Annotated[float, BeforeValidator(_read_duration), PlainSerializer(format_duration)]
"""Written as text with units, held as seconds."""

_Seconds = Annotated[float, Field(ge=0, strict=True, allow_inf_nan=False)]
_Minutes = Annotated[float, Field(gt=0, strict=True)]


class TimerConfig(BaseModel):
    """The `trigger_config` of a timer. Use `read` where a person's text comes in.

    Exactly one of `cron`, `interval_minutes` and `every` says when; as in the older system, `cron` may stand
    beside `interval_minutes` and wins, which `remarks` tells.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cron: StrictStr | None = None
    interval_minutes: _Minutes | None = None
    every: Duration | None = None
    timezone: StrictStr | None = None
    """IANA name; None is the daemon's default."""
    run_immediately: StrictBool = False
    """Also fire when the daemon starts."""
    idle_timeout_seconds: _Seconds | None = None
    """Skip while the graph works and was last active less than this ago; None and 0 are no gate."""
    overlap: Overlap | None = None
    """None: derived from `max_concurrent`, see `TimerRules.overlap_for`."""
    catchup: CatchUp = CatchUp.ONE
    catchup_window: Duration = 900.0
    """How late a missed occurrence may still be fired."""

    @classmethod
    def read(cls, trigger_config: Mapping[str, object]) -> Self:
        """Read what a person wrote. Raises ConfigError with one sentence for each mistake."""
        try:
            return cls.model_validate(dict(trigger_config))
        except ValidationError as error:
            raise ConfigError(_sentence(problem) for problem in error.errors()) from None

    @property
    def remarks(self) -> tuple[str, ...]:
        """Sentences on what is legal here but has no effect."""
        if self.cron is not None and self.interval_minutes is not None:
            return ("interval_minutes: has no effect beside cron, which wins",)
        return ()

    def schedule(self, default_zone: tzinfo, anchor: float) -> Schedule:
        """Return the schedule; `anchor` (wall seconds) is occurrence 0 of an interval, cron has no use for it."""
        zone = default_zone if self.timezone is None else read_zone(self.timezone)
        if self.cron is not None:
            return CronSchedule(self.cron, zone)
        period_seconds = self.every or 60 * (self.interval_minutes or 0.0)
        return IntervalSchedule(period_seconds, anchor, zone)

    @property
    def rules(self) -> TimerRules:
        """What the timer goes by while it runs."""
        return _one(
            TimerRules(
                self.run_immediately,
                self.idle_timeout_seconds,
                self.overlap,
                self.catchup,
                self.catchup_window,
            )
        )

    @field_validator("cron")
    @classmethod
    def _cron_can_be_read(cls, value: str | None) -> str | None:
        if value is not None:
            parse_cron(value)
        return value

    @field_validator("interval_minutes", "every")
    @classmethod
    def _interval_is_possible(cls, value: float | None, about: ValidationInfo) -> float | None:
        if value is not None:
            seconds = value * 60 if about.field_name == "interval_minutes" else value
            IntervalSchedule(seconds, anchor=0.0)
        return value

    @field_validator("timezone")
    @classmethod
    def _zone_exists(cls, value: str | None) -> str | None:
        if value is not None:
            read_zone(value)
        return value

    @model_validator(mode="after")
    def _says_when_once(self) -> Self:
        if self.cron is None and self.interval_minutes is None and self.every is None:
            raise InvalidInput("a timer needs one of cron, interval_minutes and every")
        if self.every is not None and not (self.cron is None and self.interval_minutes is None):
            raise InvalidInput(
                "every cannot stand beside cron or interval_minutes, keep one of them"
            )
        return self


def _sentence(problem: ErrorDetails) -> str:
    where = ".".join(str(step) for step in problem["loc"])
    if problem["type"] in ("extra_forbidden", "invalid_key"):
        near = difflib.get_close_matches(where, TimerConfig.model_fields, n=1)
        known = ", ".join(TimerConfig.model_fields)
        hint = f"did you mean {near[0]}?" if near else f"known are {known}"
        return f"{where}: unknown key, {hint}"
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, InvalidInput):
        return f"{where}: {cause}" if where else str(cause)
    message = problem["msg"].removeprefix("Input should be ")
    return f"{where}: must be {message}, not {problem['input']!r}"
