"""The house as tables: which module stands on which floor, which package has which door, what the core may not touch.

Patterns are matched against whole module names; the first that fits counts. `test_house.py` holds the code to them.
"""

from __future__ import annotations

FOUNDATION, CORE, PORTS, ENGINE, ADAPTERS, FACES, PROCESS = range(7)

FLOORS: list[tuple[str, int]] = [
    (r"hive_daemon", FOUNDATION),
    (r"hive_daemon\.(errors|clock|ids|tasks|status|durations|exports)", FOUNDATION),
    (r"hive_daemon\.(framework_alias|private_package)", FOUNDATION),
    (
        r"hive_daemon\.observability\.(trace_context|redaction|secret_patterns|strict_json)",
        FOUNDATION,
    ),
    (r"hive_daemon\.control\.wire", FOUNDATION),
    (r"hive_daemon\.local", PROCESS),
    (r"hive_daemon\.(config|observability)", FACES),
    (r"hive_daemon\.\w+", FOUNDATION),
    (
        r"hive_daemon\.graph\.(goal|constraints|edge|topology|validation\w*|expression\w*|safe_eval)",
        CORE,
    ),
    (
        r"hive_daemon\.graph\.(walk\w*|merge|choice|memory|totals|healing|facts|loop|loop_config|node|json_text|input_policy)",
        CORE,
    ),
    (r"hive_daemon\.runtime\.(entry_point|events|lifecycle|session_binding|session_state)", CORE),
    (r"hive_daemon\.runtime\.(flow|flow_reading|routing|encoding|runtime_log_schemas)", CORE),
    (
        r"hive_daemon\.runtime\.triggers\.(cron\w*|schedule|catchup|zones|timer_config|event_config|gate)",
        CORE,
    ),
    (
        r"hive_daemon\.runtime\.triggers\.(exclusions|forecast|timer_(plan|text)|trimmed|wall_times)",
        CORE,
    ),
    (
        r"hive_daemon\.storage\.(admission|admission_rules|values|event_values|timer_values|waiting|webhook_deliveries|budget_ledger|incident_book|chronicle|session_state|session_logs|mirror_fold)",
        CORE,
    ),
    (r"hive_daemon\.budgets\.\w+", CORE),
    (r"hive_daemon\.insight\.\w+", CORE),
    (r"hive_daemon\.doctor\.\w+", PROCESS),
    (r"hive_daemon\.monitoring\.(health|ticket|signature|alert_rules)", CORE),
    (r"hive_daemon\.tools\.(policy|on_unknown)", CORE),
    (r"hive_daemon\.monitoring\.tools", FACES),
    (r"hive_daemon\.schemas\.\w+", CORE),
    (r"hive_daemon\.storage\.ports", PORTS),
    (r"hive_daemon\.llm\.wish", CORE),
    (
        r"hive_daemon\.llm\.(values|stream_events|failures|provider|blocking|limits|models|metering|purse)",
        PORTS,
    ),
    (r"hive_daemon\.llm\.(openai_shapes|unconfigured)", PORTS),
    (r"hive_daemon\.graph\.(journal|judge|model_facts)", PORTS),
    (r"hive_daemon\.runtime\.(agent_runtime|execution_face|faces|runtime_base|running)", FACES),
    (
        r"hive_daemon\.runtime\.(runtime_config|outside|opened_services|runtime_log_store|runtime_logger)",
        FACES,
    ),
    (r"hive_daemon\.runtime\.(webhook_\w+|event_log)", ADAPTERS),
    (r"hive_daemon\.(llm|storage|observability|http)\..*", ADAPTERS),
    (r"hive_daemon\.(runner|config|control|credentials)\..*", FACES),
    (r"hive_daemon\.(graph|runtime|monitoring|tools)\..*", ENGINE),
    (r"hive_daemon\.daemon\..*", PROCESS),
]
"""Imports go down only. A package's `__init__` counts as foundation: it imports lazily."""

APART: list[tuple[str, str, str]] = [
    (
        r"hive_daemon\.graph\..*",
        r"hive_daemon\.runtime(\..*)?",
        "the engine of graphs knows no runtime",
    ),
    (
        r"hive_daemon\.storage\..*",
        r"hive_daemon\.(runtime|graph)(\..*)?",
        "the store keeps bytes, it reads none",
    ),
    (
        r"hive_cli(\..*)?",
        r"hive_daemon\.(?!control\.wire$).+",
        "the CLI shares one stdlib module with the daemon",
    ),
    (r"hive_daemon\..*", r"hive_cli(\..*)?", "the daemon does not know its command line"),
]
"""What may not be imported whatever the floors say: importer, imported, why."""

DOORS: dict[str, str] = {
    "croniter": r"hive_daemon\.runtime\.triggers\.cron",
    "litellm": r"hive_daemon\.llm\.litellm_provider",
    "aiohttp": r"hive_daemon\.(http\..*|control\..*|runtime\.webhook_\w+|llm\.openai_transport)",
    "yaml": r"hive_daemon\.(config|runner)\..*",
    "sdnotify": r"hive_daemon\.daemon\.systemd",
    "uvloop": r"hive_daemon\.daemon\.main",
    "pythonjsonlogger": r"hive_daemon\.observability\.logging",
    "sqlite3": r"hive_daemon\.storage\.sqlite\..*",
    "typer": r"hive_cli\..*",
    "mcp": r"hive_daemon\.tools\.mcp_(client|streams)",
    "mcp_types": r"hive_daemon\.tools\.mcp_(client|streams)",
    "httpx2": r"hive_daemon\.tools\.mcp_(client|streams)",
    "anyio": r"hive_daemon\.tools\.mcp_(client|streams)",
    "rich": r"hive_cli\..*",
    "opentelemetry": r"hive_daemon\.observability\.tracing",
    "prometheus_client": r"hive_daemon\.observability\.metrics",
}
"""Third-party package: the only modules that import it."""

NOT_IN_THE_CORE = frozenset(
    {"asyncio", "logging", "os", "pathlib", "random", "time", "socket", "threading"}
)
"""What a pure module never imports: *now*, names and the outside world are arguments."""

CORE_MAY: dict[str, frozenset[str]] = {
    r"hive_daemon\.runtime\.triggers\.zones": frozenset({"os"}),
    r"hive_daemon\.storage\.mirror_fold": frozenset({"pathlib"}),
}
"""Exceptions, each for one reason: a zone's data is a file; a meta value carries a path that others open."""

TASK_MAKERS = r"hive_daemon\.tasks"
CLOCK_READERS = r"hive_daemon\.clock"

BROAD_EXCEPT: dict[str, str] = {
    r"hive_daemon\.graph\.tool_calls": "tool call",
    r"hive_daemon\.tools\.\w+": "tool call",
    r"hive_daemon\.graph\.(node_run|edge_judge)": "node run",
    r"hive_daemon\.graph\.journal": "handler delivery",
    r"hive_daemon\.runtime\.(event_bus|handlers|hub)": "handler delivery",
    r"hive_daemon\.monitoring\.alerts": "handler delivery",
    r"hive_daemon\.(control|http)\..*": "HTTP request",
    r"hive_daemon\.runner\..*": "loading an agent",
    r"hive_daemon\.storage\.sqlite\.writer": "work of the writer thread: the error goes to whoever gave the work",
}
"""Where every exception is caught, and at which boundary."""

MOST_LINES = 400
MOST_STATEMENTS = 40
