"""What crosses to the process that writes the mirror: the files' share of a commit, whole, in order, and no more."""

from __future__ import annotations

from pathlib import Path

from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.chronicle import ShownEvent, ShownStep
from hive_daemon.storage.mirror_fold import MirrorMeta
from hive_daemon.storage.mirror_items import (
    Answer,
    Barrier,
    Begun,
    Closed,
    Lag,
    LagAsked,
    Offered,
    Rebuilt,
    offered,
)
from hive_daemon.storage.mirror_wire import Frames, frame
from hive_daemon.storage.values import Checkpoint, CheckpointKind, Ending, StepCommit, StoredEvent

META = MirrorMeta(
    *("a", "s", "s-2", 2, True, "g", "goal", "ep", "stream", "c", "shared", b"{}", 1.0, 2.0, "t"),
    Path("/state/agents/a"),
)
CHECKPOINT = Checkpoint(CheckpointKind.NODE_COMPLETE, b"{}", b'{"writes":[]}', True, "next")


def crossed(*values: object) -> list[object]:
    """Return values as they arrive."""
    return Frames().take(frame(values))


def event(seq: int, kind: str) -> StoredEvent:
    return StoredEvent(seq, seq, kind, 3.0, "a", "g", "stream", "n", "s-2", "s", "c", (), b"{}")


def test_what_is_said_of_every_execution_arrives_as_it_was() -> None:
    said = [Begun(META, 3), Barrier(("s",), 4), Answer(4, None), Answer(5, Rebuilt.STALE)]
    assert crossed(*said) == said


def test_what_is_said_now_and_then_arrives_as_it_was() -> None:
    said = [LagAsked(1), Answer(1, Lag(("s",), 7)), Closed()]
    assert crossed(*said) == said


def test_of_a_commit_arrives_what_the_files_show() -> None:
    ending = Ending(ExecutionStatus.FAILED, b"{}", "no disk", "storage_full", b"{}")
    step = StepCommit(5, "n", CHECKPOINT, records={"a secret": b"x"}, ending=ending, steps=4)
    events = [event(1, "node_started"), event(2, "node_completed"), event(3, "execution_failed")]
    shown = ShownEvent(2, "node_completed", 3.0, "s-2", "n", b"{}")
    seen = ShownStep(5, "n", 4, CHECKPOINT, Ending(ExecutionStatus.FAILED, b"{}", "no disk"))
    told = offered("s-2", step, events, 9.0)
    assert crossed(told) == [Offered("s-2", seen, 1, 3, [shown], 9.0)]
    assert b"a secret" not in frame([told])


def test_a_commit_without_a_checkpoint_arrives_without_one() -> None:
    (arrived,) = crossed(offered("s-2", StepCommit(5), (), 9.0))
    assert arrived == Offered("s-2", ShownStep(5, None, None, None, None), 0, 0, [], 9.0)


def test_what_changed_without_a_step_arrives_without_one() -> None:
    said = Offered("s-2", None, 0, 0, [], 9.0)
    assert crossed(said) == [said]


def test_frames_are_put_together_from_whatever_pieces_arrive() -> None:
    said = [Begun(META, 0), LagAsked(1), Barrier(("s",), 2)]
    sent = b"".join(frame([one]) for one in said)
    frames = Frames()
    assert [one for byte in sent for one in frames.take(bytes([byte]))] == said
