"""What an explanation says: of a key, of a request, and what each process adds to it."""

from __future__ import annotations

from msgspec import Struct

from cache_ext.explain.invalidations import Told


class Copy(Struct, frozen=True):
    """What one process has of a key in L1.

    Args:
        serves: whether it would serve it now without asking anybody.
        age, ttl_left, stale_left: seconds; what is left is negative if it is past that.
        bytes: that it is counted with.
        token: of the load that made it.
    """

    host: str
    pid: int
    serves: bool
    age: float
    ttl_left: float
    stale_left: float
    bytes: int
    token: str


class TagState(Struct, frozen=True):
    """A tag of an entry.

    Args:
        made_under: the version that was noted before the load, ``epoch:counter``.
        current: the tag's version now; null if nobody knows it any more.
        verdict: ``current``, ``invalidated``, ``softly invalidated``, ``forgotten`` (its version is lost, so
            it counts as invalidated), ``epoch replaced`` (all of its bucket was invalidated).
        last_invalidation: of the tag, as far as anybody remembers.
    """

    name: str
    made_under: str
    current: str | None
    verdict: str
    last_invalidation: Told | None


class Stored(Struct, frozen=True):
    """What lies in Redis under a key, but for the value. Times are RFC 3339, by the clock of Redis.

    Args:
        loaded_at: when its loader was called.
        age, ttl_left, stale_left, load_seconds: seconds; what is left is negative if it is past that.
        bytes: as stored.
        sealed: it is encrypted, so its tags are not shown either.
        compressed, failed: it is; *failed*: it is an error, kept as one.
        token: of the load that made it.
    """

    loaded_at: str
    fresh_until: str
    stale_until: str
    age: float
    ttl_left: float
    stale_left: float
    load_seconds: float
    bytes: int
    sealed: bool
    compressed: bool
    failed: bool
    token: str


class ReadTold(Struct, frozen=True):
    """A key that a request read.

    Args:
        after: seconds since the request began.
        age: of what was served, seconds.
        reason: why what the store had did not count, if it was looked at and did not.
    """

    key: str
    cache: str
    layer: str
    outcome: str
    after: float
    age: float
    reason: str | None


class RequestTold(Struct, frozen=True):
    """What a request did, and in which process.

    Args:
        at: when it began, RFC 3339.
        method: null of a response from L1, of which no more is noted than that it was one.
        asks: the key of the response that it asked for, or the name of the view.
        outcome: X-Cache; ``none`` where no cache stands before the view.
        status: null of a response from L1.
        cache_status: as it was sent.
        seconds: from its beginning to the head of the answer; null if that is not known.
        reads: what it read, in order; inner reads come before what was made of them.
        hidden: further reads, of sensitive values or too many.
    """

    host: str
    pid: int
    at: str
    method: str | None
    asks: str
    outcome: str
    status: int | None
    cache_status: str | None
    seconds: float | None
    reads: tuple[ReadTold, ...]
    hidden: int


class Answer(Struct, frozen=True):
    """What one process knows of what was asked."""

    host: str
    pid: int
    copy: Copy | None = None
    last: dict[str, Told] = {}
    requests: tuple[RequestTold, ...] = ()


class KeyTold(Struct, frozen=True):
    """What is known of a key.

    Args:
        at: when that was, RFC 3339.
        complete: whether all processes were heard; if not, *incomplete_because* says why not.
        state: what a read would find: ``fresh``, ``stale`` (it may be served, marked), ``expired``,
            ``invalidated``, ``undecodable``, ``absent``, ``unknown`` (Redis does not answer).
        why: that is so, in words.
        layers: that hold it: ``l1``, ``l2``.
        stored: what lies in Redis; null if nothing does, or that is not known.
        copies: of processes that hold one in L1.
        tags: of what is stored, with their versions.
        last_invalidation: the newest that hit the key or one of its tags, as far as anybody remembers.
        loading: whether somebody is just loading it; null if that is not known.
        answered: processes that were heard.
    """

    at: str
    complete: bool
    incomplete_because: str | None
    key: str
    state: str
    why: str
    layers: tuple[str, ...]
    stored: Stored | None
    copies: tuple[Copy, ...]
    tags: tuple[TagState, ...]
    last_invalidation: Told | None
    loading: bool | None
    answered: int


class RequestsTold(Struct, frozen=True):
    """What is known of the requests of one id; the rest as `KeyTold`.

    Args:
        why: nothing is known, null if something is.
    """

    at: str
    complete: bool
    incomplete_because: str | None
    request_id: str
    why: str | None
    requests: tuple[RequestTold, ...]
    answered: int
