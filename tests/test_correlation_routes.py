"""The route of correlations: read together, kept for the hour, right at its end."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from cache_ext.testing.clock import NOON, FakeClock
from shivx.models import TIMEFRAMES, Candles, Catalogue, Market, Pair
from shivx.services.series import PAGE
from shivx.services.together import AT_ONCE
from shivx.times import format_time
from tests.caches import PATIENCE, connected
from tests.market_stage import ScriptedExchange, Site, down, open_site, scripted_site, settings_for

FIFTY = tuple(f"P{number}-USDC" for number in range(50))
HOUR = 3600.0
JUST = 1.0
"""Seconds after its end from which a candle counts as closed."""


class Crowd(ScriptedExchange):
    """An exchange of fifty pairs that answers questions for candles once `AT_ONCE` are there."""

    def __init__(self, clock: FakeClock, **options: Any) -> None:
        super().__init__(clock, **options)
        self.most = self._inside = 0
        self._lock = threading.Lock()
        self._gate = threading.Semaphore(0)

    def catalogue(self) -> Catalogue:
        """Return fifty pairs."""
        markets = {pair: Market(pair, *pair.split("-"), "active") for pair in FIFTY}
        return replace(super().catalogue(), markets=markets)

    def candles(self, catalogue: Catalogue, pair: Pair, timeframe: str, since: int, until: int) -> Candles:
        """Return candles, and note how many ask at once."""
        with self._lock:
            self._inside += 1
            threads = [each for each in threading.enumerate() if each.name == "shivx-question"]
            self.most = max(self.most, len(threads) + 1)  # all are there when the asker's own turn comes
            if self._inside == AT_ONCE:
                self._gate.release(AT_ONCE)
        together = self._gate.acquire(timeout=PATIENCE)
        self._gate.release()
        with self._lock:
            self._inside -= 1
        assert together
        return super().candles(catalogue, pair, timeframe, since, until)


def path(pairs: Sequence[str], timeframe: str = "1h", window: int = 24) -> str:
    """Return how *pairs* are asked for."""
    return f"/api/indicators/correlation?pairs={','.join(pairs)}&timeframe={timeframe}&window={window}"


THREE = ("BTC-USDC", "ETH-USDC", "SOL-USDC")


@pytest.fixture
def site(clock: FakeClock) -> Iterator[Site]:
    """The application on a scripted exchange."""
    with scripted_site(clock) as opened:
        yield opened


@pytest.mark.parametrize("native", [("1h",), ("1m",)], ids=["native", "made of minutes"])
def test_fifty_cold_pairs_are_asked_for_together_a_bounded_number_at_once(
    clock: FakeClock, native: tuple[str, ...]
) -> None:
    """Nobody waits for fifty answers one after the other, and no exchange is asked fifty things at once."""
    with open_site(settings_for(), Crowd(clock, timeframes=native), clock=clock) as site:
        answer = site.get(path(FIFTY, window=5))
        assert answer.status_code == 200, answer.text
        assert site.exchange.most == AT_ONCE
        assert {asked[1] for asked in site.exchange.asked if asked[0] == "candles"} == set(FIFTY)
        assert len(answer.json["matrix"]) == 50


def test_cached_candles_of_all_pairs_are_one_round_trip(
    redis_url: str, namespace: str, clock: FakeClock, trips: list[str]
) -> None:
    """A process that knows none of them reads them at once, beside two looks for what is made of them."""
    settings = settings_for(redis_url, cache_namespace=namespace)
    with (
        open_site(settings, ScriptedExchange(clock)) as one,
        open_site(settings, ScriptedExchange(clock)) as other,
    ):
        for each in (one, other):
            each.services.candles._now = clock.time
        assert one.get(path(THREE, window=30)).status_code == 200
        connected(other.services.cache)
        other.get("/api/market/pairs")
        trips.clear()
        assert other.get(path(THREE, window=24)).status_code == 200
        assert trips.count("read") == 3
        assert other.exchange.asked == []


def test_an_exchange_that_fails_one_question_is_not_asked_all_of_them(clock: FakeClock) -> None:
    """Fifty timeouts in a row help nobody; when it answers again all is well."""
    with open_site(settings_for(), Crowd(clock), clock=clock) as site:
        site.get("/api/market/pairs")
        site.exchange.failure = down()
        answer = site.get(path(FIFTY))
        assert (answer.status_code, answer.json["code"]) == (503, "origin_unavailable")
        assert int(answer.headers["Retry-After"]) >= 1
        assert 1 <= site.exchange.count("candles") <= AT_ONCE
        site.exchange.failure = None
        clock.advance(60.0)
        assert site.get(path(FIFTY)).status_code == 200


@pytest.mark.parametrize("timeframe", ["1m", "5m", "15m", "1h"])
@pytest.mark.parametrize("made_of", [tuple(TIMEFRAMES), ("1m",)], ids=["native", "made of minutes"])
def test_correlations_are_kept_until_the_hour_is_full(timeframe: str, made_of: tuple[str, ...]) -> None:
    """Whoever asks within it is told the same, made once; then they are of one hour more."""
    clock = FakeClock()
    start = NOON // HOUR * HOUR
    clock.advance(start + HOUR + 90.0 - NOON)
    with open_site(settings_for(), ScriptedExchange(clock, timeframes=made_of), clock=clock) as site:
        first = site.get(path(THREE, timeframe))
        asked = site.exchange.count("candles")
        for _ in range(57):
            clock.advance(60.0)
            again = site.get(path(THREE, timeframe))
            assert (again.headers["X-Cache"], again.data) == ("HIT", first.data)
        assert site.exchange.count("candles") == asked
        assert first.json["candles_until"] <= format_time(int(start + HOUR) * 1000)
        clock.advance(start + 2 * HOUR + JUST - clock.time())
        later = site.get(path(THREE, timeframe))
        assert later.headers["X-Cache"] == "MISS"
        assert later.json["stale"] is False
        assert later.json["candles_until"] > first.json["candles_until"]


@pytest.mark.parametrize("timeframe", ["4h", "1d"])
def test_correlations_of_long_candles_are_kept_for_an_hour_or_until_one_closes(
    clock: FakeClock, timeframe: str
) -> None:
    """An hour after they were made they are made anew, and a candle that closes ends them at once."""
    length = TIMEFRAMES[timeframe] / 1000
    with open_site(settings_for(), ScriptedExchange(clock), clock=clock) as site:
        clock.advance((clock.time() // length + 1) * length + JUST - clock.time())
        site.get(path(THREE, timeframe))
        clock.advance(HOUR - 5.0)
        assert site.get(path(THREE, timeframe)).headers["X-Cache"] == "HIT"
        clock.advance(10.0)
        assert site.get(path(THREE, timeframe)).headers["X-Cache"] != "HIT"
        clock.advance((clock.time() // length + 1) * length - 60.0 - clock.time())
        before = site.get(path(THREE, timeframe)).json["candles_until"]
        clock.advance(60.0 + JUST)
        assert site.get(path(THREE, timeframe)).json["candles_until"] > before


@pytest.mark.parametrize(
    "asked",
    [path(THREE, "1h"), "/api/indicators/BTC-USDC?timeframe=1h&names=sma:5"],
    ids=["correlation", "sma"],
)
@pytest.mark.parametrize("offset", [0, 1, PAGE - 1], ids=["page just full", "one in", "last of page"])
def test_nothing_outlives_the_next_closed_candle(asked: str, offset: int) -> None:
    """Wherever in its page the newest closed candle lies, though a full page may be kept for longer."""
    clock = FakeClock()
    reach = PAGE * HOUR
    clock.advance((NOON // reach + 1) * reach + offset * HOUR + HOUR - 20.0 - NOON)
    with open_site(settings_for(), ScriptedExchange(clock), clock=clock) as site:
        before = site.get(asked).json["candles_until"]
        clock.advance(20.0 + JUST)
        after = site.get(asked)
        assert after.json["stale"] is False
        assert after.json["candles_until"] >= before
        assert after.headers["X-Cache"] == "MISS"


def test_an_unknown_pair_is_told(site: Site) -> None:
    """404, whichever of the pairs it is, and no candles are asked for."""
    assert site.get(path(("BTC-USDC", "NO-SUCH"))).status_code == 404
    assert site.exchange.count("candles") == 0
