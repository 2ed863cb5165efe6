"""Explaining a key or a request: what this process knows, what Redis says, and what the other processes add.

Never fails because Redis is away: then it is what this process knows, and says that it is no more.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from cache_ext.engine import TieredCache
from cache_ext.entry import Entry
from cache_ext.errors import PayloadError, StoreUnavailable
from cache_ext.explain.answers import Answer, Copy, KeyTold, RequestsTold, Stored, TagState
from cache_ext.explain.inquiries import PATIENCE
from cache_ext.explain.invalidations import Told
from cache_ext.explain.judging import state_of, tag_states
from cache_ext.explain.memory import KEY, REQUEST
from cache_ext.explain.moments import moment
from cache_ext.keys import check_name, witness_of
from cache_ext.stats.gathering import ask, members_of
from cache_ext.stores.base import Versions
from cache_ext.transport.budget import budget

ALONE = "this process alone is known: "
MOST_TAGS = 256
"""Tags that other processes are asked about."""
NEVER = "nothing lies there: it was never loaded, or its life ended, or it had to make room"


class _Look(NamedTuple):
    """What the shared store says of a key; `trouble`: why it says nothing."""

    entry: Entry | None = None
    versions: Versions | None = None
    size: int = 0
    undecodable: str = ""
    leased: bool | None = None
    trouble: str = ""


class _Heard(NamedTuple):
    """What all processes say, this one first; `missing`: why that is not all."""

    answers: tuple[Answer, ...]
    missing: str | None


def explain_key(cache: TieredCache, key: str) -> KeyTold:
    """Return what is known of *key*. Raises ConfigurationError: it cannot be a key."""
    look = _look(cache, check_name(key))
    tags = () if look.entry is None else tuple(tag for tag, _, _ in look.entry.tags)
    heard = _hear(cache, (KEY, key, *tags[:MOST_TAGS]))
    last: dict[str, Told] = {}
    for answer in heard.answers:
        for name, told in answer.last.items():
            if name not in last or last[name].at < told.at:
                last[name] = told
    copies = tuple(answer.copy for answer in heard.answers if answer.copy is not None)
    state, why = _verdict(key, look, last, copies)
    sealed = look.entry is not None and look.entry.sealed
    newest = max(last.values(), key=lambda told: told.at, default=None)
    shared = cache.gateway is not None
    return KeyTold(
        at=moment(time.time()),
        complete=not look.trouble and heard.missing is None,
        incomplete_because=f"Redis does not answer ({look.trouble})" if look.trouble else heard.missing,
        key=key,
        state=state,
        why=why,
        layers=(*(["l1"] if copies else []), *(["l2"] if shared and look.entry is not None else [])),
        stored=_stored(look) if shared else None,
        copies=copies,
        tags=() if sealed else _tags(look, last),
        last_invalidation=replace(newest, names=()) if newest is not None and sealed else newest,
        loading=look.leased,
        answered=len(heard.answers),
    )


def explain_request(cache: TieredCache, request_id: str) -> RequestsTold:
    """Return what is known of the requests that had *request_id*, whichever process served them."""
    heard = _hear(cache, (REQUEST, request_id))
    requests = sorted(
        (told for answer in heard.answers for told in answer.requests), key=lambda told: told.at
    )
    why = None
    if not requests:
        why = "nobody who answered remembers it: it is long ago, never came, or its worker has ended"
    return RequestsTold(
        moment(time.time()),
        heard.missing is None,
        heard.missing,
        request_id,
        why,
        tuple(requests),
        len(heard.answers),
    )


def _look(cache: TieredCache, key: str) -> _Look:
    """Read what lies at *key* and the versions of its tags, and judge nothing."""
    runtime = cache.runtime
    runtime.start()
    try:
        with budget(PATIENCE, administrative=True):
            runtime.outbox.settle(runtime.store)
            blob = runtime.store.read([key], [witness_of(key)]).blobs.get(key)
            entry, size, undecodable = None, 0, ""
            if cache.gateway is None:
                slot = runtime.near.get(key)
                entry = None if slot is None else slot.entry
            elif blob is not None:
                size = len(blob)
                try:
                    entry = runtime.codec.decode(blob, key)
                except PayloadError as error:
                    undecodable = str(error)
            tags = [] if entry is None else [tag for tag, _, _ in entry.tags]
            versions = runtime.store.read((), [*tags, witness_of(key)]).versions
            leased = None
            if cache.gateway is not None:
                leased = ask(cache.gateway, [("EXISTS", runtime.keyspace.lease(key))]) == [1]
    except StoreUnavailable as error:
        return _Look(trouble=str(error))
    return _Look(entry, versions, size, undecodable, leased)


def _hear(cache: TieredCache, subject: Sequence[str]) -> _Heard:
    """Ask all processes what they know of *subject*."""
    memory, gateway = cache.runtime.memory, cache.gateway
    own = memory.known(subject)
    if gateway is None:
        return _Heard((own,), None)
    if memory.inquiries is None:
        return _Heard((own,), ALONE + "the backplane is switched off")
    cache.runtime.start()
    try:
        answers, expected = memory.inquiries.ask(subject)
        members = members_of(gateway, cache.runtime.keyspace)[1] if cache.settings.monitoring else ()
    except StoreUnavailable as error:
        return _Heard((own,), f"{ALONE}{error}")
    all_heard = (own, *answers)
    known = {(answer.host, answer.pid) for answer in all_heard}
    silent = sorted({f"{each.host}/{each.pid}" for each in members if (each.host, each.pid) not in known})
    if silent:
        return _Heard(all_heard, f"no answer within {PATIENCE} s from {', '.join(silent)}")
    if len(answers) < expected:
        return _Heard(all_heard, f"no answer within {PATIENCE} s from {expected - len(answers)} processes")
    return _Heard(all_heard, None)


def _verdict(key: str, look: _Look, last: Mapping[str, Told], copies: Sequence[Copy]) -> tuple[str, str]:
    """Return what a read would find, and why."""
    if look.trouble:
        return "unknown", "Redis does not answer, so only copies in L1 are known"
    if look.undecodable:
        return "undecodable", f"what lies there cannot be read, and is a miss: {look.undecodable}"
    if look.entry is not None and look.versions is not None:
        return state_of(key, look.entry, look.versions)
    told = last.get(key)
    why = NEVER if told is None else f"nothing lies there: it was deleted at {told.at}"
    if serving := sum(copy.serves for copy in copies):
        why += f"; {serving} processes serve a copy from L1"
    return "absent", why


def _tags(look: _Look, last: Mapping[str, Told]) -> tuple[TagState, ...]:
    if look.entry is None or look.versions is None:
        return ()
    return tuple(tag_states(look.entry, look.versions, last))


def _stored(look: _Look) -> Stored | None:
    entry, versions = look.entry, look.versions
    if entry is None or versions is None:
        return None
    age = (versions.now - entry.loaded_at) / 1000
    ttl, stale_for = entry.ttl / 1000, entry.stale_for / 1000
    loaded = entry.loaded_at / 1000
    return Stored(
        loaded_at=moment(loaded),
        fresh_until=moment(loaded + ttl),
        stale_until=moment(loaded + ttl + stale_for),
        age=age,
        ttl_left=ttl - age,
        stale_left=ttl + stale_for - age,
        load_seconds=entry.load_time / 1000,
        bytes=look.size,
        sealed=entry.sealed,
        compressed=entry.compressed,
        failed=entry.failed,
        token=entry.token.decode("ascii", "replace"),
    )
