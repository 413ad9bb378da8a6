"""The built-in tools for the data files of a session. Agents of the older system know them by these names and answers.

They find the directory in the execution's context (context.py); the model neither sees nor sets it. Each answers
`{"success": true, …}`; what goes wrong is an error in words.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from hive_daemon.errors import InvalidInput
from hive_daemon.tools.data_files import DataFiles
from hive_daemon.tools.on_unknown import OnUnknown

MOST_READ_BYTES = 100_000
"""The most that one call of `load_data` returns."""

_PREVIEW_CHARS = 200
_LONGEST_CHARACTER = 4

_Name = Annotated[str, "a plain name such as report.md"]


def save_data(filename: _Name, data: str, data_dir: str) -> dict[str, Any]:
    """Save a text as a data file of this session; a file of that name is replaced."""
    size = _files(data_dir).write(filename, _encoded(data))
    return {
        "success": True,
        "filename": filename,
        "size_bytes": size,
        "lines": len(data.splitlines()),
        "preview": data[:_PREVIEW_CHARS],
    }


def load_data(
    filename: _Name, data_dir: str, offset_bytes: int = 0, limit_bytes: int = 10_000
) -> dict[str, Any]:
    """Read a data file of this session, a part at a time: go on at `next_offset_bytes` while `has_more` is true."""
    if offset_bytes < 0 or limit_bytes < 1:
        raise InvalidInput("offset_bytes must be at least 0 and limit_bytes at least 1")
    limit = max(min(limit_bytes, MOST_READ_BYTES), _LONGEST_CHARACTER)
    piece = _files(data_dir).read(filename, offset_bytes, limit)
    is_last = offset_bytes + len(piece.content) >= piece.file_size_bytes
    text, taken = _characters(piece.content, is_last)
    return {
        "success": True,
        "filename": filename,
        "content": text,
        "offset_bytes": offset_bytes,
        "bytes_read": taken,
        "next_offset_bytes": None if is_last else offset_bytes + taken,
        "file_size_bytes": piece.file_size_bytes,
        "has_more": not is_last,
    }


def append_data(filename: _Name, data: str, data_dir: str) -> dict[str, Any]:
    """Add a text at the end of a data file of this session; the file is made if there is none."""
    added = _encoded(data)
    size = _files(data_dir).change(filename, lambda before: (before or b"") + added)
    return {
        "success": True,
        "filename": filename,
        "size_bytes": size,
        "appended_bytes": len(added),
    }


def edit_data(filename: _Name, old_text: str, new_text: str, data_dir: str) -> dict[str, Any]:
    """Replace a text in a data file of this session; it must occur there exactly once."""
    edit = _Edit(filename, old_text, new_text)
    size = _files(data_dir).change(filename, edit)
    return {"success": True, "filename": filename, "size_bytes": size, "replacements": 1}


def list_data_files(data_dir: str) -> dict[str, Any]:
    """List the data files of this session."""
    files = _files(data_dir).list()
    return {
        "success": True,
        "files": [{"filename": file.name, "size_bytes": file.size_bytes} for file in files],
        "count": len(files),
    }


def serve_file_to_user(
    filename: _Name, data_dir: str, label: str = "", open_in_browser: bool = False
) -> dict[str, Any]:
    """Hand a data file of this session to the person: the answer says where it is. No window is opened."""
    path = _files(data_dir).path(filename).absolute()
    return {
        "success": True,
        "filename": filename,
        "label": label or filename,
        "file_path": str(path),
        "file_uri": path.as_uri(),
        "opened_in_browser": False,
    }


BUILT_IN: dict[str, tuple[Callable[..., Any], OnUnknown]] = {
    "save_data": (save_data, OnUnknown.RETRY),
    "load_data": (load_data, OnUnknown.RETRY),
    "append_data": (append_data, OnUnknown.FAIL),
    "edit_data": (edit_data, OnUnknown.FAIL),
    "list_data_files": (list_data_files, OnUnknown.RETRY),
    "serve_file_to_user": (serve_file_to_user, OnUnknown.RETRY),
}
"""The tools that every agent may ask for, and what becomes of a call whose result a crash took."""


class _Edit:
    """One replacement in a text."""

    def __init__(self, filename: str, old: str, new: str) -> None:
        if not old:
            raise InvalidInput("old_text is empty: say which text to replace")
        self._filename = filename
        self._old, self._new = _encoded(old), _encoded(new)

    def __call__(self, before: bytes | None) -> bytes:
        count = (before or b"").count(self._old)
        if before is None:
            raise InvalidInput(f"there is no data file {self._filename!r}")
        if count != 1:
            found = "does not occur" if count == 0 else f"occurs {count} times"
            raise InvalidInput(f"old_text {found} in {self._filename!r}, it must occur once")
        return before.replace(self._old, self._new)


def _files(data_dir: str) -> DataFiles:
    return DataFiles(Path(data_dir))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", errors="replace")


def _characters(content: bytes, is_last: bool) -> tuple[str, int]:
    """Return the text of a part, and how many bytes it stands for: a character that is cut is left to the next part."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(content, is_last)
    return text, len(content) - len(decoder.getstate()[0])
