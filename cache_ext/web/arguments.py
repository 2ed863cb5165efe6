"""What tells one call of a function from another: its arguments, as text."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from cache_ext.errors import UnsupportedValue

_ITSELF = frozenset({type(None), bool, int, float, str, bytes, Decimal, date, timedelta, UUID})
"""Types whose repr tells every two values apart."""
_UNPRINTABLE = (RecursionError, ValueError)
"""What a list that holds itself, or a number of thousands of digits, raises."""


def describe(value: Any) -> str:
    """Return text that tells *value* from every other one, types included: 1, True, 1.0 and "1" differ.

    An object of another type is told apart by its attribute ``cache_key``, text that it offers.

    Raises:
        UnsupportedValue: nothing stable tells it apart.
    """
    kind = type(value)
    if kind in _ITSELF:
        return repr(value)
    if kind is tuple or kind is list:
        inside = ",".join(map(describe, value))
        return f"({inside},)" if kind is tuple else f"[{inside}]"
    if kind is dict:
        return "{" + ",".join(sorted(f"{describe(k)}:{describe(v)}" for k, v in value.items())) + "}"
    if kind is set or kind is frozenset:
        return f"{kind.__name__}({','.join(sorted(map(describe, value)))})"
    if (kind is datetime or kind is time) and _has_plain_zone(value):
        return repr(value)
    if isinstance(value, type):
        return f"<class {_name(value)}>"
    if isinstance(value, Enum) and value.name is not None:
        return f"<{_name(kind)} {value.name!r}>"
    offered = getattr(value, "cache_key", None)
    if isinstance(offered, str):
        return f"<{_name(kind)} {offered!r}>"
    raise UnsupportedValue(f"a {_name(kind)}, which nothing stable tells from another")


def _has_plain_zone(moment: datetime | time) -> bool:
    zone = moment.tzinfo
    return zone is None or type(zone) is timezone or (isinstance(zone, ZoneInfo) and zone.key is not None)


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


class Arguments:
    """Binds calls of one function, so that f(1), f(a=1) and, with a default, f() are the same call."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._signature = inspect.signature(function)
        parameters = self._signature.parameters.values()
        plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        self.names = tuple(self._signature.parameters)
        self._plain = all(parameter.kind in plain for parameter in parameters)
        self._defaults = tuple(p.default for p in parameters if p.default is not inspect.Parameter.empty)

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the value of each parameter, defaults included.

        Raises:
            TypeError: the function cannot be called like this.
        """
        lacking = len(self.names) - len(args)
        if self._plain and not kwargs and 0 <= lacking <= len(self._defaults):  # a tenth of bind's time
            rest = self._defaults[len(self._defaults) - lacking :]
            return dict(zip(self.names, args + rest, strict=True))
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments

    def describe(self, bound: Mapping[str, Any]) -> str:
        """Return text that tells this call from every other of the function.

        Raises:
            UnsupportedValue: the message names the parameter.
        """
        parts = []
        for name, value in bound.items():
            try:
                parts.append(describe(value))
            except (UnsupportedValue, *_UNPRINTABLE) as error:
                raise UnsupportedValue(
                    f"the argument {name!r} cannot be part of a key: {error}. Give the decorator a key=, "
                    "or the object an attribute cache_key"
                ) from error
        return ",".join(parts)
