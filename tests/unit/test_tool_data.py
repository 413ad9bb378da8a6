"""The built-in data tools, and the directory that they never leave."""

from __future__ import annotations

import asyncio
import json
import os
import string
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hive_daemon.errors import InvalidInput, NotFound, StorageFull
from hive_daemon.llm.values import ToolResult, ToolUse
from hive_daemon.tools import data_files
from hive_daemon.tools.context import reset_execution_context, set_execution_context
from hive_daemon.tools.data_files import DataFiles, check_file_name
from hive_daemon.tools.data_tools import BUILT_IN, load_data, save_data
from hive_daemon.tools.registry import ToolRegistry


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "session" / "data"


@pytest.fixture
def files(folder):
    return DataFiles(folder)


@pytest.fixture
async def call(folder):
    """Call a data tool as a model does."""
    registry = ToolRegistry()
    registry.equip(BUILT_IN)
    executor = registry.get_executor()
    token = set_execution_context(data_dir=str(folder))

    async def called(name: str, **inputs: Any) -> Any:
        result: ToolResult = await executor.run(ToolUse("c", name, inputs))
        return result.content if result.is_error else json.loads(result.content)

    yield called
    reset_execution_context(token)


# --- what each tool answers ---------------------------------------------------------------------


async def test_a_text_is_saved_and_read_again(call, folder):
    saved = await call("save_data", filename="a.md", data="one\ntwo é\n")
    assert saved == {
        "success": True,
        "filename": "a.md",
        "size_bytes": 11,
        "lines": 2,
        "preview": "one\ntwo é\n",
    }
    assert await call("load_data", filename="a.md") == {
        "success": True,
        "filename": "a.md",
        "content": "one\ntwo é\n",
        "offset_bytes": 0,
        "bytes_read": 11,
        "next_offset_bytes": None,
        "file_size_bytes": 11,
        "has_more": False,
    }
    assert (folder / "a.md").stat().st_mode & 0o777 == 0o600


async def test_a_long_file_is_read_in_parts(call):
    await call("save_data", filename="a", data="x" * 25_000)
    part = await call("load_data", filename="a")
    assert (part["bytes_read"], part["next_offset_bytes"], part["has_more"]) == (
        10_000,
        10_000,
        True,
    )
    last = await call("load_data", filename="a", offset_bytes=20_000)
    assert (last["bytes_read"], last["next_offset_bytes"], last["has_more"]) == (5_000, None, False)


async def test_a_text_is_added_at_the_end(call):
    await call("append_data", filename="log", data="a\n")
    added = await call("append_data", filename="log", data="b\n")
    assert (added["size_bytes"], added["appended_bytes"]) == (4, 2)
    assert (await call("load_data", filename="log"))["content"] == "a\nb\n"


async def test_texts_added_side_by_side_are_all_there(call):
    await asyncio.gather(*(call("append_data", filename="log", data=f"{n}\n") for n in range(40)))
    content = (await call("load_data", filename="log"))["content"]
    assert sorted(content.split(), key=int) == [str(n) for n in range(40)]


async def test_a_text_is_replaced_where_it_occurs_once(call):
    await call("save_data", filename="a", data="one two two")
    assert (await call("edit_data", filename="a", old_text="one", new_text="1"))["success"]
    assert (await call("load_data", filename="a"))["content"] == "1 two two"
    twice = await call("edit_data", filename="a", old_text="two", new_text="2")
    assert twice == "old_text occurs 2 times in 'a', it must occur once"
    never = await call("edit_data", filename="a", old_text="ten", new_text="10")
    assert never == "old_text does not occur in 'a', it must occur once"


async def test_what_is_not_there_cannot_be_edited_or_read(call):
    missing = await call("edit_data", filename="a", old_text="x", new_text="y")
    assert missing == "there is no data file 'a'"
    await call("save_data", filename="b", data="")
    assert await call("load_data", filename="a") == "there is no data file 'a'; there are: b"


async def test_files_are_listed(call):
    assert (await call("list_data_files"))["files"] == []
    await call("save_data", filename="b", data="12")
    await call("save_data", filename="a", data="1")
    assert await call("list_data_files") == {
        "success": True,
        "files": [{"filename": "a", "size_bytes": 1}, {"filename": "b", "size_bytes": 2}],
        "count": 2,
    }


async def test_a_file_is_handed_to_the_person(call, folder):
    await call("save_data", filename="a b.md", data="x")
    served = await call("serve_file_to_user", filename="a b.md", open_in_browser=True)
    assert served["file_path"] == str(folder / "a b.md")
    assert served["file_uri"].endswith("/a%20b.md")
    assert (served["label"], served["opened_in_browser"]) == ("a b.md", False)


async def test_the_model_sees_no_directory():
    registry = ToolRegistry()
    for tool in registry.equip(BUILT_IN):
        assert "data_dir" not in tool.parameters["properties"]
        assert tool.description


# --- names --------------------------------------------------------------------------------------

ESCAPES = (
    "",
    ".",
    "..",
    "../a",
    "a/b",
    "/etc/passwd",
    "a\\b",
    ".hidden",
    "a\0b",
    "a\nb",
    "\x7f",
    "x" * 201,
    "é" * 101,
    "\ud800",
)


@pytest.mark.parametrize("name", ESCAPES)
@pytest.mark.parametrize("tool", ["save_data", "append_data", "load_data", "serve_file_to_user"])
async def test_a_name_that_is_no_plain_name_is_refused(call, tool, name, tmp_path):
    given = {"filename": name} | ({"data": "x"} if "_data" in tool and "load" not in tool else {})
    assert "data file" in await call(tool, **given)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


NAMES = st.text(st.characters() | st.sampled_from("./\\\0 "), min_size=1, max_size=12)


@given(NAMES)
@settings(max_examples=100)
def test_what_is_a_name_stays_in_the_directory(name):
    try:
        check_file_name(name)
    except InvalidInput:
        return
    base = Path("/base/data")
    assert Path(os.path.normpath(base / name)).parent == base
    assert (base / name).name == name


# --- confinement --------------------------------------------------------------------------------


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret.txt"
    path.write_text("secret")
    return path


def test_a_symbolic_link_is_neither_read_nor_written_through(files, folder, secret):
    folder.mkdir(parents=True)
    (folder / "link").symlink_to(secret)
    with pytest.raises(InvalidInput):
        files.read("link")
    with pytest.raises(InvalidInput):
        files.change("link", lambda before: b"changed")
    files.write("link", b"own")
    assert secret.read_text() == "secret"
    assert not (folder / "link").is_symlink()


def test_a_second_name_of_a_foreign_file_is_not_read_and_not_changed(files, folder, secret):
    folder.mkdir(parents=True)
    (folder / "hard").hardlink_to(secret)
    with pytest.raises(InvalidInput, match="is not a data file of this session"):
        files.read("hard")
    files.write("hard", b"own")
    assert secret.read_text() == "secret"


def test_a_directory_that_is_a_link_is_refused(tmp_path, secret):
    (tmp_path / "data").symlink_to(secret.parent)
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        DataFiles(tmp_path / "data").read("secret.txt")


def test_a_pipe_is_not_waited_for(files, folder):
    folder.mkdir(parents=True)
    os.mkfifo(folder / "pipe")
    with pytest.raises(InvalidInput):
        files.read("pipe")
    assert files.list() == []


# --- bounds -------------------------------------------------------------------------------------


def test_a_file_has_a_largest_size(files, monkeypatch):
    monkeypatch.setattr(data_files, "MOST_FILE_BYTES", 10)
    files.write("a", b"x" * 10)
    with pytest.raises(StorageFull, match="a data file has at most"):
        files.change("a", lambda before: (before or b"") + b"x")
    assert files.read("a").content == b"x" * 10


def test_a_file_that_grew_beyond_its_bound_is_not_cut_by_a_change(files, folder, monkeypatch):
    files.write("a", b"x" * 20)
    monkeypatch.setattr(data_files, "MOST_FILE_BYTES", 10)
    with pytest.raises(StorageFull):
        files.change("a", lambda before: before or b"")
    assert (folder / "a").stat().st_size == 20


def test_the_number_of_files_and_their_sum_are_bounded(files, monkeypatch):
    monkeypatch.setattr(data_files, "MOST_FILES", 2)
    monkeypatch.setattr(data_files, "MOST_BYTES", 10)
    files.write("a", b"12345")
    with pytest.raises(StorageFull, match="together"):
        files.write("b", b"123456")
    files.write("b", b"12345")
    with pytest.raises(StorageFull, match="at most 2 data files"):
        files.write("c", b"")
    files.write("a", b"1")


def test_a_read_returns_at_most_its_bound(files, folder):
    save_data("a", "x" * 300_000, str(folder))
    assert load_data("a", str(folder), limit_bytes=10**9)["bytes_read"] == 100_000


# --- whole or not at all ------------------------------------------------------------------------


def test_a_change_that_fails_leaves_the_file_and_no_draft(files, folder):
    files.write("a", b"before")

    def fail(before: bytes | None) -> bytes:
        raise NotFound("no")

    with pytest.raises(NotFound):
        files.change("a", fail)
    assert [path.name for path in folder.iterdir()] == ["a"]
    assert files.read("a").content == b"before"


def test_a_reader_sees_the_old_file_or_the_new_one(files):
    files.write("a", b"0" * 50_000)
    seen: set[bytes] = set()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            seen.update({files.read("a").content})

    reader = threading.Thread(target=look)
    reader.start()
    for number in range(1, 10):
        files.write("a", str(number).encode() * 50_000)
    done.set()
    reader.join()
    assert all(len(content) == 50_000 and len(set(content)) == 1 for content in seen)


def test_changes_of_several_processes_come_one_after_the_other(folder):
    source = (
        "import sys; from pathlib import Path; from hive_daemon.tools.data_files import DataFiles\n"
        "for _ in range(20): DataFiles(Path(sys.argv[1])).change('n', lambda b: (b or b'') + b'x')"
    )
    command = [sys.executable, "-c", source, str(folder)]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(30) for process in processes] == [0, 0, 0]
    assert (folder / "n").read_bytes() == b"x" * 60


# --- characters ---------------------------------------------------------------------------------

TEXTS = st.text(st.sampled_from(string.ascii_letters + "é€😀\n"), max_size=60)


@given(TEXTS, st.integers(1, 9))
@settings(max_examples=60)
def test_reading_part_by_part_gives_the_whole_text(tmp_path_factory, text, limit):
    folder = str(tmp_path_factory.mktemp("data"))
    save_data("a", text, folder)
    found, offset = "", 0
    for _ in range(len(text.encode()) + 1):
        part = load_data("a", folder, offset_bytes=offset, limit_bytes=limit)
        found += part["content"]
        if not part["has_more"]:
            break
        offset = part["next_offset_bytes"]
    assert found == text


@given(st.binary(min_size=1, max_size=60), st.integers(1, 9))
@settings(max_examples=60)
def test_bytes_that_are_no_text_are_read_to_the_end(tmp_path_factory, content, limit):
    folder = tmp_path_factory.mktemp("data")
    DataFiles(folder).write("a", content)
    offset = 0
    for _ in range(len(content) + 1):
        part = load_data("a", str(folder), offset_bytes=offset, limit_bytes=limit)
        if not part["has_more"]:
            break
        assert part["next_offset_bytes"] > offset
        offset = part["next_offset_bytes"]
    assert not part["has_more"]
    assert part["offset_bytes"] + part["bytes_read"] == len(content)
