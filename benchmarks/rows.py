"""The table: what is asked, what was measured, and what the peers took in the same rounds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.racing import Times

LEGEND = """\
object: hands out the very object, so whoever changes it changes it for all; no copy, no fencing.
pickle: serialised so; no fencing. awaited: in a row in one event loop, whose cost is part of it."""
MICRO = 1e6
UNITS = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6))


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Args:
        what: is measured.
        asked: of it, in words; "" if it is only shown.
        got: in words.
        peer: what others took, in words.
        met: whether what is asked was met; None where nothing is.
        figures: the same in numbers, for programs; each name says its unit.
        refused: how many requests were answered 429, where it was over HTTP with the limits on.
    """

    what: str
    asked: str
    got: str
    peer: str
    met: bool | None = None
    figures: dict[str, float] = field(default_factory=dict)
    refused: int | None = None


HEADING = "| what | asked | got | met | 429 | peer |\n| --- | --- | --- | --- | --- | --- |"
_MARKS = {True: "yes", False: "**no**", None: ""}


def as_line(row: Row) -> str:
    """Return *row* as a line of a Markdown table that begins with `HEADING`."""
    refused = "" if row.refused is None else str(row.refused)
    return f"| {' | '.join((row.what, row.asked, row.got, _MARKS[row.met], refused, row.peer))} |"


def as_table(rows: Iterable[Row]) -> str:
    """Return *rows* as a Markdown table."""
    return "\n".join([HEADING, *map(as_line, rows)])


def as_data(rows: Iterable[Row]) -> list[dict[str, object]]:
    """Return *rows* as what JSON can say."""
    return [asdict(row) for row in rows]


def drift(before: Iterable[Mapping[str, Any]], rows: Iterable[Row]) -> str:
    """Return a table of the figures that both runs have, and how many times the former each now is.

    Args:
        before: the rows of an earlier run, as `as_data` gave them. Another machine may have made it.
    """
    former = {row["what"]: row["figures"] for row in before}
    lines = [("what", "figure", "before", "now", "x"), ("---",) * 5]
    for row in rows:
        for name, now in row.figures.items():
            if then := former.get(row.what, {}).get(name):
                lines.append((row.what, name, f"{then:g}", f"{now:g}", f"{now / then:.2f}"))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def in_words(seconds: float) -> str:
    """Return a duration with three digits and the unit that suits it."""
    unit, size = next((each for each in UNITS if seconds >= each[1]), UNITS[-1])
    return f"{seconds / size:.3g} {unit}"


def named(times: Times, names: Iterable[str]) -> str:
    """Return what *names* took, each with its note."""
    parts = []
    for name in names:
        note = times.notes.get(name)
        parts.append(f"{name} {in_words(times.median(name))}" + (f" ({note})" if note else ""))
    return "; ".join(parts)


def micros(times: Times) -> dict[str, float]:
    """Return the medians for programs, µs."""
    return {f"{name}, µs": round(times.median(name) * MICRO, 3) for name in times.rounds}


def percentile(waits: Sequence[float], share: float) -> float:
    """Return the wait that *share* of *waits* do not exceed, by the nearest rank."""
    ordered = sorted(waits)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
