"""What the daemon counts, in the text format of Prometheus: the one door to prometheus-client.

Laws: a label takes at most `MOST_VALUES` values for each metric, what comes after them is counted as `other`; a metric
that is not in the table cannot be counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from hive_daemon.observability.metric_table import METRICS, Kind, Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MOST_VALUES = 200
"""How many values a label of a metric may take."""
OTHER = "other"

M = TypeVar("M", Counter, Histogram)

# When a series began is told by `hive_uptime_seconds`: one more series for each would say nothing.
disable_created_metrics()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class Reading:
    """One value that is read when somebody asks, with the values of the metric's labels in their order."""

    name: str
    value: float
    labels: tuple[str, ...] = ()


class LabelBounds:
    """Keeps the labels of one metric within bounds."""

    def __init__(self, count: int, most: int = MOST_VALUES) -> None:
        self._known: list[set[str]] = [set() for _ in range(count)]
        self._most = most

    def __call__(self, values: Iterable[str]) -> tuple[str, ...]:
        """Return the values, `other` for those that came too late."""
        return tuple(
            self._kept(known, value) for known, value in zip(self._known, values, strict=True)
        )

    def _kept(self, known: set[str], value: str) -> str:
        if value in known:
            return value
        if len(known) >= self._most:
            return OTHER
        known.add(value)
        return value


class MetricsBook:
    """Counts what happens, and writes it out together with what is read at that moment."""

    def __init__(self, table: Iterable[Metric] = METRICS) -> None:
        self._registry = CollectorRegistry()
        self._table = {metric.name: metric for metric in table}
        self._bounds = {name: LabelBounds(len(m.labels)) for name, m in self._table.items()}
        self._counters: dict[str, Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        self._counted: dict[tuple[str, tuple[str, ...]], Counter] = {}
        self._timed: dict[tuple[str, tuple[str, ...]], Histogram] = {}
        for metric in self._table.values():
            self._add(metric)

    def _add(self, metric: Metric) -> None:
        if metric.is_read:
            return
        if metric.kind is Kind.HISTOGRAM:
            self._histograms[metric.name] = Histogram(
                metric.name,
                metric.meaning,
                metric.labels,
                buckets=metric.buckets,
                registry=self._registry,
            )
        else:
            self._counters[metric.name] = Counter(
                metric.name, metric.meaning, metric.labels, registry=self._registry
            )

    def count(self, name: str, *labels: str, by: float = 1) -> None:
        """Count something that happened. Raises KeyError for a name that the table has not."""
        series = self._counted.get((name, labels))
        if series is None:
            series = self._series(self._counters[name], self._counted, name, labels)
        series.inc(by)

    def observe(self, name: str, seconds: float, *labels: str) -> None:
        """Take note of how long something took. Raises KeyError for a name that the table has not."""
        series = self._timed.get((name, labels))
        if series is None:
            series = self._series(self._histograms[name], self._timed, name, labels)
        series.observe(seconds)

    def _series(
        self,
        metric: M,
        known: dict[tuple[str, tuple[str, ...]], M],
        name: str,
        labels: tuple[str, ...],
    ) -> M:
        """Return what counts for these labels, and remember it: to find it again costs more than to count."""
        kept = self._bounds[name](labels)
        series = metric.labels(*kept) if kept else metric
        # Whatever is counted as `other` may have any name: nothing bounds those but not remembering them.
        if kept == labels:
            known[name, labels] = series
        return series

    def text(self, readings: Iterable[Reading]) -> bytes:
        """Return everything in the text format of Prometheus.

        Readings whose labels became the same are added up. Raises KeyError for a name that the table has not.
        """
        once = CollectorRegistry()
        once.register(_Given(self._families(readings)))
        return generate_latest(self._registry) + generate_latest(once)

    def _families(self, readings: Iterable[Reading]) -> list[Family]:
        sums: dict[str, dict[tuple[str, ...], float]] = {}
        for reading in readings:
            labels = self._bounds[reading.name](reading.labels)
            values = sums.setdefault(reading.name, {})
            values[labels] = values.get(labels, 0.0) + reading.value
        return [_family(self._table[name], values) for name, values in sums.items()]


def _family(metric: Metric, values: Mapping[tuple[str, ...], float]) -> Family:
    make = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    family: CounterMetricFamily | GaugeMetricFamily = make(
        metric.name, metric.meaning, labels=metric.labels
    )
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


class _Given(Collector):
    """Hands out families that were made before."""

    def __init__(self, families: list[Family]) -> None:
        self._made = families

    def collect(self) -> list[Family]:
        return self._made
