"""How a process loads its code."""

import gc

import pytest

from hive_daemon.loading import loading


@pytest.fixture(autouse=True)
def thawed():
    """Nothing of the tests' own process stays hidden from the collector."""
    yield
    gc.unfreeze()


def test_the_collector_rests_while_code_is_loaded():
    with loading():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_what_was_loaded_is_not_looked_through_again():
    with loading():
        kept = {"some": ["code"]}
    assert not any(each is kept for each in gc.get_objects())


def test_the_collector_works_again_after_code_that_cannot_be_loaded():
    with pytest.raises(ImportError), loading():
        raise ImportError("there is none")
    assert gc.isenabled()
