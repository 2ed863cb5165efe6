"""Values of indicators: what TA-Lib computes, and nothing where there is no value."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shivx.indicators import library
from shivx.indicators.computing import compute
from shivx.indicators.prices import Prices
from shivx.indicators.settling import is_settled, memory_of
from shivx.indicators.specs import Spec, highest, parse_spec
from tests.indicator_prices import flat, walk

ALL = sorted(library.functions())
OSCILLATORS = (
    *("adx", "adxr", "bop", "cci", "cmo", "cmou", "dx", "er", "imi", "kdj", "mfi", "minus_di", "plus_di"),
    *("rsi", "rvi", "smi", "stoch", "stochf", "stochrsi", "tsi", "ultosc", "vhf", "vortex", "willr"),
    *("beta", "correl", "cvi", "massi", "ht_dcperiod", "ht_dcphase", "ht_sine", "ht_trendmode"),
)
"""What is a ratio of movements, or a phase of one."""


def last_of(spec: str, prices: Prices) -> list[float]:
    """Return the newest value of each output."""
    return [float(values[-1]) for values in compute(parse_spec(spec), prices).values()]


@pytest.mark.parametrize("name", ALL)
def test_values_are_those_of_talib(name: str) -> None:
    """On a usual market each function gives just what TA-Lib's own call does, after its lookback."""
    prices, spec = walk(700), parse_spec(name)
    raw = spec.function.call(*(prices[each] for each in spec.function.inputs), *spec.values)
    raw = raw if isinstance(raw, tuple) else (raw,)
    found = compute(spec, prices)
    assert len(found) == len(raw)
    for ours, theirs in zip(found.values(), raw, strict=True):
        assert ours.dtype == np.float64
        assert np.isnan(ours[: spec.lookback]).all()
        np.testing.assert_array_equal(ours[spec.lookback :], theirs[spec.lookback :])
        assert np.isfinite(ours[spec.lookback :]).all()


@pytest.mark.parametrize("name", ALL)
def test_too_few_candles_are_no_value(name: str) -> None:
    """With as many candles as the lookback there is none, whatever the type of the output, nor with none."""
    spec = parse_spec(name)
    for count in {0, 1, spec.lookback} if spec.lookback else {0}:
        for values in compute(spec, walk(700).between(0, min(count, spec.lookback))).values():
            assert np.isnan(values).all()


@pytest.mark.parametrize("name", ALL)
def test_a_value_depends_on_no_later_candle(name: str) -> None:
    """What comes after a candle does not change its value: nothing repaints."""
    prices, spec = walk(600), parse_spec(name)
    whole, part = compute(spec, prices), compute(spec, prices.between(0, 450))
    for output, values in part.items():
        np.testing.assert_array_equal(values, whole[output][:450])


@pytest.mark.parametrize("hole", [math.nan, math.inf, -1.0])
@pytest.mark.parametrize("name", ALL)
def test_a_hole_is_no_value_and_what_follows_starts_afresh(name: str, hole: float) -> None:
    """NaN inside the input (or what is no price) ends what came before; TA-Lib would go on with 0.0."""
    prices, spec = walk(600), parse_spec(name)
    holed = Prices(prices.times, prices.rows.copy())
    holed.rows[:, 250] = hole
    before, after = compute(spec, prices.between(0, 250)), compute(spec, prices.since(251))
    for output, values in compute(spec, holed).items():
        np.testing.assert_array_equal(values[:250], before[output])
        assert np.isnan(values[250])
        np.testing.assert_array_equal(values[251:], after[output])


def test_a_hole_in_what_is_not_used_does_not_matter() -> None:
    """A lost volume is no reason to lose the RSI."""
    prices = walk(300)
    whole = compute(parse_spec("rsi"), prices)["value"]
    prices.rows[4, 200] = math.nan
    np.testing.assert_array_equal(
        compute(parse_spec("rsi"), Prices(prices.times, prices.rows))["value"], whole
    )


@pytest.mark.parametrize("name", OSCILLATORS)
def test_a_flat_price_has_no_value(name: str) -> None:
    """0 / 0 is neither 0 nor 50: where nothing moved there is nothing to be a ratio of."""
    assert all(math.isnan(value) for value in last_of(name, flat(500)))


PRICE = 100.0
FLAT = {"nvi": 1000.0, "pvi": 1000.0, "rocr": 1.0, "sarext": -PRICE}
"""What is neither 0 nor the price: indices from 1000 on, a ratio to before, a short position's stop."""
OF_VOLUME = {"obv", "pvo", "rvol"}


@pytest.mark.parametrize("name", sorted(set(ALL) - set(OSCILLATORS)))
def test_on_a_flat_price_the_rest_is_what_it_says(name: str) -> None:
    """Averages are the price, ranges and differences 0: these are values, and no others."""
    found = compute(parse_spec(name), flat(500))
    for output, values in found.items():
        if name in OF_VOLUME:
            assert math.isfinite(values[-1])
        elif (name, output) == ("supertrend", "trend"):
            assert values[-1] == 1.0
        elif name in FLAT:
            assert values[-1] == FLAT[name]
        else:
            assert values[-1] == pytest.approx(0.0, abs=1e-9) or values[-1] == pytest.approx(PRICE)


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    """Draw a function with parameters within their ranges, periods of 60 at most."""
    function = library.functions()[draw(st.sampled_from(ALL))]
    values: list[library.Number] = []
    for about in function.parameters:
        if about.choices:
            values.append(draw(st.sampled_from(sorted(about.choices.values()))))
        elif about.whole:
            values.append(draw(st.integers(int(about.low), int(min(highest(about), max(60, about.low))))))
        else:
            values.append(
                draw(st.floats(max(about.low, -3.0), min(about.high, 3.0)).map(lambda x: round(x, 2)))
            )
    return Spec(function.name, tuple(values))


@settings(max_examples=300, deadline=None)
@given(spec=specs(), seed=st.integers(0, 10**6), step=st.sampled_from([1e-4, 1e-2, 5e-2]))
def test_whatever_the_parameters_there_is_a_number_or_none(spec: Spec, seed: int, step: float) -> None:
    """Before the warm-up, beside a hole, on few candles, and where nothing moves: never an infinite value."""
    market = walk(spec.lookback + 200, seed=seed, step=step)
    hole = spec.lookback + 100
    for values in compute(spec, market).values():
        assert np.isnan(values[: spec.lookback]).all()
        assert not np.isinf(values).any()
    before = compute(spec, market.between(0, hole))
    market.rows[:, hole] = math.nan
    for output, values in compute(spec, Prices(market.times, market.rows)).items():
        np.testing.assert_array_equal(values[:hole], before[output])
        assert np.isnan(values[hole])
    for count in {0, 1, min(2, spec.lookback), spec.lookback}:
        for values in compute(spec, market.between(0, min(count, spec.lookback))).values():
            assert np.isnan(values).all()
    for values in compute(spec, flat(3 * spec.lookback + 400)).values():
        assert math.isnan(values[-1]) if spec.name in OSCILLATORS else math.isfinite(values[-1])


@pytest.mark.parametrize("name", OSCILLATORS)
def test_a_price_that_stops_moving_has_no_value_any_more(name: str) -> None:
    """Nor is what rounding leaves behind a value: after a standstill longer than its memory each is null."""
    moving = walk(300)
    still = np.repeat(np.append(np.full(4, moving["close"][-1]), 10.0)[:, None], 500, axis=1)
    prices = Prices(np.arange(800), np.concatenate([moving.rows, still], axis=1))
    assert all(math.isnan(value) for value in last_of(name, prices))


@pytest.mark.parametrize("name", ["mfi", "cmf", "marketfi", "pvo", "rvol", "vwap", "vwma"])
def test_without_volume_there_is_no_value(name: str) -> None:
    """Ratios of volumes, and averages weighted by them, need some."""
    prices = walk(500)
    prices.rows[4] = 0.0
    assert all(math.isnan(value) for value in last_of(name, prices))


def test_one_undefined_part_makes_a_smoothed_value_undefined() -> None:
    """A slow stochastic that averages a 0 / 0 among others would be wrong without anybody seeing it."""
    prices = walk(400)
    prices.rows[:4, 300:305] = prices.rows[3, 299]
    for values in compute(parse_spec("stoch:5:3:0:3:0"), prices).values():
        assert np.flatnonzero(np.isnan(values[8:])).tolist() == [296, 297, 298, 299, 300]


def test_a_price_that_only_rises_has_an_rsi_of_100_and_no_stochastic_of_it() -> None:
    """All movement is up: 100 is right; that it never moves leaves its stochastic without a range."""
    rows = np.stack([np.linspace(100, 200, 300) + step for step in (0, 1, -1, 0.5)] + [np.full(300, 5.0)])
    prices = Prices(np.arange(300), np.ascontiguousarray(rows))
    assert last_of("rsi", prices) == [100.0]
    assert all(math.isnan(value) for value in last_of("stochrsi", prices))


@settings(max_examples=200, deadline=None)
@given(
    name=st.sampled_from(ALL),
    seed=st.integers(0, 10**6),
    step=st.sampled_from([1e-4, 1e-3, 1e-2, 5e-2]),
    extra=st.integers(1, 400),
    count=st.sampled_from([1, 500]),
)
def test_values_that_count_as_settled_do_not_depend_on_where_history_begins(
    name: str, seed: int, step: float, extra: int, count: int
) -> None:
    """Whatever came before the candles that are read, together it changes nothing above 1e-9."""
    spec = parse_spec(name)
    older = walk(memory_of(spec) + 20 + 500 + extra, seed=seed, step=step)
    younger = older.since(extra)
    found = compute(spec, younger)
    if not is_settled(spec, younger, list(found.values()), count):
        assert spec.function.path_dependent or name in MAY_BE_UNSETTLED
        return
    for output, values in compute(spec, older).items():
        size = np.abs(values[-500:]).max()
        bound = ROUNDED if name in ROUNDING else 1e-9
        assert np.abs(values[-count:] - found[output][-count:]).max() <= bound * size


ROUNDING = {"correl", "fosc", "linearreg_angle", "linearreg_slope"}
"""TA-Lib carries their sums from candle to candle: on a calm market what is left is rounding."""
ROUNDED = 1e-6
MAY_BE_UNSETTLED = {name for name in ALL if name.startswith("ht_")} | {"kama", "mama"}
"""How long the adaptive ones remember depends on the market."""


def test_what_never_forgets_counts_as_unsettled() -> None:
    """Sums since the beginning depend on where that is, by however much."""
    prices = walk(3000)
    for name in ("obv", "ad", "pvt", "pvi", "nvi", "wad", "vwap"):
        spec = parse_spec(name)
        assert not is_settled(spec, prices, list(compute(spec, prices).values()), 1)


def test_a_long_standstill_unsettles_what_averages_movements() -> None:
    """Where nothing has moved for long, what moved before still weighs, and older history would too."""
    prices, spec = walk(1000), parse_spec("adx")
    assert is_settled(spec, prices, list(compute(spec, prices).values()), 10)
    still = Prices(prices.times, prices.rows.copy())
    still.rows[:4, 100:980] = still.rows[3, 99]
    assert not is_settled(spec, still.since(70), list(compute(spec, still.since(70)).values()), 10)


@pytest.mark.parametrize(
    "spec", ["ema:200", "rsi:200", "linearreg:1000", "ma:30:kama", "macdext:12:1:26:1:9:1"]
)
def test_memory_is_at_least_the_lookback_and_within_what_is_read(spec: str) -> None:
    """What has a window remembers just that; what decays, several times its period."""
    parsed = parse_spec(spec)
    assert parsed.lookback <= memory_of(parsed) <= 5000
    assert (memory_of(parsed) == parsed.lookback) == spec.startswith("linearreg")


def test_specifications_are_values() -> None:
    """Two of the same indicator are equal, and so are their texts."""
    assert parse_spec("rsi") == parse_spec("RSI:14") == Spec("rsi", (14,))
    assert {str(parse_spec(text)) for text in ("bbands", "bollinger:20:2", "BB:20:2.0:2:sma")} == {
        "bbands:20:2:2:0"
    }


def test_bands_are_as_wide_on_both_sides_unless_told() -> None:
    """One width is that of both, whatever TA-Lib's default of the other is."""
    assert parse_spec("bbands:20:3") == parse_spec("bbands:20:3:3:0")
    assert parse_spec("bbands:20:3:1").values == (20, 3.0, 1.0, 0)


def test_what_never_forgets_is_unsettled_though_nothing_happened_at_first() -> None:
    """That the candles left out change nothing says nothing of those before them."""
    prices, spec = walk(1000), parse_spec("nvi")
    prices.rows[4] = 5.0
    assert not is_settled(spec, prices, list(compute(spec, prices).values()), 1)
