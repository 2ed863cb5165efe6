"""Warming: what clients ask for is loaded before they do, once, as gently as the origin wants it."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cache_ext.testing import FakeClock
from shivx.app import create_app
from shivx.errors import InvalidParameter, ShivxError
from shivx.jobs.store import new_id
from shivx.models import Pair
from shivx.warming import starting
from shivx.warming.starting import THING, Warming, note_end
from shivx.warming.targets import HOTTEST, Target, chosen
from shivx.warming.warmer import AT_ONCE, LONGEST_WAIT, TRIES, Failure, Warmed, Warmer
from tests.market_stage import PAIRS, Site, down, open_site, scripted_site, settings_for
from tests.model_stage import activate

SOURCES = ("scripted", "other")
PATHS = (
    "/api/market/price/{}",
    "/api/market/orderbook/{}",
    "/api/market/trades/{}",
    "/api/market/ohlcv/{}",
    "/api/indicators/{}",
    "/api/ml/predict/{}",
    "/api/ml/predict/{}?model=ensemble",
)
BITCOIN, ETHER = (Target("scripted", Pair(name)) for name in ("BTC-USDC", "ETH-USDC"))


@pytest.fixture
def site(clock: FakeClock, tmp_path: Path) -> Iterator[Site]:
    """The application with both models trained."""
    activate(tmp_path, "direction", (0.1, 0.2, 0.7))
    activate(tmp_path, "volatility", (0.5, 0.3, 0.2))
    with scripted_site(clock, model_dir=tmp_path) as opened:
        yield opened


def outcomes(site: Site, pair: str) -> set[str]:
    """Ask for all that clients usually do; return what X-Cache says."""
    answers = [site.get(path.format(pair)) for path in PATHS]
    assert [answer.status_code for answer in answers] == [200] * len(PATHS)
    return {answer.headers["X-Cache"] for answer in answers}


def test_who_comes_first_waits_for_nothing(site: Site) -> None:
    """Price, book, trades, candles, indicators, predictions: hits, and the exchange is not asked again."""
    shares: list[float] = []
    found = Warmer(site.services, shares.append).warm([BITCOIN, ETHER])
    assert found == Warmed(pairs=2, loaded=12, skipped=0, failed=())
    assert shares == sorted(shares)
    assert (len(shares), shares[-1]) == (12, 1.0)
    asked = len(site.exchange.asked)
    assert outcomes(site, "BTC-USDC") == outcomes(site, "ETH-USDC") == {"HIT"}
    assert len(site.exchange.asked) == asked
    assert site.exchange.count("tickers") == 1


def test_what_is_warm_is_not_loaded_again(site: Site) -> None:
    """A second time costs the origin nothing, whoever does it."""
    first = Warmer(site.services).warm([BITCOIN, ETHER])
    asked = len(site.exchange.asked)
    assert Warmer(site.services).warm([BITCOIN, ETHER]) == first
    assert len(site.exchange.asked) == asked


def test_what_cannot_be_loaded_is_named_and_stops_nothing_else(site: Site) -> None:
    """A pair that nobody trades is one failure; the others are loaded."""
    found = Warmer(site.services).warm([Target("scripted", Pair("NO-PAIR")), BITCOIN])
    assert found.failed == (Failure("scripted", "NO-PAIR", "prices", "scripted does not trade NO-PAIR"),)
    assert (found.pairs, found.loaded) == (1, 6)
    assert str(found.failed[0]) == "NO-PAIR prices: scripted does not trade NO-PAIR"


def test_a_model_that_is_not_trained_is_no_failure(clock: FakeClock, tmp_path: Path) -> None:
    """What cannot be made yet is skipped, and said."""
    with scripted_site(clock, model_dir=tmp_path) as site:
        assert Warmer(site.services).warm([BITCOIN]) == Warmed(pairs=1, loaded=5, skipped=1, failed=())


def test_an_origin_that_is_down_is_asked_a_few_times_when_it_says_so(site: Site) -> None:
    """Not once for each pair; one that is back meanwhile is warmed as if nothing had been."""
    waits: list[float] = []
    site.exchange.failure = down(retry_after=7.0)
    targets = [Target("scripted", pair) for pair in PAIRS]
    found = Warmer(site.services, wait=waits.append).warm(targets)
    assert found == Warmed(0, 0, 0, (Failure("scripted", None, "catalogue", "the exchange is down"),))
    assert waits == [7.0] * (TRIES - 1)
    assert len(site.exchange.asked) == TRIES

    def come_back(seconds: float) -> None:
        site.exchange.failure = None

    assert Warmer(site.services, wait=come_back).warm([BITCOIN]).failed == ()


def test_an_origin_that_is_away_for_long_is_not_waited_for(site: Site) -> None:
    """An hour's ban ends warming, not the start of the process."""
    waits: list[float] = []
    site.exchange.failure = down(retry_after=LONGEST_WAIT + 1)
    assert len(Warmer(site.services, wait=waits.append).warm([BITCOIN]).failed) == 1
    assert waits == []


def test_few_pairs_are_loaded_at_a_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The origin has never more calls under way than that, so clients get its slots in between."""
    too_many = threading.Barrier(AT_ONCE + 1)
    plain = site.exchange.order_book

    def order_book(*given: Any) -> Any:
        with contextlib.suppress(threading.BrokenBarrierError):
            too_many.wait(0.5)
            raise AssertionError("more are under way")
        return plain(*given)

    monkeypatch.setattr(site.exchange, "order_book", order_book)
    assert len(PAIRS) > AT_ONCE
    found = Warmer(site.services).warm([Target("scripted", pair) for pair in PAIRS])
    assert (found.pairs, found.failed) == (len(PAIRS), ())


def test_what_is_invalidated_while_it_is_warmed_is_not_kept(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event that passes during the load wins: the next client's answer is newer."""
    plain = site.exchange.order_book

    def order_book(*given: Any) -> Any:
        made = plain(*given)
        site.services.cache.invalidate_tags("pair:scripted:BTC-USDC")
        return made

    with monkeypatch.context() as during:
        during.setattr(site.exchange, "order_book", order_book)
        Warmer(site.services).warm([BITCOIN])
    assert site.get("/api/market/orderbook/BTC-USDC").headers["X-Cache"] == "MISS"


def test_the_pairs_that_are_set_come_first_then_the_hottest() -> None:
    """Of any source, each once; what Redis tells besides is passed over."""
    reads = {
        "pair:other:SOL-USDC": 9,
        "pair:scripted:BTC-USDC": 8,
        "pair:gone:BTC-USDC": 7,
        "pair:other:sol-usdc": 6,
        "ohlcv:other:SOL-USDC:1h": 5,
        "pair:other:": 4,
        "\x00": 3,
        "pair:scripted:ETH-USDC": 2,
    }
    found = chosen(["btc-usdc", "BTC-USDC"], SOURCES, reads)
    assert found == [BITCOIN, Target("other", Pair("SOL-USDC")), ETHER]
    many = {f"pair:other:A{number}-B": 1 for number in range(3 * HOTTEST)}
    assert len(chosen(["BTC-USDC"], SOURCES, many)) == 1 + HOTTEST
    with pytest.raises(InvalidParameter):
        chosen(["BTC"], SOURCES, {})


def run(site: Site, *words: str) -> Any:
    """Run the command in the site's own application, which it closes at its end."""
    return site.app.test_cli_runner().invoke(args=["cache", "warm", *words])


@pytest.mark.parametrize(
    ("end", "cancelled", "noted"),
    [
        (None, False, True),
        (ShivxError("it failed"), False, True),
        (SystemExit(1), True, True),
        (SystemExit(1), False, False),
    ],
    ids=["done", "failed", "cancelled", "stopped"],
)
def test_what_came_to_its_end_is_not_done_again(
    end: BaseException | None, cancelled: bool, noted: bool, redis_url: str, tmp_path: Path
) -> None:
    """Nor what was cancelled; what was stopped with its service is."""
    with open_site(settings_for(redis_url, instance_dir=tmp_path, cache_namespace=tmp_path.name)) as site:
        jobs = site.services.launcher.jobs
        with contextlib.suppress(ShivxError, SystemExit), note_end(jobs, lambda: cancelled):
            if end is not None:
                raise end
        assert jobs.tried(THING) == noted


def test_one_that_dies_each_time_is_not_started_for_ever(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes of a worker that end without a word are enough."""
    monkeypatch.setattr(starting, "AGAIN_SECONDS", 0.01)
    with open_site(settings_for(redis_url, instance_dir=tmp_path, cache_namespace=tmp_path.name)) as site:
        launcher, started = site.services.launcher, []

        def dies(thing: str, program: str) -> None:
            started.append(thing)
            launcher.jobs.begin(job := new_id(thing))
            launcher.jobs.fail(job, "it died")

        monkeypatch.setattr(launcher, "launch", dies)
        Warming(launcher)._until_done()
        assert started == [THING, THING]


def test_a_worker_that_starts_after_it_does_nothing(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end is noted in Redis."""
    with open_site(settings_for(redis_url, instance_dir=tmp_path, cache_namespace=tmp_path.name)) as site:
        launcher = site.services.launcher
        assert launcher.jobs.claim(THING, starting.ONCE_SECONDS)
        monkeypatch.setattr(launcher, "launch", lambda *_: pytest.fail("it is done again"))
        Warming(launcher)._until_done()


def test_the_command_says_what_it_did(site: Site) -> None:
    """A line, and exit status 0."""
    done = run(site, "--pairs", "BTC-USDC,ETH-USDC")
    assert (done.exit_code, done.stdout) == (0, "12 answers of 2 pairs are in the cache\n")


def test_what_became_of_the_command_is_in_the_audit(site: Site) -> None:
    """All is loaded, or something failed."""
    for pairs, outcome in (("BTC-USDC", "done"), ("NO-PAIR", "failed")):
        app = create_app(site.services.settings)
        app.test_cli_runner().invoke(args=["cache", "warm", "--pairs", pairs])
        newest, intent = (row.event for row in site.services.audit.page(2).rows)
        assert (newest.action, newest.outcome, intent.outcome) == ("cache.warm", outcome, "intended")


def test_the_command_ends_with_1_and_a_line_for_each_failure(site: Site) -> None:
    """What else could be loaded is; JSON has the same."""
    done = run(site, "--pairs", "NO-PAIR,BTC-USDC", "--json")
    assert done.exit_code == 1
    assert "not warmed: NO-PAIR prices: scripted does not trade NO-PAIR\n" in done.stderr
    told = json.loads(done.stdout)
    assert (told["loaded"], told["failed"][0]["pair"]) == (6, "NO-PAIR")


def test_the_command_takes_no_nonsense(site: Site) -> None:
    """What is no pair ends it before anything is asked."""
    done = run(site, "--pairs", "BTC")
    assert (done.exit_code, site.exchange.asked) == (2, [])
    assert "--pairs: " in done.stderr


def test_the_command_needs_redis(tmp_path: Path) -> None:
    """Nothing would be kept: one clear line, no traceback."""
    settings = settings_for("redis://127.0.0.1:1/0", instance_dir=tmp_path, cache_op_timeout=0.1)
    done = create_app(settings).test_cli_runner().invoke(args=["cache", "warm"])
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1].startswith("Error: Redis does not answer")
    assert "Traceback" not in done.output
