"""Which pairs are loaded ahead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from shivx.errors import InvalidParameter
from shivx.models import Pair
from shivx.names import pair_tag
from shivx.pairs import parse_pair

HOTTEST = 20
"""Pairs, besides those that are set, that are worth an origin's calls at a start."""


class Target(NamedTuple):
    """A pair of one market."""

    source: str
    pair: Pair


def chosen(pairs: Iterable[str], sources: Sequence[str], reads: Mapping[str, int]) -> list[Target]:
    """Return *pairs* of the first source, then the hottest of any.

    Args:
        pairs: those that are set.
        sources: the default first.
        reads: tags by how often what carries them was read, most read first.
    Raises:
        InvalidParameter: one of *pairs* is none.
    """
    wanted = [Target(sources[0], parse_pair(each, "pairs")) for each in pairs]
    hot = [target for tag in reads for target in _named(tag, sources) if target not in wanted]
    return list(dict.fromkeys([*wanted, *hot[:HOTTEST]]))


def _named(tag: str, sources: Sequence[str]) -> Iterable[Target]:
    """Return the pair that is meant by a *tag*: Redis, which tells them, may hold anything."""
    try:
        pair = parse_pair(tag.rpartition(":")[2], "pairs")
    except InvalidParameter:
        return
    for source in sources:
        if tag == pair_tag(source, pair):
            yield Target(source, pair)
