"""Traces: sent as the variables ask, right across the parts of a request; nothing of it else."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from shivx.errors import ConfigurationError
from shivx.tracing.wanted import NEEDED, REQUIREMENTS, traces_wanted
from tests.servers import RunningServer
from tests.service import GunicornService

ROOT = Path(__file__).parent.parent
PRICE = "/api/market/price/BTC-USDC"
ROUTE = "GET /api/market/price/<pair>"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PATIENCE = 30.0
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "True"}, False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "false"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_SERVICE_NAME": "x"}, False),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, True),
    ],
)
def test_the_variables_decide(environ: Mapping[str, str], wanted: bool) -> None:
    """As OpenTelemetry says, but that without any of them there are no traces."""
    assert traces_wanted(environ) is wanted


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER"),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL"),
    ],
)
def test_what_cannot_be_is_refused(environ: Mapping[str, str], name: str) -> None:
    """With the variable's name."""
    with pytest.raises(ConfigurationError, match=f"^{name}: "):
        traces_wanted(environ)


@pytest.mark.parametrize("missing", NEEDED)
def test_missing_packages_are_told_with_what_installs_them(missing: str) -> None:
    """Who asks for no traces needs none of them."""
    with pytest.raises(ConfigurationError, match=f"pip install -r {REQUIREMENTS}"):
        traces_wanted(ENDPOINT, lambda module: module != missing)
    assert (ROOT / REQUIREMENTS).exists()
    assert traces_wanted({}, lambda module: False) is False


def test_the_optional_pins_are_those_that_the_tests_run_with() -> None:
    """deploy/requirements-otel.txt has the packages of requirements-dev.txt that are for traces."""
    pins = re.compile(r"^(?:opentelemetry|googleapis)\S+==\S+", re.MULTILINE)
    optional, tested = ((ROOT / name).read_text() for name in (REQUIREMENTS, "requirements-dev.txt"))
    assert sorted(pins.findall(optional)) == sorted(pins.findall(tested))
    assert len(pins.findall(optional)) == optional.count("==")


@pytest.mark.parametrize("installed", [True, False])
def test_without_the_variables_nothing_is_imported_or_wrapped(installed: bool) -> None:
    """The whole service in a process of its own; none of the callables that would be wrapped is.

    redis-py imports the metrics of OpenTelemetry where that is installed; we leave them alone.
    """
    code = f"""
import sys
if not {installed}:
    sys.modules["opentelemetry"] = None
import wsgi
from shivx.wiring import services_of
services = services_of(wsgi.app)
ours = ("opentelemetry.sdk.trace", "opentelemetry.exporter") if {installed} else "opentelemetry."
print([name for name in sys.modules if name.startswith(ours)])
print([name for name in ("fetch", "get_or_load", "fetch_many") if name in vars(services.cache)])
print("run" in vars(services.cache.gateway), type(wsgi.app.wsgi_app).__name__)
"""
    env = {"SHIVX_REDIS_URL": "redis://127.0.0.1:1", "SHIVX_SECRET_KEYS": "s" * 32, "PATH": ""}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    assert done.stdout.splitlines() == ["[]", "[]", "False Envelope"]


class Collector:
    """Takes what is exported to it over HTTP."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.service = ""
        taken = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                request = ExportTraceServiceRequest.FromString(body)
                for resource in request.resource_spans:
                    (taken.service,) = [
                        each.value.string_value
                        for each in resource.resource.attributes
                        if each.key == "service.name"
                    ]
                    for scope in resource.scope_spans:
                        taken.spans.extend(scope.spans)
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), name="collector")
        self._thread.start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def request(self, id: str) -> Any:
        """Return the span of the request with *id*; None if it has not come."""
        return next((span for span in self.spans if attributes(span).get("shivx.request_id") == id), None)

    def chain(self, span: Any) -> list[str]:
        """Return the names of *span* and those around it, innermost first."""
        by_id = {each.span_id: each for each in self.spans}
        names = []
        while span is not None:
            names.append(span.name)
            span = by_id.get(span.parent_span_id)
        return names

    def of(self, request: Any) -> list[Any]:
        """Return the spans of the trace of *request*."""
        return [span for span in self.spans if span.trace_id == request.trace_id]


def attributes(span: Any) -> dict[str, Any]:
    """Return the attributes of *span* that are text or whole numbers."""
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector."""
    made = Collector()
    yield made
    made.close()


@pytest.mark.service
@pytest.mark.parametrize("worker_class", ["gevent"])
def test_a_miss_and_a_hit_are_traced_through_all_parts(
    collector: Collector, module_redis_server: RunningServer, worker_class: str
) -> None:
    """From a real worker, after its fork: request, cache, view, read, load, Redis; in the client's trace."""
    env = {
        "SHIVX_REDIS_URL": module_redis_server.url,
        "SHIVX_SECRET_KEYS": "s" * 32,
        "SHIVX_CACHE_OP_TIMEOUT": "1",
        "SHIVX_CACHE_MARKET_PRICE_TTL": "600",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "600000",  # what a worker has not sent yet it sends when it ends
    }
    with GunicornService(worker_class=worker_class, env=env) as service:
        parent = f"00-{TRACE}-{PARENT}-01"
        assert service.get(PRICE, {"X-Request-ID": "the-miss", "traceparent": parent}).status == 200
        assert service.get(PRICE, {"X-Request-ID": "the-hit"}).headers["X-Cache"] == "HIT"
        assert service.get("/api/market/price/NO-SUCH", {"X-Request-ID": "the-error"}).status == 404
    miss, hit, error = (collector.request(f"the-{name}") for name in ("miss", "hit", "error"))
    assert (miss.name, miss.trace_id.hex(), miss.parent_span_id.hex()) == (ROUTE, TRACE, PARENT)
    told = attributes(miss)
    assert (told["http.response.status_code"], told["url.path"]) == (200, PRICE)
    spans = {span.name: span for span in collector.of(miss)}
    assert collector.chain(spans["load price"]) == [
        "load price",
        "cache read price",
        "view",
        "cache read http",
        ROUTE,
    ]
    assert attributes(spans["cache read http"])["cache.outcome"] == "miss"
    read = attributes(spans["cache read price"])
    assert (read["cache.outcome"], read["cache.key"]) == ("miss", "price:{pair:simulated:BTC-USDC}")
    redis = [collector.chain(span)[1] for span in collector.of(miss) if span.name.startswith("redis ")]
    assert {"cache read price", "cache read http"} <= set(redis)
    assert attributes(spans["redis fill"])["db.system.name"] == "redis"
    assert {"cache read http", ROUTE} <= {span.name for span in collector.of(hit)}
    assert [attributes(span).get("cache.outcome") for span in collector.of(hit)].count("hit") == 1
    assert not any(span.name.startswith(("load", "view")) for span in collector.of(hit))
    assert attributes(error)["http.response.status_code"] == 404
    assert hit.trace_id != miss.trace_id
    assert collector.service == "shivx"


@pytest.mark.service
def test_a_collector_that_is_away_costs_no_request_anything(module_redis_server: RunningServer) -> None:
    """It is served as ever, and the service ends in time."""
    env = {
        "SHIVX_REDIS_URL": module_redis_server.url,
        "SHIVX_SECRET_KEYS": "s" * 32,
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with GunicornService(env=env) as service:
        assert service.get(PRICE).status == 200


@pytest.mark.service
def test_a_wrong_variable_ends_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything listens, with its name."""
    service = GunicornService(env={"OTEL_TRACES_EXPORTER": "zipkin"})
    with pytest.raises(RuntimeError, match="ended"), service:
        pytest.fail("it started")
    said = capsys.readouterr().out
    assert "ShivX cannot start:\nOTEL_TRACES_EXPORTER: otlp or none, not 'zipkin'" in said
    assert "Booting worker" not in said


def test_the_doc_names_the_variables_and_spans() -> None:
    """docs/tracing.md has each that is read, and each span by the beginning of its name."""
    text, code = ((ROOT / name).read_text() for name in ("docs/tracing.md", "shivx/tracing/wanted.py"))
    assert [name for name in re.findall(r'"(OTEL_\w+)"', code) if f"`{name}`" not in text] == []
    spans = (ROOT / "shivx/tracing/spans.py").read_text()
    for name in re.findall(r'"((?:http|url|cache|db|shivx)\.[\w.]+)"', spans):
        assert f"`{name}`" in text, name
