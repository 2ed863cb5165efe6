"""The grammar of names: how keys, tags and buckets become Redis keys.

A *name* (of a key or a tag) is text of 1 to 1024 bytes without control characters. Names fall into
`BUCKETS` buckets. All Redis keys of one bucket share a hash tag, hence a cluster slot, hence may meet in
one script; names of different buckets never do. What decides the bucket is the whole name or, as in Redis
Cluster, the first non-empty part of it in braces: the key ``price:{pair:SOL-USDC}`` lies in the bucket of
the tag ``pair:SOL-USDC``, so that one command reads a value and the version that judges it.

    shivx:{07}:v:price:{pair:SOL-USDC}   the value
    shivx:{07}:l:price:{pair:SOL-USDC}   the lease of whoever loads it
    shivx:{07}:t:pair:SOL-USDC           the tag's version: the sequence number that last invalidated it
    shivx:{07}:seq · :epoch · :run       the bucket's sequence, its epoch, the server run it was made in
    shivx:{00}:x:events                  what else is kept (see `hooks.stream`)
    shivx:{07}:bus                       the channel on which the bucket's changes are published
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from functools import lru_cache

from cache_ext.errors import ConfigurationError

BUCKETS = 32
"""Few enough that a batch of 100 keys is a handful of commands, enough to spread over a cluster."""
LAST_BUCKET = BUCKETS - 1
MAX_NAME_BYTES = 1024
_KNOWN_NAMES = 16_384
"""Names that are remembered, so that what follows from one is worked out once."""
_WITNESS_MARK = "\x00"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NAMESPACE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


@lru_cache(_KNOWN_NAMES)
def bucket_of(name: str) -> int:
    """Return the bucket, 0 <= bucket < BUCKETS, of a key's or tag's *name*."""
    start = name.find("{")
    if start >= 0:
        end = name.find("}", start + 1)
        if end > start + 1:
            name = name[start + 1 : end]
    return zlib.crc32(name.encode()) % BUCKETS


_WITNESSES = {bucket_of(name): name for name in (f"{_WITNESS_MARK}{n}" for n in range(16 * BUCKETS))}
"""A name in each bucket; of so many there is one in every bucket."""


def witness_of(key: str) -> str:
    """Return the name that stands, as if it were a tag never invalidated, for the epoch of *key*'s bucket.

    No user's name is like it: it has a control character.
    """
    return _WITNESSES[bucket_of(key)]


def is_witness(name: str) -> bool:
    """Tell whether *name* is one that `witness_of` returns."""
    return name.startswith(_WITNESS_MARK)


def check_name(name: str) -> str:
    """Return *name* if it may name a key or tag.

    Raises:
        ConfigurationError: not text, empty, too long, or with control characters or lone surrogates.
    """
    try:
        return known_name(name)
    except TypeError:  # it cannot be looked up, hence is no text
        return known_name.__wrapped__(name)


@lru_cache(_KNOWN_NAMES)
def known_name(name: str) -> str:
    """Return *name* as `check_name` does, which takes other types than text as well."""
    if not isinstance(name, str):
        raise ConfigurationError(f"a key or tag is text, not {type(name).__name__}")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        size = 0
    if not 1 <= size <= MAX_NAME_BYTES or _CONTROL.search(name):
        raise ConfigurationError(
            f"a key or tag has 1 to {MAX_NAME_BYTES} bytes of UTF-8 and no control characters: {name[:80]!r}"
        )
    return name


def check_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Return *tags* without repetitions, in order; a bare string is refused, it is never meant."""
    if isinstance(tags, str):
        raise ConfigurationError(f"tags is a sequence of text, not the text {tags[:80]!r}")
    given = tuple(tags)
    try:
        return known_tags(given)
    except TypeError:  # something among them cannot be looked up, hence is no text
        return known_tags.__wrapped__(given)


@lru_cache(_KNOWN_NAMES)
def known_tags(tags: tuple[str, ...]) -> tuple[str, ...]:
    """Return *tags* as `check_tags` does, which takes other iterables as well."""
    return tuple(dict.fromkeys([check_name(tag) for tag in tags]))


class KeySpace:
    """The Redis keys of one namespace."""

    def __init__(self, namespace: str) -> None:
        if not _NAMESPACE.fullmatch(namespace):
            raise ConfigurationError(
                f"a namespace has 1 to 64 letters, digits, or characters of '_.:-': {namespace!r}"
            )
        self.namespace = namespace
        self._prefixes = tuple(f"{namespace}:{{{bucket:02d}}}:" for bucket in range(BUCKETS))
        self.channels = tuple(prefix + "bus" for prefix in self._prefixes)

    @property
    def value_pattern(self) -> str:
        """What SCAN is to match to find the entries of all keys."""
        return f"{self.namespace}:{{??}}:v:*"

    def value(self, key: str) -> str:
        """Return where the entry of *key* lies."""
        return self._prefixes[bucket_of(key)] + "v:" + key

    def lease(self, key: str) -> str:
        """Return where the lease of *key* lies."""
        return self._prefixes[bucket_of(key)] + "l:" + key

    def version(self, tag: str) -> str:
        """Return where the version of *tag* lies."""
        return self._prefixes[bucket_of(tag)] + "t:" + tag

    def place(self, bucket: int, what: str) -> str:
        """Return where *what*, which is neither entry nor version, lies in *bucket*."""
        return self._prefixes[bucket] + "x:" + what

    def epoch(self, bucket: int) -> str:
        """Return where the epoch of *bucket* lies."""
        return self._prefixes[bucket] + "epoch"

    def sequence(self, bucket: int) -> str:
        """Return where the sequence of *bucket* lies."""
        return self._prefixes[bucket] + "seq"

    def run(self, bucket: int) -> str:
        """Return where the run id of the server that *bucket* last lived on lies."""
        return self._prefixes[bucket] + "run"
