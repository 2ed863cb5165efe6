"""The judge of a history: what was read against what had been written, invalidated and promised.

Times are of the monotonic clock, which all processes of a host share. Only writes that were over before a
read began count against it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from cache_ext.coherence.backplane import BOUND
from tests.history_keys import EVERYTHING, KEYS
from tests.history_stage import UNCHECKED_LIFE

Event = dict[str, Any]
WRITES = ("invalidate", "soften", "delete", "clear", "put")
ROUNDING = 0.005
"""Seconds by which a lifetime may look longer: entries tell it in milliseconds of Redis' clock."""


def problems(events: Sequence[Event]) -> list[str]:
    """Return a line for each promise that is broken in *events*."""
    found = [f"{event['error']} ({event})" for event in events if event["what"] == "failure"]
    reads = [event for event in events if event["what"] == "read"]
    written = [event for event in events if event["what"] in WRITES]
    writes = _settled(written, events)
    for read in reads:
        found += _outlived(read)
        found += [_told(read, write) for write in writes if _resurrects(read, write, events)]
    if not any(event["what"] == "fault" or event.get("away") for event in events):
        found += _doubled([event for event in events if event["what"] == "load"], written)
    return found


def _settled(writes: Sequence[Event], events: Sequence[Event]) -> list[Event]:
    """Return *writes* with the moment since which each is applied, infinity if that is not known."""
    told = [event for event in events if event["what"] == "settle"]
    for write in writes:
        ends = [each["end"] for each in told if _same(each, write) and each["start"] >= write["end"]]
        known = write["done"] or write["shared"]  # a queued one is in the host's journal
        write["applied"] = write["end"] if known else min(ends, default=float("inf"))
    return [write for write in writes if write["what"] != "put" or not _is_contested(write, writes)]


def _is_contested(put: Event, writes: Iterable[Event]) -> bool:
    """Tell whether somebody else may have had the last word on the key that was put, or nobody heard it."""
    others = (other for other in writes if other is not put and other["what"] == "put")
    return put["away"] or any(
        other["name"] == put["name"] and other["start"] < put["end"] and put["start"] < other["end"]
        for other in others
    )


def _resurrects(read: Event, write: Event, events: Sequence[Event]) -> bool:
    """Tell whether *read* gave something older than *write*, though *write* was over, and known to it."""
    if not any(name == write["name"] and count < write["count"] for name, count in read["value"]["of"]):
        return False
    if write["what"] == "soften" and read["outcome"] == "stale":
        return False
    if _same(read, write):
        return write["end"] <= read["start"]
    if not write["applied"] <= read["start"]:
        return False
    if read["after"] == [write["what"], write["name"], write["count"]]:
        return True
    if read["away"] and read["layer"] != "l2":
        return read["outcome"] != "stale" and read["value"]["made"] + UNCHECKED_LIFE < read["start"]
    return _is_strict(read, write) or _has_heard(read, write, events)


def _is_strict(read: Event, write: Event) -> bool:
    """Tell whether *read* was of L2, or of a load that noted the version of what was written itself."""
    if read["layer"] == "l2":
        return True
    return read["led"] and write["name"] in KEYS[read["key"]].tags


def _has_heard(read: Event, write: Event, events: Sequence[Event]) -> bool:
    """Tell whether the process of *read* must have heard of *write*: by time, or as it waited to hear."""
    if write["what"] == "put" and read["layer"] == "origin":
        return False
    if write["applied"] + BOUND <= read["start"]:
        return True
    if not write["done"]:
        return False  # the backplane does not tell of the journal
    syncs = (event for event in events if event["what"] == "sync" and _same(event, read))
    return any(write["applied"] <= sync["start"] and sync["end"] <= read["start"] for sync in syncs)


def _outlived(read: Event) -> Iterator[str]:
    """Yield what is wrong with the age of what was *read*."""
    value, outcome = read["value"], read["outcome"]
    end = value["until"] if outcome == "hit" else value["kept"]
    if outcome != "miss" and read["start"] > end + ROUNDING:
        yield f"too old by {read['start'] - end:.3f} s: {read}"
    spared = read["away"] or read["layer"] == "origin"
    if outcome == "stale" and not KEYS[read["key"]].policy.stale_for and not spared:
        yield f"too old by any measure: {read}"


def _doubled(loads: Sequence[Event], writes: Sequence[Event]) -> Iterator[str]:
    """Yield which loads of a key went on at once, though nobody had doomed the former in between.

    Who writes or removes the key does, and who invalidates one of its tags.
    """
    for one in loads:
        for other in loads:
            if one is other or one["key"] != other["key"] or not one["start"] <= other["start"] < one["end"]:
                continue
            if not any(
                write["name"] in (one["key"], *KEYS[one["key"]].tags)
                and write["start"] < other["start"]
                and one["asked"] < write["end"]
                for write in writes
            ):
                yield f"loaded twice: {one} | {other}"


def _same(one: Event, other: Event) -> bool:
    """Tell whether both are of one process; one that was started anew knows nothing of its forerunner."""
    return bool(one["pid"] == other["pid"])


def _told(read: Event, write: Event) -> str:
    what = "everything" if write["name"] == EVERYTHING else write["name"]
    late = read["start"] - write["end"]
    return f"older than {write['what']} {what} #{write['count']}, over {late:.4f} s before: {read} | {write}"
