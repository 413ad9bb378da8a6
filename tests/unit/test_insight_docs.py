"""docs/cli.md lists every cause that `hive why` may name, and no other; each kind of what holds an execution is one."""

import re
from pathlib import Path

from hive_daemon.insight.story import Cause
from hive_daemon.storage.admission import HeldBy

CLI = (Path(__file__).parent.parent.parent / "docs" / "cli.md").read_text()


def test_every_cause_is_documented_and_nothing_else_is():
    _, _, below = CLI.partition("`cause` (with `--json`) is one of these words:")
    rows = [line for line in below.split("\n### ")[0].splitlines() if line.startswith("| `")]
    words = [word for row in rows for word in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(words) == sorted(cause.value for cause in Cause)


def test_whatever_holds_an_execution_is_a_cause():
    assert {held.value for held in HeldBy} <= {cause.value for cause in Cause}
