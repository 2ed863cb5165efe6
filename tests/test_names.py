"""Names of cached facts: none stands for two things, and a key shares the bucket of the tag that kills it."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cache_ext.keys import bucket_of, check_name
from shivx import names
from shivx.errors import InvalidParameter
from shivx.models import TIMEFRAMES
from shivx.pairs import parse_pair
from tests.market_stage import PAIRS

SOURCES = ("simulated", "kraken", "coinbaseexchange", "binance", "binance_us", "p2b")
Name = Callable[[str, str], str]
CUT = 1_700_000_000_000


def _of(timeframe: str, make: Callable[..., str], *more: object) -> Name:
    """Return *make*, a name of candles, as a function of source and pair."""
    return lambda source, pair: make(source, pair, timeframe, *more)


# Kind of key -> the key, and the tag that it shares a bucket with; both of source and pair.
KEYS: dict[str, tuple[Name, Name]] = {
    "price": (names.price_key, names.pair_tag),
    "book": (lambda source, pair: names.book_key(source, pair, 100), names.pair_tag),
    "deep book": (lambda source, pair: names.book_key(source, pair, 500), names.pair_tag),
    "trades": (names.trades_key, names.pair_tag),
}
TAGS: dict[str, Name] = {"pair": names.pair_tag, "book": names.book_tag}
for each in TIMEFRAMES:
    tag_of = TAGS[f"candles {each}"] = _of(each, names.candles_tag)
    KEYS[f"page {each}"] = (_of(each, names.page_key, 5666, None), tag_of)
    KEYS[f"growing page {each}"] = (_of(each, names.page_key, 5666, CUT), tag_of)
    KEYS[f"forming {each}"] = (_of(each, names.forming_key, CUT), tag_of)


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize(("source", "pair"), [*itertools.product(SOURCES[:3], PAIRS)])
def test_a_key_shares_the_bucket_of_its_main_tag(kind: str, source: str, pair: str) -> None:
    """One command reads a value and the version that judges it."""
    key, tag = KEYS[kind]
    assert bucket_of(key(source, pair)) == bucket_of(tag(source, pair))
    assert f"{{{tag(source, pair)}}}" in key(source, pair)


@pytest.mark.parametrize("source", SOURCES)
def test_the_catalogue_shares_the_bucket_of_its_source(source: str) -> None:
    """The list of pairs lies beside the tag of its source."""
    assert bucket_of(names.catalogue_key(source)) == bucket_of(names.source_tag(source))


def test_the_source_is_part_of_every_name() -> None:
    """The same pair at two sources shares neither key nor tag, so no market passes for another."""
    for make in [*(key for key, _ in KEYS.values()), *TAGS.values()]:
        made = [make(source, "BTC-USDC") for source in SOURCES]
        assert len(set(made)) == len(SOURCES)
        assert all(f":{source}:" in name for source, name in zip(SOURCES, made, strict=True))


def test_no_two_facts_have_one_name() -> None:
    """All kinds of keys, of all pairs and sources, differ; so do all tags."""
    keys = [key(source, pair) for (key, _), source, pair in itertools.product(KEYS.values(), SOURCES, PAIRS)]
    keys += [names.catalogue_key(source) for source in SOURCES]
    tags = [tag(source, pair) for tag, source, pair in itertools.product(TAGS.values(), SOURCES, PAIRS)]
    tags += [names.source_tag(source) for source in SOURCES]
    assert len(set(keys)) == len(keys)
    assert len(set(tags)) == len(tags)


def test_pages_differ_by_number_and_by_where_they_end() -> None:
    """A page that still grows is another one after each candle, and none of them is the finished one."""
    made = {
        names.page_key("kraken", "BTC-USDC", "1h", page, cut)
        for page, cut in itertools.product([1, 11, 111], [None, 1, 11, 111])
    }
    made.add(names.forming_key("kraken", "BTC-USDC", "1h", 1))
    assert len(made) == 13


@st.composite
def pairs(draw: st.DrawFn) -> str:
    """Return any pair that a client may name."""
    sides = [draw(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=32)) for _ in range(2)]
    try:
        return parse_pair("-".join(sides))
    except InvalidParameter:
        assume(False)
        raise


@given(one=pairs(), other=pairs(), source=st.sampled_from(SOURCES))
def test_pairs_of_any_script_have_names_of_their_own(one: str, other: str, source: str) -> None:
    """Whatever letters a pair has, its names are allowed ones, in the right bucket, and nobody else's."""
    for key, tag in KEYS.values():
        check_name(key(source, one))
        check_name(tag(source, one))
        assert bucket_of(key(source, one)) == bucket_of(tag(source, one))
        assert (key(source, one) == key(source, other)) == (one == other)
