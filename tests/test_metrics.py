"""The metrics are those that are documented, and clients cannot make any."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from io import BytesIO

import pytest
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.registry import REGISTRY
from werkzeug.test import create_environ

from blueprints.exposition import METHODS, OTHER_METHOD
from cache_ext.hooks.event import Fate
from cache_ext.reading.fetched import Outcome
from cache_ext.testing import FakeClock
from cache_ext.transport.breaker import State
from shivx.gate import _OUTCOMES
from shivx.identity import Tier
from shivx.ml.kinds import ENSEMBLE, MODELS
from tests.documented_metrics import (
    EXPECTED_BOUNDS,
    bounds,
    caches,
    documented,
    families,
    quoted,
    undocumented,
)
from tests.market_stage import ScriptedExchange, Site, open_site, settings_for
from tests.service import ROOT
from tests.source_tree import read_modules

PRICE = "/api/market/price/BTC-USDC"
MANY = 10_000
SOME = 100
FEW = 150  # the first eviction, an operation that is rare: that has a series for each bucket
SOURCES = frozenset({"scripted", "simulated"})


@pytest.fixture
def site(redis_url: str, namespace: str, clock: FakeClock) -> Iterator[Site]:
    """The application with a Redis."""
    settings = settings_for(redis_url, cache_namespace=namespace, cache_l1_max_bytes=2**20)
    with open_site(settings, ScriptedExchange(clock)) as opened:
        yield opened


@pytest.fixture
def left(site: Site) -> list[str]:
    """What other tests of this process have counted that no service would: their own caches, say."""
    return undocumented(site.get("/metrics").text, routes(site), SOURCES)


def routes(site: Site) -> frozenset[str]:
    """Return the application's routes."""
    return frozenset(rule.rule for rule in site.app.url_map.iter_rules())


def series(site: Site) -> set[tuple[str, frozenset[tuple[str, str]]]]:
    """Return which series there are."""
    return {
        (sample.name, frozenset(sample.labels.items()))
        for family in families(site.get("/metrics").text)
        for sample in family.samples
    }


def constants(*arguments: tuple[str, str | int]) -> set[str]:
    """Return the strings that calls of a name (its last part) give as an argument, by place or keyword."""
    wanted = dict(arguments)
    found = set()
    for module in read_modules(ROOT, "cache_ext", "shivx", "blueprints"):
        for node in module.nodes:
            if isinstance(node, ast.Call):
                name = (
                    node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                )
                where = wanted.get(name)
                given = [each.value for each in node.keywords if each.arg == where]
                if isinstance(where, int):
                    given = node.args[where : where + 1]
                found |= {
                    each.value
                    for each in given
                    if isinstance(each, ast.Constant) and isinstance(each.value, str)
                }
    return found


def test_the_names_are_those_that_are_documented(site: Site, left: list[str]) -> None:
    """All of them and no others, each of its type, with its labels and no other values."""
    for path in (PRICE, "/api/ml/predict/BTC-USDC", "/nowhere", "/api/indicators/BTC-USDC?names=rsi"):
        site.get(path)
    text = site.get("/metrics").text
    assert [each for each in undocumented(text, routes(site), SOURCES) if each not in left] == []
    assert {family.name.removesuffix("_info") for family in families(text)} >= documented().keys()


def test_the_labels_are_those_that_are_documented() -> None:
    """Of metrics that have no series yet too."""
    for metric in {*REGISTRY._collector_to_names}:
        if isinstance(metric, Counter | Gauge | Histogram) and not metric._name.startswith("flask_"):
            assert list(documented()[metric._name].labels) == list(metric._labelnames), metric._name


@pytest.mark.parametrize(
    ("name", "label", "values"),
    [
        ("cache_requests", "outcome", {*Outcome, "error"}),
        ("redis_circuit_state", "state", {*State}),
        ("rate_limit_requests", "tier", {*Tier}),
        ("rate_limit_requests", "outcome", {*_OUTCOMES.values()}),
        ("ml_predictions", "model", {*MODELS, ENSEMBLE}),
        ("ml_model_trained_timestamp_seconds", "model", {*MODELS}),
        ("flask_http_request", "method", {*METHODS, OTHER_METHOD}),
        ("cache_operation_duration_seconds", "operation", constants(("run", 1)) | {"other"}),
        ("cache_hook_events", "outcome", {*Fate} | constants(("labels", 0)) & {"done", "failed", "lost"}),
    ],
)
def test_the_values_are_those_of_the_code(name: str, label: str, values: set[str]) -> None:
    """As far as it lists them."""
    told = set(quoted(documented()[name].labels[label]))
    assert told >= {str(each) for each in values}
    if name != "cache_hook_events":
        assert told == {str(each) for each in values}


def test_the_caches_are_those_of_the_code() -> None:
    """By the names of their policies, and the front door's."""
    assert set(caches()) == constants(("CachePolicy", "name")) | {"http", "default"}


def test_durations_have_buckets_from_50_us_to_10_s(site: Site) -> None:
    """Each of them, the same."""
    site.get(PRICE)
    histograms = [each for each in families(site.get("/metrics").text) if each.type == "histogram"]
    measured = {each.name for each in histograms if each.samples}
    assert measured >= {
        "cache_operation_duration_seconds",
        "cache_load_duration_seconds",
        "cache_backplane_lag_seconds",
        "origin_request_duration_seconds",
        "flask_http_request_duration_seconds",
    }
    assert [each.name for each in histograms if each.samples and bounds(each) != EXPECTED_BOUNDS] == []
    assert (min(EXPECTED_BOUNDS), sorted(EXPECTED_BOUNDS)[-2]) == (50e-6, 10.0)


class Crowd:
    """Clients who ask for what there is not, past the test client, which takes as long as the answers."""

    def __init__(self, site: Site) -> None:
        self._app = site.app
        self._environ = create_environ(query_string="")

    def ask(self, path: str, query: str = "", method: str = "GET") -> None:
        """Read an answer."""
        asked = {"PATH_INFO": path, "QUERY_STRING": query, "REQUEST_METHOD": method, "wsgi.input": BytesIO()}
        answer = self._app(self._environ | asked, lambda *_: None)
        b"".join(answer)
        getattr(answer, "close", lambda: None)()

    def ask_all(self, number: int) -> None:
        """Ask for a number's worth of everything that a client may name."""
        self.ask(f"/p{number}")
        self.ask(f"/api/market/price/X{number}-USDC")
        self.ask(PRICE, f"x={number}")
        self.ask(PRICE, method=f"BREW{number}")
        self.ask("/api/market/trades/BTC-USDC", f"source=s{number}")
        self.ask("/api/ml/predict/BTC-USDC", f"model=m{number}")


@pytest.mark.parametrize("server_kind", ["valkey"])
def test_clients_make_no_series(site: Site, left: list[str]) -> None:
    """After 10,000 paths and 10,000 pairs there are hardly more series than after one."""
    crowd = Crowd(site)
    for _ in range(2):  # a second answer may come from elsewhere
        crowd.ask_all(0)
    before = series(site)
    for number in range(MANY):
        crowd.ask(f"/p{number}")
        crowd.ask(f"/api/market/price/X{number}-USDC")
    for number in range(SOME):
        crowd.ask_all(number)
    assert len(series(site)) < len(before) + FEW
    text = site.get("/metrics").text
    assert [each for each in undocumented(text, routes(site), SOURCES) if each not in left] == []
