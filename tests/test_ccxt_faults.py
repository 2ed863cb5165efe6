"""Whatever an exchange answers, callers get a fact, an OriginError or a NotFound; never anything else."""

from __future__ import annotations

import contextlib
import itertools
import logging
from email.utils import formatdate

import pytest

from shivx.errors import NotFound, OriginError, OriginInvalid, OriginUnavailable, UnknownPair
from shivx.models import Ticker
from shivx.providers.ccxt_call import RATE_LIMIT_PAUSE
from tests.ccxt_stage import EXCHANGES, NOW, PATHS, QUESTIONS, Stage
from tests.exchange_faults import CONTENT_FAULTS
from tests.exchange_wire import Number

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(params=EXCHANGES)
def stage(request):
    """Each exchange in turn."""
    with Stage(request.param) as stage:
        yield stage


@pytest.mark.parametrize("question", QUESTIONS)
def test_status_429_silences_the_fleet_for_as_long_as_it_says(stage, question):
    """Retry-After, in seconds or as a date, reaches both the caller and the meter; else a default does."""
    date = formatdate(int(NOW) + 7, usegmt=True)
    seconds = {
        "429": RATE_LIMIT_PAUSE,
        "429 retry 7": 7.0,
        f"429 retry {date}": 7.0,
        "429 retry soon": RATE_LIMIT_PAUSE,
    }
    for value, expected in seconds.items():
        stage.fault(question, "status", times=1, value=value)
        with pytest.raises(OriginUnavailable) as caught:
            stage.ask(question)
        assert caught.value.retry_after == pytest.approx(expected, abs=0.5)
        assert stage.pacer.penalties.pop() == (stage.exchange, caught.value.retry_after)
    assert stage.pacer.penalties == []


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_exchanges_own_limit_messages_are_understood(stage, question):
    """Kraken's refusals come with status 200, Binance's ban is a 418: both silence the fleet."""
    for kind in ("limit", "other_limit"):
        stage.fault(question, kind, times=1)
        with pytest.raises(OriginUnavailable) as caught:
            stage.ask(question)
        assert caught.value.retry_after == RATE_LIMIT_PAUSE
        assert stage.pacer.penalties.pop() == (stage.exchange, RATE_LIMIT_PAUSE)
    assert stage.pacer.penalties == []


def test_a_limited_figure_of_the_day_silences_the_fleet_too():
    """Coinbase refuses only the statistics: the price is answered, and the refusal is heeded."""
    with Stage("coinbaseexchange") as stage:
        stage.catalogue  # noqa: B018
        stage.server.fault("*/stats", "limit")
        assert isinstance(stage.ask("ticker"), Ticker)
        assert stage.pacer.penalties == [("coinbaseexchange", RATE_LIMIT_PAUSE)]


@pytest.mark.parametrize("question", QUESTIONS)
def test_outages_and_refusals_are_unavailable(stage, question):
    """5xx and refusals mean: ask again later."""
    for status in (500, 502, 503, 504, 520, 408, 401, 403, 451):
        stage.fault(question, "status", times=1, value=status)
        with pytest.raises(OriginUnavailable) as caught:
            stage.ask(question)
        assert 0 < caught.value.retry_after <= 60
    assert stage.pacer.penalties == []


def test_an_outage_may_say_when_it_ends(stage):
    """A 503 with Retry-After tells the caller when to ask again, within reason."""
    stage.fault("ticker", "status", times=1, value="503 retry 120")
    with pytest.raises(OriginUnavailable) as caught:
        stage.ask("ticker")
    assert caught.value.retry_after == 120
    stage.fault("ticker", "status", value="503 retry 99999999999")
    with pytest.raises(OriginUnavailable) as caught:
        stage.ask("ticker")
    assert caught.value.retry_after == 3600


@pytest.mark.parametrize("question", QUESTIONS)
def test_what_is_not_the_api_is_invalid(stage, question):
    """A page of HTML with status 200, half a JSON, bytes that are no text or no HTTP: nonsense, not facts."""
    for kind in ("html", "truncated", "not_utf8", "garbage", "redirect_loop"):
        stage.server.heal()
        stage.fault(question, kind)
        with pytest.raises(OriginInvalid):
            stage.ask(question)


def test_an_html_page_with_status_503_is_an_outage(stage):
    """The page that a CDN shows for a dead exchange is unavailability."""
    stage.fault("ticker", "html", value=503)
    with pytest.raises(OriginUnavailable):
        stage.ask("ticker")


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_cut_line_is_unavailable(stage, question):
    """A connection that ends before or amid the answer is unavailability; the next question works."""
    for kind in ("cut", "reset"):
        stage.fault(question, kind, times=3)
        with pytest.raises(OriginUnavailable):
            stage.ask(question)
        stage.server.heal()
        stage.ask(question)


def test_nobody_listening_is_unavailable(stage):
    """A refused connection is unavailability."""
    catalogue = stage.catalogue
    stage.provider.close()
    stage.server.close()
    with pytest.raises(OriginUnavailable):
        stage.provider.ticker(catalogue, "BTC-USD")


@pytest.mark.parametrize("question", ["ticker", "book", "trades", "candles"])
def test_values_that_are_no_market_data_are_invalid(stage, question):
    """Nulls, words, objects, NaN, infinities, negative prices, empty bodies: nothing of it is a fact."""
    kinds = (
        "nulls",
        "words",
        "objects",
        "nan",
        "bare_nan",
        "infinite",
        "negative",
        "empty_texts",
        "list",
        "object",
    )
    for kind in kinds:
        if _is_legitimate(stage.exchange, question, kind):
            continue
        stage.fault(question, kind, times=1)
        with pytest.raises(OriginInvalid):
            stage.ask(question)


def _is_legitimate(exchange: str, question: str, kind: str) -> bool:
    """``[]`` is how Coinbase and Binance say "no trades, no candles"."""
    return exchange != "kraken" and kind == "list" and question in {"trades", "candles"}


def test_a_damaged_list_of_markets_is_invalid(stage):
    """A catalogue is made of markets, or not at all."""
    for kind in ("nulls", "bare_nan", "empty_texts", "list", "object"):
        stage.server.fault(PATHS[stage.exchange]["catalogue"], kind, times=1)
        with pytest.raises(OriginInvalid):
            stage.provider.catalogue()


def test_a_market_with_damaged_rules_is_still_a_market():
    """Where only increments and minima are damaged they are unknown, and the markets are listed."""
    with Stage("coinbaseexchange") as stage:
        stage.server.fault("/products", "words")
        market = stage.provider.catalogue().markets["BTC-USD"]
        assert (market.price_increment, market.amount_increment, market.min_notional) == (None, None, None)


@pytest.mark.parametrize(
    ("exchange", "pattern"), [("kraken", "*/Assets"), ("coinbaseexchange", "/currencies")]
)
@pytest.mark.parametrize("kind", ["nulls", "list", "object", "html"])
def test_without_the_currencies_markets_are_not_named_wrongly(exchange, pattern, kind):
    """Without its list of assets Kraken's XXBT would be listed as a coin of that name: no catalogue then."""
    with Stage(exchange) as stage:
        stage.server.fault(pattern, kind)
        with pytest.raises(OriginInvalid):
            stage.provider.catalogue()


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("book", "crossed"),
        ("book", "rows_are_text"),
        ("trades", "rows_are_text"),
        ("trades", "no_sides"),
        ("candles", "rows_are_text"),
        ("candles", "off_grid"),
        ("candles", "contradiction"),
    ],
)
def test_facts_that_contradict_themselves_are_invalid(stage, question, kind):
    """A crossed book, a trade without a side, a candle off its grid or with a high below its close."""
    if (question, kind) == ("book", "rows_are_text"):
        stage.fault("book", "body", value={"bids": ["row"], "asks": ["row"]})
    else:
        stage.fault(question, kind)
    with pytest.raises(OriginInvalid):
        stage.ask(question)


def test_a_crossed_ticker_is_invalid_and_a_locked_one_is_not(stage):
    """A bid above the ask is refused; a bid that equals the ask happens."""
    good = stage.ask("ticker")
    stage.fault("ticker", "replace", times=1, value={good.bid: good.ask})
    assert stage.ask("ticker").bid == good.ask
    stage.fault("ticker", "replace", value={good.bid: good.ask, good.ask: good.bid})
    with pytest.raises(OriginInvalid):
        stage.ask("ticker")


def test_an_exponent_in_an_answer_is_written_out(stage):
    """A price of 1.5002e2 is 150.02."""
    good = stage.ask("ticker")
    stage.fault("ticker", "replace", value={good.price: "1.5002E+2"})
    assert stage.ask("ticker").price == "150.02"


def test_an_answer_about_another_pair_is_invalid():
    """Binance names the pair in its ticker; if it is another one, the price is not ours."""
    with Stage("binance") as stage:
        stage.fault("ticker", "replace", value={"SOLUSDC": "BTCUSD"})
        with pytest.raises(OriginInvalid):
            stage.ask("ticker")


def test_a_pair_that_vanished_is_unknown(stage):
    """When the exchange no longer knows a listed pair, every question about it is UnknownPair."""
    for question in ("ticker", "book", "trades", "candles"):
        stage.fault(question, "unknown_pair")
        with pytest.raises(UnknownPair):
            stage.ask(question)


def test_missing_times_are_null_in_a_price_and_refused_in_a_trade(stage):
    """A price may have no time of the exchange's; a trade without one is none."""
    stage.fault("ticker", "no_time")
    assert stage.ask("ticker").as_of is None
    if stage.exchange != "kraken":  # there the time is a place in an array
        stage.fault("trades", "no_time")
        with pytest.raises(OriginInvalid):
            stage.ask("trades")


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("EService:Unavailable", OriginUnavailable),
        ("EService:Timeout", OriginUnavailable),
        ("EGeneral:Internal error", OriginUnavailable),
        ("EQuery:Unknown asset pair", UnknownPair),
        ("EQuery:Invalid asset pair", UnknownPair),
        ("EGeneral:Permission denied", OriginUnavailable),
        ("EGeneral:Invalid arguments", OriginInvalid),
        ("EGeneral:Something new", OriginInvalid),
    ],
)
def test_krakens_errors_have_a_meaning(text, meaning):
    """Kraken says with status 200 what is wrong; it is told apart by what to do next."""
    with Stage("kraken") as stage:
        stage.fault("ticker", "error", value=text)
        with pytest.raises(meaning):
            stage.ask("ticker")


@pytest.mark.parametrize("question", QUESTIONS)
def test_no_fault_of_content_lets_a_foreign_exception_out(stage, question):
    """Each fault there is, on each question: a fact, an OriginError or a NotFound, and nothing else."""
    catalogue = stage.catalogue
    for kind in sorted(CONTENT_FAULTS - {"status", "error", "body", "replace"}):
        stage.server.fault(PATHS[stage.exchange][question], kind)
        with contextlib.suppress(OriginError, NotFound):
            QUESTIONS[question](stage.provider, catalogue)
        stage.server.heal()


def test_no_odd_body_lets_a_foreign_exception_out(stage):
    """Bodies of any shape, on every question."""
    bodies = ([[[]]], [None], [{}], {"error": None}, {"error": [None]}, {"result": []}, "", 5, [1, 2])
    for question, body in itertools.product(QUESTIONS, bodies):
        stage.fault(question, "body", times=1, value=body)
        assert _outcome(stage, question) in {"fact", "OriginInvalid", "OriginUnavailable", "OriginLimiting"}


def test_deeply_nested_json_is_invalid(stage):
    """JSON that would exhaust the stack is nonsense like any other."""
    depth = 100_000
    stage.fault("ticker", "body", value=Number("[" * depth + "]" * depth))
    with pytest.raises(OriginInvalid):
        stage.ask("ticker")


def test_what_ccxt_trips_over_is_logged_once(stage, caplog):
    """An unexpected Python error inside ccxt is logged at its first occurrence, and not again."""
    stage.fault("book", "body", value=[5])
    with caplog.at_level(logging.WARNING, logger="shivx"):
        for _ in range(3):
            with pytest.raises(OriginInvalid):
                stage.ask("book")
    assert len([record for record in caplog.records if record.name.startswith("shivx")]) <= 1


def test_messages_tell_nothing_of_what_the_exchange_sent(stage):
    """What clients are shown names the exchange and the kind of trouble, never the body or the address."""
    for kind in ("html", "words", "limit", "unknown_pair", "object"):
        stage.server.heal()
        stage.fault("ticker", kind)
        with pytest.raises((OriginError, NotFound)) as caught:
            stage.ask("ticker")
        assert len(str(caught.value)) < 100
        assert not any(part in str(caught.value) for part in ("<", "{", "http://", "lies", "127.0.0.1"))


def _outcome(stage: Stage, question: str) -> str:
    try:
        stage.ask(question)
    except (OriginError, NotFound) as error:
        return type(error).__name__
    return "fact"
