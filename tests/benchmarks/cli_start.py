"""How long the command line takes to start: `python -m tests.benchmarks.cli_start [ROUNDS]`.

Prints medians in milliseconds, and beside each how it compares with `python -c "import typer"` measured in the same
run. The aim for `hive stats` is 1.5 at most.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fakes.control_server import control_server, execution

ROOT = Path(__file__).parent.parent.parent
CASES = {
    "python": ["-c", "pass"],
    "import typer": ["-c", "import typer"],
    "hive --help": ["-m", "hive_cli", "--help"],
    "hive stats": ["-m", "hive_cli", "stats"],
    "hive stats --json": ["-m", "hive_cli", "stats", "--json"],
    "hive executions show": ["-m", "hive_cli", "executions", "show", "latest"],
    "hive trigger": ["-m", "hive_cli", "trigger", "triage"],
}


def measure(environ: dict[str, str], rounds: int) -> dict[str, float]:
    """Return the median milliseconds of each case, the cases taken in turn."""
    taken: dict[str, list[float]] = {name: [] for name in CASES}
    for number in range(rounds + 1):
        for name, arguments in CASES.items():
            began = time.perf_counter()
            subprocess.run(
                [sys.executable, *arguments],
                check=True,
                stdout=subprocess.DEVNULL,
                env=environ,
                cwd=ROOT,
            )
            # The first round fills the caches.
            if number:
                taken[name].append((time.perf_counter() - began) * 1000)
    return {name: statistics.median(times) for name, times in taken.items()}


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    with tempfile.TemporaryDirectory() as folder, control_server(Path(folder)) as server:
        server.put(execution())
        environ = {
            **{key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"},
            "HIVE_SOCKET": str(server.path),
            "PYTHONPYCACHEPREFIX": f"{folder}/cache",
        }
        medians = measure(environ, rounds)
    for name, milliseconds in medians.items():
        print(f"{name:22} {milliseconds:6.1f} ms   {milliseconds / medians['import typer']:.2f}")


if __name__ == "__main__":
    main()
