"""`framework.runner.tool_registry`: the tool registry under the path that agent folders import."""

from __future__ import annotations

from hive_daemon.tools.calling import RegisteredTool
from hive_daemon.tools.context import _execution_context
from hive_daemon.tools.function_tool import tool
from hive_daemon.tools.registry import ToolRegistry

__all__ = ["RegisteredTool", "ToolRegistry", "_execution_context", "tool"]
