"""Candles: every range is read from pages that all ranges share, and none ever has a gap or a double."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache_ext.testing.clock import NOON, FakeClock
from shivx.errors import NotComputable, OriginUnavailable, UnknownPair
from shivx.models import TIMEFRAMES, Candle
from shivx.services.aggregation import aggregate
from shivx.services.series import PAGE, SETTLE_MS
from tests.market_stage import (
    Desk,
    ScriptedExchange,
    Site,
    down,
    open_desk,
    open_site,
    settings_for,
    truth,
    walk,
)

MINUTE, HOUR = TIMEFRAMES["1m"], TIMEFRAMES["1h"]
NOW = int(NOON * 1000)
PAIR = "BTC-USDC"
FORMING_SECONDS = 5.0
REFRESHED_SECONDS = 3_455  # closed candles live an hour, and are loaded anew in its last 144 s
NO_4H = ("1m", "5m", "15m", "1h", "1d")


@pytest.fixture
def desk(clock: FakeClock) -> Desk:
    """Services on an exchange with all timeframes."""
    return open_desk(clock)


@pytest.fixture
def site(clock: FakeClock) -> Iterator[Site]:
    """The application on an exchange with all timeframes."""
    with open_site(settings_for(), ScriptedExchange(clock), clock=clock) as opened:
        yield opened


def ask(desk: Desk, since: int, until: int, timeframe: str = "1h", *, closed: bool = False) -> list[Candle]:
    """Return the candles of a range."""
    found = desk.candles.candles("scripted", PAIR, timeframe, since, until, closed=closed)
    return list(found.fact.candles.candles)


def ground_truth(timeframe: str, since: int, until: int, now: int, native: tuple[str, ...]) -> list[Candle]:
    """Return what the exchange knows at *now* of a range, merged by hand from hours if it must be."""
    if timeframe in native:
        return list(truth(timeframe, since, min(until, now + 1), now))
    length = TIMEFRAMES[timeframe]
    first, last = -(-since // length) * length, -(-until // length) * length
    merged = []
    for start in range(first, min(last, now + 1), length):
        hours = truth("1h", start, min(start + length, now + 1), now)
        if hours:
            merged.append(merge(start, hours))
    return merged


def merge(start: int, parts: tuple[Candle, ...]) -> Candle:
    """Merge candles by schoolbook arithmetic on fractions."""
    places = max(len(part[5].partition(".")[2]) for part in parts)
    volume = sum(Fraction(part[5]) for part in parts) * 10**places
    assert volume.denominator == 1
    digits = f"{volume.numerator:0{places + 1}d}"
    high = max(parts, key=lambda part: Fraction(part[2]))[2]
    low = min(parts, key=lambda part: Fraction(part[3]))[3]
    text = f"{digits[:-places]}.{digits[-places:]}" if places else digits
    return (start, parts[0][1], high, low, parts[-1][4], text)


def test_a_range_is_what_the_exchange_says(desk: Desk) -> None:
    """Without anything cached, the answer is the exchange's own candles, digits included."""
    since = NOW - 700 * HOUR
    assert ask(desk, since, NOW + 1) == list(truth("1h", since, NOW + 1, NOW))


def test_since_is_inclusive_and_until_exclusive(desk: Desk) -> None:
    """A candle that opens at `since` is in the answer, one that opens at `until` is not."""
    since = NOW // HOUR * HOUR - 50 * HOUR
    opened = [candle[0] for candle in ask(desk, since, since + 40 * HOUR)]
    every = [candle[0] for candle in truth("1h", since, since + 40 * HOUR, NOW)]
    assert opened == every
    assert [candle[0] for candle in ask(desk, since + 1, since + 40 * HOUR + 1)] == [
        candle[0] for candle in truth("1h", since + 1, since + 40 * HOUR + 1, NOW)
    ]


def test_different_ranges_share_pages(desk: Desk) -> None:
    """Two hundred ranges over the same candles cost the exchange as many questions as there are pages."""
    for step in range(200):
        since = NOW - (950 - step) * HOUR
        ask(desk, since, since + (1 + step * 3) * HOUR)
    assert desk.exchange.count("candles") <= 6
    asked = [(since, until) for *_, since, until in desk.exchange.asked[1:]]
    covered = sorted(moment for since, until in asked for moment in range(since, until, HOUR))
    assert len(covered) == len(set(covered)), "a candle was fetched twice"


def test_there_is_no_key_per_request(desk: Desk) -> None:
    """However many ranges, limits and kinds are asked for, what is stored is a key a page."""
    for step in range(150):
        ask(desk, NOW - (900 - step) * HOUR, NOW - step * HOUR + 1, closed=bool(step % 2))
    pages, _ = desk.cache.runtime.near.sizes()
    assert pages <= 1 + (900 // PAGE + 2) + 1  # catalogue, pages, the forming part


def test_closed_candles_live_an_hour_and_the_open_one_no_longer_than_a_price(
    desk: Desk, clock: FakeClock
) -> None:
    """Until they are refreshed the exchange is asked for closed candles once, for the open one ever again."""
    day = TIMEFRAMES["1d"]
    since = NOW - 500 * day
    while clock.time() - NOON < REFRESHED_SECONDS:
        (*_, last) = ask(desk, since, NOW + day, "1d")
        assert last[5] == f"{clock.time() * 1000 - last[0]:.1f}", "the open candle is as of this moment"
        clock.advance(FORMING_SECONDS / 2)
        ask(desk, since, NOW + day, "1d")
        clock.advance(FORMING_SECONDS / 2)
    spans = [(since, until) for *_, since, until in desk.exchange.asked[1:]]
    assert sum(until - since > day for since, until in spans) == 1
    assert sum(until - since == day for since, until in spans) == REFRESHED_SECONDS / FORMING_SECONDS
    clock.advance(3_600 - REFRESHED_SECONDS)
    desk.candles.candles("scripted", PAIR, "1d", since, NOW, closed=True, fresh=True)
    assert desk.exchange.count("candles") == len(spans) + 1


def test_an_answer_about_the_past_may_be_kept_as_long_as_its_pages(desk: Desk) -> None:
    """The freshness of closed candles is an hour; with the open one in it, that of a price."""
    past = desk.candles.candles("scripted", PAIR, "1h", NOW - 900 * HOUR, NOW - 800 * HOUR, closed=False)
    assert past.ttl_left == 3600.0
    present = desk.candles.candles("scripted", PAIR, "1h", NOW - 10 * HOUR, NOW + 1, closed=False)
    assert present.ttl_left == FORMING_SECONDS


@pytest.mark.parametrize("offset", [0, 1, PAGE - 1], ids=["page just full", "one in", "last of page"])
def test_closed_candles_up_to_now_are_fresh_until_the_next_closes(offset: int) -> None:
    """Wherever in its page the newest closed candle lies, a list of the latest expires as the next closes."""
    page = NOW // (PAGE * MINUTE) * PAGE * MINUTE
    now = page + offset * MINUTE + 20_000
    clock = FakeClock(unix=now / 1000)
    desk = open_desk(clock)
    until = desk.candles.closed_until("1m")
    found = desk.candles.candles("scripted", PAIR, "1m", until - 60 * MINUTE, until, closed=True)
    assert found.ttl_left == pytest.approx((until + MINUTE + SETTLE_MS - now) / 1000)


def test_a_candle_that_closes_between_two_requests_appears_closed(desk: Desk, clock: FakeClock) -> None:
    """After its end and the time to settle, the open candle is closed and final, and the next has begun."""
    begin = NOW // HOUR * HOUR
    while _is_gap(begin) or _is_gap(begin + HOUR):
        begin += HOUR
    clock.advance((begin + HOUR - 2_000 - NOW) / 1000)
    before = desk.candles.candles("scripted", PAIR, "1h", begin - HOUR, begin + 5 * HOUR, closed=False).fact
    assert before.open_candle
    assert before.candles.candles[-1][0] == begin
    clock.advance(2.0 + SETTLE_MS / 1000)
    after = desk.candles.candles("scripted", PAIR, "1h", begin - HOUR, begin + 5 * HOUR, closed=False).fact
    assert after.open_candle
    final, opened = after.candles.candles[-2:]
    assert final == truth("1h", begin, begin + HOUR, begin + 2 * HOUR)[0]
    assert opened[0] == begin + HOUR


def test_a_candle_that_just_ended_is_not_called_closed(desk: Desk, clock: FakeClock) -> None:
    """What was cached before a candle's end is not passed off as its final state after it."""
    begin = NOW // HOUR * HOUR
    while _is_gap(begin):
        begin += HOUR
    clock.advance((begin + HOUR - 300 - NOW) / 1000)
    ask(desk, begin - HOUR, begin + HOUR)
    clock.advance(0.6)
    found = desk.candles.candles("scripted", PAIR, "1h", begin - HOUR, begin + HOUR, closed=False).fact
    (last,) = found.candles.candles[-1:]
    assert last != truth("1h", begin, begin + HOUR, begin + 2 * HOUR)[0]
    assert found.open_candle
    assert all(candle[0] < begin for candle in ask(desk, begin - 5 * HOUR, begin + HOUR, closed=True))


def _is_gap(at: int) -> bool:
    return not truth("1h", at, at + HOUR, at + 2 * HOUR)


steps = st.lists(
    st.tuples(
        st.sampled_from([0, 100, 900, 4_000, 6_000, 30_000, 61_000, 1_000_000, 3_599_500]),  # ms that pass
        st.integers(-700, 2),  # since, in candles from now
        st.integers(0, 700),  # how many candles
        st.integers(0, 2 * HOUR),  # ms off the grid
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(
    timeframe=st.sampled_from(["1m", "1h", "4h"]),
    native=st.sampled_from([tuple(TIMEFRAMES), NO_4H]),
    phase=st.sampled_from([-1_500, -400, 0, 300, 999, 1_000, 1_500, 20_000]),
    steps=steps,
)
def test_every_range_at_every_moment_is_the_truth(
    timeframe: str, native: tuple[str, ...], phase: int, steps: list[tuple[int, int, int, int, bool]]
) -> None:
    """Closed candles are the exchange's final ones, each once; after them comes at most what may change."""
    length = TIMEFRAMES[timeframe]
    boundary = NOW // (PAGE * length) * PAGE * length  # of a page, where two kinds of pages meet
    clock = FakeClock(unix=(boundary + phase) / 1000)
    desk = open_desk(clock, timeframes=native)
    for passes, first, count, off, closed in steps:
        clock.advance(passes / 1000)
        now = int(clock.time() * 1000)
        since = now // length * length + first * length + off
        until = since + count * length
        found = ask(desk, since, until, timeframe, closed=closed)
        cut = desk.candles.closed_until(timeframe)
        everything = ground_truth(timeframe, since, until, now, native)
        final = [candle for candle in everything if candle[0] < cut]
        assert found[: len(final)] == final
        rest = found[len(final) :]
        if closed:
            assert rest == []
            continue
        possible = [candle[0] for candle in everything if candle[0] >= cut]
        # Within the moment of settling, what was seen before the boundary may be all that is known.
        settling = now // length * length > cut
        assert [candle[0] for candle in rest] in ([possible, possible[:1]] if settling else [possible])
        for at, *_, volume in rest if timeframe in native else []:
            if volume.endswith(".0"):  # not final: how much of the candle had been seen
                assert now - at - int(volume[:-2]) <= FORMING_SECONDS * 1000


@pytest.mark.parametrize("timeframe", ["4h", "1d"])
def test_aggregation_is_exact(clock: FakeClock, timeframe: str) -> None:
    """What is made of hours has first open, highest high, lowest low, last close, and exact volumes."""
    desk = open_desk(clock, timeframes=["1h"])
    length = TIMEFRAMES[timeframe]
    since = NOW // length * length - 120 * length
    found = ask(desk, since, NOW // length * length, timeframe, closed=True)
    assert found == ground_truth(timeframe, since, NOW // length * length, NOW, ("1h",))
    assert len(found) == 120


volumes = st.from_regex(r"(0|[1-9][0-9]{0,39})(\.[0-9]{1,39})?", fullmatch=True)


@given(st.lists(volumes, min_size=1, max_size=60))
def test_volumes_are_summed_to_the_last_digit(parts: list[str]) -> None:
    """However many digits volumes have, their sum is exact, in fixed notation."""
    minutes = [(number * MINUTE, "1", "1", "1", "1", volume) for number, volume in enumerate(parts)]
    ((_, *_, volume),) = aggregate(minutes, "1h")
    assert Fraction(volume) == sum(map(Fraction, parts))
    assert re.fullmatch(r"[0-9]+(\.[0-9]+)?", volume)


def test_aggregation_takes_the_largest_timeframe_that_divides(clock: FakeClock) -> None:
    """Four hours are made of hours, not of minutes, and a day of hours if there are no four."""
    desk = open_desk(clock, timeframes=["1m", "5m", "1h"])
    ask(desk, NOW - 48 * HOUR, NOW, "4h")
    ask(desk, NOW - 48 * HOUR, NOW, "1d")
    assert {timeframe for _, _, timeframe, *_ in desk.exchange.asked[1:]} == {"1h"}


def test_gaps_stay_gaps_when_aggregated(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four hours without any trade give no candle."""
    desk = open_desk(clock, timeframes=["1h"])
    length = TIMEFRAMES["4h"]
    hole = NOW // length * length - 3 * length
    original = desk.exchange.candles

    def with_hole(*question: object) -> object:
        whole = original(*question)  # type: ignore[arg-type]
        kept = tuple(candle for candle in whole.candles if not hole <= candle[0] < hole + length)
        return type(whole)(whole.pair, whole.timeframe, kept, whole.covered_since, whole.received_at)

    monkeypatch.setattr(desk.exchange, "candles", with_hole)
    found = [candle[0] for candle in ask(desk, hole - 2 * length, hole + 3 * length, "4h", closed=True)]
    assert found == [hole - 2 * length, hole - length, hole + length, hole + 2 * length]


def test_smaller_candles_serve_both_timeframes(clock: FakeClock) -> None:
    """Who asks for hours and for four hours of one range makes the exchange tell it once."""
    desk = open_desk(clock, timeframes=["1h"])
    since = NOW // (PAGE * 4 * HOUR) * PAGE * 4 * HOUR - PAGE * 4 * HOUR
    ask(desk, since, NOW - HOUR, "1h", closed=True)
    asked = desk.exchange.count("candles")
    ask(desk, since + 200 * HOUR, NOW - HOUR, "4h", closed=True)
    assert desk.exchange.count("candles") == asked


def test_an_aggregate_of_stale_candles_is_not_passed_off_as_fresh(clock: FakeClock) -> None:
    """When the exchange fails, four hours from before are served marked, none made unmarked of old hours."""
    desk = open_desk(clock, timeframes=["1h"])
    found = desk.candles.candles("scripted", PAIR, "4h", NOW - 48 * HOUR, NOW + 1, closed=False)
    assert not found.stale
    desk.exchange.failure = down()
    clock.advance(FORMING_SECONDS + 1)
    found = desk.candles.candles("scripted", PAIR, "4h", NOW - 48 * HOUR, NOW + 1, closed=False)
    assert found.stale
    assert found.ttl_left < 0
    clock.advance(31)
    with pytest.raises(OriginUnavailable):
        desk.candles.candles("scripted", PAIR, "4h", NOW - 48 * HOUR, NOW + 1, closed=False)


def test_an_aggregate_made_of_stale_candles_is_stale(clock: FakeClock) -> None:
    """Four hours first asked for while the exchange is down are made of the hours there are, and marked."""
    desk = open_desk(clock, timeframes=["1h"])
    page = NOW // (PAGE * 4 * HOUR) * PAGE * 4 * HOUR
    ask(desk, page, NOW + 1, "1h")
    desk.exchange.failure = down()
    clock.advance(FORMING_SECONDS + 1)
    for _ in range(2):
        found = desk.candles.candles("scripted", PAIR, "4h", NOW - 48 * HOUR, NOW + 1, closed=False)
        assert found.stale
        assert found.ttl_left < 0
        assert found.age >= FORMING_SECONDS + 1
    assert list(found.fact.candles.candles) == ground_truth("4h", NOW - 48 * HOUR, NOW + 1, NOW, ("1h",))
    closed = desk.candles.candles("scripted", PAIR, "4h", NOW - 48 * HOUR, NOW + 1, closed=True)
    assert not closed.stale
    clock.advance(31)
    with pytest.raises(OriginUnavailable):
        ask(desk, NOW - 48 * HOUR, NOW + 1, "4h")


def test_closed_candles_outlive_an_exchange_that_fails_as_one_closes(desk: Desk, clock: FakeClock) -> None:
    """With the exchange down as a candle closes, what was known before is served: marked, not complete."""
    begin = NOW // HOUR * HOUR
    known = ask(desk, begin - 100 * HOUR, begin, closed=True)
    clock.advance((begin + HOUR + SETTLE_MS - NOW) / 1000)
    desk.exchange.failure = down()
    found = desk.candles.candles("scripted", PAIR, "1h", begin - 100 * HOUR, begin + HOUR, closed=True)
    assert list(found.fact.candles.candles) == known
    assert found.stale
    assert not found.fact.complete
    assert not found.fact.open_candle
    assert found.ttl_left <= 0
    clock.advance(301)
    with pytest.raises(OriginUnavailable):
        ask(desk, begin - 100 * HOUR, begin + HOUR, closed=True)


def test_the_open_candle_outlives_its_end_while_the_exchange_is_down(desk: Desk, clock: FakeClock) -> None:
    """Just after a candle's end, with the exchange down, its last known state is served, marked as open."""
    begin = NOW // HOUR * HOUR
    while _is_gap(begin):
        begin += HOUR
    clock.advance((begin + HOUR - 1_000 - NOW) / 1000)
    known = ask(desk, begin - 10 * HOUR, begin + 2 * HOUR)
    desk.exchange.failure = down()
    clock.advance(3.0)
    found = desk.candles.candles("scripted", PAIR, "1h", begin - 10 * HOUR, begin + 2 * HOUR, closed=False)
    assert list(found.fact.candles.candles) == known
    assert found.stale
    assert found.fact.open_candle
    clock.advance(FORMING_SECONDS + 30)
    with pytest.raises(OriginUnavailable):
        ask(desk, begin - 10 * HOUR, begin + 2 * HOUR)


def test_a_range_that_ends_with_a_candle_gets_it_closed_or_not_at_all(desk: Desk, clock: FakeClock) -> None:
    """What an unfinished candle looked like is never put in the place of a finished one."""
    begin = NOW // HOUR * HOUR
    while _is_gap(begin):
        begin += HOUR
    clock.advance((begin + HOUR - 1_000 - NOW) / 1000)
    (*known, unfinished) = ask(desk, begin - 10 * HOUR, begin + HOUR)
    assert unfinished[0] == begin
    desk.exchange.failure = down()
    clock.advance(3.0)
    found = desk.candles.candles("scripted", PAIR, "1h", begin - 10 * HOUR, begin + HOUR, closed=False)
    assert list(found.fact.candles.candles) == known
    assert found.stale
    assert not found.fact.complete
    assert not found.fact.open_candle


def test_nothing_known_of_the_newest_candle_is_told_as_such(desk: Desk, clock: FakeClock) -> None:
    """What opened after the exchange went down is told to be stale and incomplete, not just empty."""
    begin = NOW // HOUR * HOUR
    clock.advance((begin + HOUR - 1_000 - NOW) / 1000)
    ask(desk, begin, begin + HOUR)
    desk.exchange.failure = down()
    clock.advance(3.0)
    found = desk.candles.candles("scripted", PAIR, "1h", begin + HOUR, begin + 2 * HOUR, closed=False)
    assert found.fact.candles.candles == ()
    assert found.stale
    assert found.ttl_left <= 0
    assert not found.fact.complete


def test_the_open_candle_alone_costs_one_question(desk: Desk) -> None:
    """A range of just what is forming does not load the closed candles before it."""
    ask(desk, NOW // HOUR * HOUR, NOW + 1)
    assert desk.exchange.asked[1:] == [("candles", PAIR, "1h", NOW // HOUR * HOUR, NOW // HOUR * HOUR + HOUR)]


def test_times_of_an_answer_are_those_of_its_oldest_part(desk: Desk, clock: FakeClock) -> None:
    """An answer of several pages was received, and is as of, when the first of them was."""
    page = NOW // (PAGE * HOUR) * PAGE * HOUR
    desk.exchange.as_of = 1_000
    ask(desk, page - PAGE * HOUR, page)
    clock.advance(60)
    desk.exchange.as_of = 2_000
    whole = desk.candles.candles("scripted", PAIR, "1h", page - 2 * PAGE * HOUR, page, closed=True)
    assert desk.exchange.count("candles") == 2
    assert whole.fact.candles.received_at == NOW
    assert whole.fact.candles.as_of == 1_000
    assert whole.age == 60.0


def test_the_growing_page_is_not_refreshed_before_its_candle_closes(
    desk: Desk, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the exchange takes, nobody asks it again for what cannot have changed yet."""
    original = desk.exchange.candles

    def slow(*question: Any) -> Any:
        clock.advance(3.0)
        return original(*question)

    monkeypatch.setattr(desk.exchange, "candles", slow)
    begin = NOW // HOUR * HOUR
    ask(desk, begin - 10 * HOUR, begin, closed=True)
    clock.advance((begin + HOUR - NOW) / 1000 - 3.0)  # one second before it expires
    ask(desk, begin - 10 * HOUR, begin, closed=True)
    desk.cache.close()  # waits for refreshes under way
    assert desk.exchange.count("candles") == 1


def test_what_lies_before_the_history_of_a_source_is_incomplete_not_an_error(clock: FakeClock) -> None:
    """A source with 720 candles answers older ranges with what it has, says so, and is asked for no more."""
    desk = open_desk(clock, timeframes=("1h",), max_history=720)
    reaching = desk.candles.candles("scripted", PAIR, "1h", NOW - 1000 * HOUR, NOW + 1, closed=False).fact
    horizon = NOW // HOUR * HOUR - 719 * HOUR
    assert list(reaching.candles.candles) == list(truth("1h", horizon, NOW + 1, NOW))
    assert not reaching.complete
    within = desk.candles.candles("scripted", PAIR, "1h", horizon, NOW + 1, closed=False).fact
    assert within.complete
    asked = desk.exchange.count("candles")
    before = desk.candles.candles("scripted", PAIR, "1h", NOW - 4000 * HOUR, NOW - 2000 * HOUR, closed=False)
    assert before.fact.candles.candles == ()
    assert not before.fact.complete
    assert desk.exchange.count("candles") == asked


def test_an_aggregate_is_incomplete_as_far_as_what_it_is_made_of(clock: FakeClock) -> None:
    """Four hours made of 720 hours reach back 180 candles, and say where they end."""
    desk = open_desk(clock, timeframes=("1h",), max_history=720)
    length = TIMEFRAMES["4h"]
    end = NOW // length * length
    assert not desk.candles.candles(
        "scripted", PAIR, "4h", end - 300 * length, end, closed=True
    ).fact.complete
    assert desk.candles.candles("scripted", PAIR, "4h", end - 170 * length, end, closed=True).fact.complete


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize(
    ("since", "until"),
    [
        (NOW - 50 * HOUR, NOW - 50 * HOUR),
        (NOW + 50 * HOUR, NOW + 90 * HOUR),
        (NOW // HOUR * HOUR + 1, NOW // HOUR * HOUR + 2),
    ],
    ids=["nothing between", "the future", "between two openings"],
)
def test_an_empty_range_costs_nothing(desk: Desk, since: int, until: int, closed: bool) -> None:
    """A range without candles is answered, complete, without asking the exchange for any."""
    found = desk.candles.candles("scripted", PAIR, "1h", since, min(until, NOW), closed=closed)
    assert found.fact.candles.candles == ()
    assert found.fact.complete
    assert not found.fact.open_candle
    assert desk.exchange.count("candles") == 0
    if until > NOW:
        assert found.ttl_left <= (HOUR / 1000 if closed else FORMING_SECONDS)


def test_adjoining_pages_are_asked_for_at_once(desk: Desk) -> None:
    """A long range on a cold cache is one question about closed candles and one about the open one."""
    ask(desk, NOW - 1000 * HOUR, NOW + 1)
    assert desk.exchange.count("candles") == 2


def test_only_missing_pages_are_asked_for(desk: Desk) -> None:
    """Pages that are there are not fetched again because their neighbours are missing."""
    page = NOW // (PAGE * HOUR) * PAGE * HOUR
    ask(desk, page - 2 * PAGE * HOUR, page - PAGE * HOUR)
    ask(desk, page - 3 * PAGE * HOUR, page)
    spans = [(since, until) for *_, since, until in desk.exchange.asked[1:]]
    assert spans == [
        (page - 2 * PAGE * HOUR, page - PAGE * HOUR),
        (page - 3 * PAGE * HOUR, page - 2 * PAGE * HOUR),
        (page - PAGE * HOUR, page),
    ]


def test_unknown_pairs_make_no_pages(desk: Desk) -> None:
    """A pair that is not listed is refused before anything is stored or asked."""
    with pytest.raises(UnknownPair):
        desk.candles.candles("scripted", "NO-SUCH", "1h", 0, NOW, closed=False)
    assert desk.exchange.count("candles") == 0
    assert desk.cache.runtime.near.sizes()[0] == 1


@pytest.mark.parametrize("since", [0, NOW])
def test_a_timeframe_that_nothing_divides_is_not_computable(clock: FakeClock, since: int) -> None:
    """Minutes cannot be made from hours, whatever the range."""
    desk = open_desk(clock, timeframes=["1h", "1d"])
    with pytest.raises(NotComputable):
        ask(desk, since, NOW, "1m")
    assert desk.candles.timeframes(desk.market.catalogue("scripted").fact) == ("1h", "4h", "1d")


def test_closed_candles_of_the_current_page_are_fetched_once_until_the_next_closes(
    desk: Desk, clock: FakeClock
) -> None:
    """The page that still grows is asked for once a candle, not once a request."""
    for _ in range(20):
        ask(desk, NOW - 30 * HOUR, NOW, closed=True)
        clock.advance(60)
    assert desk.exchange.count("candles") == 1
    clock.advance(3_600)
    ask(desk, NOW - 30 * HOUR, NOW + HOUR, closed=True)
    assert desk.exchange.count("candles") == 2


URL = f"/api/market/ohlcv/{PAIR}"


def opened(response: object) -> list[int]:
    """Return the open times of an answer."""
    return [candle[0] for candle in response.json["candles"]]  # type: ignore[attr-defined]


def test_the_latest_hundred_hours_are_the_default(site: Site) -> None:
    """Without parameters the answer is the last hundred hours, the open one included."""
    answer = site.get(URL)
    end = NOW // HOUR * HOUR + HOUR
    assert opened(answer) == [candle[0] for candle in truth("1h", end - 100 * HOUR, NOW + 1, NOW)]
    assert answer.json["timeframe"] == "1h"
    assert answer.json["complete"] is True
    assert answer.json["next"] is None


def test_closed_leaves_out_the_open_candle(site: Site) -> None:
    """``closed=true`` counts its limit from the last closed candle."""
    end = NOW // HOUR * HOUR
    answer = site.get(f"{URL}?closed=true&limit=20")
    assert opened(answer) == [candle[0] for candle in truth("1h", end - 20 * HOUR, end, NOW)]
    assert answer.json["open_candle"] is False


@pytest.mark.parametrize("closed", ["true", "false"])
@pytest.mark.parametrize("limit", [1, 7, 299, 300, 1000])
def test_cursors_walk_a_range_without_gap_or_double(site: Site, limit: int, closed: str) -> None:
    """Following ``next`` gives every candle of the range once, in order, whatever the limit."""
    span = 40 * limit if limit < 10 else 2_300
    since, until = NOW - span * HOUR + 17, NOW + 1
    path = f"{URL}?since={since}&limit={limit}&closed={closed}"
    pages = list(walk(site.get, path, limit=400))
    whole = [candle[0] for page in pages for candle in page["candles"]]
    end = NOW // HOUR * HOUR if closed == "true" else until
    assert whole == [candle[0] for candle in truth("1h", since, end, NOW)]
    assert all(len(page["candles"]) <= limit for page in pages)
    assert all(not page["open_candle"] for page in pages[:-1])


def test_a_walk_ends_at_until(site: Site) -> None:
    """``until`` holds on every page of a walk."""
    since, until = NOW - 900 * HOUR, NOW - 500 * HOUR
    pages = list(walk(site.get, f"{URL}?since={since}&until={until}&limit=100"))
    whole = [candle[0] for page in pages for candle in page["candles"]]
    assert whole == [candle[0] for candle in truth("1h", since, until, NOW)]
    assert len(pages) == 4


def test_a_walk_over_moving_time_has_neither_gap_nor_double(site: Site, clock: FakeClock) -> None:
    """Candles that close during a walk appear once, closed."""
    since = NOW - 50 * MINUTE
    pages, path = [], f"{URL}?timeframe=1m&since={since}&limit=10"
    first = path
    for _ in range(40):
        page = site.get(path).json
        pages.append(page)
        if page["next"] is None:
            break
        path = f"{first}&cursor={page['next']}"
        clock.advance(47)
    whole = [candle[0] for page in pages for candle in page["candles"]]
    now = int(clock.time() * 1000)
    assert whole == [candle[0] for candle in truth("1m", since, now + 1, now)]
    assert now - NOW > 3 * MINUTE


def test_ranges_limits_and_cursors_share_pages(site: Site) -> None:
    """At the route, too, hundred different requests are a few questions to the exchange."""
    for step in range(1, 100):
        assert site.get(f"{URL}?limit={step * 6}").status_code == 200
        assert site.get(f"{URL}?since={NOW - 800 * HOUR + step}&limit={step}").status_code == 200
        assert site.get(f"{URL}?until={NOW - step * HOUR}&closed=1").status_code == 200
    assert site.exchange.count("candles") <= 6


def test_times_are_read_as_milliseconds_and_as_text(site: Site) -> None:
    """2023-11-14T00:00:00Z and its Unix milliseconds are the same range."""
    digits = site.get(f"{URL}?since=1699920000000&until=1699963200000")
    text = site.get(f"{URL}?since=2023-11-14T00:00:00Z&until=2023-11-14T13:00:00%2B01:00")
    assert digits.json["candles"] == text.json["candles"] != []


def test_a_range_in_the_future_is_empty(site: Site) -> None:
    """What is yet to come is no error: no candles, nothing missing, nothing to follow."""
    answer = site.get(f"{URL}?since={NOW + 5 * HOUR}&until={NOW + 50 * HOUR}")
    assert answer.status_code == 200
    assert answer.json["candles"] == []
    assert answer.json["complete"] is True
    assert answer.json["next"] is None


def test_until_in_the_future_is_now(site: Site) -> None:
    """The latest candles before a moment to come are the latest that there are."""
    assert (
        site.get(f"{URL}?limit=20&until={NOW + 900 * HOUR}").json["candles"]
        == (site.get(f"{URL}?limit=20").json["candles"])
    )


def test_before_the_beginning_of_time_there_is_nothing(site: Site) -> None:
    """``until=0`` is answered without asking for candles before 1970."""
    answer = site.get(f"{URL}?until=0")
    assert (answer.json["candles"], answer.json["next"]) == ([], None)
    assert site.exchange.count("candles") == 0


def test_a_candle_is_there_from_the_moment_it_opens() -> None:
    """At the very millisecond at which a candle opens, it is part of the latest."""
    begin = NOW // HOUR * HOUR
    while _is_gap(begin):
        begin += HOUR
    clock = FakeClock(unix=begin / 1000)
    with open_site(settings_for(), ScriptedExchange(clock), clock=clock) as site:
        assert opened(site.get(f"{URL}?limit=1")) == [begin]


@pytest.mark.parametrize("since", ["0", "1970-01-01T00:00:00Z"])
def test_a_range_may_begin_with_time_itself(site: Site, since: str) -> None:
    """``since=0`` is the first page of all there is."""
    answer = site.get(f"{URL}?since={since}&limit=10&timeframe=1d")
    assert opened(answer) == [candle[0] for candle in truth("1d", 0, 10 * TIMEFRAMES["1d"], NOW)]
    assert answer.json["next"] is not None


@pytest.mark.parametrize("position", ['["candles",-1]', '["candles",1e30]', '["trades",1,"x"]', "[]", "null"])
def test_a_made_up_cursor_is_refused(site: Site, position: str) -> None:
    """A cursor that no answer gave, whatever it decodes to, is a 400 about the cursor."""
    cursor = base64.urlsafe_b64encode(position.encode()).rstrip(b"=").decode()
    answer = site.get(f"{URL}?cursor={cursor}")
    assert answer.status_code == 400
    assert answer.json["errors"][0]["parameter"] == "cursor"
    assert site.exchange.asked == []


def test_what_a_source_cannot_compute_is_422(clock: FakeClock) -> None:
    """A timeframe that the source cannot give is a problem of its own, and is not listed."""
    with open_site(settings_for(), ScriptedExchange(clock, timeframes=["1h"]), clock=clock) as site:
        answer = site.get(f"{URL}?timeframe=5m")
        assert (answer.status_code, answer.json["code"]) == (422, "not_computable")
        assert site.get("/api/market/pairs").json["timeframes"] == ["1h", "4h", "1d"]
        assert site.get(f"{URL}?timeframe=4h").status_code == 200


def test_incomplete_history_is_told_at_the_route(clock: FakeClock) -> None:
    """Beyond 720 candles the answer is 200 with ``complete: false``."""
    exchange = ScriptedExchange(clock, timeframes=["1m"], max_history=720)
    with open_site(settings_for(), exchange, clock=clock) as site:
        answer = site.get(f"{URL}?timeframe=1m&limit=1000")
        assert answer.status_code == 200
        assert answer.json["complete"] is False
        assert len(answer.json["candles"]) > 500
        assert site.get(f"{URL}?timeframe=1m&limit=700").json["complete"] is True


def test_the_first_answer_is_a_miss_although_its_candles_are_kept(site: Site, clock: FakeClock) -> None:
    """Whoever waits for the catalogue alone has waited for the exchange."""
    assert site.get(f"{URL}?closed=true").headers["X-Cache"] == "MISS"
    assert site.get(f"{URL}?closed=true").headers["X-Cache"] == "HIT"
    site.services.cache.delete("catalogue:{source:scripted}")
    again = site.get(f"{URL}?closed=true", headers={"Cache-Control": "no-cache"})
    assert again.headers["X-Cache"] == "MISS"


TRADES = f"/api/market/trades/{PAIR}"


@pytest.mark.parametrize("limit", [1, 3, 100, 499, 500])
def test_trades_are_walked_without_gap_or_double(site: Site, limit: int) -> None:
    """Following ``next`` gives the kept trades once each, newest first, those of one millisecond too."""
    pages = list(walk(site.get, f"{TRADES}?limit={limit}", limit=501))
    assert [trade["id"] for page in pages for trade in page["trades"]] == [
        str(number) for number in range(699, 199, -1)
    ]
    assert len(pages) == -(-500 // limit)
    assert site.exchange.count("trades") == 1


def test_trades_that_came_meanwhile_do_not_disturb_a_walk(site: Site, clock: FakeClock) -> None:
    """When the list has moved on, the next page begins where the last ended."""
    first = site.get(f"{TRADES}?limit=100").json
    site.exchange.trade_times += [1_700_000_000_000 + number for number in range(150)]
    clock.advance(61)
    second = site.get(f"{TRADES}?limit=100&cursor={first['next']}").json
    assert site.exchange.count("trades") == 2
    assert [trade["id"] for trade in second["trades"]] == [str(number) for number in range(599, 499, -1)]


def test_a_walk_that_the_list_has_overtaken_ends(site: Site, clock: FakeClock) -> None:
    """When all older trades have dropped out, the next page is empty, and no newer one comes again."""
    first = site.get(f"{TRADES}?limit=400").json
    site.exchange.trade_times += [1_700_000_000_000 + number for number in range(450)]
    clock.advance(61)
    second = site.get(f"{TRADES}?limit=400&cursor={first['next']}").json
    assert second["trades"] == []
    assert second["next"] is None


def test_a_walk_that_the_list_has_just_overtaken_repeats_nothing(site: Site, clock: FakeClock) -> None:
    """When the last trade seen has just dropped out, others of its millisecond do not come again."""
    first = site.get(f"{TRADES}?limit=400").json
    assert first["trades"][-1]["id"] == "300"
    assert first["trades"][-2]["at"] == first["trades"][-1]["at"]
    site.exchange.trade_times += [1_700_000_000_000] * 101
    clock.advance(61)
    assert site.get(f"{TRADES}?limit=500").json["trades"][-1]["id"] == "301"
    assert site.get(f"{TRADES}?limit=400&cursor={first['next']}").json["trades"] == []


def test_a_position_is_a_trade_at_its_time(site: Site) -> None:
    """Where an exchange uses an id again, the walk goes on from the trade that was meant."""
    newest = site.get(f"{TRADES}?limit=3").json
    at = site.exchange.trade_times[600]
    cursor = base64.urlsafe_b64encode(f'["trades",{at},"699"]'.encode()).rstrip(b"=").decode()
    assert newest["trades"][0]["id"] == "699"
    assert site.get(f"{TRADES}?limit=1&cursor={cursor}").json["trades"][0]["id"] == "599"
