"""The way of spans to a collector: OTLP over HTTP, by the OpenTelemetry SDK. The only module that imports it.

It is imported only if `traces.endpoint` is set: the packages belong to the extra `otel`. The variables
`OTEL_EXPORTER_OTLP_*` (headers, certificates, compression) count as the SDK says.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, TraceFlags
from opentelemetry.trace import SpanKind as OtelKind
from opentelemetry.trace.status import Status, StatusCode

from hive_daemon import __version__
from hive_daemon.observability.redaction import redactor
from hive_daemon.observability.spans import Span, SpanKind

SERVICE = "hived"
TIMEOUT_SECONDS = 10.0
BATCH = 512

_NANOSECONDS = 1_000_000_000
_SCOPE = InstrumentationScope("hive_daemon", __version__)

# A collector that is away is told of once, by whoever exports: the SDK would say it with every try.
logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)


class OtlpSink:
    """Sends spans to a collector; blocking, for one thread at a time."""

    def __init__(self, endpoint: str, node: str) -> None:
        self._exporter = OTLPSpanExporter(endpoint=endpoint, timeout=TIMEOUT_SECONDS)
        self._resource = Resource.create(
            {
                "service.name": SERVICE,
                "service.version": __version__,
                "service.instance.id": node,
            }
        )

    def send(self, trace_id: str, spans: Sequence[Span]) -> bool:
        """Send the spans of one execution; say False if the collector did not take them."""
        for first in range(0, len(spans), BATCH):
            batch = [self._readable(trace_id, span) for span in spans[first : first + BATCH]]
            if self._exporter.export(batch) is not SpanExportResult.SUCCESS:
                return False
        return True

    def close(self) -> None:
        """Let go of the collector."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]  # the SDK leaves it untyped

    def _readable(self, trace_id: str, span: Span) -> ReadableSpan:
        end = span.start if span.end is None else span.end
        status = Status(StatusCode.ERROR, span.error) if span.error else Status(StatusCode.UNSET)
        attributes = redactor().redact_value(dict(span.attributes))
        return ReadableSpan(
            name=redactor().redact_text(span.name),
            context=_context(trace_id, span.span_id, is_remote=False),
            parent=_context(trace_id, span.parent_id, is_remote=True) if span.parent_id else None,
            resource=self._resource,
            attributes=attributes,
            kind=OtelKind.CLIENT if span.kind is SpanKind.CHAT else OtelKind.INTERNAL,
            status=status,
            start_time=int(span.start * _NANOSECONDS),
            end_time=int(end * _NANOSECONDS),
            instrumentation_scope=_SCOPE,
        )


def _context(trace_id: str, span_id: str, *, is_remote: bool) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED)
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote, flags)
