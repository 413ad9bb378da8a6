"""A conversation with a model: its messages, always a valid history, and how it is made shorter.

Laws: what goes to the model answers each tool call exactly once, a synthetic `interrupted` result standing in where
there is none; shortening never splits a call from its result. A conversation keeps nothing itself: it names its changes
(`changes`), and `visit` makes them durable; for programs that use it on its own it writes through to a `store`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Self

from hive_daemon.graph.conversation_store import ConversationStore

Role = Literal["user", "assistant", "tool"]
Place = tuple[str, int]
"""Where a message is kept: the phase it belongs to (empty: this one), and its number there."""

CHARS_PER_TOKEN = 4
PRUNED_FROM_CHARS = 400
"""A shorter tool result is not worth removing."""

INTERRUPTED = (
    "interrupted: the run stopped before this call had a result; it may or may not have had its effect. "
    "Check before you repeat it."
)


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    `phase_id` is the node that it was said in; a transition marker opens a node's part. `origin` is the phase that
    keeps it, empty for this conversation's own; `covers` are the phases whose content a summary stands for.
    """

    seq: int
    role: Role
    content: str
    tool_use_id: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    is_error: bool = False
    phase_id: str | None = None
    is_transition_marker: bool = False
    origin: str = ""
    covers: tuple[str, ...] = ()

    @property
    def chars(self) -> int:
        """Its length, arguments of calls included."""
        calls = self.tool_calls or ()
        return len(self.content) + sum(len(str(call.get("function", ""))) for call in calls)

    def to_llm_dict(self) -> dict[str, Any]:
        """Write it as the chat completions protocol has it."""
        if self.role == "tool":
            content = f"ERROR: {self.content}" if self.is_error else self.content
            return {"role": "tool", "tool_call_id": self.tool_use_id or "", "content": content}
        if self.tool_calls:
            content_or_none = self.content or None
            return {"role": self.role, "content": content_or_none, "tool_calls": self.tool_calls}
        return {"role": self.role, "content": self.content}

    def to_storage_dict(self) -> dict[str, Any]:
        """Return it as JSON values; `from_storage_dict` is its inverse, but for `origin`."""
        kept: dict[str, Any] = {"seq": self.seq, "role": self.role, "content": self.content}
        for name in _OPTIONAL:
            if value := getattr(self, name):
                kept[name] = list(value) if isinstance(value, tuple) else value
        return kept

    @classmethod
    def from_storage_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_storage_dict` wrote; unknown keys are passed over."""
        known = {
            name: data[name] for name in ("seq", "role", "content", *_OPTIONAL) if name in data
        }
        known["covers"] = tuple(known.get("covers", ()))
        return cls(**known)


_OPTIONAL = tuple(
    field.name
    for field in fields(Message)
    if field.name not in ("seq", "role", "content", "origin")
)


class NodeConversation:
    """The messages of a conversation, and how much of the model's window they take."""

    def __init__(
        self,
        system_prompt: str = "",
        max_history_tokens: int = 32_000,
        compaction_threshold: float = 0.8,
        output_keys: list[str] | None = None,
        store: ConversationStore | None = None,
    ) -> None:
        self.system_prompt = system_prompt
        self.max_history_tokens = max_history_tokens
        self.compaction_threshold = compaction_threshold
        self.output_keys = list(output_keys or ())
        self.next_seq = 0
        self.changes: dict[Place, Message | None] = {}
        self._messages: list[Message] = []
        self._phase: str | None = None
        self._store = store
        self._overhead_tokens = 0
        self._counted: tuple[int, int] | None = None

    # --- what it holds ----------------------------------------------------------------------

    @property
    def messages(self) -> list[Message]:
        """The messages, oldest first."""
        return list(self._messages)

    @property
    def message_count(self) -> int:
        """How many messages there are."""
        return len(self._messages)

    @property
    def turn_count(self) -> int:
        """How many answers the model gave."""
        return sum(message.role == "assistant" for message in self._messages)

    @property
    def chars(self) -> int:
        """The length of all messages."""
        return sum(message.chars for message in self._messages)

    @property
    def last(self) -> Message | None:
        """The newest message."""
        return self._messages[-1] if self._messages else None

    def open_calls(self) -> list[dict[str, Any]]:
        """Return the tool calls of the newest answer that have no result yet."""
        answered: set[str | None] = set()
        for message in reversed(self._messages):
            if message.role == "assistant":
                return [call for call in message.tool_calls or () if call["id"] not in answered]
            if message.role != "tool":
                break
            answered.add(message.tool_use_id)
        return []

    def to_llm_messages(self) -> list[dict[str, Any]]:
        """Return the history for a model call: valid, whatever was kept."""
        return [message.to_llm_dict() for message in repaired(self._messages)]

    # --- growing ----------------------------------------------------------------------------

    def load(self, messages: Iterable[Message], next_seq: int = 0) -> None:
        """Take over messages that are kept already; new ones get numbers above theirs and from `next_seq` on."""
        self._messages.extend(messages)
        self.next_seq = max([next_seq, *(message.seq + 1 for message in self._messages)])

    def append(self, role: Role, content: str, **details: Any) -> Message:
        """Add a message; `details` are further fields of `Message`."""
        message = Message(self.next_seq, role, clean_text(content), phase_id=self._phase, **details)
        self.next_seq += 1
        self._messages.append(message)
        self.changes["", message.seq] = message
        return message

    def adopt(self, message: Message) -> None:
        """Add a copy of a message of another conversation, or of an earlier part of this one."""
        copy = replace(message, seq=self.next_seq, origin="", covers=())
        self.next_seq += 1
        self._messages.append(copy)
        self.changes["", copy.seq] = copy

    async def add_user_message(
        self, content: str, *, is_transition_marker: bool = False
    ) -> Message:
        """Add what a person, or the engine, says."""
        return await self._kept(
            self.append("user", content, is_transition_marker=is_transition_marker)
        )

    async def add_assistant_message(
        self, content: str, tool_calls: list[dict[str, Any]] | None = None
    ) -> Message:
        """Add an answer of the model."""
        return await self._kept(self.append("assistant", content, tool_calls=tool_calls))

    async def add_tool_result(
        self, tool_use_id: str, content: str, is_error: bool = False
    ) -> Message:
        """Add what a tool answered."""
        return await self._kept(
            self.append("tool", content, tool_use_id=tool_use_id, is_error=is_error)
        )

    def set_current_phase(self, phase_id: str | None) -> None:
        """Name the node that what follows is said in."""
        self._phase = phase_id

    def update_system_prompt(self, system_prompt: str) -> None:
        """Set the system prompt for the calls that follow."""
        self.system_prompt = system_prompt

    # --- how much it takes ------------------------------------------------------------------

    def reserve(self, chars: int) -> None:
        """Say how long the parts of a request are that are no messages: the prompt, the tools."""
        self._overhead_tokens = _tokens(chars)

    def update_token_count(self, input_tokens: int) -> None:
        """Take over how many tokens the model counted for all that is here now."""
        self._counted = (input_tokens, len(self._messages)) if input_tokens > 0 else None

    def estimate_tokens(self) -> int:
        """Return the tokens of the next request: what the model counted, and a guess for what came after."""
        tokens, known = self._counted or (self._overhead_tokens, 0)
        return tokens + _tokens(sum(message.chars for message in self._messages[known:]))

    def usage_ratio(self) -> float:
        """Return the share of the window that is used."""
        return self.estimate_tokens() / self.max_history_tokens if self.max_history_tokens else 0.0

    def needs_compaction(self) -> bool:
        """Say whether it is time to make it shorter."""
        return self.usage_ratio() >= self.compaction_threshold

    # --- getting shorter --------------------------------------------------------------------

    def prune(self, protect_tokens: int = 5_000, min_prune_tokens: int = 2_000) -> int:
        """Put a placeholder for tool results older than the newest `protect_tokens`; return how many.

        Errors stay. Nothing is done if it would gain less than `min_prune_tokens`.
        """
        protected, gained, found = 0, 0, []
        for index in range(len(self._messages) - 1, -1, -1):
            message = self._messages[index]
            if message.role != "tool" or message.is_error:
                continue
            if protected < protect_tokens:
                protected += _tokens(message.chars)
            elif message.chars >= PRUNED_FROM_CHARS:
                gained += _tokens(message.chars)
                found.append(index)
        if not found or gained < min_prune_tokens:
            return 0
        for index in found:
            self._put_placeholder(index)
        self._counted = None
        return len(found)

    def shorten(self, summary: str, keep_recent: int, keep: Sequence[Message] = ()) -> None:
        """Replace all but the newest messages by a summary; `keep` are older ones to keep behind it.

        What is kept is written anew, so that the records hold the summary before anything is gone.
        """
        recent = self.recent(keep_recent)
        kept = [*(message for message in keep if message not in recent), *recent]
        gone = {message.origin for message in self._messages if message.origin}
        gone.update(phase for message in self._messages for phase in message.covers)
        for message in self._messages:
            if not message.origin:
                self.changes["", message.seq] = None
        self._messages = []
        self.append("user", summary, covers=tuple(sorted(gone)))
        for message in kept:
            self.adopt(message)
        self._counted = None

    def recent(self, count: int) -> list[Message]:
        """Return the newest messages, more of them where a result would lose its call."""
        start = max(0, len(self._messages) - count)
        while start > 0 and start < len(self._messages) and self._messages[start].role == "tool":
            start -= 1
        return self._messages[start:]

    async def prune_old_tool_results(
        self, protect_tokens: int = 5_000, min_prune_tokens: int = 2_000
    ) -> int:
        """Do what `prune` does."""
        count = self.prune(protect_tokens, min_prune_tokens)
        await self._write_changes()
        return count

    async def compact(self, summary: str, keep_recent: int = 2) -> None:
        """Do what `shorten` does; without anything older than `keep_recent` messages, nothing."""
        if len(self.recent(keep_recent)) < len(self._messages):
            self.shorten(summary, keep_recent)
            await self._write_changes()

    async def clear(self) -> None:
        """Forget every message."""
        for message in self._messages:
            self.changes[message.origin, message.seq] = None
        self._messages = []
        self._counted = None
        await self._write_changes()

    def export_summary(self, limit: int = 200) -> str:
        """Return a digest: a line for each message, its text cut to `limit` characters."""
        return "\n".join(_line(message, limit) for message in self._messages)

    # --- for programs that use it on its own ------------------------------------------------

    @classmethod
    async def restore(cls, store: ConversationStore) -> Self | None:
        """Return the conversation that a store holds, None if it holds none."""
        parts = await store.read_parts()
        if not parts:
            return None
        conversation = cls(store=store)
        conversation.load(Message.from_storage_dict(part) for part in parts)
        return conversation

    async def _kept(self, message: Message) -> Message:
        await self._write_changes()
        return message

    async def _write_changes(self) -> None:
        if self._store is None:
            return
        for message in [message for message in self.changes.values() if message is not None]:
            await self._store.write_part(message.seq, message.to_storage_dict())
        if None in self.changes.values():
            first = min((message.seq for message in self._messages), default=self.next_seq)
            await self._store.delete_parts_before(first)
        self.changes.clear()

    def _put_placeholder(self, index: int) -> None:
        message = self._messages[index]
        text = f"[a result of {len(message.content):,} characters, removed to save room]"
        pruned = replace(message, content=text)
        self._messages[index] = pruned
        self.changes[message.origin, message.seq] = pruned


def repaired(messages: Iterable[Message]) -> list[Message]:
    """Return the messages with exactly one result for each tool call, right behind it, and no other results."""
    valid: list[Message] = []
    waiting: dict[str, Message | None] = {}
    for message in messages:
        if message.role == "tool":
            if message.tool_use_id in waiting and waiting[message.tool_use_id] is None:
                waiting[message.tool_use_id] = message
            continue
        valid.extend(_results(waiting, valid))
        valid.append(message)
        waiting = {str(call["id"]): None for call in message.tool_calls or ()}
    valid.extend(_results(waiting, valid))
    return valid


def _results(waiting: Mapping[str, Message | None], valid: Sequence[Message]) -> list[Message]:
    seq = valid[-1].seq if valid else 0
    return [
        found or Message(seq, "tool", INTERRUPTED, tool_use_id=call, is_error=True)
        for call, found in waiting.items()
    ]


def _line(message: Message, limit: int) -> str:
    text = " ".join(message.content.split())
    cut = f"{text[:limit]}…" if len(text) > limit else text
    names = [str(call.get("function", {}).get("name")) for call in message.tool_calls or ()]
    called = f" [calls {', '.join(names)}]" if names else ""
    return f"{message.role}: {cut}{called}"


def _tokens(chars: int) -> int:
    return -(-chars // CHARS_PER_TOKEN)


def clean_text(text: str) -> str:
    """Return the text without lone surrogates, which no file and no request can hold."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def clean_json(value: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON object whose texts are clean."""
    text = json.dumps(value, ensure_ascii=False)
    cleaned: dict[str, Any] = value if text.isascii() else json.loads(clean_text(text))
    return cleaned
