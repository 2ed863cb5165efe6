"""What the processes of a history read and write: a few keys of every sort, and the tags that they carry."""

from __future__ import annotations

from dataclasses import dataclass

from cache_ext import CachePolicy

LASTING = CachePolicy(ttl=60, early_refresh=False)
REVALIDATED = CachePolicy(ttl=0.15, stale_while_revalidate=0.4, early_refresh=False)
FORGIVEN = CachePolicy(ttl=0.15, stale_if_error=0.4, early_refresh=False)
EAGER = CachePolicy(ttl=0.3)
TAGS = ("red", "blue", "here:{x}", "there:{x}")
EVERYTHING = "*"
"""What `clear` invalidates, as if every value carried it."""


@dataclass(frozen=True)
class Spec:
    """How a key is made.

    Args:
        tags: that its reader names.
        late: that its loader adds.
        parts: keys that its loader reads through the cache.
        policy: how it is kept.
    """

    tags: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    policy: CachePolicy = LASTING
    late: tuple[str, ...] = ()


KEYS = {
    "a": Spec(("red",)),
    "b": Spec(("blue",)),
    "twin": Spec(("red",)),
    "both": Spec(("red", "blue")),
    "bare": Spec(),
    "close:{x}": Spec(("here:{x}",)),
    "far:{x}": Spec(("there:{x}",)),
    "revalidated": Spec(("red",), policy=REVALIDATED),
    "forgiven": Spec(("blue",), policy=FORGIVEN),
    "eager:{x}": Spec(("here:{x}",), policy=EAGER),
    "parent": Spec((), ("a", "b")),
    "owner": Spec(("red",), ("a",)),
    "pair": Spec((), ("twin", "a")),
    "grandparent": Spec(("there:{x}",), ("parent", "eager:{x}")),
    "late": Spec(late=("red",)),
    "later": Spec(("blue",), ("late",), late=("here:{x}",)),
    "heir": Spec((), ("bare",)),
    "mixed": Spec((), ("revalidated", "forgiven")),
}
NAMES = (*TAGS, *KEYS, EVERYTHING)
