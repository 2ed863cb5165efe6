"""Reading: L1 if it may be trusted, else the value and its versions from the shared store in one trip."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
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
from cache_ext.loading.flights import Moment
from cache_ext.reading.first_take import FirstTake
from cache_ext.reading.found import Found, suits, token_of
from cache_ext.reading.frames import current_frame
from cache_ext.reading.near import NearCache
from cache_ext.reading.slot import Slot
from cache_ext.reading.terms import ANY, Terms
from cache_ext.stores.base import Judgement, Snapshot, Store, Versions

_REMEMBERED_KEYS = 20_000


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
        self._tags: dict[str, tuple[str, ...]] = {}

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

    def remembered(self, keys: Iterable[str]) -> set[str]:
        """Return the tags that entries of *keys* were last seen with."""
        return {tag for key in keys for tag in self._tags.get(key, ())}

    def read(self, tags_of: Mapping[str, Collection[str]], terms: Terms = ANY) -> dict[str, Found]:
        """Return what is found of each key of *tags_of*, asking the shared store; never raises.

        Args:
            tags_of: by key, the tags that its entry is known to carry; others cost a second trip.
            terms: what does not meet them is not found.
        """
        since = Moment(self._near.mark(), self._trust.generation, hears=True)
        now, tags = self._monotonic(), set[str]()
        for key, known in tags_of.items():
            tags.update(known, self._tags.get(key, ()))
        try:
            self._outbox.settle(self._store)
            snapshot = self._store.read(tags_of.keys(), tags, self._trust.store_clock(self._monotonic))
            found = self._usual(tags_of, snapshot, since, now) if terms is ANY else {}
            if len(found) == len(tags_of):
                return found
            odd = {key: known for key, known in tags_of.items() if key not in found}
            return found | self._odd(odd, snapshot, tags, terms, since, now)
        except StoreUnavailable:
            self._outbox.catch_up()
            return {key: self._unchecked(key, now, terms) for key in tags_of}

    def _usual(
        self, tags_of: Mapping[str, Collection[str]], snapshot: Snapshot, since: Moment, now: float
    ) -> dict[str, Found]:
        """Return what is found of keys that lie in the store only, and count; the short way of most."""
        found, slots, decode, values = {}, [], self._codec.decode, self._codec.values
        judge, store_now, settle = snapshot.versions.judge, snapshot.versions.now, self._near.settle
        for key, blob in snapshot.blobs.items():
            try:
                entry = decode(blob, key)
                if entry.failed or self._near.has(key) or judge(key, entry) is not Judgement.GOOD:
                    continue
                names = tuple([tag for tag, _, _ in entry.tags])
                if names != tags_of[key] and not set(names).issuperset(tags_of[key]):
                    continue
                value = values.decode(entry.payload)
            except PayloadError:
                continue  # counted when it is looked at again
            if self._tags.get(key) != names:
                self._remember(key, names)
            take = FirstTake(key, value, entry.payload, values, settle)
            slot = Slot(key, entry, now - (store_now - entry.loaded_at) / 1000, since.generation, take)
            slots.append(slot)
            found[key] = Found(slot, entry.token)
        self._near.put_all(slots, since.mark)
        return found

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
        mark, generation, found = since.mark, since.generation, {}
        entries = self._decoded({key: snapshot.blobs[key] for key in tags_of if key in snapshot.blobs})
        versions = self._complete(snapshot.versions, tags, entries)
        for key in tags_of:
            entry, seen, slot = entries.get(key), token_of(snapshot.blobs.get(key, b"")), None
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
        self, key: str, entry: Entry, loaded: float, generation: int, value: Any, *, spare: bool = False
    ) -> Slot:
        """Return a slot for *entry*, whose *value* (or error) is at hand; *spare*: it is nobody's yet."""
        self._remember(key, tuple([tag for tag, _, _ in entry.tags]))
        values = self._codec.values
        if entry.failed:
            again = partial(decode_failure, entry.payload, (type(value),), values)
            return Slot(key, entry, loaded, generation, again)
        if spare:
            take = FirstTake(key, value, entry.payload, values, self._near.settle)
            return Slot(key, entry, loaded, generation, take)
        return Slot(key, entry, loaded, generation, *hand_out(values, value, entry.payload))

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
            slot = self.hold(key, entry, loaded, generation, value, spare=True)
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

    def _remember(self, key: str, tags: tuple[str, ...]) -> None:
        if len(self._tags) >= _REMEMBERED_KEYS:
            self._tags.clear()  # costs each key one more trip, once
        self._tags[key] = tags
