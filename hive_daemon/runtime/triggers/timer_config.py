"""What a person may write into the `trigger_config` of a timer, and how mistakes in it are told.

Every key here is honoured; a key that nobody acts on does not exist, and an unknown one is refused.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, tzinfo
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from hive_daemon.durations import format_duration
from hive_daemon.errors import ConfigError, InvalidInput
from hive_daemon.runtime.triggers.catchup import CatchUp
from hive_daemon.runtime.triggers.cron import parse_cron
from hive_daemon.runtime.triggers.schedule import IntervalSchedule, Schedule
from hive_daemon.runtime.triggers.timer_plan import Plan, build_schedule, require_possible
from hive_daemon.runtime.triggers.timer_text import Crons, Duration, Moment, Moments
from hive_daemon.runtime.triggers.trimmed import share_of
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
    pause_on_failure: int = 5
    """So many failed executions in a row pause the timer; 0 never does."""
    starts_paused: bool = False
    """It is paused from the moment it becomes known, until somebody resumes it."""
    note: str = ""
    """What its owner wants people to know of it."""
    remaining_actions: int | None = None
    """How many executions it may start in all, counted by the ledger; None is no end."""

    def overlap_for(self, max_concurrent: int) -> Overlap:
        """Return the overlap policy in force: the written one, else cancel_other for one slot, else skip."""
        if self.overlap is not None:
            return self.overlap
        return Overlap.CANCEL_OTHER if max_concurrent == 1 else Overlap.SKIP


@lru_cache(maxsize=1024)
def _one(rules: TimerRules) -> TimerRules:
    """Return the one object that stands for these rules: thousands of timers share a few."""
    return rules


_WHEN = ("cron", "crons", "interval_minutes", "every", "at")
"""The keys that say when: one of them is needed."""

_Positive = Annotated[int, Field(ge=1, strict=True)]
_Count = Annotated[int, Field(ge=0, strict=True)]
_Note = Annotated[StrictStr, Field(max_length=500)]
_Seconds = Annotated[float, Field(ge=0, strict=True, allow_inf_nan=False)]
_Minutes = Annotated[float, Field(gt=0, strict=True)]


class TimerConfig(BaseModel):
    """The `trigger_config` of a timer. Use `read` where a person's text comes in.

    Exactly one of `cron`, `crons`, `interval_minutes`, `every` and `at` says when; as in the older system, `cron` may
    stand beside `interval_minutes` and wins, which `remarks` tells. A schedule of which nothing can ever be due is
    refused; one whose last occurrence has passed is not.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cron: StrictStr | None = None
    crons: Crons = ()
    """Several expressions, any of which is enough."""
    interval_minutes: _Minutes | None = None
    every: Duration | None = None
    at: Moments = ()
    """Single instants; one without an offset is a wall time of the timer's zone."""
    timezone: StrictStr | None = None
    """IANA name; None is the daemon's default."""
    phase: Duration | None = None
    """An interval's instants are 1970-01-01T00:00Z + phase + n · period; None: counted from its start."""
    jitter: Duration = 0.0
    """Every occurrence begins later by one share of this, which is drawn from the timer's id."""
    exclude: Crons = ()
    """Nothing is due in a minute that the wall shows and one of these names."""
    start_time: Moment | None = None
    """Nothing is due before it; without a phase it is occurrence 0 of an interval."""
    end_time: Moment | None = None
    """Nothing is due after it."""
    remaining_actions: _Positive | None = None
    """How many executions it may start in all; None is no end."""
    run_immediately: StrictBool = False
    """Also fire when the daemon starts."""
    idle_timeout_seconds: _Seconds | None = None
    """Skip while the graph works and was last active less than this ago; None and 0 are no gate."""
    overlap: Overlap | None = None
    """None: derived from `max_concurrent`, see `TimerRules.overlap_for`."""
    catchup: CatchUp = CatchUp.ONE
    catchup_window: Duration = 900.0
    """How late a missed occurrence may still be fired."""
    pause_on_failure: _Count = 5
    """So many failed executions in a row pause it; 0 never does."""
    paused: StrictBool = False
    """It begins paused, until somebody resumes it."""
    note: _Note = ""
    """What people should know of it."""

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

    @property
    def period_seconds(self) -> float | None:
        """The period of an interval, None for every other timer."""
        if self.cron is not None:
            return None
        if self.interval_minutes is not None:
            return 60 * self.interval_minutes
        return self.every

    def schedule(self, default_zone: tzinfo, anchor: float, timer_id: str = "") -> Schedule:
        """Return the schedule of the timer with this id, which its jitter is drawn from.

        `anchor` (wall seconds) is occurrence 0 of an interval that neither `phase` nor `start_time` pins down.
        """
        return build_schedule(self._plan(default_zone), anchor, share_of(self.jitter, timer_id))

    def _plan(self, default_zone: tzinfo) -> Plan:
        return Plan(
            zone=default_zone if self.timezone is None else read_zone(self.timezone),
            crons=(self.cron,) if self.cron is not None else self.crons,
            period_seconds=self.period_seconds,
            moments=self.at,
            phase=self.phase,
            exclude=self.exclude,
            start=self.start_time,
            end=self.end_time,
        )

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
                self.pause_on_failure,
                self.paused,
                self.note,
                self.remaining_actions,
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
        written = [key for key in _WHEN if getattr(self, key) not in (None, ())]
        if not written:
            raise InvalidInput(f"a timer needs one of {', '.join(_WHEN[:-1])} and {_WHEN[-1]}")
        if len(written) > 1 and written != ["cron", "interval_minutes"]:
            raise InvalidInput(f"{' and '.join(written)} cannot stand together, keep one of them")
        return self

    @model_validator(mode="after")
    def _phase_is_of_an_interval(self) -> Self:
        if self.phase is None:
            return self
        if self.period_seconds is None:
            raise InvalidInput(
                "phase: belongs to every or interval_minutes, cron and at say their times themselves"
            )
        if self.phase >= self.period_seconds:
            raise InvalidInput(
                f"phase: {format_duration(self.phase)} is not shorter than the interval of "
                f"{format_duration(self.period_seconds)}, take away whole intervals"
            )
        return self

    @model_validator(mode="after")
    def _can_be_due(self) -> Self:
        zone = None if self.timezone is None else read_zone(self.timezone)
        require_possible(self._plan(zone or UTC), is_zone_known=zone is not None)
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
        # A mistake in a member of a list begins with its place, [2], which belongs to the key.
        apart = "" if str(cause).startswith("[") else ": "
        return f"{where}{apart}{cause}" if where else str(cause)
    message = problem["msg"].removeprefix("Input should be ")
    return f"{where}: must be {message}, not {problem['input']!r}"
