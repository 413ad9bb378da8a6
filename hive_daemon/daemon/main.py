"""`hived`: the command that starts the daemon."""

from __future__ import annotations

import argparse
import asyncio
import errno
import logging
import os
import sys
import threading
from collections.abc import Sequence
from types import TracebackType

from hive_daemon import __version__
from hive_daemon.errors import (
    ConfigError,
    HiveError,
    StateLocked,
    StorageCorrupt,
    StorageTooNew,
)
from hive_daemon.loading import loading

EXIT_OK = 0
EXIT_CRASH = 1
EXIT_USAGE = 2
EXIT_BUSY = 69
EXIT_LOCKED = 75
EXIT_CONFIG = 78

_BUSY_HINT = "stop what is there, or choose another place: http.listen, --socket"

logger = logging.getLogger("hive_daemon")


def main(argv: Sequence[str] | None = None) -> None:
    """Run `hived`; the process ends with the documented exit code."""
    arguments = _parser().parse_args(argv)
    code = EXIT_CRASH
    try:
        code = _run(arguments)
    except ConfigError as error:
        code = _complain(error, EXIT_CONFIG)
    except HiveError as error:
        code = _complain(error, EXIT_CRASH)
    finally:
        _leave(code)


def _leave(code: int) -> None:
    """End the process; what nobody caught is logged first."""
    escaped = sys.exception()
    if escaped is not None:
        sys.excepthook(type(escaped), escaped, escaped.__traceback__)
    sys.stdout.flush()
    sys.stderr.flush()
    if threading.active_count() > 1:
        # Threads of cancelled calls may still be blocked; everything is committed, so nothing waits for them.
        logging.shutdown()
        os._exit(code)
    sys.exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hived",
        description="Run LLM agents headless: on timers, webhooks, events and calls.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="FILE", help="hive.yaml to read")
    parser.add_argument("--state-dir", metavar="DIR", help="where the state is kept")
    parser.add_argument("--socket", metavar="PATH", help="where the control socket listens")
    parser.add_argument("--check", action="store_true", help="check everything and start nothing")
    parser.add_argument("--log-level", metavar="L", help="debug, info, warning or error")
    parser.add_argument("--log-format", metavar="F", help="json, human or auto")
    parser.add_argument("--version", action="version", version=f"hived {__version__}")
    return parser


def _run(arguments: argparse.Namespace) -> int:
    with loading():
        from hive_daemon.config.load import load_config
        from hive_daemon.config.loaded import secret_values
        from hive_daemon.config.sources import ConfigSources
        from hive_daemon.observability.log_ring import log_ring
        from hive_daemon.observability.logging import configure_logging

    flags = {
        "state_dir": arguments.state_dir,
        "socket": arguments.socket,
        "log.level": arguments.log_level,
        "log.format": arguments.log_format,
    }
    loaded = load_config(ConfigSources.of_process(arguments.config, flags))
    config = loaded.config
    if arguments.check:
        from hive_daemon.daemon.check import check

        return check(loaded)
    configure_logging(
        config.log.level.value,
        config.log.format.value,
        file=config.log.file,
        secrets=secret_values(config),
        recent=log_ring(),
    )
    _log_what_escapes()
    for warning in loaded.warnings:
        logger.warning("configuration", extra={"warning": warning, "repeat_key": warning})
    return _serve(loaded)


def _serve(loaded: object) -> int:
    with loading():
        import uvloop

        from hive_daemon.config.loaded import LoadedConfig
        from hive_daemon.daemon.app import serve
        from hive_daemon.daemon.shutdown import GRACE_SECONDS, Deadline
        from hive_daemon.tasks import run_through

    assert isinstance(loaded, LoadedConfig)
    deadline = Deadline()
    try:
        # The deadline holds over the end of the runner too: that waits for tasks that were left behind.
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            try:
                run_through(runner.get_loop(), serve(loaded, os.environ, deadline))
            finally:
                deadline.crash = sys.exception()
                if deadline.crash is not None:
                    deadline.set(GRACE_SECONDS)
    except StateLocked as error:
        return _complain(error, EXIT_LOCKED)
    except (StorageCorrupt, StorageTooNew, ConfigError) as error:
        return _complain(error, EXIT_CONFIG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return _complain(HiveError(error.strerror or str(error), hint=_BUSY_HINT), EXIT_BUSY)
        raise
    finally:
        deadline.clear()
    return EXIT_OK


def _complain(error: HiveError, code: int) -> int:
    sys.stderr.write(f"hived: {error}\n")
    if error.hint:
        sys.stderr.write(f"  {error.hint}\n")
    return code


def _log_what_escapes() -> None:
    """Let warnings and exceptions that nobody caught go through the log, so that every line has its form."""
    logging.captureWarnings(True)
    sys.excepthook = _escaped
    threading.excepthook = _escaped_in_thread


def _escaped(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logger.critical("the daemon crashed", exc_info=(kind, error, trace))


def _escaped_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None:
        where = args.thread.name if args.thread is not None else "?"
        info = (args.exc_type, args.exc_value, args.exc_traceback)
        logger.error("a thread failed", extra={"thread_name": where}, exc_info=info)


if __name__ == "__main__":
    main()
