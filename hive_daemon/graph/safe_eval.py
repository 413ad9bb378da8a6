"""The documented import path of `safe_eval`; the language itself lives in expression.py."""

from hive_daemon.graph.expression import safe_eval

__all__ = ["safe_eval"]
