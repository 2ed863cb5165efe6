"""What a client put into path and query, read strictly, and all that is wrong with it told at once.

A view reads in one ``with`` block; leaving it raises `InvalidRequest` if anything was wrong, so what the
readers returned meanwhile (the default) is never used::

    with Query(request.environ) as query:
        pair = query.pair(pair)
        limit = query.integer("limit", default=100, low=1, high=1000)
    return answer(pair, limit)

Parameters that no reader asked for, and repeated ones, are errors. Codes of errors: ``unknown_parameter``,
``repeated``, ``required``, ``malformed``, ``out_of_range``, ``unknown_choice``, ``too_long``, ``too_many``,
``too_few``, ``not_utf8``, ``since_after_until``, ``unknown_source``, ``not_allowed``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import parse_qsl

from shivx.cursors import MAX_CURSOR_CHARACTERS, PositionT, decode_cursor
from shivx.digits import Numbers
from shivx.errors import InvalidParameter, InvalidRequest
from shivx.models import TIMEFRAMES, Pair
from shivx.pairs import MAX_PAIR_CHARACTERS, parse_pair, parse_symbol
from shivx.times import parse_time

MAX_PAIRS = 100
MAX_FIELDS = 64
"""More parameters than any route has; counted before they are split."""
MAX_VALUE_CHARACTERS = 64
"""Enough for any number, time or choice; readers of longer values say so themselves."""
MAX_INTEGER_DIGITS = 18

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_PLACE = "query"
"""The parameter that errors about the query as a whole name."""

ValueT = TypeVar("ValueT")


def require_utf8(environ: Mapping[str, Any]) -> None:
    """Refuse a path or query that is not UTF-8, percent-encoded or raw.

    Werkzeug puts U+FFFD into such a path, leaves ``%FF`` in such a query, and fails on a raw byte there.

    Args:
        environ: WSGI, PEP 3333.
    Raises:
        InvalidRequest: ``not_utf8``.
    """
    _require_utf8_path(environ)
    _split(environ)


class Query:
    """The parameters of one request. See the module's docstring for how a view reads them.

    Args:
        environ: WSGI, PEP 3333.
    Raises:
        InvalidRequest: path or query cannot be decoded, or there are too many parameters.
    """

    def __init__(self, environ: Mapping[str, Any]) -> None:
        _require_utf8_path(environ)
        self._errors: list[InvalidParameter] = []
        self._unread: dict[str, str] = {}
        for name, value in _split(environ):
            if name in self._unread:
                self.refuse(name, "repeated", "may be given once")
            self._unread.setdefault(name, value)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.finish()

    def finish(self) -> None:
        """Raise `InvalidRequest` with all that was wrong, unread parameters included, if anything was."""
        for name in self._unread:
            self.refuse(name, "unknown_parameter", "this route has no such parameter")
        if self._errors:
            raise InvalidRequest(self._errors)

    def refuse(self, parameter: str, code: str, message: str) -> None:
        """Note an error that only the view can see."""
        self._errors.append(InvalidParameter(parameter[:MAX_VALUE_CHARACTERS], code, message))

    def text(self, name: str, max_characters: int = MAX_VALUE_CHARACTERS) -> str | None:
        """Return the value as it is, decoded, None if it was not given."""
        value = self._unread.pop(name, None)
        if value is not None and len(value) > max_characters:
            self.refuse(name, "too_long", f"at most {max_characters} characters")
            return None
        return value

    def integer(self, name: str, *, default: int, low: int, high: int) -> int:
        """Return a whole number in [*low*, *high*], in ASCII digits, without sign or leading zeros."""
        value = self.text(name)
        if value is None:
            return default
        if not _INTEGER.fullmatch(value):
            self.refuse(name, "malformed", "a whole number in plain digits")
        elif len(value) > MAX_INTEGER_DIGITS or not low <= int(value) <= high:
            self.refuse(name, "out_of_range", f"{low} to {high}")
        else:
            return int(value)
        return default

    def choice(self, name: str, choices: Mapping[str, ValueT], *, default: ValueT) -> ValueT:
        """Return what *choices* has under the value."""
        value = self.text(name)
        if value is None:
            return default
        if value not in choices:
            self.refuse(name, "unknown_choice", f"one of {', '.join(choices)}")
        return choices.get(value, default)

    def boolean(self, name: str, *, default: bool) -> bool:
        """Return ``true`` or ``1``, ``false`` or ``0``; ``True`` too, as Python's clients send it."""
        value = self.text(name)
        if value is None:
            return default
        if value.lower() not in _BOOLEANS:
            self.refuse(name, "malformed", "true or false")
        return _BOOLEANS.get(value.lower(), default)

    def timeframe(self, *, default: str = "1h", choices: Sequence[str] = tuple(TIMEFRAMES)) -> str:
        """Return one of *choices*; ``1m`` is a minute, and there is no month to mistake it for."""
        return self.choice("timeframe", {each: each for each in choices}, default=default)

    def numbers(self) -> Numbers:
        """Return how prices are to be written, ``number`` unless asked otherwise."""
        choices: dict[str, Numbers] = {"number": "number", "string": "string"}
        return self.choice("numbers", choices, default="number")

    def source(self, sources: Sequence[str]) -> str:
        """Return one of the configured *sources*, the first unless asked otherwise."""
        value = self.text("source")
        if value is None or value in sources:
            return value or sources[0]
        self.refuse("source", "unknown_source", f"one of {', '.join(sources)}")
        return sources[0]

    def time(self, name: str) -> int | None:
        """Return Unix ms, from RFC 3339 or Unix ms (`shivx.times.parse_time`); None if not given."""
        return self._parsed(name, lambda value: parse_time(value, name))

    def period(self) -> tuple[int | None, int | None]:
        """Return ``since`` (inclusive) and ``until`` (exclusive), Unix ms; if equal, nothing is between."""
        since, until = self.time("since"), self.time("until")
        if since is not None and until is not None and since > until:
            self.refuse("since", "since_after_until", "since is not after until")
        return since, until

    def pair(self, text: str, parameter: str = "pair") -> Pair:
        """Return the canonical pair that *text*, a segment of the path, names."""
        return self._attempt(lambda: parse_pair(text, parameter), "")

    def symbol(self, text: str) -> str:
        """Return the canonical token symbol that *text*, a segment of the path, names."""
        return self._attempt(lambda: parse_symbol(text), "")

    def pairs(self, *, low: int = 1, high: int = MAX_PAIRS) -> tuple[Pair, ...]:
        """Return the pairs of the required, comma-separated ``pairs``, in order.

        One that is named twice, however written, counts and comes once: bots build such lists from several
        sources, and the answer, keyed by pair, is the same.
        """
        if "pairs" not in self._unread:
            self.refuse("pairs", "required", "pairs, separated by commas")
        value = self.text("pairs", (high + 1) * (MAX_PAIR_CHARACTERS + 1))
        if value is None:
            return ()
        names = value.split(",")
        found: tuple[Pair, ...] = self._attempt(
            lambda: tuple(dict.fromkeys(parse_pair(name, "pairs") for name in names)), ()
        )
        if found and not low <= len(found) <= high:
            code = "too_many" if len(found) > high else "too_few"
            self.refuse("pairs", code, f"{low} to {high} different pairs")
        return found

    def cursor(self, kind: type[PositionT]) -> PositionT | None:
        """Return the position that ``cursor`` stands for (see `shivx.cursors`); None if not given."""
        return self._parsed("cursor", lambda value: decode_cursor(value, kind), MAX_CURSOR_CHARACTERS)

    def _parsed(
        self, name: str, parse: Callable[[str], ValueT], max_characters: int = MAX_VALUE_CHARACTERS
    ) -> ValueT | None:
        value = self.text(name, max_characters)
        return None if value is None else self._attempt(lambda: parse(value), None)

    def _attempt(self, parse: Callable[[], ValueT], default: ValueT) -> ValueT:
        try:
            return parse()
        except InvalidParameter as error:
            self._errors.append(error)
            return default


def _require_utf8_path(environ: Mapping[str, Any]) -> None:
    try:
        environ.get("PATH_INFO", "").encode("latin-1").decode()
    except UnicodeError:
        raise InvalidRequest([InvalidParameter("path", "not_utf8", "a path is UTF-8")]) from None


def _split(environ: Mapping[str, Any]) -> list[tuple[str, str]]:
    query_string = environ.get("QUERY_STRING", "")
    if query_string.count("&") >= MAX_FIELDS:
        raise InvalidRequest([InvalidParameter(_PLACE, "too_many", f"at most {MAX_FIELDS} parameters")])
    try:
        text = query_string.encode("latin-1").decode()
        return parse_qsl(text, keep_blank_values=True, errors="strict")
    except UnicodeError:
        raise InvalidRequest([InvalidParameter(_PLACE, "not_utf8", "a query is UTF-8")]) from None
