"""Each request as OpenTelemetry spans: the request, and within it each reply's time in line, reading and writing.

Names of attributes: OpenTelemetry's conventions for generative AI, https://opentelemetry.io/docs/specs/semconv/gen-ai/.
Imported only where spans are asked for. They are made when the request is over, with the times it took, so that
nothing is done while a reply is being written.
"""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from hanlin.use.serve.watch.account import Account, WatchedJob
from hanlin.use.serve.watch.request_log import finish_of

OPERATIONS = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "text_completion",
    "/v1/embeddings": "embeddings",
}


class Spans:
    """Hands the spans of each account to an exporter, from a thread of its own."""

    def __init__(self, exporter: SpanExporter):
        self._provider = TracerProvider(resource=Resource.create({"service.name": "hanlin"}), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("hanlin.serve")

    def __call__(self, account: Account) -> None:
        if not account.model:  # pages, lists, refusals: no work of a model
            return
        parent = TraceContextTextMapPropagator().extract(
            {"traceparent": account.traceparent, "tracestate": account.tracestate}
        )
        operation = OPERATIONS.get(account.route, account.route)
        span = self._tracer.start_span(
            f"{operation} {account.adapter or account.model}",
            context=parent,
            kind=SpanKind.SERVER,
            start_time=_nanoseconds(account, account.began),
            attributes=_facts(account, operation),
        )
        for reply in account.replies:
            self._phases(span, account, reply)
        if account.status >= 500 or any(reply.failed for reply in account.replies):
            span.set_attribute("error.type", account.code or account.ended_by or "generation_failed")
            span.set_status(Status(StatusCode.ERROR))
        span.end(_nanoseconds(account, account.began + account.seconds))

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()

    def _phases(self, span: Span, account: Account, reply: WatchedJob) -> None:
        times = reply.times
        end = account.began + account.seconds
        shared, written = reply.num_shared, reply.num_tokens
        for name, start, until, facts in (
            ("queue", times.asked, times.begun or times.ended or end, {}),
            (
                "prefill",
                times.begun,
                times.first or times.ended or end,
                {"gen_ai.usage.input_tokens": reply.num_prompt, "gen_ai.usage.cache_read.input_tokens": shared},
            ),
            ("decode", times.first, times.ended or end, {"gen_ai.usage.output_tokens": written}),
        ):
            if start:
                phase = self._tracer.start_span(
                    name, set_span_in_context(span), start_time=_nanoseconds(account, start), attributes=facts
                )
                phase.end(_nanoseconds(account, max(start, until)))


def exporter_to(url: str) -> SpanExporter:
    """OTLP over HTTP. url: the collector's, or the whole address where it isn't its usual /v1/traces."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    path = url.partition("://")[2].partition("/")[2]
    # A collector that is away may not hold the server's end for longer than this, in seconds.
    return OTLPSpanExporter(endpoint=url if path else f"{url.rstrip('/')}/v1/traces", timeout=5)


def _facts(account: Account, operation: str) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": "hanlin",
        "gen_ai.request.model": account.adapter or account.model,
        "gen_ai.response.model": account.model,
        "gen_ai.usage.input_tokens": account.num_prompt_tokens,
        "http.request.method": account.method,
        "http.route": account.route,
        "http.response.status_code": account.status,
        "hanlin.request.id": account.id,
        "hanlin.key": account.client,
    }
    if account.replies:
        sampling = account.replies[0].sampling
        facts |= {
            "gen_ai.usage.output_tokens": account.num_reply_tokens,
            "gen_ai.usage.cache_read.input_tokens": account.num_shared_tokens,
            "gen_ai.response.finish_reasons": [finish_of(reply) for reply in account.replies],
            "gen_ai.request.max_tokens": sampling.max_tokens,
            "gen_ai.request.temperature": float(sampling.temperature),
            "gen_ai.request.top_p": float(sampling.top_p),
        }
    return facts


def _nanoseconds(account: Account, moment: float) -> int:
    """Of the wall's clock, from seconds of the monotonic one."""
    return int((account.wall + moment - account.began) * 1e9)
