"""What TA-Lib says of its own functions: names, inputs, parameters with ranges, outputs.

TA-Lib is loaded when first asked for: 0.1 to 0.4 s and 5 MB that a process without indicators need not
spend. Its Python package tells all but the ranges of parameters; those are read from the C library's tables.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

from shivx import importing

PRICES = ("open", "high", "low", "close", "volume")
"""What a candle has, and so what a function may take."""
NOT_OF_PRICES = frozenset({"Math Operators", "Math Transform"})
"""Groups that compute with any numbers: sin, add and the like."""
_PATH_DEPENDENT = "Output is path-dependent"
_MAY_BE_INFINITE = "Output can be NaN or infinite"
_REAL_RANGE, _REAL_LIST, _INTEGER_RANGE, _INTEGER_LIST = range(4)  # TA_OptInputParameterType

Number = int | float


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a function, as TA-Lib describes it.

    Args:
        name: TA-Lib's, lower-case.
        title: for humans.
        whole: whether it takes whole numbers only.
        low, high: its range, both included.
        default: if it is not given.
        choices: number by name, lower-case, where it stands for something, as kinds of averages do.
    """

    name: str
    title: str
    whole: bool
    low: Number
    high: Number
    default: Number
    choices: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Function:
    """One function of TA-Lib that takes prices.

    Args:
        name: TA-Lib's, lower-case.
        title, group: for humans.
        inputs: of `PRICES`, in the order of the call.
        parameters, outputs: in TA-Lib's order.
        path_dependent: whether a value depends on where the prices begin, however long ago.
        may_be_infinite: whether a result may be no number.
        whole: whether any output has whole numbers.
        call: TA-Lib's; takes arrays, then numbers, returns an array or several.
    """

    name: str
    title: str
    group: str
    inputs: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    outputs: tuple[str, ...]
    path_dependent: bool
    may_be_infinite: bool
    whole: bool
    call: Callable[..., Any]


@cache
def load() -> ModuleType:
    """Return TA-Lib."""
    importing.load("talib.abstract")
    return importing.load("talib")


@cache
def functions() -> Mapping[str, Function]:
    """Return every function that takes nothing but prices and volumes, by name, lower-case."""
    found = (
        _function(name)
        for group, names in load().get_function_groups().items()
        if group not in NOT_OF_PRICES
        for name in names
    )
    return {function.name: function for function in found if set(function.inputs) <= set(PRICES)}


def lookback(function: Function, values: tuple[Number, ...]) -> int:
    """Return how many candles come before the first that has a value, with the parameters *values*."""
    names = (parameter.name for parameter in function.parameters)
    described = load().abstract.Function(function.name, **dict(zip(names, values, strict=True)))
    found: int = described.lookback
    return found


def _function(name: str) -> Function:
    about = load().abstract.Function(name).info
    inputs: list[str] = []
    for price in about["input_names"].values():
        inputs += price if isinstance(price, list) else [price]
    flags = about["function_flags"] or ()
    call = getattr(load(), name)
    return Function(
        name=name.lower(),
        title=about["display_name"],
        group=about["group"],
        inputs=tuple(inputs),
        parameters=tuple(_parameters(name, tuple(about["parameters"]))),
        outputs=tuple(about["output_names"]),
        path_dependent=_PATH_DEPENDENT in flags,
        may_be_infinite=_MAY_BE_INFINITE in flags,
        whole=_gives_whole(call, len(inputs)),
        call=call,
    )


def _gives_whole(call: Callable[..., Any], inputs: int) -> bool:
    """Tell whether any output of *call* has whole numbers: the type of what it makes of a single candle."""
    found = call(*[np.ones(1)] * inputs)
    return any(array.dtype != np.float64 for array in (found if isinstance(found, tuple) else (found,)))


class _About(ctypes.Structure):
    """TA_OptInputParameterInfo of ta_abstract.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("flags", ctypes.c_int),
        ("title", ctypes.c_char_p),
        ("data_set", ctypes.c_void_p),
        ("default", ctypes.c_double),
    )


class _IntegerRange(ctypes.Structure):
    """The beginning of TA_IntegerRange."""

    _fields_ = (("low", ctypes.c_int), ("high", ctypes.c_int))


class _RealRange(ctypes.Structure):
    """The beginning of TA_RealRange."""

    _fields_ = (("low", ctypes.c_double), ("high", ctypes.c_double))


class _Choice(ctypes.Structure):
    """TA_IntegerDataPair."""

    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p))


class _IntegerList(ctypes.Structure):
    """TA_IntegerList."""

    _fields_ = (("choices", ctypes.POINTER(_Choice)), ("count", ctypes.c_uint))


@cache
def _c_library() -> ctypes.CDLL:
    """Return the C library that the package is linked to: its names are found through the package's own."""
    return ctypes.CDLL(load()._ta_lib.__file__)


def _parameters(function: str, names: tuple[str, ...]) -> list[Parameter]:
    handle = ctypes.c_void_p()
    _succeed(_c_library().TA_GetFuncHandle(function.encode(), ctypes.byref(handle)))
    found = []
    for index, name in enumerate(names):
        about = ctypes.POINTER(_About)()
        _succeed(_c_library().TA_GetOptInputParameterInfo(handle, index, ctypes.byref(about)))
        found.append(_parameter(name, about.contents))
    return found


def _parameter(name: str, about: Any) -> Parameter:
    title = about.title.decode()
    if about.type == _REAL_RANGE:
        reals = ctypes.cast(about.data_set, ctypes.POINTER(_RealRange)).contents
        return Parameter(name, title, False, reals.low, reals.high, about.default, {})
    if about.type == _INTEGER_RANGE:
        whole = ctypes.cast(about.data_set, ctypes.POINTER(_IntegerRange)).contents
        return Parameter(name, title, True, whole.low, whole.high, int(about.default), {})
    if about.type != _INTEGER_LIST:
        raise RuntimeError(f"TA-Lib describes {name} in a way unknown here")
    several = ctypes.cast(about.data_set, ctypes.POINTER(_IntegerList)).contents
    choices = {each.name.decode().lower(): each.number for each in several.choices[: several.count]}
    low, high = min(choices.values()), max(choices.values())
    return Parameter(name, title, True, low, high, int(about.default), choices)


def _succeed(code: int) -> None:
    if code:
        raise RuntimeError(f"TA-Lib does not describe its functions: code {code}")
