"""What ends a process when it is raised: SystemExit and KeyboardInterrupt, from code that is not ours.

An event loop stops at either, and with it everything else that runs in this process. The boundaries of node and tool
therefore catch `ENDS_PROCESS` too: what an agent's code raises fails that node or that call, by its name. What a task
or a callback raises that such code starts beside itself is logged by `tasks.run_through`, and the loop goes on.
"""

from __future__ import annotations

import signal
import threading

ENDS_PROCESS = (SystemExit, KeyboardInterrupt)
"""What an event loop lets through."""


def pass_on_of_person(error: BaseException) -> None:
    """Raise a KeyboardInterrupt that somebody at the keyboard may have caused; everything else is the code's own.

    Ctrl-C comes as an exception where Python's own handler of SIGINT is in force, in the main thread only. Under
    `hived`, `hive run` and `asyncio.run` another handler is.
    """
    if not isinstance(error, KeyboardInterrupt):
        return
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        raise error
