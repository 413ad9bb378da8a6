"""Which model an entry point or a node wants to work with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wish:
    """The model that an entry point or a node names, with those to be asked after it; None leaves it as it is."""

    model: str | None = None
    fallbacks: tuple[str, ...] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is wished for."""
        return self.model is None and self.fallbacks is None


NO_WISH = Wish()
"""Whatever model there is."""
