"""The nodes: each run is one line in the file WITNESS, on the disk before the node does anything else.

A line is `execution node life running`: `life` numbers the processes of a test, `running` counts the nodes at work in
this process, this one included. `hold` and `deaf` knock at the socket GATE and wait there to be let
through; with GATED set, `first` does so as well.
"""

import asyncio
import logging
import os
import random
import socket
import threading
import time
from contextlib import contextmanager, suppress

_turn = threading.Lock()
_running = 0


@contextmanager
def on_record(ctx):
    global _running
    with _turn:
        _running += 1
        line = f"{ctx.execution_id} {ctx.node_id} {os.environ['LIFE']} {_running}\n"
        record = os.open(os.environ["WITNESS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(record, line.encode())
            os.fsync(record)
        finally:
            os.close(record)
    try:
        yield
    finally:
        with _turn:
            _running -= 1


def a_while():
    return random.uniform(0.005, 0.03)


async def first(n, ctx):
    with on_record(ctx):
        if "GATED" in os.environ:
            await at_the_gate(ctx)
        await asyncio.sleep(a_while())
        return n


def left(n, ctx):
    with on_record(ctx):
        time.sleep(a_while())
        return n


async def right(n, ctx):
    with on_record(ctx):
        await asyncio.sleep(a_while())
        return 2 * n


def last(left, right, ctx):
    with on_record(ctx):
        return left + right


async def at_the_gate(ctx):
    reader, writer = await asyncio.open_unix_connection(os.environ["GATE"])
    try:
        writer.write(f"{ctx.execution_id} {ctx.session_id} {os.environ['LIFE']}\n".encode())
        return (await reader.readline()).decode().strip()
    finally:
        writer.close()


async def hold(n, ctx):
    with on_record(ctx):
        return await at_the_gate(ctx)


def deaf(n, ctx):
    with on_record(ctx), socket.socket(socket.AF_UNIX) as gate:
        gate.connect(os.environ["GATE"])
        gate.sendall(f"{ctx.execution_id} {ctx.session_id} {os.environ['LIFE']}\n".encode())
        return gate.makefile().readline().strip()


async def numb(n, ctx):
    with on_record(ctx):
        _, writer = await asyncio.open_unix_connection(os.environ["GATE"])
        writer.write(f"{ctx.execution_id} {ctx.session_id} {os.environ['LIFE']}\n".encode())
        while True:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)


async def fatal(n, ctx):
    """Do what no boundary can catch: break the daemon's own work off."""
    with on_record(ctx):
        for task in asyncio.all_tasks():
            if task.get_name() == "main":
                task.cancel()
        await asyncio.sleep(3600)


def released(held, ctx):
    with on_record(ctx):
        return held


def noted(ctx):
    with on_record(ctx):
        return True


def say(text, ctx):
    logger = logging.getLogger("witness")
    logger.warning("the node says %s", text, extra={"text": text, "nested": {"deep": [text]}})
    try:
        raise ValueError(f"it cannot bear {text}")
    except ValueError:
        logger.exception("the node failed")
    if ctx.input_data.get("raises"):
        raise ValueError(f"the node fails with {text}")
    return text
