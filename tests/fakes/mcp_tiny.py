"""An MCP server by hand, of the standard library alone: it starts at once, and misbehaves as it is told.

    python -I -S mcp_tiny.py MODE [MARK]

MARK does nothing; it is there to be found in the list of processes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

TOOLS = [
    {"name": name, "description": "", "inputSchema": {"type": "object", "properties": {}}}
    for name in ("ok", "crash", "hang")
]


def send(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def answer(number: Any, result: dict[str, Any]) -> None:
    send({"id": number, "result": result})


def handle(mode: str, message: dict[str, Any]) -> None:
    method, number = message.get("method"), message.get("id")
    if mode == "deaf" or number is None:
        return
    match method:
        case "initialize":
            version = message["params"]["protocolVersion"]
            info = {"name": "tiny", "version": "1"}
            answer(
                number,
                {
                    "protocolVersion": version,
                    "capabilities": {"tools": {}},
                    "serverInfo": info,
                },
            )
        case "tools/list":
            listed(mode, number)
        case "tools/call":
            called(mode, number, message["params"]["name"])
        case _:
            send({"id": number, "error": {"code": -32601, "message": "no such method"}})


def listed(mode: str, number: Any) -> None:
    page: dict[str, Any] = {"tools": TOOLS}
    if mode == "endless_list":
        page["nextCursor"] = "more"
    answer(number, page)
    if mode == "quits":
        sys.exit(4)


def called(mode: str, number: Any, name: str) -> None:
    if name == "crash":
        os._exit(3)
    if name == "hang":
        return
    if mode == "long_line":
        sys.stdout.write("x" * (20 * 1024 * 1024) + "\n")
        sys.stdout.flush()
    while mode == "flood":
        send({"method": "notifications/message", "params": {"level": "info", "data": "x" * 1000}})
    answer(number, {"content": [{"type": "text", "text": "ok"}]})


def main(mode: str, mark: str) -> None:
    if mode == "broken":
        sys.stderr.write("first line\nno key, no service: hunter2hunter2\n")
        sys.exit(9)
    if mode == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if mode in ("breeds", "stubborn"):
        child = [sys.executable, "-I", "-S", __file__, "orphan", mark]
        subprocess.Popen(child, start_new_session=True)
    if mode == "orphan":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
    if mode == "chatty":
        sys.stdout.write("Welcome to the tiny server!\n\n{\n")
    for line in sys.stdin:
        handle(mode, json.loads(line))
    while mode == "stubborn":
        time.sleep(600)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "")
