"""Rows of load over HTTP: what was a hit, how long it took, how old it was, and how far it goes."""

from __future__ import annotations

import json
import statistics
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from benchmarks.course import Bots
from benchmarks.many_pairs import TWINS
from benchmarks.market_site import MANY_PAIRS, loads, market_site, port_of
from benchmarks.open_lines import Reply
from benchmarks.open_load import OpenLoad
from benchmarks.rows import Row, in_words, percentile
from benchmarks.stage import Stage

HIT_LEAST, HIT_WANTED, LOADS_MOST = 0.967, 0.99, 1.05
READ_MOST, TAIL_MOST = 0.0018, 0.005
FEW, CURVE = 20, (100, 500)
CURVE_SHARE = 0.5
"""Of the longest load's time, for each further point of the curve."""
TTL = {"price": 5.0, "orderbook": 10.0}
"""Seconds, the defaults; of kinds whose answer is one fact with a lifetime of its own."""
LOADED_AS = {"price": "price", "orderbook": "orderbook", "candles": "forming"}
"""Kinds of requests, and the cache that loads for them and for nobody else."""
FACT_TTL = {"price": 5.0, "orderbook": 10.0, "forming": 5.0}
KNEE = (1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0)
"""Rates that are tried, as multiples of the usual one."""
KNEE_SHARE = 0.05
ROOMY = 50_000
"""Callers, so that many times the usual rate stays within the limits."""
OK = 200
LIMITED = 429


def steady(stage: Stage) -> Iterator[Row]:
    """A cold start, then load at a steady rate with the default lifetimes; and higher rates at last."""
    sizes, bots = stage.sizes, Bots(tuple(TWINS)[:FEW])
    stage.client.flushall()
    with market_site(stage.url) as service:
        before = loads(service)
        offset = time.time() - time.monotonic()
        replies = press(port_of(service), bots, sizes.rate, sizes.seconds)
        made = _loads_made(bots, replies, before, loads(service))
        yield _hits(f"{FEW} pairs, cold start", replies, *made, asked=True)
        yield _reads(replies)
        yield _sustained(sizes.rate, replies)
        yield _ages(bots, replies, offset)
        yield _knee(port_of(service), stage)


def curve(stage: Stage) -> Iterator[Row]:
    """The same with more pairs, which are each asked for less often."""
    for count in CURVE:
        stage.client.flushall()
        with market_site(stage.url, MANY_PAIRS) as service:
            bots, before = Bots(tuple(TWINS)[:count]), loads(service)
            replies = press(port_of(service), bots, stage.sizes.rate, stage.sizes.seconds * CURVE_SHARE)
            made = _loads_made(bots, replies, before, loads(service))
        yield _hits(f"{count} pairs, cold start", replies, *made, asked=False)


def press(port: int, bots: Bots, rate: float, seconds: float) -> list[Reply]:
    """Return what came of load at *rate*."""
    with OpenLoad(port, bots, rate, seconds) as load:
        return load.replies()


def refused(replies: Iterable[Reply]) -> int:
    """Return how many were told that they ask too often."""
    return sum(each.status == LIMITED for each in replies)


def is_hit(reply: Reply) -> bool:
    """Tell whether it was answered and nobody waited for the exchange."""
    return reply.status == OK and reply.header(b"X-Cache") == b"HIT"


def _hits(what: str, replies: Sequence[Reply], ratio: float, words: str, *, asked: bool) -> Row:
    rate = sum(map(is_hit, replies)) / len(replies)
    return Row(
        f"1 hit rate, {what}",
        f"> {HIT_LEAST:.1%} (wanted > {HIT_WANTED:.0%}); loads ≤ {LOADS_MOST} x the least" if asked else "",
        f"{rate:.2%} of {len(replies)}; {words}",
        "",
        rate > HIT_LEAST and ratio <= LOADS_MOST if asked else None,
        {"hit rate, %": round(100 * rate, 3), "loads, x the least": round(ratio, 3)},
        refused(replies),
    )


def _loads_made(
    bots: Bots,
    replies: Sequence[Reply],
    before: dict[str, tuple[float, float]],
    after: dict[str, tuple[float, float]],
) -> tuple[float, str]:
    """Return how many times the least number of loads there were, and the same in words.

    The least: each request finds a value that began to be loaded at most its ttl before, less what loading
    takes; so a key that is asked for all the time is loaded every ttl less load time.
    """
    moments: dict[int, list[float]] = defaultdict(list)
    for each in replies:
        moments[each.asked].append(each.due)
    made = least = 0.0
    for kind, cache in LOADED_AS.items():
        (count, took), (first, took_first) = after.get(cache, (0.0, 0.0)), before.get(cache, (0.0, 0.0))
        made += count - first
        life = FACT_TTL[cache] - (took - took_first) / max(1.0, count - first)
        least += sum(_least(due, life) for asked, due in moments.items() if bots.asked[asked][0] == kind)
    return made / least, f"{made:.0f} loads of prices, books, open candles: {made / least:.2f} x the least"


def _least(moments: Iterable[float], life: float) -> int:
    """Return how many loads of *life* seconds cover all *moments*."""
    count, until = 0, float("-inf")
    for each in sorted(moments):
        if each >= until:
            count, until = count + 1, each + life
    return count


def _reads(replies: Sequence[Reply]) -> Row:
    waits = [each.wait for each in replies if is_hit(each)]
    mean = statistics.fmean(waits)
    return Row(
        "2 cached read over HTTP, at that rate",
        f"< {in_words(READ_MOST)} on average",
        f"mean {in_words(mean)}, p50 {in_words(statistics.median(waits))}",
        "",
        mean < READ_MOST,
        {"mean, µs": round(mean * 1e6, 1), "p50, µs": round(statistics.median(waits) * 1e6, 1)},
    )


def _sustained(rate: float, replies: Sequence[Reply]) -> Row:
    served = sum(each.status == OK for each in replies) / len(replies)
    waits = [each.wait for each in replies]
    last = percentile(waits, 0.99)
    return Row(
        f"3 {rate:.0f} requests a second, cold start included",
        f"100 % served, p99 < {in_words(TAIL_MOST)}",
        f"{served:.2%} served, p99 {in_words(last)}, p99.9 {in_words(percentile(waits, 0.999))}",
        "",
        served == 1 and last < TAIL_MOST,
        {"served, %": 100 * served, "p99, µs": round(last * 1e6, 1)},
        refused(replies),
    )


def _ages(bots: Bots, replies: Sequence[Reply], offset: float) -> Row:
    """How old the served prices and books were, at the moment that they were asked for."""
    oldest: dict[str, float] = dict.fromkeys(TTL, 0.0)
    over = marked = 0
    for each in replies:
        kind = bots.asked[each.asked][0]
        if kind not in TTL or each.status != OK:
            continue
        fact = json.loads(each.body)
        age = each.due + offset - datetime.fromisoformat(fact["received_at"]).timestamp()
        if fact["stale"]:
            marked += 1
        else:
            oldest[kind] = max(oldest[kind], age)
            over += age > TTL[kind]
    words = ", ".join(f"{kind} {age:.2f} s of {TTL[kind]:.0f}" for kind, age in oldest.items())
    return Row(
        "6 ages of what was served",
        "none over its TTL unless marked",
        f"{over} over, {marked} marked; oldest: {words}",
        "",
        over == 0,
        {f"oldest {kind}, s": round(age, 3) for kind, age in oldest.items()},
    )


def _knee(port: int, stage: Stage) -> Row:
    """The rates up to which all are served, and as soon as is asked."""
    sizes, steps, best, figures = stage.sizes, [], 0.0, {}
    bots, limited = Bots(tuple(TWINS)[:FEW], callers=ROOMY), 0
    for factor in KNEE:
        rate = factor * sizes.rate
        replies = press(port, bots, rate, sizes.seconds * KNEE_SHARE)
        limited += refused(replies)
        last = percentile([each.wait for each in replies], 0.99)
        served = sum(each.status == OK for each in replies) / len(replies)
        steps.append(f"{rate:.0f}: {in_words(last)}" + (f", {served:.1%} served" if served < 1 else ""))
        figures[f"p99 at {factor} x, µs"] = round(last * 1e6, 1)
        if served == 1 and last < TAIL_MOST:
            best = rate
        if served < 1 or last > 1.0:
            break
    if best:
        figures["knee, requests a second"] = best
    got = f"to {best:.0f} with p99 < {in_words(TAIL_MOST)}; p99 at " + ", ".join(steps)
    return Row("3 how far it goes", "", got, "", None, figures, limited)
