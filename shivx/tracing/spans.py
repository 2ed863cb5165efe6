"""Spans around what the service is made of: request, answer of the cache, view, read, load, Redis, exchange.

All of them are wrappers, put around public callables when the application is made; without traces there are
none. Imported only if traces are asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from flask import Flask
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from werkzeug.exceptions import HTTPException
from werkzeug.routing import MapAdapter, RequestRedirect

from cache_ext import TieredCache, events
from cache_ext.policy import CachePolicy
from cache_ext.reading.fetched import Fetched
from cache_ext.transport.connection import RedisGateway
from shivx.front import COVERED
from shivx.request_ids import REQUEST_ID
from shivx.version import VERSION

Application = Callable[..., Any]
EXPORT_SECONDS = 3
"""So long the collector may take for a batch, unless OTEL_EXPORTER_OTLP_TIMEOUT says otherwise."""
_TIMEOUTS = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")
_PROPAGATOR = TraceContextTextMapPropagator()


class Tracing:
    """The tracer of one application, and the wrappers that use it.

    Args:
        provider: makes tracers; one that exports as the variables of OpenTelemetry say if not given.
    """

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self._provider = provider or _exporting()
        self._tracer: Tracer = self._provider.get_tracer("shivx", VERSION)

    def end_with(self, cache: TieredCache) -> None:
        """Export what is left when *cache* is closed."""

        @events.close.connect_via(cache, weak=False)
        def closing(sender: object, event: events.Closing) -> None:
            self._provider.shutdown()

    def request(self, app: Flask, inner: Application) -> Application:
        """Return *inner* with a span for each request, in the trace that ``traceparent`` names."""
        adapter = app.url_map.bind("localhost")

        def requesting(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            method, route = environ["REQUEST_METHOD"], _route(adapter, environ)
            told = {"http.request.method": method, **_place(environ, route)}
            with self._span(f"{method} {route}".strip(), told, SpanKind.SERVER, _context(environ)) as span:

                def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
                    span.set_attribute("http.response.status_code", int(status[:3]))
                    span.set_attribute("shivx.request_id", environ.get(REQUEST_ID, ""))
                    if status[0] == "5":
                        span.set_status(StatusCode.ERROR)
                    return start_response(status, headers, *rest)

                answer: Iterable[bytes] = inner(environ, start)
                return answer

        return requesting

    def front(self, inner: Application) -> Application:
        """Return *inner*, the HTTP cache, with a span for each answer of it that says what it was."""

        def fronting(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            if not environ.get("PATH_INFO", "").startswith(COVERED):
                past: Iterable[bytes] = inner(environ, start_response)
                return past
            with self._span("cache read http", {"cache.name": "http"}) as span:

                def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
                    for name, value in headers:
                        if name == "X-Cache":
                            span.set_attribute("cache.outcome", value.lower())
                        elif name == "Cache-Status":
                            span.set_attribute("cache.status", value)
                    return start_response(status, headers, *rest)

                answer: Iterable[bytes] = inner(environ, start)
                return answer

        return fronting

    def view(self, inner: Application) -> Application:
        """Return *inner*, Flask, with a span for each request that reaches it."""

        def viewing(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            with self._span("view"):
                answer: Iterable[bytes] = inner(environ, start_response)
                return answer

        return viewing

    def reads(self, cache: TieredCache) -> None:
        """Have each read of *cache* that has a loader be a span, and each call of the loader one inside."""
        for name in ("fetch", "get_or_load", "fetch_many", "get_or_load_many"):
            setattr(cache, name, self._reading(getattr(cache, name), many=name.endswith("_many")))

    def redis(self, gateway: RedisGateway | None) -> None:
        """Have each round trip over *gateway* that is made for a request be a span."""
        if gateway is None:
            return
        run = gateway.run

        def running(commands: Sequence[Any], operation: str = "other") -> list[Any]:
            if not trace.get_current_span().is_recording():
                return run(commands, operation)  # of the process itself, for nobody's request
            told = {"db.system.name": "redis", "db.operation.name": operation}
            told_more = {**told, "db.operation.batch.size": len(commands)}
            with self._span(f"redis {operation}", told_more, SpanKind.CLIENT):
                return run(commands, operation)

        gateway.run = running  # type: ignore[method-assign]

    def _reading(self, read: Callable[..., Any], *, many: bool) -> Callable[..., Any]:
        def reading(keys: Any, loader: Callable[..., Any], **given: Any) -> Any:
            policy: CachePolicy | None = given.get("policy")
            name = "default" if policy is None else policy.name
            asked = tuple(keys) if many else keys
            told: dict[str, Any] = {"cache.name": name}
            if policy is None or not policy.sensitive:
                told["cache.keys" if many else "cache.key"] = asked
            with self._span(f"cache read {name}", told) as span:
                loaded: list[bool] = []

                def loading(*names: Any) -> Any:
                    loaded.append(True)
                    with self._span(f"load {name}", {"cache.name": name}):
                        return loader(*names)

                found = read(asked, loading, **given)
                span.set_attribute("cache.outcome", _outcome(found, loaded))
                return found

        return reading

    @contextmanager
    def _span(
        self,
        name: str,
        attributes: Mapping[str, Any] | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        context: Context | None = None,
    ) -> Iterator[Span]:
        with self._tracer.start_as_current_span(name, context, kind, attributes) as span:
            yield span


def _exporting() -> TracerProvider:
    named = "OTEL_SERVICE_NAME" in os.environ or "service.name=" in os.environ.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )
    resource = Resource.create({"service.version": VERSION} | ({} if named else {"service.name": "shivx"}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    timeout = None if any(os.environ.get(name) for name in _TIMEOUTS) else EXPORT_SECONDS
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=timeout)))
    return provider


def _context(environ: Mapping[str, Any]) -> Context:
    """Return the context in which the client says that it asks."""
    carrier = {
        name: environ[f"HTTP_{name.upper()}"]
        for name in _PROPAGATOR.fields
        if f"HTTP_{name.upper()}" in environ
    }
    return _PROPAGATOR.extract(carrier, Context())


def _route(adapter: MapAdapter, environ: Mapping[str, Any]) -> str:
    """Return the rule that the path is of, "" if of none: names of spans are few."""
    path = environ.get("PATH_INFO", "").encode("latin-1").decode(errors="replace")
    try:
        rule, _ = adapter.match(path, environ["REQUEST_METHOD"], return_rule=True)
    except (HTTPException, RequestRedirect):
        return ""
    return rule.rule


def _place(environ: Mapping[str, Any], route: str) -> dict[str, str]:
    """Return where a request goes; its path only where nobody's session id is part of it."""
    path = environ.get("PATH_INFO", "")
    told = {"http.route": route} if route else {}
    return told | ({"url.path": path} if path.startswith(COVERED) else {})


def _outcome(found: Any, loaded: list[bool]) -> str:
    """Return what became of a read: that of one, or the gravest of many."""
    if isinstance(found, Fetched):
        return str(found.outcome)
    each_told = found.values() if isinstance(found, dict) else ()
    if any(isinstance(each, Fetched | Exception) for each in each_told):
        outcomes = {str(each.outcome) if isinstance(each, Fetched) else "error" for each in each_told}
        return next(each for each in ("error", "miss", "stale", "hit") if each in outcomes)
    return "miss" if loaded else "hit"
