"""What hive.yaml may say of traces: where spans are sent, and whether they tell what was said."""

from __future__ import annotations

from hive_daemon.config.kinds import ApiBase, Section


class TracesConfig(Section):
    """The collector that spans are sent to, over OTLP/HTTP; none: they are only shown by `hive trace`."""

    endpoint: ApiBase | None = None
    content: bool = False
