"""What is wrong with a graph, all of it at once: errors, which refuse it, and warnings, which do not.

Pure: nothing is imported, resolved or asked for. Cron expressions and tools are checked where they are known.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from hive_daemon.graph.edge import GraphSpec
from hive_daemon.graph.validation_errors import ERRORS
from hive_daemon.graph.validation_view import GraphView
from hive_daemon.graph.validation_warnings import WARNINGS


class Severity(StrEnum):
    """Whether a problem refuses the graph."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where (`edges[3] 'e1'`), and what, with the remedy."""

    severity: Severity
    where: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.where}: {self.sentence}"


def problems_of(graph: GraphSpec, registered: Iterable[str] = ()) -> list[Problem]:
    """Return everything that is wrong with a graph, errors first.

    `registered` are the ids of nodes for which the program brings an implementation of its own.
    """
    view = GraphView(graph, frozenset(registered))
    return [
        Problem(severity, where, sentence)
        for severity, checks in ((Severity.ERROR, ERRORS), (Severity.WARNING, WARNINGS))
        for check in checks
        for where, sentence in check(view)
    ]


def errors_of(graph: GraphSpec, registered: Iterable[str] = ()) -> list[str]:
    """Return what refuses a graph, as sentences; empty when it can run."""
    return _sentences(graph, registered, Severity.ERROR)


def warnings_of(graph: GraphSpec, registered: Iterable[str] = ()) -> list[str]:
    """Return what looks wrong in a graph that can run, as sentences."""
    return _sentences(graph, registered, Severity.WARNING)


def _sentences(graph: GraphSpec, registered: Iterable[str], severity: Severity) -> list[str]:
    return [str(p) for p in problems_of(graph, registered) if p.severity is severity]
