"""Tools of the desk: marked functions, some of which write into the session's directory."""

from __future__ import annotations

from pathlib import Path

from framework.runner.tool_registry import _execution_context, tool

LIBRARY = {
    "tides": ["Almanac 1911: the moon raises them.", "Harbour office: twice a day."],
    "winds": ["Sailor's guide: they change."],
}


def _data_dir() -> Path:
    context = _execution_context.get()
    if not context or not context.get("data_dir"):
        raise RuntimeError("data_dir is not set in the execution context")
    folder = Path(context["data_dir"])
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@tool(description="Search the library for a word.")
def search_library(word: str, limit: int = 5) -> dict:
    found = LIBRARY.get(word.lower(), [])
    return {"word": word, "found": found[:limit], "count": len(found)}


@tool(description="Note a finding in the session's notes.")
def note_finding(text: str) -> dict:
    path = _data_dir() / "notes.md"
    with path.open("a") as file:
        file.write(f"- {text}\n")
    return {"noted": True, "lines": len(path.read_text().splitlines())}


@tool(description="Write the report out of the notes.")
def write_report(title: str) -> dict:
    notes = (_data_dir() / "notes.md").read_text()
    (_data_dir() / "report.md").write_text(f"# {title}\n\n{notes}")
    return {"filename": "report.md", "bytes": len(notes)}
