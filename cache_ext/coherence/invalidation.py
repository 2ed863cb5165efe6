"""Invalidating: the shared store first, then this process at once; queued where the store is away."""

from __future__ import annotations

from collections.abc import Sequence

from cache_ext import metrics
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
        return Receipt.of_queued(tags)
    for tag, version in versions.items():
        runtime.effects.soften([tag], version)
    return Receipt.of_tags(versions)


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
    return receipt
