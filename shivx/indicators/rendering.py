"""Indicators, correlations and the catalogue as the JSON that clients get."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import msgspec

from shivx.indicators import library
from shivx.indicators.library import Function, Parameter
from shivx.indicators.readings import READINGS
from shivx.indicators.settling import is_endless, memory_of
from shivx.indicators.specs import ALIASES, FOLLOWERS, Spec, highest, parse_spec
from shivx.indicators.values import Computed, Correlations
from shivx.models import Pair
from shivx.render import provenance
from shivx.times import format_time


def render_indicators(
    pair: Pair,
    timeframe: str,
    named: Mapping[str, Spec],
    found: Mapping[Spec, Computed],
    *,
    series: int,
    source: str,
    stale: bool,
) -> bytes:
    """Return the values of *found* under the names by which they were asked for.

    Args:
        named: what each name means.
        series: values beside the newest one, at most.
    """
    ends = [each.until for each in found.values() if each.until is not None]
    moments = [each.as_of for each in found.values() if each.as_of is not None]
    oldest = _Times(min(each.received_at for each in found.values()), min(moments, default=None))
    fields: dict[str, object] = {
        "pair": pair,
        "timeframe": timeframe,
        "candles_until": format_time(min(ends)) if ends else None,
        "indicators": {name: _item(spec, found[spec], series) for name, spec in named.items()},
    }
    return msgspec.json.encode(fields | provenance(oldest, source, stale))


def render_correlation(
    pairs: Sequence[Pair], timeframe: str, window: int, found: Correlations, *, source: str, stale: bool
) -> bytes:
    """Return the matrix, rows and columns in the order of *pairs*."""
    fields: dict[str, object] = {
        "pairs": pairs,
        "matrix": found.matrix,
        "returns": found.returns,
        "timeframe": timeframe,
        "window": window,
        "candles_until": _time(found.until),
    }
    return msgspec.json.encode(fields | provenance(found, source, stale))


@cache
def render_listing() -> bytes:
    """Return the catalogue: every function, and how it may be asked for."""
    listed = [_function(each) for _, each in sorted(library.functions().items())]
    return msgspec.json.encode({"indicators": listed})


class _Times(msgspec.Struct, frozen=True):
    received_at: int
    as_of: int | None


def _item(spec: Spec, found: Computed, series: int) -> dict[str, object]:
    newest = [column[-1] if column else None for column in found.columns]
    fields: dict[str, object] = dict(zip(spec.outputs, newest, strict=True))
    if spec.name in READINGS:
        fields["reading"] = found.reading
    fields["anchored_at"] = _time(found.anchored_at)
    if series:
        fields["series"] = list(
            zip(found.times[-series:], *(column[-series:] for column in found.columns), strict=True)
        )
    return fields


def _time(ms: int | None) -> str | None:
    return None if ms is None else format_time(ms)


def _function(function: Function) -> dict[str, object]:
    spec = parse_spec(function.name)
    reading = READINGS.get(function.name)
    return {
        "name": function.name,
        "aliases": [alias for alias, name in ALIASES.items() if name == function.name],
        "title": function.title,
        "group": function.group,
        "inputs": function.inputs,
        "parameters": [_parameter(function, each) for each in function.parameters],
        "outputs": spec.outputs,
        "lookback": spec.lookback,
        "warm_up": None if is_endless(spec) else memory_of(spec),
        "anchored": is_endless(spec),
        "reading": None if reading is None else {"rule": reading.rule, "values": reading.words},
    }


def _parameter(function: Function, about: Parameter) -> dict[str, object]:
    return {
        "name": about.name,
        "title": about.title,
        "type": "integer" if about.whole else "number",
        "min": about.low,
        "max": highest(about),
        "default": about.default,
        "default_from": FOLLOWERS.get((function.name, about.name)),
        "choices": about.choices or None,
    }
