"""Invalidating: the shared store first, then this process at once; queued where the store is away."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from cache_ext import metrics
from cache_ext.errors import StoreUnavailable
from cache_ext.runtime import Runtime
from cache_ext.transport.budget import budget


class Receipt(StrEnum):
    """What became of an invalidation. Either way this process no longer serves what it names.

    APPLIED: the store has it. No reader anywhere gets an older value from it, nor, once the staleness
    bound has passed, from any L1. QUEUED: the store is away; it is told first of all when it answers
    again, and until then only this process knows.
    """

    APPLIED = "applied"
    QUEUED = "queued"


def invalidate_tags(runtime: Runtime, tags: Sequence[str]) -> Receipt:
    """Make whatever carries one of *tags*, or is being loaded under it, count no more."""
    metrics.invalidations.labels("tag").inc(len(tags))
    receipt = Receipt.APPLIED
    try:
        with budget(runtime.settings.op_timeout, of_call=True):
            runtime.outbox.settle(runtime.store)
            runtime.store.invalidate(tags)
    except StoreUnavailable:
        runtime.outbox.add(tags=tags)
        receipt = Receipt.QUEUED
    runtime.near.invalidate(tags)
    runtime.flights.outdate(tags=tags)
    return receipt


def delete_keys(runtime: Runtime, keys: Sequence[str]) -> Receipt:
    """Remove *keys*; loads of them that are under way answer their callers and are not stored."""
    metrics.invalidations.labels("key").inc(len(keys))
    receipt = Receipt.APPLIED
    try:
        with budget(runtime.settings.op_timeout, of_call=True):
            runtime.outbox.settle(runtime.store)
            runtime.store.delete(keys)
    except StoreUnavailable:
        runtime.outbox.add(keys=keys)
        receipt = Receipt.QUEUED
    runtime.near.delete(keys)
    runtime.flights.outdate(keys=keys)
    return receipt


def clear(runtime: Runtime) -> Receipt:
    """Make everything in the namespace count no more, at the same cost however much there is."""
    metrics.invalidations.labels("clear").inc()
    receipt = Receipt.APPLIED
    try:
        runtime.store.clear()
    except StoreUnavailable:
        runtime.outbox.add(everything=True)
        receipt = Receipt.QUEUED
    runtime.near.clear()
    runtime.flights.outdate_all()
    return receipt
