"""OpenTelemetry spans, where a variable of ENDPOINTS names a collector: one per question and search, one per stage.

They carry numbers and outcomes, never a question, an answer or a document's text or name. Needs the extra `telemetry`;
without a variable nothing of it is imported.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rag.errors import ConfigError

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")  # the exporter reads both, too


class Spans:
    """`tracer` None: nothing is recorded."""

    def __init__(self, tracer: Any = None) -> None:
        self.tracer = tracer

    @contextmanager
    def span(self, name: str) -> Iterator[Span]:
        if self.tracer is None:
            yield Span(None)
            return
        with self.tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False) as made:
            stages = Span(made, self.tracer)
            try:
                yield stages
            except BaseException as error:  # its type: a message may hold what was asked
                stages.note(error=type(error).__name__)
                raise
            finally:
                stages.stage(None)


class Span:
    """One that runs. Its stages follow each other."""

    def __init__(self, made: Any, tracer: Any = None) -> None:
        self._made, self._tracer = made, tracer
        self._stage: Any = None

    def stage(self, name: str | None) -> None:
        """The stage before has ended, this one begins. None: that was the last."""
        if self._stage is not None:
            self._stage.end()
            self._stage = None
        if name is not None and self._tracer is not None:
            self._stage = self._tracer.start_span(f"rag.{name}")

    def note(self, **attributes: str | int | float | bool) -> None:
        if self._made is not None:
            self._made.set_attributes({f"rag.{name}": value for name, value in attributes.items()})


def from_environment() -> tuple[Spans, Any]:
    """The spans and the provider to shut down at the end; nothing where no collector is named."""
    named = next((name for name in ENDPOINTS if os.environ.get(name)), None)
    if named is None:
        return Spans(), None
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise ConfigError(
            f"{named} is set, but {error.name} is missing", "pip install 'rag-folder[telemetry]'"
        ) from None
    provider = TracerProvider(resource=Resource.create({"service.name": "rag"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Spans(provider.get_tracer("rag")), provider
