"""One question takes no longer than its deadline, however the exchange stalls, under threads and gevent."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from shivx.errors import OriginInvalid, OriginUnavailable
from shivx.providers.http_line import MAX_BODY_BYTES
from shivx.providers.pacing import LocalPacer
from tests.ccxt_stage import EXCHANGES, HOUR_MS, NOW_MS, PATHS, Stage

LIMIT = 3.0  # seconds; far above the deadlines here, far below a wait without one
STALLS = ("hang", "drip", "drip_headers")


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_a_stalling_exchange_costs_no_more_than_the_deadline(exchange):
    """Silence, a byte now and then in the body or in the headers: over at the deadline."""
    with Stage(exchange, timeout=0.3) as stage:
        for kind in STALLS:
            stage.server.heal()
            stage.fault("ticker", kind)
            began = time.monotonic()
            with pytest.raises(OriginUnavailable):
                stage.ask("ticker")
            assert time.monotonic() - began < LIMIT


def test_the_deadline_is_for_all_calls_of_a_question():
    """Four calls of 0.3 s each do not fit into 0.5 s, though each alone would."""
    pacer = _Slow()
    with Stage("coinbaseexchange", timeout=0.5, pacer=pacer) as stage:
        catalogue = stage.catalogue
        pacer.seconds = 0.3
        began = time.monotonic()
        until = NOW_MS // HOUR_MS * HOUR_MS
        with pytest.raises(OriginUnavailable):
            stage.provider.candles(catalogue, "SOL-USDC", "1h", until - 1000 * HOUR_MS, until)
        assert time.monotonic() - began < LIMIT


class _Slow:
    """A meter that makes each call wait, and never refuses."""

    seconds = 0.0

    def reserve(self, source, deadline_in, *, interval, cost=1.0):
        """See `Pacer`."""
        return self.seconds

    def penalise(self, source, seconds):
        """See `Pacer`."""


def test_a_batch_answers_what_it_could_before_the_deadline():
    """Coinbase is asked pair by pair: those before the stall are answered, the rest are unavailable."""
    with Stage("coinbaseexchange", timeout=0.5) as stage:
        catalogue = stage.catalogue
        stage.server.fault("/products/PEPE-USD/ticker", "hang")
        began = time.monotonic()
        found = stage.provider.tickers(catalogue, ["SOL-USDC", "PEPE-USD", "BTC-USD"])
        assert time.monotonic() - began < LIMIT
        assert found["SOL-USDC"].price
        assert isinstance(found["PEPE-USD"], OriginUnavailable)
        assert isinstance(found["BTC-USD"], OriginUnavailable)
        assert "/products/BTC-USD/ticker" not in stage.server.counts()


def test_waiting_for_a_slot_counts_and_a_slot_that_comes_too_late_is_not_taken():
    """With the source silenced for longer than the deadline, the question fails at once."""
    pacer = LocalPacer()
    with Stage("kraken", timeout=0.5, pacer=pacer) as stage:
        catalogue = stage.catalogue
        pacer.penalise("kraken", 3000)
        before, began = stage.server.total, time.monotonic()
        with pytest.raises(OriginUnavailable) as caught:
            stage.provider.ticker(catalogue, "BTC-USD")
        assert time.monotonic() - began < LIMIT
        assert caught.value.retry_after == pytest.approx(3000, abs=60)
        assert stage.server.total == before


@pytest.mark.parametrize("kind", ["huge", "gzip_bomb"])
def test_an_answer_without_end_is_refused(kind):
    """More than 32 MiB, sent or unpacked, is nonsense; it is not read to its end."""
    with Stage("kraken", timeout=20.0) as stage:
        stage.fault("ticker", kind)
        with pytest.raises(OriginInvalid, match=str(MAX_BODY_BYTES)):
            stage.ask("ticker")


def test_a_stall_holds_up_nobody_else():
    """While one question hangs, others on the same provider are answered."""
    with Stage("binance", timeout=5.0) as stage:
        catalogue = stage.catalogue
        stage.server.fault(PATHS["binance"]["book"], "hang")
        errors: list[Exception] = []

        def hang() -> None:
            try:
                stage.provider.order_book(catalogue, "BTC-USD", 5)
            except OriginUnavailable as error:
                errors.append(error)

        thread = threading.Thread(target=hang)
        thread.start()
        assert stage.ask("ticker").price
        assert thread.is_alive()
        stage.server.closing.set()  # ends the hang
        thread.join()
        assert len(errors) == 1


GEVENT = """
from gevent import monkey; monkey.patch_all()
import sys, time, gevent
from shivx.errors import OriginUnavailable
from shivx.providers.ccxt_exchange import CcxtExchange
from shivx.providers.pacing import LocalPacer

class Free:
    def reserve(self, *a, **k): return 0.0
    def penalise(self, *a): pass

provider = CcxtExchange("kraken", base_url=sys.argv[1], timeout=1.0, pacer=Free())
catalogue = provider.catalogue()
ticks = 0
def tick():
    global ticks
    while True:
        gevent.sleep(0.02)
        ticks += 1
gevent.spawn(tick)

def stall(pair):
    began = time.monotonic()
    try:
        provider.order_book(catalogue, pair, 5)
    except OriginUnavailable:
        return time.monotonic() - began

jobs = [gevent.spawn(stall, "BTC-USD") for _ in range(10)]
prices = [gevent.spawn(provider.ticker, catalogue, "SOL-USDC") for _ in range(10)]
gevent.joinall(prices, raise_error=True)
early = not any(job.ready() for job in jobs)
gevent.joinall(jobs, raise_error=True)
print(early, max(job.value for job in jobs) < 3.0, ticks > 10, len({job.value.price for job in prices}))
"""


def test_under_gevent_a_stall_ends_at_the_deadline_and_the_hub_goes_on():
    """Ten greenlets stall, ten get their prices meanwhile, and the hub never stops."""
    with Stage("kraken") as stage:
        stage.server.fault(PATHS["kraken"]["book"], "drip", times=5)
        stage.server.fault(PATHS["kraken"]["book"], "hang")
        command = [sys.executable, "-W", "error", "-c", GEVENT, stage.server.url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.stdout.split() == ["True", "True", "True", "1"], done.stderr
