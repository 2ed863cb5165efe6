"""Reading: L1 if it may be trusted, else the value and its versions from the shared store in one trip."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

from cache_ext import metrics
from cache_ext.codec.copies import hand_out
from cache_ext.codec.entries import EntryCodec
from cache_ext.codec.failures import decode_failure
from cache_ext.coherence.backplane import Trust
from cache_ext.coherence.outbox import Outbox
from cache_ext.entry import Entry
from cache_ext.errors import PayloadError, StoreUnavailable
from cache_ext.explain.judging import why_not
from cache_ext.explain.trails import current_trail
from cache_ext.loading.flights import Moment
from cache_ext.reading.first_take import FirstTake
from cache_ext.reading.found import Found, suits, token_of
from cache_ext.reading.frames import current_frame
from cache_ext.reading.known_tags import KnownTags
from cache_ext.reading.near import NearCache
from cache_ext.reading.sight import NOTHING_SEEN, Picker, Sight
from cache_ext.reading.slot import Slot
from cache_ext.reading.terms import ANY, Terms
from cache_ext.stores.base import Judgement, Snapshot, Store, Versions


class Reader:
    """Finds entries and judges them."""

    def __init__(
        self,
        store: Store,
        near: NearCache,
        codec: EntryCodec,
        trust: Trust,
        outbox: Outbox,
        monotonic: Callable[[], float],
    ) -> None:
        self._store = store
        self._near = near
        self._codec = codec
        self._trust = trust
        self._outbox = outbox
        self._monotonic = monotonic
        self.known = KnownTags()
        """The tags that entries were last seen with."""
        self._picker = Picker(codec, near)

    def near(self, key: str, terms: Terms = ANY) -> Slot | None:
        """Return L1's slot of *key* if it may be served without asking anyone, fresh or stale."""
        slot = self._near.get(key)
        if slot is None or slot.generation != self._trust.generation:
            return None
        now = self._monotonic()
        if now >= self._trust.live_until or now >= slot.stale_until or now >= slot.check_at:
            return None
        if (terms is not ANY or slot.entry.failed) and not terms.accept(slot, from_store=False):
            return None
        frame = current_frame()
        return slot if frame is None or frame.accepts(slot) else None

    def read(self, tags_of: Mapping[str, Collection[str]], terms: Terms = ANY) -> Mapping[str, Found]:
        """Return what is found of each key of *tags_of*, asking the shared store; never raises.

        Args:
            tags_of: by key, the tags that its entry is known to carry; others cost a second trip.
            terms: what does not meet them is not found.
        """
        return self.look(tags_of, terms, plain=False).found

    def look(self, tags_of: Mapping[str, Collection[str]], terms: Terms, *, plain: bool) -> Sight:
        """Return what is seen of each key of *tags_of*, as `read` does.

        Args:
            plain: the caller serves plain hits as they are; their tags are to be tuples then.
        """
        mark, began = self._near.mark(), self._monotonic()
        generation, tags = self._trust.generation, self.known.with_those_of(tags_of)
        sight = NOTHING_SEEN
        try:
            self._outbox.settle(self._store)
            snapshot = self._store.read(tags_of.keys(), tags, self._trust.store_clock(self._monotonic))
            if plain:
                sight = self._picker.pick(tags_of, snapshot, mark, generation, began)
            if len(sight.values) == len(tags_of):
                return sight
            odd = {key: known for key, known in tags_of.items() if key not in sight.values}
            since = Moment(mark, generation, hears=True)
            return sight.with_found(self._odd(odd, snapshot, tags, terms, since, began))
        except StoreUnavailable as error:
            self._outbox.catch_up()
            if (trail := current_trail()) is not None:
                for key in tags_of:
                    trail.explain(key, f"Redis was not asked: {error}")
            absent = [key for key in tags_of if key not in sight.values]
            return sight.with_found({key: self._unchecked(key, began, terms) for key in absent})

    def _odd(
        self,
        tags_of: Mapping[str, Collection[str]],
        snapshot: Snapshot,
        tags: Collection[str],
        terms: Terms,
        since: Moment,
        now: float,
    ) -> dict[str, Found]:
        """Return what is found of keys with which anything may be the matter."""
        mark, generation, found, trail = since.mark, since.generation, {}, current_trail()
        entries = self._decoded({key: snapshot.blobs[key] for key in tags_of if key in snapshot.blobs})
        versions = self._complete(snapshot.versions, tags, entries)
        for key in tags_of:
            entry, seen, slot = entries.get(key), token_of(snapshot.blobs.get(key, b"")), None
            if trail is not None:
                trail.explain(key, why_not(key, entry, versions, there=key in snapshot.blobs))
            if entry is not None and suits(entry, tags_of[key], terms):
                slot = self._judged(key, entry, now, versions, generation, terms)
            if slot is not None:
                self._near.put(slot, mark)
                found[key] = Found(slot if terms.accept(slot, from_store=True) else None, seen)
            elif key not in snapshot.blobs and (slot := self.near(key, terms)) is not None:
                found[key] = Found(slot, seen, "l1")
            else:
                self._near.drop(key)
                found[key] = Found(None, seen)
        return found

    def admit(
        self,
        key: str,
        blob: bytes,
        versions: Versions,
        tags: Collection[str],
        terms: Terms,
        since: Moment,
        now: float,
    ) -> Slot | None:
        """Return *blob*, found at *key* under *versions*, as a slot, if it counts and meets *terms*.

        Args:
            tags: that it must have.
            since, now: of the moment before it was found.
        """
        try:
            entry = self._codec.decode(blob, key)
            versions = self._complete(versions, versions.standings.keys(), {key: entry})
        except (PayloadError, StoreUnavailable):
            return None
        if not suits(entry, tags, terms):
            return None
        slot = self._judged(key, entry, now, versions, since.generation, terms)
        if slot is None:
            return None
        self._near.put(slot, since.mark)
        return slot if terms.accept(slot, from_store=True) else None

    def hold(
        self,
        key: str,
        entry: Entry,
        loaded: float,
        generation: int,
        value: Any,
        *,
        now: float = math.inf,
        spare: bool = False,
    ) -> Slot:
        """Return a slot for *entry*, whose *value* (or error) is at hand; *spare*: it is nobody's yet.

        See `Slot`; *now* is its `made`.
        """
        self.known.note(key, tuple([tag for tag, _, _ in entry.tags]))
        values = self._codec.values
        if entry.failed:
            again = partial(decode_failure, entry.payload, (type(value),), values)
            return Slot(key, entry, loaded, generation, again)
        if spare:
            take = FirstTake(key, [value], entry.payload, values, self._near.settle)
            return Slot(key, entry, loaded, generation, take, made=now)
        return Slot(key, entry, loaded, generation, *hand_out(values, value, entry.payload), made=now)

    def _judged(
        self, key: str, entry: Entry, now: float, versions: Versions, generation: int, terms: Terms
    ) -> Slot | None:
        """Return a slot for *entry* if it counts under *versions*; one that is stale was so at *now*."""
        judgement = versions.judge(key, entry)
        if judgement is Judgement.GONE:
            return None
        slot = self._slot(key, entry, now, versions.now, generation, terms)
        if slot is not None and judgement is Judgement.STALE:
            slot.expire(now)
        return slot

    def _slot(
        self, key: str, entry: Entry, now: float, store_now: int, generation: int, terms: Terms
    ) -> Slot | None:
        slot = self._near.get(key)
        if slot is not None and slot.entry.token == entry.token:
            slot.generation = generation
        else:
            try:
                value = self.value(entry, terms)
            except PayloadError:
                metrics.payload_errors.inc()
                return None
            loaded = now - (store_now - entry.loaded_at) / 1000
            slot = self.hold(key, entry, loaded, generation, value, now=now, spare=True)
        if terms.l1_ttl is not None:
            slot.check_by(now + terms.l1_ttl)
        return slot

    def value(self, entry: Entry, terms: Terms) -> Any:
        """Return what the payload of *entry* stands for. Raises PayloadError."""
        if entry.failed:
            return decode_failure(entry.payload, terms.errors, self._codec.values)
        return self._codec.values.decode(entry.payload)

    def _unchecked(self, key: str, now: float, terms: Terms) -> Found:
        slot = self._near.get(key)
        usable = slot is not None and now < slot.stale_until and terms.accept(slot, from_store=False)
        return Found(slot if usable else None, layer="l1", checked=False)

    def _decoded(self, blobs: Mapping[str, bytes]) -> dict[str, Entry]:
        entries = {}
        for key, blob in blobs.items():
            try:
                entries[key] = self._codec.decode(blob, key)
            except PayloadError:
                metrics.payload_errors.inc()
        return entries

    def _complete(self, versions: Versions, asked: Collection[str], entries: Mapping[str, Entry]) -> Versions:
        """Ask for the versions of tags that *entries* turn out to carry and that were not *asked* for."""
        missing = {tag for entry in entries.values() for tag, _, _ in entry.tags} - set(asked)
        if not missing:
            return versions
        more = self._store.read((), missing).versions
        return Versions(
            versions.now, {**versions.epochs, **more.epochs}, {**versions.standings, **more.standings}
        )
