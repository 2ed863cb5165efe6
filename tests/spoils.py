"""What an intruder may put under a key of Redis instead of what was there."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec
import redis

PICKLED = b"cposix\nsystem\n(S'id'\ntR."
"""What would run a command if anything unpickled it."""
ADMIN = msgspec.msgpack.encode({"tier": "admin", "account": 4, "scopes": ["admin"], "epoch": 0, "id": 4})

Spoil = Callable[["redis.Redis[bytes]", bytes], object]


def text(value: bytes) -> Spoil:
    """Return what makes any key a string with this value."""
    return lambda client, key: client.set(key, value)


SPOILS: dict[str, Spoil] = {
    "nothing": text(b""),
    "zeros": text(bytes(64)),
    "noise": lambda client, key: client.set(key, random.Random(key).randbytes(200)),
    "a number": text(b"9" * 30),
    "a negative number": text(b"-1"),
    "no number": text(b"nan"),
    "a pickle": text(PICKLED),
    "an admin": text(ADMIN),
    "an admin in JSON": text(b'{"tier": "admin", "account": 4}'),
    "a bomb": text(b"\xdd\xff\xff\xff\xff" * 20),
    "much": text(b"\x81" * 2_000_000),
    "a list": lambda client, key: client.rpush(key, b"admin", b"4"),
    "a hash": lambda client, key: client.hset(key, mapping={b"tier": b"admin", b"account": b"4"}),
    "a set": lambda client, key: client.sadd(key, b"admin"),
    "a sorted set": lambda client, key: client.zadd(key, {b"admin": -1e308, b"4": 1e308}),
    "a stream": lambda client, key: client.xadd(key, {b"tier": b"admin"}),
}


def spoil(client: redis.Redis, key: bytes, how: Spoil) -> None:
    """Replace what is under *key*, at once; it stays as long as what was there."""
    left = client.pttl(key)
    with client.pipeline(transaction=True) as pipe:
        pipe.delete(key)
        how(pipe, key)
        if left > 0:
            pipe.pexpire(key, left)
        pipe.execute()
