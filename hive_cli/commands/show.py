"""`hive show`: anything that has an id."""

from __future__ import annotations

import json
from collections.abc import Callable

from hive_cli.commands.why import AnyRef, checked
from hive_cli.grammar import Hive, command, single
from hive_cli.reading import read
from hive_cli.render import Json, one_line, write, write_facts, write_json, write_table
from hive_cli.runs import show_execution
from hive_daemon.control.wire import Route

app = single()

_MOST_SHOWN = 400


@command(app, "show")
def show(hive: Hive, id: AnyRef) -> None:
    """Show anything that has an id; the beginning of it will do where that is unambiguous."""
    answer = read(hive, Route.SHOW, id=checked(id))
    if hive.as_json:
        write_json(answer)
        return
    kind = str(answer.get("kind"))
    write(f"{kind} {answer.get('id')}")
    _WRITERS.get(kind, _facts)(answer.get("shown") or {})


def _facts(shown: Json) -> None:
    """Write the fields of an object, those that say something."""
    write_facts(
        (key.replace("_", " "), _text(value))
        for key, value in shown.items()
        if value not in (None, "", [], {})
    )


def _text(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return one_line(text, _MOST_SHOWN)


def _session(shown: Json) -> None:
    _facts({key: value for key, value in shown.items() if key != "latest_execution"})
    if shown.get("latest_execution"):
        write("\nlatest execution")
        show_execution(shown["latest_execution"])


def _timer(shown: Json) -> None:
    _facts({key: value for key, value in shown.items() if key != "history"})
    write("")
    write_table(
        ("DUE", "OUTCOME", "EXECUTION", "ENDED", "WHY"),
        [
            [
                str(row.get("local")),
                str(row.get("outcome")),
                str(row.get("execution_id") or "-"),
                str(row.get("ended") or "-"),
                str(row.get("reason") or "-"),
            ]
            for row in shown.get("history") or ()
        ],
    )


_WRITERS: dict[str, Callable[[Json], None]] = {
    "execution": show_execution,
    "session": _session,
    "timer": _timer,
}
