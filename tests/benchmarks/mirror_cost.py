"""What the mirror costs per execution of three function nodes, written in full, beside the bare file operations.

    python -m tests.benchmarks.mirror_cost [DIRECTORY] [EXECUTIONS]

For a minute after many files were deleted, ext4 takes several times as long to make new ones: try again later.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from hive_daemon.clock import SYSTEM_CLOCK
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.mirror_files import Files
from hive_daemon.storage.mirror_fold import MirrorMeta, MirrorMode
from hive_daemon.storage.mirror_items import offered
from hive_daemon.storage.mirror_pages import Pages
from hive_daemon.storage.mirror_scribe import Scribe
from hive_daemon.storage.values import (
    Checkpoint,
    CheckpointKind,
    Ending,
    EventRecord,
    StepCommit,
    StoredEvent,
)
from tests.fakes.mirrored import AGENT, edge, event, node_completed

NODES = ("fetch", "parse", "report")
WALK = b'{"visits":{"fetch":1},"retries":{},"failed_nodes":[],"steps":1}'
RESULT = b'{"success":true,"output":{"answer":"%s"},"path":["fetch","parse","report"]}' % (
    b"y" * 300
)


def commits() -> list[tuple[StepCommit, tuple[EventRecord, ...]]]:
    made = []
    for number, node in enumerate(NODES, 1):
        patch = b'{"writes":[[0,"k%d","%s",1,0]],"path":["%s"]}' % (
            number,
            b"z" * 300,
            node.encode(),
        )
        is_last = number == len(NODES)
        last = event("execution_completed", None, 1e9) if is_last else edge(node, "next", 1e9)
        ending = Ending(ExecutionStatus.COMPLETED, RESULT) if is_last else None
        checkpoint = Checkpoint(CheckpointKind.NODE_COMPLETE, WALK, patch)
        step = StepCommit(number, node, checkpoint, steps=number, ending=ending)
        made.append((step, (node_completed(node, 1e9), last)))
    return made


def stored(record: EventRecord, seq: int, name: str) -> StoredEvent:
    where = (AGENT, "g", "s", record.node_id, name, name, name, ())
    return StoredEvent(seq, seq, record.type, record.timestamp, *where, record.data)


def mirror(root: Path, executions: int) -> float:
    """Mirror executions and return the CPU seconds that took."""
    files = Files()
    scribe = Scribe(Pages(files, MirrorMode.FULL, 5), SYSTEM_CLOCK, 5, 0)
    story, seq = commits(), 0
    began = time.thread_time()
    for number in range(executions):
        name = f"session_20260302_090000_{number:08x}"
        head = (
            AGENT,
            name,
            name,
            1,
            False,
            "g",
            "goal",
            "ep",
            "s",
            name,
            "shared",
            b"{}",
            1e9,
            1e9,
        )
        scribe.begin(MirrorMeta(*head, "t" * 32, root / "agents" / AGENT), 0)
        for step, records in story:
            events = [stored(record, seq + place, name) for place, record in enumerate(records, 1)]
            seq += len(records)
            scribe.take(offered(name, step, events, 1e9))
        scribe.settle([name])
    spent = time.thread_time() - began
    files.close()
    return spent


def bare(root: Path, executions: int) -> float:
    """Make the same directories and files by the shortest calls there are."""
    began = time.thread_time()
    for number in range(executions):
        for folder in ("", "/logs", "/checkpoints"):
            os.mkdir(f"{root}/{number}{folder}", 0o700)
        for name in ("state", "logs/a", "logs/b", *(f"checkpoints/{n}" for n in range(4))):
            fd = os.open(f"{root}/{number}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            os.write(fd, b"x" * 900)
            os.close(fd)
    return time.thread_time() - began


def main() -> None:
    where = sys.argv[1] if len(sys.argv) > 1 else None
    executions = int(sys.argv[2]) if len(sys.argv) > 2 else 2_000
    roots = [Path(tempfile.mkdtemp(dir=where)) for _ in range(2)]
    for work, root in zip((bare, mirror), roots, strict=True):
        spent = work(root, executions)
        print(f"{work.__name__:8} {spent / executions * 1e6:7.0f} us CPU per execution")
    for root in roots:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
