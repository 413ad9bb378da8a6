"""The tool: each use is one line `key step life` in the file WITNESS, on the disk before the tool answers.

With GATED set, it waits at the socket GATE before it answers.
"""

import os
import random
import socket
import time

from framework.runner.tool_registry import tool

from hive_daemon.tools.context import idempotency_key


def on_record(*words):
    record = os.open(os.environ["WITNESS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(record, (" ".join([*words, os.environ["LIFE"]]) + "\n").encode())
        os.fsync(record)
    finally:
        os.close(record)


@tool
def note(step: int) -> str:
    """Write something down."""
    on_record(idempotency_key.get(), str(step))
    if "GATED" in os.environ:
        with socket.socket(socket.AF_UNIX) as gate:
            gate.connect(os.environ["GATE"])
            gate.sendall(f"- - {os.environ['LIFE']}\n".encode())
            gate.makefile().readline()
    time.sleep(random.uniform(0.005, 0.02))
    return f"noted {step}"


def done(said, ctx):
    on_record(f"{ctx.execution_id}:done:1:0", "0")
    return said
