"""The decision after a turn."""

from dataclasses import replace

from hive_daemon.graph.loop import (
    NO_ANSWER,
    NOBODY,
    Accept,
    AskUser,
    DoomLoop,
    Escalate,
    Exhausted,
    JudgeVerdict,
    Retry,
    Round,
    Stalled,
    Turn,
    TurnEnd,
    Window,
    decide,
    is_in_trouble,
    needs_verdict,
)
from hive_daemon.graph.loop_config import LoopConfig

CONFIG = LoopConfig(max_iterations=5)
FIRST = Window(iteration=1)
ACCEPT = JudgeVerdict("ACCEPT")


def talk(text="Done.", **fields):
    return Turn(TurnEnd.TEXT, text, **fields)


def rounds(*marks):
    return tuple(Round(mark) for mark in marks)


def after(*turns, config=CONFIG, window=FIRST):
    for turn in turns:
        window = window.take(turn, config)
    return window


def test_a_turn_with_an_accepting_verdict_is_accepted():
    assert decide(talk(verdict=ACCEPT), FIRST, CONFIG) == Accept()


def test_no_verdict_can_accept_missing_outputs():
    turn = talk(verdict=ACCEPT, missing=("report",))
    assert decide(turn, FIRST, CONFIG) == Retry(
        "These outputs are still missing: report. Set each with set_output."
    )


def test_the_feedback_of_a_retry_reaches_the_model():
    turn = talk(verdict=JudgeVerdict("RETRY", "more detail"))
    assert decide(turn, FIRST, CONFIG) == Retry("more detail")


def test_an_escalating_verdict_ends_the_node():
    turn = talk(verdict=JudgeVerdict("ESCALATE", "out of my depth"))
    assert decide(turn, FIRST, CONFIG) == Escalate("out of my depth")


def test_a_turn_that_was_cut_goes_on_without_a_word():
    assert decide(Turn(TurnEnd.CUT, rounds=rounds("a#1")), FIRST, CONFIG) == Retry()


def test_an_empty_answer_is_told_so():
    turn = Turn(TurnEnd.EMPTY, missing=("x",), has_outputs=False)
    assert decide(turn, FIRST, CONFIG) == Retry(NO_ANSWER)


def test_an_empty_answer_with_every_output_set_is_judged():
    assert needs_verdict(Turn(TurnEnd.EMPTY), FIRST, CONFIG)


def test_a_question_waits_for_a_person():
    turn = Turn(TurnEnd.ASKED, question="Which?", options=("a", "b"), can_wait=True)
    assert decide(turn, FIRST, CONFIG) == AskUser("Which?", ("a", "b"))


def test_a_question_that_nobody_can_answer_is_sent_back():
    assert decide(Turn(TurnEnd.ASKED, question="Which?"), FIRST, CONFIG) == Retry(NOBODY)


def test_words_of_a_node_that_faces_a_person_are_a_question():
    turn = talk("What is it about?", is_client_facing=True, can_wait=True, missing=("topic",))
    assert not needs_verdict(turn, FIRST, CONFIG)
    assert decide(turn, FIRST, CONFIG) == AskUser("What is it about?")


def test_with_its_outputs_set_a_node_that_faces_a_person_is_judged():
    turn = talk("Noted.", is_client_facing=True, can_wait=True)
    assert needs_verdict(turn, FIRST, CONFIG)


def test_only_each_nth_turn_is_judged():
    config = replace(CONFIG, judge_every_n_turns=2)
    assert not needs_verdict(talk(), Window(iteration=1), config)
    assert needs_verdict(talk(), Window(iteration=2), config)
    assert decide(talk(), Window(iteration=1), config) == Retry()


def test_the_last_iteration_ends_the_node_and_names_what_is_missing():
    turn = talk(verdict=JudgeVerdict("RETRY", "go on"), missing=("report",))
    found = decide(turn, Window(iteration=5), CONFIG)
    assert found == Exhausted(
        "the 5 iterations (max_iterations) were used up without setting report"
    )


def test_the_budget_counts_from_where_it_began():
    turn = talk(verdict=JudgeVerdict("RETRY", "go on"))
    assert decide(turn, Window(iteration=8, base=4), CONFIG) == Retry("go on")


def test_saying_the_same_again_and_again_is_a_stall():
    turn = talk("I will  look.", verdict=JudgeVerdict("RETRY", "x"))
    window = after(turn, talk("I will look.\n"), turn)
    assert isinstance(decide(turn, window, CONFIG), Stalled)


def test_saying_the_same_between_tool_calls_is_none():
    turn = talk("Looking.", verdict=JudgeVerdict("RETRY", "x"))
    worked = talk("Looking.", rounds=rounds("search#1"))
    assert decide(turn, after(turn, worked, turn, turn), CONFIG) == Retry("x")


def test_answers_that_cannot_be_used_stall_with_the_raw_text():
    bad = Turn(TurnEnd.CUT, rounds=(Round(is_unusable=True, raw="{'_raw': '{'}"),) * 3)
    found = decide(bad, after(bad), CONFIG)
    assert found == Stalled("3 answers in a row could not be used; last: {'_raw': '{'}")


def test_one_usable_answer_forgives_the_unusable_ones():
    bad, good = Round(is_unusable=True, raw="x"), Round("search#1")
    turn = Turn(TurnEnd.CUT, rounds=(bad, bad, good, bad, bad))
    assert decide(turn, after(turn), CONFIG) == Retry()


def test_the_same_call_with_the_same_result_is_a_doom_loop_and_is_warned_of_first():
    turn = Turn(TurnEnd.CUT, rounds=rounds("search#1", "search#1", "search#1"))
    window = after(turn)
    assert decide(turn, window, CONFIG) == DoomLoop(
        "search: the same arguments with the same results, 3 times in a row", is_final=False
    )
    warned = replace(window, is_warned=True)
    assert not is_in_trouble(warned.with_rounds(turn.rounds[:2], CONFIG), CONFIG)
    final = decide(turn, warned.take(turn, CONFIG), CONFIG)
    assert isinstance(final, DoomLoop)
    assert final.is_final


def test_two_calls_in_turns_are_a_doom_loop():
    turn = Turn(TurnEnd.CUT, rounds=rounds("a#1", "b#2", "a#1", "b#2", "a#1", "b#2"))
    assert decide(turn, after(turn), CONFIG) == DoomLoop(
        "a and b: the same arguments with the same results, 3 times in a row", is_final=False
    )


def test_a_new_result_ends_the_streak_and_the_warning():
    turn = Turn(TurnEnd.CUT, rounds=rounds("a#1", "a#1", "a#1"))
    window = replace(after(turn), is_warned=True)
    fresh = window.with_rounds(rounds("a#2"), CONFIG)
    assert not fresh.is_warned
    assert not is_in_trouble(fresh, CONFIG)


def test_what_failed_outside_is_no_doom_loop():
    turn = Turn(TurnEnd.CUT, rounds=rounds("", "", "", ""))
    assert decide(turn, after(turn), CONFIG) == Retry()


def test_doom_loops_can_be_let_be():
    config = replace(CONFIG, tool_doom_loop_enabled=False)
    turn = Turn(TurnEnd.CUT, rounds=rounds("a#1", "a#1", "a#1", "a#1"))
    assert decide(turn, after(turn, config=config), config) == Retry()


def test_a_window_survives_its_json():
    window = after(Turn(TurnEnd.CUT, rounds=rounds("a#1", "b#2")), talk("hello"))
    assert Window.from_json(window.to_json()) == window
