"""What an invalidation would hit: counted, and nothing done."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from msgspec import Struct

from cache_ext.codec.entries import EntryCodec
from cache_ext.entry import Entry
from cache_ext.errors import PayloadError
from cache_ext.keys import check_name, check_tags, witness_of
from cache_ext.runtime import Runtime
from cache_ext.stores.base import Judgement, Store
from cache_ext.stores.walking import Page, Walk
from cache_ext.transport.budget import budget

MAX_NAMES = 20
Progress = Callable[[float], bool]
"""Is told what share of the way is done, 0 to 1; returns whether to go on."""


class Preview(Struct, frozen=True):
    """What an invalidation would hit. What counts no more already is not hit.

    Args:
        matched: entries that it would hit.
        fresh: those of them that are within their ttl; the others may still serve as stale.
        bytes: they take in the store.
        names: keys of some of them, 20 at most.
        copies: that this process holds of such; of other processes' nothing is known.
        examined: entries that were looked at.
        undecodable: values that were looked at and are none; an invalidation has nothing to do with them.
        share: how much of the store was looked at, 0 to 1.
        estimate: others may have written meanwhile, so that some entries are missing and some count twice.
    """

    matched: int = 0
    fresh: int = 0
    bytes: int = 0
    names: tuple[str, ...] = ()
    copies: int = 0
    examined: int = 0
    undecodable: int = 0
    share: float = 1.0
    estimate: bool = False


class Aim:
    """What an invalidation is aimed at.

    Args:
        tags, keys: it names.
        everything: it is a `clear`.
    """

    def __init__(self, tags: Iterable[str], keys: Iterable[str], everything: bool) -> None:
        self._tags = frozenset(check_tags(tags))
        self.keys = tuple(dict.fromkeys(check_name(key) for key in keys))
        self.everything = everything
        self.walks = everything or bool(tags)
        """Whether finding all that it hits takes a look at everything."""

    def hits(self, key: str, entry: Entry) -> bool:
        """Tell whether *entry* of *key* is hit."""
        return (
            self.everything
            or key in self.keys
            or (bool(self._tags) and any(tag in self._tags for tag, _, _ in entry.tags))
        )


class _Count:
    """Adds up what *aim* hits among entries; each batch is judged in one round trip of its own."""

    def __init__(self, store: Store, codec: EntryCodec, aim: Aim, patience: float) -> None:
        self._store = store
        self._codec = codec
        self._aim = aim
        self._patience = patience
        self._names: dict[str, None] = {}
        self._matched = self._fresh = self._bytes = self._examined = self._undecodable = 0

    def add(self, page: Page) -> None:
        """Count the entries of *page*."""
        self._undecodable += page.odd
        entries = []
        for key, blob in page.blobs.items():
            try:
                entries.append((key, self._codec.decode(blob, key), len(blob)))
            except PayloadError:
                self._undecodable += 1
        self.count(entries)

    def count(self, entries: Collection[tuple[str, Entry, int]]) -> None:
        """Count *entries*: key, entry and bytes of each."""
        self._examined += len(entries)
        hit = [(key, entry, size) for key, entry, size in entries if self._aim.hits(key, entry)]
        if not hit:
            return
        names = {tag for _, entry, _ in hit for tag, _, _ in entry.tags}
        names.update(witness_of(key) for key, _, _ in hit)
        with budget(self._patience, administrative=True):
            versions = self._store.read((), names).versions
        for key, entry, size in hit:
            judgement = versions.judge(key, entry)
            if judgement is Judgement.GONE:
                continue
            self._matched += 1
            self._bytes += size
            self._fresh += judgement is Judgement.GOOD and versions.now < entry.loaded_at + entry.ttl
            if len(self._names) < MAX_NAMES:
                self._names[key] = None

    def result(self, copies: int, share: float, estimate: bool) -> Preview:
        """Return what was counted."""
        return Preview(
            self._matched,
            self._fresh,
            self._bytes,
            tuple(self._names),
            copies,
            self._examined,
            self._undecodable,
            share,
            estimate,
        )


def preview(
    runtime: Runtime,
    codec: EntryCodec,
    aim: Aim,
    progress: Progress | None = None,
) -> Preview:
    """Count what *aim* would hit, reading what there is page by page.

    Args:
        progress: called after each page, see `Progress`.
    Raises:
        StoreUnavailable: Redis does not answer.
    """
    runtime.start()
    settings = runtime.settings
    slots = runtime.near.slots()
    copies = sum(aim.hits(slot.key, slot.entry) for slot in slots)
    count = _Count(runtime.store, codec, aim, settings.timeout)
    if runtime.gateway is None:  # what this process holds is all there is
        count.count([(slot.key, slot.entry, slot.size) for slot in slots])
        return count.result(copies, 1.0, estimate=False)
    walk = Walk(runtime.gateway, runtime.keyspace, settings.timeout, settings.max_entry_bytes)
    share = 1.0
    for page in walk.everything() if aim.walks else walk.of(aim.keys):
        count.add(page)
        share = page.share
        if progress is not None and not progress(share):
            break
    return count.result(copies, share, estimate=aim.walks)
