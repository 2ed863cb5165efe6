"""Where the slots of a cluster lie, as its nodes tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from cache_ext.transport.commands import Command, info_field
from cache_ext.transport.server import Address

SLOTS = REDIS_CLUSTER_HASH_SLOTS
QUESTIONS: Sequence[Command] = (("CLUSTER", "INFO"), ("CLUSTER", "SLOTS"))
"""What a node is asked, to be read by `read_map`."""
_KEYLESS = frozenset({"TIME", "PING", "INFO", "SCRIPT", "CLUSTER", "ROLE", "DBSIZE", "SCAN", "WAIT"})
_SCRIPTS = frozenset({"EVALSHA", "EVAL"})
_KNOWN_KEYS = 16_384


class SlotMap(NamedTuple):
    """What a node knows.

    Args:
        ok: whether it takes all slots for served.
        epoch: the newest that it has heard of: of two nodes that disagree, the one with more is right.
        owners: slot by slot, the address of its primary; None if there is none.
    """

    ok: bool
    epoch: int
    owners: tuple[Address | None, ...]


@lru_cache(_KNOWN_KEYS)
def slot_of(key: str | bytes) -> int:
    """Return the slot of *key*, or of a channel."""
    return key_slot(key.encode() if isinstance(key, str) else key)


def slot_of_command(command: Command) -> int | None:
    """Return the slot of the keys of *command*, None if it has none. All its keys share one."""
    name = command[0]
    if name in _KEYLESS:
        return None
    if name in _SCRIPTS:
        return slot_of(_key(command[3])) if int(command[2]) else None
    return slot_of(_key(command[1]))


def _key(word: str | bytes | int) -> str | bytes:
    return str(word) if isinstance(word, int) else word


def read_map(replies: Sequence[Any], asked: Address) -> SlotMap:
    """Return what the node at *asked* replied to `QUESTIONS`.

    Raises:
        ValueError: or TypeError, IndexError: that is none.
    """
    info, ranges = replies
    owners: list[Address | None] = [None] * SLOTS
    for first, last, primary, *_ in ranges:
        host = primary[0].decode() if primary[0] else asked.host  # a node that does not know its own address
        found = Address(host, int(primary[1]))
        owners[int(first) : int(last) + 1] = [found] * (int(last) - int(first) + 1)
    if len(owners) != SLOTS:
        raise ValueError("slots out of range")
    ok = info_field(info, b"cluster_state") == "ok"
    return SlotMap(ok, int(info_field(info, b"cluster_current_epoch")), tuple(owners))


def by_address(owners: Sequence[Address | None]) -> Mapping[Address, frozenset[int]]:
    """Return the slots of each primary."""
    found: dict[Address, set[int]] = {}
    for slot, owner in enumerate(owners):
        if owner is not None:
            found.setdefault(owner, set()).add(slot)
    return {owner: frozenset(slots) for owner, slots in found.items()}
