"""The prompts under the names that older programs import; the engine's own are in `prompts`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hive_daemon.graph.edge import GraphSpec
from hive_daemon.graph.memory import NodeMemory
from hive_daemon.graph.node import NodeSpec
from hive_daemon.graph.prompts import narrative as tell

MARKER_CHARS = 300
"""Characters of a value in a transition marker."""


def compose_system_prompt(
    identity_prompt: str | None,
    focus_prompt: str | None,
    narrative: str | None = None,
    accounts_prompt: str | None = None,
) -> str:
    """Join the parts of a system prompt, those that there are."""
    focus = f"# This step\n{focus_prompt}" if focus_prompt else None
    parts = (identity_prompt, accounts_prompt, narrative, focus)
    return "\n\n".join(part for part in parts if part)


def build_narrative(memory: NodeMemory, execution_path: list[str], graph: GraphSpec) -> str:
    """Tell how far a run has come: its steps, and what memory holds."""
    labels = {node.id: node.label for node in graph.nodes}
    known = {key: value for key, value in memory.read_all().items() if value is not None}
    return tell(known, [labels.get(node, node) for node in execution_path])


def build_transition_marker(
    previous_node: NodeSpec,
    next_node: NodeSpec,
    memory: NodeMemory,
    cumulative_tool_names: Sequence[str],
    data_dir: Path | str | None = None,
    adapt_content: str | None = None,
) -> str:
    """Compose the message between two nodes of one conversation: what is done, what there is, what comes."""
    known = {key: value for key, value in memory.read_all().items() if value is not None}
    parts = [
        f"Done: {previous_node.label}. {previous_node.description}".strip(),
        tell(known, [], MARKER_CHARS),
        _files(data_dir),
        f"Tools: {', '.join(sorted(cumulative_tool_names))}." if cumulative_tool_names else "",
        f"What the agent noted for itself:\n{adapt_content}" if adapt_content else "",
        f"The next step: {next_node.label}. {next_node.description}".strip(),
    ]
    return "\n\n".join(part for part in parts if part)


def _files(data_dir: Path | str | None) -> str:
    folder = Path(data_dir) if data_dir else None
    if folder is None or not folder.is_dir():
        return ""
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    return f"Data files: {', '.join(names)}." if names else ""
