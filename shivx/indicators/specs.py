"""Which indicator with which parameters: how clients write it, and the one form that ShivX keeps.

``rsi:14``: a name, then parameters in TA-Lib's order, each after a colon. What is left out, at the end or
between two colons, has its default. ``rsi``, ``RSI:14`` and ``rsi:14.0`` are one specification.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

from shivx.errors import InvalidParameter
from shivx.indicators import library
from shivx.indicators.library import Function, Number, Parameter

ALIASES: Mapping[str, str] = {
    "bb": "bbands",
    "bollinger": "bbands",
    "bollinger_bands": "bbands",
    "chaikin": "adosc",
    "heikin_ashi": "ha",
    "hull": "hma",
    "keltner": "kc",
    "momentum": "mom",
    "parabolic_sar": "sar",
    "psar": "sar",
    "smma": "rma",
    "stochastic": "stoch",
    "stochastic_rsi": "stochrsi",
    "true_range": "trange",
    "williams_r": "willr",
}
"""Usual names of what TA-Lib calls otherwise."""
FOLLOWERS: Mapping[tuple[str, str], str] = {("bbands", "nbdevdn"): "nbdevup"}
"""(function, parameter) -> whose value is its default: ``bbands:20:3`` is as wide on both sides."""
MAX_CANDLES = 5000
"""Candles that one value may be made of, at most."""
MAX_PERIOD = 1000
"""The largest whole number that a parameter, most often a number of candles, may be."""
USUAL = "rsi:14,macd:12:26:9,bbands:20:2"
"""What is computed for who names nothing."""
MAX_NAMES = 50
MAX_SPEC_CHARACTERS = 96
"""Longer than any function with all of its parameters."""
_NUMBER = re.compile(r"-?[0-9]{1,9}(?:\.[0-9]{1,9})?")
_KNOWN = 4096
"""Specifications that a process remembers."""


@dataclass(frozen=True)
class Spec:
    """An indicator with all of its parameters."""

    name: str
    values: tuple[Number, ...]

    def __str__(self) -> str:
        return ":".join((self.name, *map(_text, self.values)))

    @cached_property
    def function(self) -> Function:
        """What computes it."""
        return library.functions()[self.name]

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """The names of its results: TA-Lib's, or ``value`` if there is but one."""
        names = self.function.outputs
        return names if len(names) > 1 else ("value",)

    @cached_property
    def lookback(self) -> int:
        """How many candles come before the first that has a value."""
        return library.lookback(self.function, self.values)

    def __getitem__(self, parameter: str) -> int:
        """Return the value of a whole-number *parameter*."""
        names = [each.name for each in self.function.parameters]
        return int(self.values[names.index(parameter)])


def parse_specs(text: str, parameter: str = "names") -> dict[str, Spec]:
    """Return the specifications that *text*, separated by commas, names, each by the way it is written.

    Raises:
        InvalidParameter: one cannot be read, or there are more than `MAX_NAMES`.
    """
    written = list(dict.fromkeys(part.strip() for part in text.split(",")))
    if len(written) > MAX_NAMES:
        raise InvalidParameter(parameter, "too_many", f"at most {MAX_NAMES} indicators")
    return {each: parse_spec(each, parameter) for each in written}


@lru_cache(_KNOWN)
def parse_spec(text: str, parameter: str = "names") -> Spec:
    """Return the specification that *text* names.

    Raises:
        InvalidParameter: ``malformed``, ``unknown_choice``, ``too_many`` or ``out_of_range``.
    """
    name, *given = text.strip().lower()[: MAX_SPEC_CHARACTERS + 1].split(":")
    if not name or len(text) > MAX_SPEC_CHARACTERS:
        raise InvalidParameter(parameter, "malformed", "indicators are written as in rsi:14, by commas apart")
    function = library.functions().get(ALIASES.get(name, name))
    if function is None:
        raise InvalidParameter(
            parameter, "unknown_choice", f"{name}: GET /api/indicators lists all there are"
        )
    if len(given) > len(function.parameters):
        allowed = ":".join((function.name, *(each.name for each in function.parameters)))
        raise InvalidParameter(parameter, "too_many", f"no more parameters than {allowed}")
    given += [""] * (len(function.parameters) - len(given))
    values: dict[str, Number] = {}
    for about, number in zip(function.parameters, given, strict=True):
        followed = FOLLOWERS.get((function.name, about.name))
        default = about.default if followed is None else values[followed]
        values[about.name] = _read(number, about, parameter) if number else default
    return Spec(function.name, tuple(values.values()))


def highest(about: Parameter) -> Number:
    """Return the largest value that is taken for the parameter *about*."""
    return min(about.high, MAX_PERIOD) if about.whole else about.high


def _read(text: str, about: Parameter, parameter: str) -> Number:
    if text in about.choices:
        return about.choices[text]
    if not _NUMBER.fullmatch(text):
        raise InvalidParameter(parameter, "malformed", f"{about.name} is a number, such as {about.default}")
    value = float(text) + 0.0  # no -0.0, which would be another text
    if about.whole and not value.is_integer():
        raise InvalidParameter(parameter, "malformed", f"{about.name} is a whole number")
    if not about.low <= value <= highest(about):
        raise InvalidParameter(
            parameter, "out_of_range", f"{about.name} is {about.low} to {highest(about)}, not {text}"
        )
    return int(value) if about.whole else value


def _text(value: Number) -> str:
    """Return *value* as clients write it, which has nine decimals at most."""
    return str(value) if isinstance(value, int) else f"{value:.9f}".rstrip("0").rstrip(".")
