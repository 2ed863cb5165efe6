"""Invalidating: the shared store first, then this process at once; queued where the store is away."""

from __future__ import annotations

from collections.abc import Sequence

from cache_ext import events, metrics
from cache_ext.coherence.reasons import myself
from cache_ext.coherence.receipts import Receipt
from cache_ext.errors import StoreUnavailable
from cache_ext.runtime import Runtime
from cache_ext.transport.budget import budget


def invalidate_tags(runtime: Runtime, tags: Sequence[str]) -> Receipt:
    """Make whatever carries one of *tags*, or is being loaded under it, count no more."""
    runtime.start()
    metrics.invalidations.labels("tag").inc(len(tags))
    try:
        with budget(runtime.settings.op_timeout, of_call=True):
            runtime.outbox.settle(runtime.store)
            receipt = Receipt.of_tags(runtime.store.invalidate(tags))
    except StoreUnavailable:
        runtime.outbox.add(tags=tags)
        receipt = Receipt.of_queued(tags)
    runtime.near.invalidate(tags)
    runtime.flights.outdate(tags=tags)
    _tell(runtime, receipt, tags=tags)
    return receipt


def soften_tags(runtime: Runtime, tags: Sequence[str]) -> Receipt:
    """Make whatever carries one of *tags*, or is being loaded under it, stale from now on."""
    runtime.start()
    metrics.invalidations.labels("soft").inc(len(tags))
    try:
        with budget(runtime.settings.op_timeout, of_call=True):
            runtime.outbox.settle(runtime.store)
            versions = runtime.store.invalidate(tags, soft=True)
    except StoreUnavailable:
        runtime.outbox.add(soft=tags)
        runtime.effects.soften(tags)
        receipt = Receipt.of_queued(tags)
    else:
        for tag, version in versions.items():
            runtime.effects.soften([tag], version)
        receipt = Receipt.of_tags(versions)
    _tell(runtime, receipt, tags=tags, soft=True)
    return receipt


def delete_keys(runtime: Runtime, keys: Sequence[str]) -> Receipt:
    """Remove *keys*; loads of them that are under way answer their callers and are not stored."""
    runtime.start()
    metrics.invalidations.labels("key").inc(len(keys))
    receipt = Receipt.of_keys(keys)
    try:
        with budget(runtime.settings.op_timeout, of_call=True):
            runtime.outbox.settle(runtime.store)
            runtime.store.delete(keys)
    except StoreUnavailable:
        runtime.outbox.add(keys=keys)
        receipt = Receipt.of_keys(keys, applied=False)
    runtime.near.delete(keys)
    runtime.flights.outdate(keys=keys)
    _tell(runtime, receipt, keys=keys)
    return receipt


def clear(runtime: Runtime) -> Receipt:
    """Make everything in the namespace count no more, at the same cost however much there is."""
    runtime.start()
    metrics.invalidations.labels("clear").inc()
    try:
        receipt = Receipt.of_clear(runtime.store.clear())
    except StoreUnavailable:
        runtime.outbox.add(everything=True)
        receipt = Receipt(applied=False, everything=True)
    runtime.near.clear()
    runtime.flights.outdate_all()
    _tell(runtime, receipt, everything=True)
    return receipt


def _tell(
    runtime: Runtime,
    receipt: Receipt,
    *,
    tags: Sequence[str] = (),
    keys: Sequence[str] = (),
    everything: bool = False,
    soft: bool = False,
) -> None:
    """Remember it for those who ask later, and announce it."""
    note, applied = runtime.memory.invalidations.note, receipt.applied
    if everything:
        note("everything", (), myself(), applied=applied)
    elif tags:
        note("tags, softly" if soft else "tags", tags, myself(), applied=applied)
    elif keys:
        note("keys", keys, myself(), applied=applied)
    if events.invalidate.receivers and (tags or keys or everything):
        event = events.Invalidated(tuple(tags), tuple(keys), everything, soft, receipt.applied)
        runtime.announce(events.invalidate, event)
