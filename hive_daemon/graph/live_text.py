"""What the model writes, shown while it writes: coalesced, and only if somebody listens."""

from __future__ import annotations

from collections.abc import Callable

from hive_daemon.clock import Clock
from hive_daemon.graph.facts import Fact, Recorder
from hive_daemon.graph.model_facts import ClientOutputDelta, LlmReasoningDelta, LlmTextDelta

FLUSH_CHARS = 200
FLUSH_SECONDS = 0.05


class LiveText:
    """Shows the text of one model call in pieces of at least 200 characters or 50 ms.

    Laws: the pieces of a try, put together, are its text; a further try begins with a reset if anything was shown.
    """

    def __init__(
        self, recorder: Recorder, clock: Clock, node_id: str, *, is_client_facing: bool
    ) -> None:
        self._recorder = recorder
        self._clock = clock
        self._node_id = node_id
        self._fact: Callable[..., Fact] = ClientOutputDelta if is_client_facing else LlmTextDelta
        self._attempt = 1
        self._said: list[str] = []
        self._pending: list[str] = []
        self._pending_chars = 0
        self._thinks = False
        self._since = 0.0
        self._was_shown = False

    @property
    def text(self) -> str:
        """All text of this try."""
        if len(self._said) > 1:
            self._said = ["".join(self._said)]
        return "".join(self._said)

    def begin(self, attempt: int) -> None:
        """Forget the try before, and say so to whoever saw it."""
        self._attempt = attempt
        self._said, self._pending, self._pending_chars = [], [], 0
        if self._was_shown and self._recorder.is_watched:
            self._recorder.show(self._fact(self._node_id, "", "", attempt, is_reset=True))
        self._was_shown = False

    def write(self, text: str) -> None:
        """Take a piece of text."""
        self._said.append(text)
        self._add(text, thinks=False)

    def think(self, text: str) -> None:
        """Take a piece of reasoning."""
        self._add(text, thinks=True)

    def flush(self) -> None:
        """Show what was held back."""
        content = "".join(self._pending)
        self._pending, self._pending_chars = [], 0
        if not content or not self._recorder.is_watched:
            return
        self._was_shown = True
        if self._thinks:
            self._recorder.show(LlmReasoningDelta(self._node_id, content, self._attempt))
        else:
            self._recorder.show(self._fact(self._node_id, content, self.text, self._attempt))

    def _add(self, text: str, *, thinks: bool) -> None:
        if thinks != self._thinks:
            self.flush()
            self._thinks = thinks
        now = self._clock.monotonic()
        if not self._pending:
            self._since = now
        self._pending.append(text)
        self._pending_chars += len(text)
        if self._pending_chars >= FLUSH_CHARS or now - self._since >= FLUSH_SECONDS:
            self.flush()
