"""How a program that holds a model loop talks to it: it puts words in, and may shut the loop down."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Said:
    """Something that was put in; `is_client` if a person said it to the node."""

    content: str
    is_client: bool

    @property
    def text(self) -> str:
        """How the model is told."""
        return self.content if self.is_client else f"[External event]: {self.content}"


class InputGate:
    """What was put in and not taken yet, and whether the loop was shut down."""

    def __init__(self) -> None:
        self.is_shut = False
        self._said: list[Said] = []
        self._news = asyncio.Event()

    def put(self, content: str, *, is_client: bool) -> None:
        """Put something in."""
        self._said.append(Said(content, is_client))
        self._news.set()

    def shut(self) -> None:
        """Let nobody wait any longer."""
        self.is_shut = True
        self._news.set()

    def take(self) -> list[str]:
        """Return what was put in since."""
        said, self._said = self._said, []
        if not self.is_shut:
            self._news.clear()
        return [one.text for one in said]

    async def wait(self) -> None:
        """Wait until something is put in, or the gate is shut."""
        await self._news.wait()
