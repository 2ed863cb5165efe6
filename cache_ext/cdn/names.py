"""What tags are called towards a CDN: short digests, a bounded number of them on each answer."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from functools import lru_cache

FASTLY_BYTES = 16_384
"""Of a ``Surrogate-Key`` header that Fastly reads; nothing here ever sends more."""
VARNISH_BYTES = 7_680
"""As much as fits, name and all, in the longest header line that a Varnish takes by itself (8 KiB)."""
GROUPS = 256
"""Groups of tags. All of them fit in a header with room to spare; see `SurrogateNames.header`."""
_DIGEST_BYTES = 9
"""72 bits: among a million names, two are the same with a probability below one in a billion. If it happened,
a purge would hit more than it must."""
_KNOWN = 16_384
_NAME = re.compile(r"[A-Za-z0-9_-]{12}\Z")


def is_name(text: str) -> bool:
    """Tell whether *text* can be a name of `SurrogateNames`."""
    return _NAME.match(text) is not None


class SurrogateNames:
    """The names that one namespace's answers carry, and an invalidation purges.

    A name is twelve of ``A-Z a-z 0-9 - _``, whatever the tag is, and tells nothing of it to whoever does not
    guess the tag itself. It depends on nothing that is ever rotated, so that every process at any time
    gives a tag the same.

    Args:
        namespace: the cache's; two services behind one CDN do not purge each other.
        max_bytes: of a header's value, at least what all groups need.
    """

    def __init__(self, namespace: str, max_bytes: int = FASTLY_BYTES) -> None:
        self._namespace = namespace
        self.everything = self._name("a", "")
        """Carried by every answer."""
        self._groups = [self._name("g", str(number)) for number in range(GROUPS)]
        needed = len(" ".join([self.everything, *self._groups]))
        if not needed <= max_bytes <= FASTLY_BYTES:
            raise ValueError(f"max_bytes is from {needed} to {FASTLY_BYTES}: {max_bytes}")
        self._max_bytes = max_bytes
        self._of_tag = lru_cache(_KNOWN)(lambda tag: self._name("t", tag))

    def header(self, tags: Iterable[str]) -> str:
        """Return the value of ``Surrogate-Key`` for an answer that carries *tags*.

        If it were longer than allowed, it names the groups of its tags instead: then an invalidation of
        any tag of these groups purges the answer too, more than it must and never less.
        """
        known = sorted(set(tags))
        exact = " ".join([self.everything, *map(self._of_tag, known)])
        if len(exact) <= self._max_bytes:
            return exact
        return " ".join([self.everything, *sorted(set(map(self._group_of, known)))])

    def purged_with(self, tags: Iterable[str]) -> set[str]:
        """Return the names to purge when *tags* are invalidated: their own, and those of their groups."""
        purged = set()
        for tag in tags:
            purged.add(self._of_tag(tag))
            purged.add(self._group_of(tag))
        return purged

    def _group_of(self, tag: str) -> str:
        name = base64.urlsafe_b64decode(self._of_tag(tag))
        return self._groups[name[0] % GROUPS]

    def _name(self, kind: str, text: str) -> str:
        spelled = "\0".join((kind, self._namespace, text)).encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(spelled, digest_size=_DIGEST_BYTES).digest()
        return base64.urlsafe_b64encode(digest).decode()
