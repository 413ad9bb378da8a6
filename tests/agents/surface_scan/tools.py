"""The scanner; what it finds goes into the session's directory."""

import json
from pathlib import Path

from framework.runner.tool_registry import _execution_context, tool


@tool(description="Scan the ports of a host.")
def scan_ports(host: str, first: int = 1, last: int = 1024) -> dict:
    found = [port for port in (22, 80, 443, 8080) if first <= port <= last]
    folder = Path(_execution_context.get()["data_dir"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"scan_{last}.json").write_text(json.dumps(found))
    return {"host": host, "open": found}
