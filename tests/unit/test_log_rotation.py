"""The readable logs of an execution stay within their size, and are read as one whatever files they lie in."""

from hive_daemon.runtime.runtime_log_schemas import NodeStepLog
from hive_daemon.runtime.runtime_log_store import RuntimeLogStore
from hive_daemon.storage import files, mirror_files, mirror_pages
from hive_daemon.storage.mirror_files import Change, Files
from hive_daemon.storage.mirror_fold import Line
from hive_daemon.storage.mirror_pages import _logs

RUN = "session_20260302_090000_1a2b3c4d"


def small(monkeypatch, size=100):
    for module in (files, mirror_files, mirror_pages):
        monkeypatch.setattr(module, "LOG_BYTES", size)


def sizes(folder, name):
    return {path.name: path.stat().st_size for path in folder.glob(f"{name}*")}


def test_a_log_of_the_mirror_is_rotated_and_the_oldest_is_deleted(tmp_path, monkeypatch):
    small(monkeypatch)
    hand = Files()
    place = (str(tmp_path), "sessions", RUN)
    for number in range(60):
        line = f"{number:09d}\n".encode()
        hand.update(place, Change(lines={"logs/tool_logs.jsonl": line}))
    hand.close()
    folder = tmp_path / "sessions" / RUN / "logs"
    assert sizes(folder, "tool_logs.jsonl") == {
        "tool_logs.jsonl": 100,
        **{f"tool_logs.jsonl.{n}": 100 for n in (1, 2, 3)},
    }
    kept = files.read_log(folder / "tool_logs.jsonl").split()
    assert [int(line) for line in kept] == list(range(20, 60))


def test_a_log_that_is_rebuilt_has_the_files_it_would_have_grown_into(tmp_path, monkeypatch):
    small(monkeypatch)
    lines = [Line("logs/tool_logs.jsonl", n, f"{n:06d}\n".encode()) for n in range(100)]
    grown = Files()
    place = (str(tmp_path), "sessions", RUN)
    for line in lines:
        grown.update(place, Change(lines={line.file: line.text}))
    grown.close()
    folder = tmp_path / "sessions" / RUN
    rebuilt = _logs(lines)
    assert rebuilt == {name: (folder / name).read_bytes() for name in rebuilt}
    assert len(rebuilt) == files.LOG_FILES


async def test_the_log_store_rotates_what_it_writes_and_reads_every_file(tmp_path, monkeypatch):
    store = RuntimeLogStore(tmp_path)
    step = NodeStepLog(node_id="plan", tool_name="read", step_number=0)
    store.append_step(RUN, step)
    [file] = tmp_path.glob("**/tool_logs.jsonl")
    small(monkeypatch, 3 * file.stat().st_size)
    for number in range(1, 30):
        store.append_step(RUN, step.model_copy(update={"step_number": number}))
    logs = await store.load_tool_logs(RUN)
    assert logs is not None
    steps = [step.step_number for step in logs.steps]
    assert steps == list(range(steps[0], 30))
    assert len(sizes(file.parent, "tool_logs.jsonl")) == files.LOG_FILES
    assert max(sizes(file.parent, "tool_logs.jsonl").values()) <= files.LOG_BYTES
