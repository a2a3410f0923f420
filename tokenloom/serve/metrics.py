"""What /metrics tells Prometheus. Each app has a registry of its own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from tokenloom.engine.process import Status
from tokenloom.engine.request import Usage

ROUTES = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
    "/v1/images/generations",
    "/v1/images/edits",
    "/v1/images/variations",
    "/v1/models",
    "/v1/tasks",
    "/health",
    "/metrics",
)
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
TOKEN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "tokenloom_http_requests", "Answers by route and status.", ["method", "route", "status"],
            registry=self.registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "tokenloom_http_request_seconds", "From a request's arrival to the end of its answer.", ["route"],
            registry=self.registry, buckets=SECONDS,
        )  # fmt: skip
        self._prompt = self._counter("tokenloom_prompt_tokens", "Prompt tokens.")
        self._cached = self._counter("tokenloom_cached_tokens", "Prompt tokens whose cache was reused.")
        self._completion = self._counter("tokenloom_completion_tokens", "Generated tokens.")
        self._aborted = Counter(
            "tokenloom_aborted_requests", "Requests whose client left.", registry=self.registry
        )
        self._queue = self._histogram("tokenloom_queue_seconds", "Time in the queue.", SECONDS)
        self._ttft = self._histogram("tokenloom_ttft_seconds", "From arrival to the first token.", SECONDS)
        self._between = self._histogram(
            "tokenloom_inter_token_seconds", "Mean time between an answer's tokens.", TOKEN_SECONDS
        )
        self.in_flight = Gauge(
            "tokenloom_requests_in_flight",
            "Requests in the engine, running and waiting.",
            registry=self.registry,
        )
        self._restarts = self._gauge("tokenloom_engine_restarts", "Times the engine's process was restarted.")
        self._memory = self._gauge("tokenloom_engine_memory_bytes", "What loaded models were admitted with.")
        self._models = Gauge(
            "tokenloom_engine_figures",
            "Slots, cache positions, running, waiting and parked requests, counters.",
            ["model", "figure"],
            registry=self.registry,
        )

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, registry=self.registry)

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(name, text, ["model"], registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, text, ["model"], registry=self.registry, buckets=buckets)

    def answered(self, method: str, path: str, status: int, seconds: float) -> None:
        route = route_label(path)
        known = method if method in ("GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE") else "other"
        self._requests.labels(known, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def prompt(self, model: str, tokens: int) -> None:
        self._prompt.labels(model).inc(tokens)

    def finished(self, model: str, usage: Usage | None, tokens: int, first_choice: bool) -> None:
        """One choice is done."""
        self._completion.labels(model).inc(tokens)
        if usage is None:
            return
        if first_choice:
            self._cached.labels(model).inc(usage.cached_tokens)
            self._queue.labels(model).observe(usage.queue_s)
        if usage.completion_tokens:
            self._ttft.labels(model).observe(usage.ttft_s)
        if usage.completion_tokens > 1:
            per_token_s = (usage.total_s - usage.ttft_s) / (usage.completion_tokens - 1)
            self._between.labels(model).observe(max(0.0, per_token_s))

    def left(self) -> None:
        self._aborted.inc()

    def engine(self, status: Status) -> None:
        """What the engine's process says of itself and of each model."""
        self._restarts.set(status.restarts)
        self._memory.set(status.memory_used)
        self._models.clear()
        for model, found in status.models.items():
            for figure, value in found.figures.items():
                self._models.labels(model, figure).set(value)

    def text(self) -> tuple[bytes, str]:
        return generate_latest(self.registry), CONTENT_TYPE_LATEST


def route_label(path: str) -> str:
    """A path as one of a few labels, so that odd paths cannot fill the memory."""
    for route in ROUTES:
        if path == route or (path.startswith(route + "/") and route in ("/v1/models", "/v1/tasks")):
            return route
    return "other"
