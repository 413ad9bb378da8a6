"""What the tests of the daemon as a process share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.daemon_process import Place, opened_place
from tests.fakes.gate import Gate, opened_gate


@pytest.fixture
def place() -> Iterator[Place]:
    """A place for a daemon with the witness agent."""
    with opened_place() as place:
        place.environ["WITNESS"] = str(place.path / "witness")
        place.environ["GATE"] = str(place.path / "gate")
        place.write(agents=[str(place.agent("witness"))])
        yield place


@pytest.fixture
def gate(place: Place) -> Iterator[Gate]:
    """A gate that nodes of the witness agent wait at."""
    with opened_gate(place.path / "gate") as gate:
        yield gate
