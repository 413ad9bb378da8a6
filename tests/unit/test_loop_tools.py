"""Tools in a model loop: together, in order, in time, and whatever they do."""

import asyncio
import json
import threading

import pytest

from hive_daemon.graph.event_loop_node import LoopConfig
from hive_daemon.graph.framework_tools import decode_output
from hive_daemon.graph.tool_calls import Outcome, mark_of
from hive_daemon.llm.values import Tool, ToolResult, ToolUse
from hive_daemon.tools.context import (
    idempotency_key,
    reset_execution_context,
    set_execution_context,
)
from hive_daemon.tools.registry import ToolRegistry
from tests.fakes.loop_world import PlayedModel, Tools, World, calls, node, says, sets


def played(*answers, **fields):
    return World(model=PlayedModel(*answers), **fields)


def results(world):
    return [m["content"] for m in world.model.last if m["role"] == "tool"]


async def test_the_calls_of_one_answer_run_together_and_are_answered_in_order():
    meeting = asyncio.Barrier(3)

    async def meet(use):
        await meeting.wait()
        return use.input["q"]

    wanted = [("search", {"q": q}) for q in "abc"]
    world = played(calls(*wanted), says("Done."), tools=Tools(search=lambda use: meet(use)))
    await world.run(node())
    assert results(world) == ["a", "b", "c"]


async def test_changes_of_a_data_file_are_made_in_the_order_of_the_answer(tmp_path):
    """An answer that saves, adds and hands over means it so; in threads side by side, one would overtake the other."""
    pieces = [str(n) for n in range(8)]
    chosen = [("save_data", {"filename": "a.txt", "data": "begin"})]
    chosen += [("append_data", {"filename": "a.txt", "data": f" {piece}"}) for piece in pieces]
    chosen += [("load_data", {"filename": "a.txt"})]
    registry = ToolRegistry()
    names = registry.offer_built_ins(name for name, _ in chosen)
    tools = list(registry.get_tools().values())
    world = played(calls(*chosen), says("Done."), tools=registry.get_executor())
    token = set_execution_context(data_dir=str(tmp_path))
    await world.run(node(tools=names), available_tools=tools)
    reset_execution_context(token)
    assert json.loads(results(world)[-1])["content"] == " ".join(["begin", *pieces])


async def test_what_was_chosen_is_durable_before_a_tool_starts():
    world = played(calls(("search", {"q": "a"})), says("Done."))
    seen = []
    world.tools = Tools(search=lambda use: seen.append(world.recorder.kinds()) or "x")
    await world.run(node())
    assert seen == [
        ["node_loop_started", "node_loop_iteration", "llm_turn_complete", "tool_call_started"]
    ]


async def test_a_completed_call_tells_everything_about_itself():
    world = played(calls(("search", {"q": "a"})), calls(("write", {"text": "t"})), says("Done."))
    world.tools = Tools(write=lambda use: ToolResult(use.id, "disk full", is_error=True))
    await world.run(node())
    first, second = world.recorder.of("tool_call_completed")
    assert (first.tool_name, first.tool_input, first.result) == ("search", {"q": "a"}, "search ran")
    assert (first.step_number, first.is_error, first.tool_error) == (1, False, None)
    assert (second.step_number, second.is_error, second.tool_error) == (2, True, "disk full")


async def test_a_plain_executor_runs_in_a_worker_thread():
    threads = []

    def executor(use):
        threads.append(threading.current_thread() is threading.main_thread())
        return ToolResult(use.id, "ok")

    world = played(calls(("search", {})), says("Done."), tools=executor)
    await world.run(node())
    assert threads == [False]


async def test_a_plain_executor_may_answer_with_something_to_await():
    async def later(use):
        return ToolResult(use.id, "later")

    world = played(calls(("search", {})), says("Done."), tools=lambda use: later(use))
    await world.run(node())
    assert results(world) == ["later"]


async def test_a_raising_tool_is_an_error_for_the_model():
    def fail(use):
        raise ValueError("no such file")

    world = played(calls(("search", {})), says("Done."), tools=Tools(search=fail))
    result = await world.run(node())
    assert result.success
    assert results(world) == ["ERROR: search failed: ValueError: no such file"]


async def test_a_slow_tool_is_given_up():
    async def hang(use):
        await asyncio.Event().wait()

    world = played(
        calls(("search", {})),
        says("Done."),
        tools=Tools(search=lambda use: hang(use)),
        config=LoopConfig(tool_call_timeout_seconds=0.01),
    )
    await world.run(node())
    assert results(world)[0].startswith("ERROR: search gave no result within 0.01 s")


async def test_a_hanging_thread_is_given_up():
    release = threading.Event()
    world = played(
        calls(("search", {})),
        says("Done."),
        tools=lambda use: release.wait(),
        config=LoopConfig(tool_call_timeout_seconds=0.01),
    )
    await world.run(node())
    release.set()
    assert "gave no result within" in results(world)[0]


async def test_an_unknown_tool_is_answered_with_the_nearest():
    world = played(calls(("serch", {})), says("Done."))
    await world.run(node())
    assert results(world) == ["ERROR: There is no tool 'serch' in this step. Did you mean search?"]
    assert world.tools.uses == []


async def test_a_tool_that_was_not_offered_is_not_called():
    world = played(calls(("search", {})), says("Done."))
    await world.run(node(), available_tools=[])
    assert world.tools.uses == []
    assert "There is no tool 'search'" in results(world)[0]


@pytest.mark.parametrize("name", ["search", "set_output"])
async def test_arguments_that_are_no_json_are_refused_and_quoted(name):
    world = played(calls((name, {"_raw": '{"q": "a'})), sets(a="x"), says("Done."))
    result = await world.run(node(output_keys=["a"]))
    assert result.output == {"a": "x"}
    assert f"The arguments of {name} are not a valid JSON object" in results(world)[0]
    assert world.tools.uses == []


async def test_malformed_calls_without_end_stall_with_their_text():
    world = World(model=PlayedModel(otherwise=calls(("search", {"_raw": '{"q": '}))))
    result = await world.run(node())
    assert result.error_type == "stalled"
    assert '{"q": ' in result.error
    assert len(world.model.requests) == 3


async def test_calls_beyond_the_hard_limit_are_refused_and_end_the_turn():
    config = LoopConfig(max_tool_calls_per_turn=2, tool_call_overflow_margin=0.5)
    world = played(calls(*[("search", {"q": str(n)}) for n in range(5)]), says("x"), config=config)
    result = await world.run(node())
    assert len(world.tools.uses) == 3
    assert [r.startswith("ERROR: Not called: a turn may make 3") for r in results(world)] == [
        False,
        False,
        False,
        True,
        True,
    ]
    assert result.stats.iterations == 2


async def test_framework_calls_without_end_are_bounded_too():
    numbers = iter(range(1_000))
    config = LoopConfig(max_tool_calls_per_turn=2, max_iterations=3)
    world = played(config=config)
    world.model.before = lambda: world.model.answers.insert(0, sets(a=f"v{next(numbers)}"))
    result = await world.run(node(output_keys=["a"]))
    assert result.error_type == "max_iterations"
    assert len(world.model.requests) == 12


async def test_a_long_result_is_cut_and_kept_whole(tmp_path):
    world = played(
        calls(("search", {})),
        says("Done."),
        tools=Tools(search="x" * 500),
        config=LoopConfig(max_tool_result_chars=100),
    )
    await world.run(node(), data_dir=str(tmp_path / "data"))
    (kept,) = (tmp_path / "data").iterdir()
    assert kept.read_text() == "x" * 500
    assert results(world) == [
        "x" * 100
        + f"\n[cut: the first 100 of 500 characters; the whole is the data file {kept.name}]"
    ]


async def test_a_long_result_goes_where_the_config_says(tmp_path):
    config = LoopConfig(max_tool_result_chars=10, spillover_dir=str(tmp_path / "spill"))
    world = played(
        calls(("search", {})), says("Done."), tools=Tools(search="y" * 20), config=config
    )
    await world.run(node())
    assert len(list((tmp_path / "spill").iterdir())) == 1


async def test_each_call_has_a_key_of_its_own():
    keys = []
    world = played(calls(("search", {}), ("search", {})), calls(("write", {})), says("Done."))
    note = lambda use: keys.append(idempotency_key.get()) or "ok"  # noqa: E731
    world.tools = Tools(search=note, write=note)
    await world.run(node(), visit=2)
    assert sorted(keys) == ["e1:n:2:1", "e1:n:2:2", "e1:n:2:3"]


async def test_call_ids_are_unique_over_the_conversation():
    world = played(*[calls(("search", {"q": q})) for q in "abc"], says("Done."))
    await world.run(node())
    ids = [c["id"] for m in world.model.last for c in m.get("tool_calls", ())]
    assert len(set(ids)) == 3


async def test_without_an_executor_the_model_is_told():
    world = played(calls(("search", {})), says("Done."))
    await world.run(node(), tool_executor=None)
    assert results(world) == [
        "ERROR: search cannot be called: this run has nothing that runs tools."
    ]


async def test_a_tool_of_the_nodes_own_named_ask_user_is_its_own_where_the_loop_has_none():
    own = Tool("ask_user", "Ask the crew")
    world = played(calls(("ask_user", {"question": "?"})), says("Done."))
    await world.run(node(), available_tools=[own])
    assert results(world) == ["ask_user ran"]


async def test_text_that_no_file_can_hold_is_cleaned():
    bad = "a\ud800b\ud83d\ude00"
    world = played(calls(("search", {"q": bad})), says("Done."), tools=Tools(search=bad))
    await world.run(node())
    (done,) = world.recorder.of("tool_call_completed")
    assert (done.tool_input, done.result) == ({"q": "a\ufffdb\U0001f600"}, "a\ufffdb\U0001f600")


async def test_there_is_always_a_tool_on_offer():
    world = played(says("Done."))
    await world.run(node(), available_tools=[])
    assert world.model.tools == [["escalate"]]


async def test_a_cancelled_run_keeps_finished_results_and_marks_the_others():
    started, forever = asyncio.Event(), asyncio.Event()

    async def hang(use):
        started.set()
        await forever.wait()

    world = played(calls(("write", {}), ("search", {})))
    world.tools = Tools(search=lambda use: hang(use))
    task = asyncio.ensure_future(world.run(node()))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    world.model = PlayedModel(says("Done."))
    await world.run(node())
    assert results(world)[0] == "write ran"
    assert results(world)[1].startswith("ERROR: interrupted")
    errors = [fact.tool_error for fact in world.recorder.of("tool_call_completed")]
    assert errors[0] is None
    assert errors[1].startswith("interrupted")


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("kind", ["async", "plain", "registered"])
async def test_a_tool_that_would_end_the_process_fails_its_call(kind, error):
    def leave(use):
        raise error(3)

    registry = ToolRegistry()
    registry.register("search", Tool("search", "Search", {}), as_async(leave))
    executors = {"async": as_async(leave), "plain": leave, "registered": registry.get_executor()}
    world = played(calls(("search", {})), says("Done."), tools=executors[kind])
    result = await world.run(node())
    assert result.success
    assert f"{error.__name__}: 3" in results(world)[0]


def as_async(function):
    async def run(given):
        return function(given)

    return run


async def test_a_registered_tool_has_its_own_time():
    release = threading.Event()
    registry = ToolRegistry()
    tool = Tool("search", "Search", {})
    registry.register("search", tool, lambda given: release.wait(20), timeout_seconds=0.01)
    world = played(calls(("search", {})), says("Done."), tools=registry.get_executor())
    await world.run(node())
    release.set()
    assert results(world)[0].startswith("ERROR: search gave no result within 0.01 s")


async def test_a_call_that_is_overdue_never_counts_as_a_doom_loop():
    registry = ToolRegistry()

    async def hang(given):
        await asyncio.Event().wait()

    registry.register("search", Tool("search", "Search", {}), hang, timeout_seconds=0.001)
    played_out = [calls(("search", {"q": "a"}))] * 9
    world = played(*played_out, says("Done."), tools=registry.get_executor())
    result = await world.run(node())
    assert result.success
    assert world.recorder.of("node_tool_doom_loop") == []


async def test_a_long_result_is_kept_inside_the_data_directory_only(tmp_path):
    """What stands under the name already, planted by a tool, is replaced and not followed."""
    data, outside = tmp_path / "data", tmp_path / "outside"
    config = LoopConfig(max_tool_result_chars=10)
    world = played(
        calls(("search", {})), says("Done."), tools=Tools(search="x" * 50), config=config
    )
    await world.run(node(), data_dir=str(data))
    (kept,) = data.iterdir()
    kept.unlink()
    outside.write_text("mine")
    kept.symlink_to(outside)
    again = played(
        calls(("search", {})), says("Done."), tools=Tools(search="x" * 50), config=config
    )
    await again.run(node(), data_dir=str(data))
    assert outside.read_text() == "mine"
    assert not kept.is_symlink()
    assert kept.read_text() == "x" * 50


async def test_what_failed_outside_never_counts_as_a_doom_loop():
    def refuse(use):
        raise ConnectionRefusedError("nobody there")

    world = played(*[calls(("search", {"q": "a"}))] * 9, says("Done."), tools=Tools(search=refuse))
    result = await world.run(node())
    assert result.success
    assert world.recorder.of("node_tool_doom_loop") == []


# --- outputs


@pytest.mark.parametrize(
    ("text", "schema", "value"),
    [
        ("15551234", {}, "15551234"),
        ("1.5", {}, "1.5"),
        ('{"a": 1}', {}, {"a": 1}),
        ("[1, 2]", {}, [1, 2]),
        ("true", {}, True),
        ("null", {}, None),
        ('"quoted"', {}, '"quoted"'),
        ("plain", {}, "plain"),
        ("[NaN]", {}, "[NaN]"),
        ("42", {"type": "integer"}, 42),
        ("4.5", {"type": "number"}, 4.5),
        ('{"a": 1}', {"type": "string"}, '{"a": 1}'),
        ("true", {"type": "string"}, "true"),
        ("false", {"type": "boolean"}, False),
        (7, {}, 7),
        ({"a": 1}, {}, {"a": 1}),
        (7, {"type": "string"}, "7"),
    ],
)
def test_outputs_are_decoded_as_declared(text, schema, value):
    decoded = decode_output(text, schema)
    assert decoded == value
    assert type(decoded) is type(value)


@pytest.mark.parametrize(
    ("text", "schema"),
    [("many", {"type": "integer"}), ("true", {"type": "number"}), ("{}", {"type": "array"})],
)
def test_outputs_of_another_type_are_refused(text, schema):
    with pytest.raises(ValueError, match="is needed"):
        decode_output(text, schema)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"key": "reprt", "value": "x"}, "There is no output 'reprt'; did you mean 'report'?"),
        ({"key": "report", "value": ""}, "'report' was not set: it needs a value."),
        ({"key": "report", "value": "null"}, "'report' was not set: it needs a value."),
        ({"key": "report"}, "value is missing: nothing was set for 'report'."),
    ],
)
async def test_an_output_that_cannot_be_set_says_why(given, told):
    world = played(calls(("set_output", given)), sets(report="x"), says("Done."))
    result = await world.run(node(output_keys=["report"]))
    assert results(world)[0] == f"ERROR: {told}"
    assert result.output == {"report": "x"}


def test_a_round_is_known_again_by_calls_and_results():
    use = ToolUse("c1", "search", {"a": 1, "b": 2})
    again = ToolUse("c2", "search", {"b": 2, "a": 1})
    assert mark_of([Outcome(use, "x")]) == mark_of([Outcome(again, "x")])
    assert mark_of([Outcome(use, "x")]) != mark_of([Outcome(use, "y")])
    assert mark_of([Outcome(use, "x", is_outside=True)]) == ""
    assert mark_of([Outcome(use, "x")]).startswith("search#")
