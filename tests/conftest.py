"""What every test shares: a patient loop, laws that are tried alike everywhere, the longest tests first."""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.fakes.patient_loop import PatientLoop

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

# The same examples on every machine, however slow: `--hypothesis-profile=default` tries others.
settings.register_profile(
    "alike",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("alike")


def _unheard(number: int, frame: object) -> None:
    """Do nothing, like a signal that is ignored."""


# A shell that starts the tests in the background, or nohup, has them ignore signals, and their children inherit that.
# A handler of one's own is not inherited: whom the tests start hears what it is sent.
for _number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _unheard)


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run every test on a loop that does not count the time in which it was given no turn."""
    return {"patient": PatientLoop}


def pytest_collection(session: pytest.Session) -> None:
    """Let each worker compile its share of the test modules for all of them, whatever the environment says.

    What pytest makes of an `assert` takes longer to compile than most tests take to run.
    """
    worker = getattr(session.config, "workerinput", None)
    here = Path(__file__).parent
    if worker is None or session.config.args != [here.name]:
        return
    number, count = int(worker["workerid"].removeprefix("gw")), worker["workercount"]
    writes_none, sys.dont_write_bytecode = sys.dont_write_bytecode, False
    for path in sorted(here.rglob("test_*.py"))[number::count]:
        importlib.import_module(".".join(path.relative_to(here.parent).with_suffix("").parts))
    sys.dont_write_bytecode = writes_none


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the longest tests begin first, so that no worker is left alone with one at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_collection_finish() -> None:
    """Spare what stays to the end, 10,000 tests and all that they import, each look of the garbage collector."""
    gc.collect()
    gc.freeze()
