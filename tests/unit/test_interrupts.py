"""Whose a KeyboardInterrupt is."""

import signal
from contextlib import contextmanager

import pytest

from hive_daemon.interrupts import pass_on_of_person
from hive_daemon.tasks import to_thread


@contextmanager
def sigint_handled_by(handler):
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_under_pythons_own_handler_goes_on():
    with sigint_handled_by(signal.default_int_handler), pytest.raises(KeyboardInterrupt):
        pass_on_of_person(KeyboardInterrupt())


def test_under_any_other_handler_it_is_the_codes_own():
    with sigint_handled_by(signal.SIG_IGN):
        pass_on_of_person(KeyboardInterrupt())


async def test_in_a_worker_thread_it_is_the_codes_own():
    with sigint_handled_by(signal.default_int_handler):
        await to_thread(pass_on_of_person, KeyboardInterrupt())


def test_an_exit_is_always_the_codes_own():
    with sigint_handled_by(signal.default_int_handler):
        pass_on_of_person(SystemExit())
