"""The engine broken on purpose: each entry of `BREAKS` takes one of its fences away."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any

from cache_ext import runtime
from cache_ext.coherence.backplane import Backplane
from cache_ext.coherence.effects import Effects
from cache_ext.coherence.outbox import Outbox
from cache_ext.coherence.receipts import Receipt
from cache_ext.entry import new_stamp
from cache_ext.keys import bucket_of
from cache_ext.loading.flights import Flights
from cache_ext.loading.late import LateTags
from cache_ext.loading.loads import Loading
from cache_ext.reading import found, looking
from cache_ext.reading.frames import Frame
from cache_ext.reading.looking import Looks
from cache_ext.reading.near import NearCache
from cache_ext.reading.remembered import Remembered
from cache_ext.reading.softened import Softened
from cache_ext.stores.base import Judgement, Versions
from cache_ext.stores.redis import RedisStore
from cache_ext.transport import subscription
from cache_ext.transport.connection import RedisGateway
from cache_ext.transport.sentinels import Sentinels
from cache_ext.transport.subscription import Beat, Subscription

Patch = tuple[Any, str, Any]


def _nothing(*args: Any, **kwargs: Any) -> None:
    return None


def _true(*args: Any, **kwargs: Any) -> bool:
    return True


def _false(*args: Any, **kwargs: Any) -> bool:
    return False


def _epoch_only(self: Versions, key: str, entry: Any) -> Judgement:
    return Judgement.GOOD if self.epochs.get(bucket_of(key)) == entry.epoch else Judgement.GONE


def _tags_only(self: Versions, key: str, entry: Any) -> Judgement:
    blind = Versions(self.now, {**self.epochs, bucket_of(key): entry.epoch}, self.standings)
    return JUDGE(blind, key, entry)


class _Anything:
    """Equals everything."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None


def _of_any_epoch(self: Versions, tags_of: Any) -> Any:
    return {key: (_Anything(), tags) for key, (_, tags) in EXPECTED(self, tags_of).items()}


def _for_good(self: Versions, tags_of: Any) -> Any:
    noted = tags_of.credentials
    return noted[2] if noted else EXPECTED(self, tags_of)


def _settled_now(self: NearCache, key: str, gone: Any) -> None:
    blob, batch = self._shelf.arrivals.take(key) or (None, None)
    if batch is not None:
        self._put([batch.slot(key, blob)], self.mark(), gone)
        self._shelf.arrivals.drop([key])


def _hard_only(self: Versions, key: str, entry: Any) -> Judgement:
    judgement = JUDGE(self, key, entry)
    return Judgement.GOOD if judgement is Judgement.STALE else judgement


def _outlived(self: Frame, slot: Any) -> None:
    self.loaded = min(self.loaded, slot.loaded)
    self.fresh_until = min(self.fresh_until, slot.fresh_until)
    self.stale_until = min(self.stale_until, slot.stale_until)


def _eternal(self: Frame, slot: Any) -> None:
    for tag, version in slot.entry.versions.items():
        self.versions.setdefault(tag, version)
        self.inherited.setdefault(tag, version)


def _untorn(self: Frame, slot: Any) -> None:
    ABSORB(self, slot)
    self.torn = False


def _unwitnessed(self: Frame, slot: Any) -> None:
    before = dict(self.inherited)
    ABSORB(self, slot)
    if not slot.entry.tags:
        self.inherited = before


def _joined_by_anybody(self: Looks, key: str, look: Any) -> Any:
    trusting = copy(self)
    trusting._near = NearCache(0)  # which knows of no invalidation
    return SHARED(trusting, key, look)


def _any_version(self: LateTags, tags: Any, noted: Any, life: float) -> dict[str, Any]:
    current = self._store.begin({}, tags, new_stamp(), life).versions
    return {tag: current.of(tag) for tag in tags}


def _private(settings: Any, gateway: Any, queued: Any, monotonic: Any) -> Outbox:
    return Outbox(None, queued)


ABSORB, ANSWERED, PUBLISH, HEARD = Frame.absorb, Backplane._answered, Backplane._publish, Effects.heard
JUDGE, SHARED, EXPECTED = Versions.judge, Looks._shared, Versions.expected
SCRIPT = RedisGateway.script


def _live_forever(self: Backplane, sent: float, now: float, store_time: float) -> None:
    ANSWERED(self, sent, now, store_time)
    self.trust.live_until = math.inf


def _same_generation(self: Backplane, sent: float, now: float, store_time: float) -> None:
    generation = self.trust.generation
    ANSWERED(self, sent, now, store_time)
    self.trust.generation = generation


def _deaf_to(kind: str) -> Callable[[Effects, Any], None]:
    return lambda self, message: None if message.kind == kind else HEARD(self, message)


def _script(name: str, fence: str, gap: str) -> list[Patch]:
    """Return the change that sends *gap* instead of *fence* in the script *name*."""

    def script(self: RedisGateway, wanted: str) -> str:
        sha = SCRIPT(self, wanted)
        if wanted != name:
            return sha
        text = self.script_text(sha)
        if text.count(fence) != 1:
            raise ValueError(f"{fence!r} is not once in {name}.lua")
        return self.register_script(text.replace(fence, gap))

    return [(RedisGateway, "script", script)]


BREAKS: dict[str, list[Patch]] = {
    "tag versions": [(Versions, "judge", _epoch_only)],
    "tag versions of plain hits": [(Versions, "cover", _true)],
    "key epoch": [(Versions, "judge", _tags_only)],
    "key epoch of plain hits": [(Versions, "expected", _of_any_epoch)],
    "credentials of plain hits": [(Versions, "expected", _for_good)],
    "marks of arrivals": [(NearCache, "_settle_in", _settled_now)],
    "marks": [(NearCache, "_ended", _false)],
    "own invalidation of L1": [(NearCache, "invalidate", _nothing)],
    "heard invalidations": [(Effects, "heard", _deaf_to("i"))],
    "heard deletions": [(Effects, "heard", _deaf_to("d"))],
    "heard epochs": [(Effects, "heard", _deaf_to("e"))],
    "replaced copies": [(NearCache, "replaced", _nothing)],
    "marks of replaced copies": [
        (
            Remembered,
            "after",
            lambda self, name, mark, but_by=None: False if but_by is not None else AFTER(self, name, mark),
        )
    ],
    "outdated flights": [(Flights, "outdate", _nothing)],
    "flights too old": [(Loading, "_too_old", _false)],
    "flights": [(Flights, "outdate", _nothing), (Loading, "_too_old", _false)],
    "frame accepts": [(Frame, "accepts", lambda self, slot: True)],
    "inherited tags": [(Frame, "absorb", _outlived)],
    "inherited lifetimes": [(Frame, "absorb", _eternal)],
    "torn frames": [(Frame, "absorb", _untorn)],
    "lease": _script("begin", "elseif left > 0 and", "elseif false and"),
    "lease token": _script("fill", "redis.pcall('GETRANGE', KEYS[i], 0, 7) == ARGV[2]", "true"),
    "lease removal": _script("delete", "redis.call('DEL', KEYS[i])\n", "\n"),
    "lost version": _script("begin", "version = sequence", "version = '0'"),
    "outlived version": _script("begin", "<= tonumber(sequence)", "<= math.huge"),
    "lost sequence": _script("begin", "epoch, sequence = ARGV[1]", "epoch, sequence = epoch or ARGV[1]"),
    "run id": [(RedisStore, "_adopt", _nothing)],
    "run id of a replica": [(RedisStore, "_adopt", _nothing)],
    "generation": [(Backplane, "_answered", _same_generation)],
    "live until": [(Backplane, "_answered", _live_forever)],
    "holes": [(Backplane, "_hole", _nothing)],
    "settling": [(Outbox, "settle", _nothing)],
    "joined looks": [(Looks, "_shared", _joined_by_anybody)],
    "joined looks inside loads": [(looking, "current_frame", lambda: None)],
    "untagged parts": [(Frame, "absorb", _unwitnessed)],
    "soft versions": [(Versions, "judge", _hard_only)],
    "heard softenings": [(Effects, "heard", _deaf_to("s"))],
    "own softening of L1": [(NearCache, "soften", _nothing)],
    "marks of softenings": [(Softened, "stale_since", _nothing)],
    "late tags": [(LateTags, "versions", _any_version)],
    "journal": [(runtime, "make_outbox", _private)],
    "receipts": [(Receipt, "outdates", _false)],
    "unchecked life": [(found, "UNCHECKED_LIFE", math.inf)],
}


def _any_beat(self: Subscription) -> Beat | None:
    for line in self._lines:
        if line.times:
            return Beat(line.times.popleft())
    return None


BREAKS_OF_SITES: dict[str, list[Patch]] = {
    "majority": [(Sentinels, "sure", property(lambda self: self.address is not None))],
    "every node": [(Subscription, "_beat", _any_beat), (subscription, "info_field", lambda *_: "ok")],
}
"""What only several servers need: see test_history_sites.py."""
AFTER = Remembered.after


@contextmanager
def broken(*names: str) -> Iterator[None]:
    """Run the body without the fences called *names*."""
    patches = [each for name in names for each in (BREAKS | BREAKS_OF_SITES)[name]]
    before = [(thing, name, getattr(thing, name)) for thing, name, _ in patches]
    try:
        for thing, name, value in patches:
            setattr(thing, name, value)
        yield
    finally:
        for thing, name, value in reversed(before):
            setattr(thing, name, value)
