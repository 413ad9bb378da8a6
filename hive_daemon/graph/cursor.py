"""Where a visit of a model loop stands: everything that a later process needs to go on with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any, Self

from hive_daemon.graph.loop import Window
from hive_daemon.graph.node import NOTHING_SPENT, NodeStats

ACCEPTED = "accepted"


class Stage(StrEnum):
    """How far a tool call without a result has come."""

    BEGUN = "begun"
    """It may have run: that it starts was made durable."""
    HELD = "held"
    """It did not start: a person is to be asked first."""
    ASKED = "asked"
    """The person is asked."""


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A tool call of the newest answer that has no result yet, the `number`-th of the visit.

    `why` is the reason for asking. `arguments` are those that a person put in place of the model's.
    """

    number: int
    stage: Stage = Stage.BEGUN
    why: str = ""
    arguments: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Cursor:
    """One visit of one node.

    `phase` is where its messages are kept, `beside` the phases of nodes that ran at the same time. `ending` says how
    the visit ended, empty while it goes on. `answers` counts the answers of a person that were taken in; `question` is
    set while one is awaited. `turns` counts answers of the model, `steps` the tool calls of the execution at this node,
    `calls` those of this visit; `open` holds those without a result, by the id of the call. `spent` is what it cost
    since that was last reported, and its verdicts.
    """

    execution_id: str
    visit: int
    phase: str
    beside: tuple[str, ...] = ()
    ending: str = ""
    window: Window = field(default_factory=Window)
    answers: int = 0
    question: str | None = None
    options: tuple[str, ...] = ()
    turns: int = 0
    steps: int = 0
    calls: int = 0
    open: Mapping[str, OpenCall] = field(default_factory=dict)
    spent: NodeStats = NOTHING_SPENT

    @property
    def is_open(self) -> bool:
        """Whether the visit goes on."""
        return not self.ending

    def is_of(self, execution_id: str, visit: int) -> bool:
        """Say whether it is this visit of the node."""
        return self.execution_id == execution_id and self.visit == visit

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values; `from_json` is its inverse."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        shaped = {"window": self.window.to_json(), "spent": asdict(self.spent)}
        return {**plain, **shaped, "open": {id: asdict(call) for id, call in self.open.items()}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        values = {**data, "window": Window.from_json(data["window"])}
        values["spent"] = NodeStats(**data["spent"])
        calls: Mapping[str, Any] = data.get("open", {})
        values["open"] = {
            id: OpenCall(**{**call, "stage": Stage(call["stage"])}) for id, call in calls.items()
        }
        for name in ("beside", "options"):
            values[name] = tuple(values[name])
        return cls(**values)
