"""Why an entry counts or does not: its credentials against the versions of the moment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cache_ext.entry import Entry
from cache_ext.explain.answers import TagState
from cache_ext.explain.invalidations import Told
from cache_ext.keys import bucket_of, is_witness
from cache_ext.stores.base import Judgement, Versions

COUNTS = frozenset({"current", "softly invalidated"})
"""Verdicts under which an entry may be served."""


def tag_states(entry: Entry, versions: Versions, last: Mapping[str, Told]) -> Iterator[TagState]:
    """Yield the tags of *entry*, each with what *versions* say of it."""
    for tag, epoch, counter in entry.tags:
        if is_witness(tag):  # stands for the epoch of a bucket; no user's name
            continue
        standing, now = versions.standing(tag), versions.epochs.get(bucket_of(tag))
        current = None if standing is None or now is None else f"{_text(now)}:{standing.counter}"
        verdict = "current"
        if now is None or standing is None:
            verdict = "forgotten"
        elif now != epoch:
            verdict = "epoch replaced"
        elif not standing.hard <= counter <= standing.counter:
            verdict = "invalidated"
        elif standing.soft > counter:
            verdict = "softly invalidated"
        told = last.get(tag) or (last.get("*") if verdict in ("epoch replaced", "forgotten") else None)
        yield TagState(tag, f"{_text(epoch)}:{counter}", current, verdict, told)


def state_of(key: str, entry: Entry, versions: Versions) -> tuple[str, str]:
    """Return what a read of *entry* would find, and why, in words."""
    judgement = versions.judge(key, entry)
    if judgement is Judgement.GONE:
        return "invalidated", _why_gone(key, entry, versions)
    past = (versions.now - entry.loaded_at - entry.ttl) / 1000
    soft = judgement is Judgement.STALE
    if past < 0 and not soft:
        return "fresh", f"it is fresh for {-past:.3f} s"
    if past < entry.stale_for / 1000:
        why = (
            f"{_blamed(entry, versions)} was invalidated softly"
            if soft
            else f"its ttl ended {past:.3f} s ago"
        )
        return "stale", f"{why}; it may be served, marked, where its policy allows"
    return "expired", f"its ttl ended {past:.3f} s ago"


def why_not(key: str, entry: Entry | None, versions: Versions, *, there: bool) -> str:
    """Return why what lies at *key* was no plain hit, in words; *there*: something lies there."""
    if entry is None:
        return "what lies there cannot be read" if there else "nothing lies there"
    state, why = state_of(key, entry, versions)
    return f"{state}: {why}"


def _why_gone(key: str, entry: Entry, versions: Versions) -> str:
    epoch = versions.epochs.get(bucket_of(key))
    if epoch is None:
        return "its bucket has no epoch: Redis was emptied"
    if epoch != entry.epoch:
        return "its bucket's epoch was replaced: all was invalidated"
    if entry.loaded_at > versions.now:
        return "it is from the future: the clock of Redis was set back"
    return f"{_blamed(entry, versions)} was invalidated since it was loaded, or its version is lost"


def _blamed(entry: Entry, versions: Versions) -> str:
    """Return the first tag that is not as it was; of a sealed entry no name is told."""
    if entry.sealed:
        return "a tag"
    for state in tag_states(entry, versions, {}):
        if state.verdict != "current":
            return f"the tag {state.name}"
    return "what it was made of"


def _text(epoch: bytes) -> str:
    return epoch.decode("ascii", "replace")
