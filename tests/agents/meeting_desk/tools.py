"""The calendar, which is a file of the session."""

import json
from pathlib import Path

from framework.runner.tool_registry import _execution_context, tool


@tool
def free_slots(day: str) -> list:
    """List the free times of a day."""
    return [] if day == "sunday" else [f"{day} 10:00", f"{day} 15:00"]


@tool
async def book_slot(slot: str, attendees: list[str]) -> dict:
    """Book a time.

    Args:
        slot: as free_slots named it
        attendees: who comes
    """
    data_dir = Path(_execution_context.get()["data_dir"])
    data_dir.mkdir(parents=True, exist_ok=True)
    booking = {"slot": slot, "attendees": attendees}
    (data_dir / "booking.json").write_text(json.dumps(booking))
    return {"booked": True}
