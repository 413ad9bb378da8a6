"""Constraints of a goal: computed where they can be, judged where they cannot, and what a broken one does."""

import pytest

from hive_daemon.graph.constraints import ALL_HOLD, Check, check, for_the_judge, told_of
from hive_daemon.graph.edge import ParallelExecutionConfig
from hive_daemon.graph.facts import ConstraintViolation
from hive_daemon.graph.goal import Constraint, Goal
from tests.fakes.graphs import Stage, edge, graph_of
from tests.fakes.loop_world import JumpingClock, PlayedModel, World, node, says, sets

SOFT = Constraint(id="cheap", description="Spend little.", check="cost < 10")
HARD = Constraint(
    id="safe", description="Spend no fortune.", check="cost < 100", constraint_type="hard"
)
WORDS = Constraint(
    id="polite", description="Be polite.", check="be nice to people", constraint_type="hard"
)


def goal(*constraints):
    return Goal(id="g", name="Goal", constraints=list(constraints))


def checked(*constraints, **written):
    return check(goal(*constraints), written, {"budget": 50, **written})


# --- which are broken ---------------------------------------------------------------------------


def test_a_check_that_is_true_holds():
    assert checked(SOFT, cost=9) == ALL_HOLD


def test_a_check_that_is_false_is_broken():
    assert checked(SOFT, HARD, cost=10) == Check((SOFT,))


@pytest.mark.parametrize("text", ["output.cost < 10", "memory.cost < 10", "cost < budget / 5"])
def test_a_check_may_read_the_output_and_the_memory(text):
    rule = SOFT.model_copy(update={"check": text})
    assert checked(rule, cost=10) == Check((rule,))


def test_a_check_whose_values_are_not_there_yet_is_not_made():
    assert checked(SOFT, price=1_000) == ALL_HOLD


def test_a_check_is_made_only_after_something_that_it_reads_was_written():
    assert check(goal(SOFT), {"price": 1}, {"cost": 10, "price": 1}) == ALL_HOLD


def test_a_check_that_cannot_be_computed_is_named_and_not_broken():
    found = checked(SOFT, cost="much")
    assert (found.broken, len(found.faults)) == ((), 1)
    assert found.faults[0].startswith("constraint 'cheap': cannot evaluate")


def test_words_and_empty_checks_are_for_the_judge():
    empty = WORDS.model_copy(update={"check": " "})
    assert for_the_judge(goal(SOFT, WORDS, empty)) == (WORDS, empty)
    assert checked(WORDS, empty, cost=10_000) == ALL_HOLD


def test_only_hard_ones_are_told_as_a_failure():
    assert told_of([SOFT]) == ""
    assert told_of([SOFT, HARD]) == (
        "a hard constraint of the goal is broken: safe: Spend no fortune."
    )


# --- in a walk ----------------------------------------------------------------------------------

PATH = (edge("a", "b"), edge("a", "c", "on_failure"))


def spending(cost):
    async def body(ctx):
        return {"cost": cost}

    return body


def walked(cost, *edges, **fields):
    graph = graph_of(*edges or PATH, nodes={"a": {"output_keys": ["cost"]}}, **fields)
    return Stage(graph, {"a": spending(cost)}, goal=goal(SOFT, HARD))


async def test_a_soft_constraint_that_is_broken_is_told_and_the_walk_goes_on():
    stage = walked(10)
    result = await stage.run()
    assert (result.status, result.path) == ("completed", ["a", "b"])
    assert stage.book.of(ConstraintViolation) == [
        ConstraintViolation("a", "cheap", "Spend little.")
    ]


async def test_a_hard_one_fails_the_run_whatever_edges_there_are_and_keeps_nothing():
    stage = walked(100)
    result = await stage.run()
    assert (result.status, result.error_code) == ("failed", "constraint_violation")
    assert result.error == "a hard constraint of the goal is broken: safe: Spend no fortune."
    assert (result.path, result.output, result.total_retries) == (["a"], {}, 0)
    told = [fact.constraint_id for fact in stage.book.of(ConstraintViolation)]
    assert told == ["cheap", "safe"]


@pytest.mark.parametrize("policy", ["continue_others", "wait_all", "fail_all"])
async def test_a_hard_one_in_a_branch_fails_the_run_whatever_the_policy(policy):
    fork = (edge("s", "a"), edge("s", "b"))
    config = ParallelExecutionConfig(on_branch_failure=policy)
    result = await walked(100, *fork, entry_node="s", parallel_config=config).run()
    assert (result.status, result.error_code) == ("failed", "constraint_violation")


# --- by the judge -------------------------------------------------------------------------------

SPEC = node(output_keys=["a"], success_criteria="It is right.")


def judged(answer, *constraints):
    world = World(model=PlayedModel(sets(a="1"), says("Done.")), clock=JumpingClock())
    world.model.whole = [answer]
    return world, goal(*constraints)


async def test_the_judge_is_shown_the_constraints_that_cannot_be_computed():
    world, rules = judged("ACTION: ACCEPT\nCONFIDENCE: 1\nFEEDBACK:\nVIOLATED:", SOFT, WORDS)
    result = await world.run(SPEC, goal=rules)
    messages, system = world.model.asked[0]
    assert result.success
    assert "Constraints:\n- polite: Be polite.\n" in messages[0]["content"]
    assert "cheap" not in messages[0]["content"]
    assert "VIOLATED" in system
    assert world.recorder.of("constraint_violation") == []


async def test_a_hard_one_that_the_judge_finds_broken_fails_the_node_for_good():
    world, rules = judged(
        "ACTION: ACCEPT\nCONFIDENCE: 1\nFEEDBACK: \nVIOLATED: [polite], other", WORDS
    )
    result = await world.run(SPEC, goal=rules)
    assert (result.success, result.error_type) == (False, "constraint_violation")
    assert not result.retryable
    assert world.recorder.of("constraint_violation") == [
        ConstraintViolation("n", "polite", "Be polite.")
    ]


async def test_a_soft_one_that_the_judge_finds_broken_is_told_and_the_verdict_stands():
    soft = WORDS.model_copy(update={"constraint_type": "soft"})
    world, rules = judged("ACTION: ACCEPT\nVIOLATED: polite", soft)
    result = await world.run(SPEC, goal=rules)
    assert result.success
    assert [fact.constraint_id for fact in world.recorder.of("constraint_violation")] == ["polite"]


async def test_without_constraints_the_judge_is_asked_for_three_lines():
    world, rules = judged("ACTION: ACCEPT", SOFT)
    await world.run(SPEC, goal=rules)
    assert "VIOLATED" not in world.model.asked[0][1]
