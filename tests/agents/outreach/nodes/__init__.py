"""The nodes, each in a module of its own."""

from outreach.nodes.talking import confirm_node, intake_node
from outreach.nodes.working import draft_node, load_node, send_node

__all__ = ["confirm_node", "draft_node", "intake_node", "load_node", "send_node"]
