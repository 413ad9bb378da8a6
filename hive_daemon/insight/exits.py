"""Why a daemon ended itself, and what it was at: what it noted before, and what that says of an execution. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hive_daemon.insight.story import span


@dataclass(frozen=True, slots=True)
class AtWork:
    """An execution that ran, with the nodes that were at work in it; `is_blocking`: what hung was a part of it."""

    execution_id: str
    entry_point: str
    nodes: tuple[str, ...] = ()
    is_blocking: bool = False


@dataclass(frozen=True, slots=True)
class ExitNote:
    """An end that the daemon chose because its event loop was blocked.

    `at` in wall seconds, `seconds` is how long it had been blocked, `stack` where it hung: `function (file:line)`, the
    innermost first, without values.
    """

    at: float
    code: int
    seconds: float
    stack: tuple[str, ...] = ()
    at_work: tuple[AtWork, ...] = ()

    @property
    def sentence(self) -> str:
        """Why it ended, in half a sentence."""
        where = f", in {self.stack[0]}" if self.stack else ""
        return f"its event loop was blocked for {span(self.seconds)}{self._by}{where}"

    @property
    def _by(self) -> str:
        guilty = [each for each in self.at_work if each.is_blocking]
        return "".join(
            f" by node {' or '.join(each.nodes) or '?'} of {each.execution_id}" for each in guilty
        )

    def told_of(self, execution_id: str) -> str:
        """Say what that end was for an execution; empty if it did not run."""
        found = self.about(execution_id)
        if found is None:
            return ""
        where = f" at node {' and '.join(found.nodes)}" if found.nodes else ""
        return f"the daemon ended itself ({self.code}) while it ran{where}: {self.sentence}"

    def about(self, execution_id: str) -> AtWork | None:
        """Return what was noted of an execution; None if it did not run."""
        return next((each for each in self.at_work if each.execution_id == execution_id), None)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> ExitNote:
        """Read what `to_json` wrote. Raises KeyError, TypeError, ValueError for anything else."""
        return cls(
            float(document["at"]),
            int(document["code"]),
            float(document["seconds"]),
            tuple(str(frame) for frame in document["stack"]),
            tuple(
                AtWork(
                    str(each["execution_id"]),
                    str(each["entry_point"]),
                    tuple(str(node) for node in each["nodes"]),
                    bool(each["is_blocking"]),
                )
                for each in document["at_work"]
            ),
        )
