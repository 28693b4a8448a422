"""What Prometheus asks for at /metrics. A registry of its own for each application, so that two in one process (tests)
count apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol, runtime_checkable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from hanlin.use.serve.backend import Served, ServedEncoder
from hanlin.use.serve.watch.account import Account
from hanlin.use.serve.watch.recorder import Live

CONTENT_TYPE = CONTENT_TYPE_LATEST
METHODS = ("GET", "POST", "HEAD", "OPTIONS")
UNTIL_FIRST = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
PER_TOKEN = (0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.5)
WHOLE = (0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


@runtime_checkable
class HoldsBlocks(Protocol):
    """A backend that says how full its cache is."""

    @property
    def num_blocks(self) -> int: ...

    @property
    def num_free_blocks(self) -> int:
        """Those that could be taken now, whether empty or kept for a prompt that begins alike."""
        ...


class Metrics:
    """Counts what is over (it is called with each account) and looks at what is under way when asked."""

    def __init__(self, live: Live, models: Iterable[Served | ServedEncoder]):
        self.registry = CollectorRegistry()
        named: dict[str, Any] = {"registry": self.registry, "namespace": "hanlin"}
        self._requests = Counter("requests", "Requests answered.", ("method", "route", "status"), **named)
        self._limited = Counter("rate_limited", "Requests refused by a limit of their key.", ("key", "code"), **named)
        self._read = Counter("prompt_tokens", "Tokens read.", ("model",), **named)
        self._shared = Counter("prompt_tokens_cached", "Tokens read that were cached already.", ("model",), **named)
        self._written = Counter("reply_tokens", "Tokens written.", ("model",), **named)
        self._seconds = Histogram("request_seconds", "A request, whole.", ("route",), buckets=WHOLE, **named)
        self._first = Histogram(
            "time_to_first_token_seconds", "From asking to the first token.", ("model",), buckets=UNTIL_FIRST, **named
        )
        self._token = Histogram(
            "time_per_token_seconds",
            "Each token behind the first, as a reply's mean.",
            ("model",),
            buckets=PER_TOKEN,
            **named,
        )
        self.registry.register(UnderWay(live, tuple(models)))

    def __call__(self, account: Account) -> None:
        route = account.route or "other"
        method = account.method if account.method in METHODS else "other"
        self._requests.labels(method, route, str(account.status)).inc()
        self._seconds.labels(route).observe(account.seconds)
        if account.status == 429 and account.key is not None:
            self._limited.labels(account.client, account.code).inc()
        if account.model:
            self._read.labels(account.model).inc(account.num_prompt_tokens)
            self._shared.labels(account.model).inc(account.num_shared_tokens)
            self._written.labels(account.model).inc(account.num_reply_tokens)
        for reply in account.replies:
            times = reply.times
            if times.first:
                self._first.labels(account.model).observe(times.first - times.asked)
            if times.ended and reply.num_tokens > 1:
                self._token.labels(account.model).observe((times.ended - times.first) / (reply.num_tokens - 1))

    def text(self) -> bytes:
        return generate_latest(self.registry)


class UnderWay:
    """Gauges, looked up when they are asked for."""

    def __init__(self, live: Live, models: tuple[Served | ServedEncoder, ...]):
        self._live, self._models = live, models

    def collect(self) -> Iterator[Metric]:
        waiting = GaugeMetricFamily("hanlin_replies_waiting", "Replies in line for a place.", labels=("model",))
        running = GaugeMetricFamily("hanlin_replies_running", "Replies being read or written.", labels=("model",))
        blocks = GaugeMetricFamily("hanlin_cache_blocks", "Blocks the cache has.", labels=("model",))
        used = GaugeMetricFamily("hanlin_cache_blocks_used", "Blocks that replies hold.", labels=("model",))
        replies = [(account.model, reply.times) for account in self._live.accounts for reply in account.replies]
        for model in self._models:
            if not isinstance(model, Served):
                continue
            under_way = [times for name, times in replies if name == model.name and not times.ended]
            waiting.add_metric((model.name,), sum(not times.begun for times in under_way))
            running.add_metric((model.name,), sum(bool(times.begun) for times in under_way))
            if isinstance(model.backend, HoldsBlocks):
                blocks.add_metric((model.name,), model.backend.num_blocks)
                used.add_metric((model.name,), model.backend.num_blocks - model.backend.num_free_blocks)
        yield from (waiting, running, blocks, used)
        draining = GaugeMetricFamily("hanlin_draining", "1 while the server is stopping.")
        draining.add_metric((), float(self._live.draining))
        yield draining
