"""What can be wrong with an exchange's answer: switched on by path, at run time."""

from __future__ import annotations

import fnmatch
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.exchange_dialects import DIALECTS
from tests.exchange_wire import Number, Reply

# Faults of the wire, done by the server: it waits, drips, cuts, floods.
WIRE_FAULTS = frozenset(
    {
        "hang",
        "drip",
        "drip_headers",
        "cut",
        "reset",
        "html",
        "truncated",
        "garbage",
        "not_utf8",
        "huge",
        "gzip_bomb",
        "redirect_loop",
        "redirect_once",
    }
)
MALFORMED = "made of lies"


@dataclass
class Fault:
    """One thing that goes wrong on the paths that match *pattern*, *times* times; None: until healed."""

    pattern: str
    kind: str
    times: int | None = None
    value: Any = None


class FaultTable:
    """The faults in force and how often each path was asked for. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._counts: dict[str, int] = {}

    def add(self, fault: Fault) -> None:
        """Put *fault* in force."""
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        """Let everything go well again."""
        with self._lock:
            self._faults.clear()

    def count(self, path: str) -> Fault | None:
        """Note a request for *path* and return the fault that it meets."""
        with self._lock:
            self._counts[path] = self._counts.get(path, 0) + 1
            for fault in self._faults:
                if fnmatch.fnmatchcase(path, fault.pattern) and fault.times != 0:
                    fault.times = None if fault.times is None else fault.times - 1
                    return fault
        return None

    def counts(self) -> dict[str, int]:
        """Return how often each path was asked for."""
        with self._lock:
            return dict(self._counts)


def spoil(exchange: str, fault: Fault, reply: Reply) -> Reply:
    """Return *reply* with the fault in it, for faults that are in the content."""
    dialect = DIALECTS[exchange]
    if fault.kind == "limit":
        return dialect.limit_error
    if fault.kind == "other_limit":
        return dialect.other_limit_error
    if fault.kind == "unknown_pair":
        return dialect.unknown_pair
    if fault.kind == "status":
        return Reply(int(str(fault.value).split()[0]), {"message": "Internal trouble"})
    if fault.kind == "error":
        return Reply(200, {"error": [fault.value]})
    return Reply(reply.status, _CONTENT_FAULTS[fault.kind](reply.body, fault.value))


def _map(value: Any, change: Callable[[Any], Any]) -> Any:
    """Change each leaf of *value*."""
    if isinstance(value, dict):
        return {key: _map(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [_map(item, change) for item in value]
    return change(value)


def _is_number(value: Any) -> bool:
    if type(value) in {int, Number}:
        return True
    return isinstance(value, str) and value.replace(".", "").replace("-", "").isdigit()


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(item) for key, item in value.items() if key not in _TIMES}
    return [_without_times(item) for item in value] if isinstance(value, list) else value


_TIMES = frozenset({"time", "closeTime", "openTime", "T", "E", "serverTime"})


def _with_rows(body: Any, change: Callable[[list[Any]], list[Any]]) -> Any:
    """Change the list of rows of candles or trades, wherever the dialect puts it."""
    if isinstance(body, list):
        return change(body)
    result = {key: change(rows) if isinstance(rows, list) else rows for key, rows in body["result"].items()}
    return {**body, "result": result}


def _with_sides(body: Any, change: Callable[[list[Any]], list[Any]]) -> Any:
    """Change both sides of a book, wherever the dialect puts it."""
    if "result" in body:
        return {**body, "result": {key: _with_sides(book, change) for key, book in body["result"].items()}}
    return {**body, "bids": change(body["bids"]), "asks": change(body["asks"])}


def _crossed(body: Any, _: Any) -> Any:
    if "result" in body:
        return {**body, "result": {key: _crossed(book, None) for key, book in body["result"].items()}}
    return {**body, "bids": body["asks"], "asks": body["bids"]}


def _replace(body: Any, change: Any) -> Any:
    """Put ``{old: new}`` values, by their text, wherever they occur."""
    return _map(body, lambda leaf: change.get(str(leaf), leaf) if not isinstance(leaf, bool) else leaf)


_CONTENT_FAULTS: dict[str, Callable[[Any, Any], Any]] = {
    "nulls": lambda body, _: _map(body, lambda leaf: None),
    "words": lambda body, _: _map(body, lambda leaf: MALFORMED if _is_number(leaf) else leaf),
    "objects": lambda body, _: _map(body, lambda leaf: {"a": []} if _is_number(leaf) else leaf),
    "nan": lambda body, _: _map(body, lambda leaf: "NaN" if _is_number(leaf) else leaf),
    "bare_nan": lambda body, _: _map(body, lambda leaf: Number("NaN") if _is_number(leaf) else leaf),
    "infinite": lambda body, _: _map(body, lambda leaf: "1e999" if _is_number(leaf) else leaf),
    "negative": lambda body, _: _map(body, lambda leaf: f"-{leaf}" if _is_number(leaf) else leaf),
    "empty_texts": lambda body, _: _map(body, lambda leaf: ""),
    "list": lambda body, _: [],
    "object": lambda body, _: {},
    "no_time": lambda body, _: _without_times(body),
    "empty_book": lambda body, _: _with_sides(body, lambda rows: []),
    "zero_levels": lambda body, _: _with_sides(
        body, lambda rows: [[row[0], "0.000", *row[2:]] for row in rows[:3]] + rows[3:]
    ),
    "crossed": _crossed,
    "shuffled": lambda body, _: _with_sides(body, lambda rows: rows[1::2] + rows[::2]),
    "gaps": lambda body, _: _with_rows(body, lambda rows: [row for at, row in enumerate(rows) if at % 7]),
    "doubled": lambda body, _: _with_rows(body, lambda rows: [*rows, *rows[:5]]),
    "off_grid": lambda body, _: _with_rows(body, lambda rows: [[row[0] + 1, *row[1:]] for row in rows]),
    "contradiction": lambda body, _: _with_rows(
        body, lambda rows: [[row[0], "9", "1", "5", "7", *row[5:]] for row in rows]
    ),
    "rows_are_text": lambda body, _: _with_rows(body, lambda rows: ["row"]),
    "no_sides": lambda body, _: _with_rows(body, _without_sides),
    "replace": _replace,
    "body": lambda body, value: value,
}
CONTENT_FAULTS = frozenset(_CONTENT_FAULTS) | {"limit", "other_limit", "unknown_pair", "status", "error"}


def _without_sides(rows: list[Any]) -> list[Any]:
    kept = []
    for row in rows:
        if isinstance(row, dict):
            kept.append({key: item for key, item in row.items() if key not in {"side", "isBuyerMaker"}})
        else:
            kept.append([*row[:3], "?", *row[4:]])
    return kept
