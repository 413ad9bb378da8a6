"""Executions in lines, as `hive ps` and `hive top` show them."""

from __future__ import annotations

from hive_cli.durations import brief
from hive_cli.render import Cell, Json, one_line, status_cell, write_table

PS = ("EXECUTION", "ENTRY POINT", "STATUS", "NODE", "AGE", "STEPS", "TOKENS", "COST", "WHY")
TOP = (
    "EXECUTION",
    "ENTRY POINT",
    "STATUS",
    "NODE",
    "MODEL",
    "TOK/S",
    "TOKENS",
    "COST",
    "TOOK",
    "WAITS FOR",
)


def show_ps(lines: list[Json]) -> None:
    """Write executions, a line each."""
    write_table(
        PS,
        [
            [
                *_who(line),
                _seconds(line.get("age_seconds")),
                str(line.get("steps")),
                _tokens(line),
                _cost(line),
                _why(line),
            ]
            for line in lines
        ],
    )


def show_top(lines: list[Json]) -> None:
    """Write executions with what their models do."""
    write_table(
        TOP,
        [
            [
                *_who(line),
                str(line.get("model") or "-"),
                _rate(line.get("tokens_per_second")),
                _tokens(line),
                _cost(line),
                _seconds(line.get("duration_seconds")),
                _why(line),
            ]
            for line in lines
        ],
    )


def dollars(value: object) -> str:
    """Write a cost; a question mark where a price is not known."""
    if not isinstance(value, int | float):
        return "?"
    return "-" if not value else f"${value:.4f}"


def _who(line: Json) -> list[Cell]:
    return [
        str(line.get("id")),
        str(line.get("entry_point")),
        status_cell(line.get("status")),
        str(line.get("node") or "-"),
    ]


def _seconds(value: object) -> str:
    return brief(value) if isinstance(value, int | float) else "-"


def _rate(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, int | float) else "-"


def _tokens(line: Json) -> str:
    count = (line.get("input_tokens") or 0) + (line.get("output_tokens") or 0)
    return str(count) if count else "-"


def _cost(line: Json) -> str:
    return dollars(line.get("cost_usd"))


def _why(line: Json) -> str:
    told = " ".join(str(line[key]) for key in ("held_by", "waits_for") if line.get(key))
    return one_line(told) if told else "-"
