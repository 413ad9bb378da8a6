"""All benchmarks, one after the other: `make bench`, or `python -m tests.benchmarks [NAME…]`.

Each runs in a process of its own, so that none pays for another's memory.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TABLES: dict[str, tuple[str, ...]] = {
    "bench_store": ("--seconds", "2"),
    "bench_runtime": ("--seconds", "2"),
    "mirror_cost": (),
    "bench_overhead": ("--rounds", "5", "--in-flight", "10,100"),
    "bench_bus": (),
    "bench_timers": (),
    "bench_webhooks": ("--seconds", "2"),
    "bench_model_call": (),
    "cli_start": (),
}
"""The benchmarks and the arguments that keep each within a minute."""


def main(names: list[str]) -> int:
    """Run the benchmarks named, or all; the exit code is that of the first that failed."""
    unknown = [name for name in names if name not in TABLES]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; there are {', '.join(TABLES)}", file=sys.stderr)
        return 2
    codes = []
    for name in names or TABLES:
        module = f"{__package__}.{name}"
        print(f"\n{name}: {first_line(name)}", flush=True)
        codes.append(subprocess.run([sys.executable, "-m", module, *TABLES[name]]).returncode)
    return next((code for code in codes if code), 0)


def first_line(name: str) -> str:
    """Return what a benchmark measures, in its own words."""
    text = (Path(__file__).parent / f"{name}.py").read_text(encoding="utf-8")
    return text.removeprefix('"""').partition("\n")[0].removesuffix('"""')


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
