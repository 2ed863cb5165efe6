"""Receipts: what an invalidation leaves in its caller's hands, so that he reads nothing older."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from cache_ext.entry import Entry, Version
from cache_ext.errors import ConfigurationError
from cache_ext.keys import BUCKETS, bucket_of

MAX_TEXT = 1024
"""Characters: a quarter of what browsers keep of a cookie. Some 30 tags or 70 keys fit in."""
_DIGEST_BYTES = 8
_MARK = "1."
"""What the text begins with: the version of its form."""
_Digest = Annotated[bytes, Meta(min_length=_DIGEST_BYTES, max_length=_DIGEST_BYTES)]
_Epoch = Annotated[bytes, Meta(max_length=16)]
_Counter = Annotated[int, Meta(ge=0)]


class Receipt(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What became of an invalidation, and by what an older value is recognised.

    `applied`: the store has it. No reader anywhere gets an older value from it, nor, once the staleness
    bound has passed, from any L1. `queued`: the store is away; it is told first of all when it answers
    again, and until then only this process knows. Either way this process no longer serves what it names.

    ``str(receipt)`` is up to `MAX_TEXT` ASCII characters fit for a cookie or a header, `parse` reads them.
    They hold digests, no names, and are not signed: who makes some up has his own reads checked, no more.
    """

    applied: bool = True
    tags: tuple[tuple[_Digest, _Epoch, _Counter], ...] = ()  # an empty epoch: the new version is not known
    keys: tuple[_Digest, ...] = ()
    epochs: tuple[_Epoch, ...] = ()  # of `clear`: the new one of each bucket
    everything: bool = False  # what exactly is not known (any more), so any copy may be an older one

    @classmethod
    def of_tags(cls, versions: Mapping[str, Version]) -> Receipt:
        """Return that of an applied invalidation that gave tags these new versions."""
        return cls(tags=tuple((_digest(tag), *version) for tag, version in versions.items()))

    @classmethod
    def of_keys(cls, keys: Iterable[str], applied: bool = True) -> Receipt:
        """Return that of a deletion of *keys*."""
        return cls(applied, keys=tuple(_digest(key) for key in keys))

    @classmethod
    def of_clear(cls, epochs: Mapping[int, bytes]) -> Receipt:
        """Return that of an applied `clear` that gave buckets these new epochs."""
        return cls(epochs=tuple(epochs[bucket] for bucket in range(BUCKETS)))

    @classmethod
    def of_queued(cls, tags: Iterable[str]) -> Receipt:
        """Return that of an invalidation of *tags* that the store has yet to be told of."""
        return cls(False, tags=tuple((_digest(tag), b"", 0) for tag in tags))

    @classmethod
    def parse(cls, text: str) -> Receipt:
        """Return the receipt whose text *text* is; a long one comes back coarser, see `everything`.

        Raises:
            ConfigurationError: it is none.
        """
        try:
            if len(text) > MAX_TEXT or not text.startswith(_MARK) or not text.isascii():
                raise ValueError("wrong length or start")
            packed = text[len(_MARK) :].encode()
            content = base64.b64decode(packed + b"=" * (-len(packed) % 4), altchars=b"-_", validate=True)
            receipt = msgspec.msgpack.decode(content, type=cls)
            if len(receipt.epochs) not in (0, BUCKETS):
                raise ValueError("not the epochs of all buckets")
        except (ValueError, binascii.Error, msgspec.MsgspecError, RecursionError) as error:
            raise ConfigurationError(f"not the text of a receipt: {error}") from error
        return receipt

    @property
    def queued(self) -> bool:
        """Whether the store has yet to be told."""
        return not self.applied

    def outdates(self, key: str, entry: Entry) -> bool:
        """Tell whether *entry*, a copy of what lies at *key*, may be from before this invalidation.

        Then the shared store is to be asked; its answer counts, whatever this says of it: the store may
        have lost the epoch of which the receipt speaks. What a queued one names is always outdated.
        """
        if self.everything or (self.epochs and not self._covers(key, entry)):
            return True
        if self.keys and _digest(key) in self.keys:
            return True
        made = {_digest(tag): (epoch, counter) for tag, epoch, counter in entry.tags} if self.tags else {}
        for digest, epoch, counter in self.tags:
            noted = made.get(digest)
            if noted is not None and (noted[0] != epoch or noted[1] < counter):
                return True
        return False

    def _covers(self, key: str, entry: Entry) -> bool:
        """Tell whether *entry*, and all it was made of, is of the epochs that the clearing began."""
        made = [(key, entry.epoch), *((tag, epoch) for tag, epoch, _ in entry.tags)]
        return all(self.epochs[bucket_of(name)] == epoch for name, epoch in made)

    def __str__(self) -> str:
        text = _text(self)
        return text if len(text) <= MAX_TEXT else _text(Receipt(self.applied, everything=True))

    def __or__(self, other: Receipt) -> Receipt:
        """Return one receipt for both, of which *other* is the later; queued if one of them is."""
        tags = {tag: (tag, epoch, counter) for tag, epoch, counter in (*self.tags, *other.tags)}
        return Receipt(
            self.applied and other.applied,
            tuple(tags.values()),
            tuple(dict.fromkeys(self.keys + other.keys)),
            other.epochs or self.epochs,
            self.everything or other.everything,
        )


def _digest(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=_DIGEST_BYTES).digest()


def _text(receipt: Receipt) -> str:
    return _MARK + base64.urlsafe_b64encode(msgspec.msgpack.encode(receipt)).decode().rstrip("=")
