"""What the engine sends to Redis: every command within one cluster slot, none that walks the keyspace."""

from __future__ import annotations

import pytest
from redis.crc import key_slot

from cache_ext.hooks import running
from cache_ext.keys import BUCKETS
from tests.caches import connected
from tests.engine_tour import MANY, TAGS, use_everything
from tests.waiting import until

BANNED = {
    "KEYS",
    "FLUSHDB",
    "FLUSHALL",
    "SMEMBERS",
    "SCAN",
    "SSCAN",
    "HSCAN",
    "ZSCAN",
    "HGETALL",
    "RANDOMKEY",
}
FIRST_KEY = {"'XGROUP'": 2, "'XINFO'": 2, "'XREADGROUP'": 7}
"""Where a command has its first key, if it is not the word after its name."""
WITHOUT_KEYS = {"TIME", "PING", "INFO", "SCRIPT", "SUBSCRIBE", "HELLO"}


def keys_of(command):
    """Return the keys of *command*."""
    name = str(command[0]).upper()
    if name in ("EVAL", "EVALSHA"):
        return list(command[3 : 3 + int(command[2])])
    if name == "MGET":
        return list(command[1:])
    if name in ("XACK", "XADD", "EXISTS"):
        return [command[1]]
    assert name in WITHOUT_KEYS, f"{name} is new here: say which of its words are keys"
    return []


def channels_of(command):
    """Return the channels that a script publishes on: arguments that look like one."""
    return [word for word in command[3:] if isinstance(word, str) and word.endswith("}:bus")]


@pytest.fixture
def sent(make_cache, redis_url, monkeypatch):
    """Every command that a cache sent while it did all it can do."""
    monkeypatch.setattr(running, "LOOK", 0.02)
    monkeypatch.setattr(running, "PAUSES", (0.01,))
    cache = connected(make_cache(redis_url, secret_keys=("s" * 32,)))
    cache.runtime.store.grouped = True
    commands = []
    server = cache.gateway.way.server
    ask = server.ask

    def listening(connection, batch, deadline):
        commands.extend(batch)
        return ask(connection, batch, deadline)

    server.ask = listening
    use_everything(cache)
    server.pool.disconnect()
    server.reception.forget()  # as if the server had been restarted
    cache.get("k")
    return commands


def test_every_command_stays_within_one_slot(sent):
    """All keys of a command, and the channel it publishes on, hash to one slot of a cluster."""
    with_keys = [command for command in sent if keys_of(command)]
    for command in with_keys:
        slots = {key_slot(str(name).encode()) for name in (*keys_of(command), *channels_of(command))}
        assert len(slots) == 1, command
    assert len({str(command[1]) for command in with_keys if command[0] == "EVALSHA"}) == 15  # all scripts


def test_keys_spread_over_all_buckets(sent):
    """200 names and 50 tags use every bucket's slot."""
    assert len({key_slot(keys_of(command)[0].encode()) for command in sent if keys_of(command)}) == BUCKETS


def test_a_server_without_slots_is_asked_for_all_at_once(make_cache, redis_url, monkeypatch):
    """Where there are no slots to respect, a read of many buckets is one MGET, and finds the same."""
    monkeypatch.setattr("cache_ext.coherence.backplane.PROMPT", 10.0)  # a busy machine answers late
    cache = connected(make_cache(redis_url, l1_max_bytes=0))
    cache.get_or_load_many(MANY, lambda keys: {key: key for key in keys}, tags_for=lambda key: TAGS[:9])
    asked, run = [], cache.gateway.run
    cache.gateway.run = lambda commands, operation: asked.append(commands) or run(commands, operation)
    assert cache.get_or_load_many(MANY, lambda keys: {}) == {key: key for key in MANY}
    assert [[command[0] for command in commands] for commands in asked] == [["MGET"]]
    cache.runtime.store.grouped = True
    assert cache.get_or_load_many(MANY, lambda keys: {}) == {key: key for key in MANY}
    assert [command[0] for command in asked[1]] == ["MGET"] * BUCKETS


def test_the_time_is_asked_for_by_who_has_no_heartbeat(make_cache, redis_url, monkeypatch):
    """A live backplane knows the clock of Redis; without one, each read asks."""
    monkeypatch.setattr("cache_ext.coherence.backplane.PROMPT", 10.0)  # a busy machine answers late
    for pubsub, expected in ((True, ["MGET"]), (False, ["MGET", "TIME"])):
        cache = make_cache(redis_url, pubsub=pubsub)
        cache.start()
        if pubsub:
            connected(cache)
        asked, run = [], cache.gateway.run
        cache.gateway.run = lambda commands, *more, run=run, asked=asked: (
            asked.append(commands) or run(commands, *more)
        )
        cache.get("k")
        assert [command[0] for command in asked[0]] == expected


def test_a_server_of_a_cluster_is_recognised(make_cache, start_redis):
    """A server in cluster mode, which refuses commands across slots, gets none."""
    server = start_redis("--cluster-enabled", "yes")
    assert server.ask("CLUSTER ADDSLOTSRANGE 0 16383") == b"+OK"
    until(lambda: server.ask("SET probe 1") == b"+OK", "the cluster serves its slots")
    cache = connected(make_cache(server.url, l1_max_bytes=0))
    cache.get_or_load_many(MANY, dict.fromkeys, tags_for=lambda key: TAGS)
    assert cache.get_or_load_many(MANY, lambda keys: {}) == dict.fromkeys(MANY)


def test_no_command_walks_the_keyspace(sent):
    """Nothing whose cost grows with what lies in Redis is ever sent."""
    assert not {str(command[0]).upper() for command in sent} & BANNED


def test_the_scripts_touch_only_the_keys_they_are_given():
    """A script names no key of its own making: it would not be in the slot that Redis checked."""
    from importlib import resources  # noqa: PLC0415 (only here)

    for script in resources.files("cache_ext").joinpath("lua").iterdir():
        for line in script.read_text().splitlines():
            for call in line.replace("redis.pcall(", "redis.call(").split("redis.call(")[1:]:
                words = call.split(",")
                place = FIRST_KEY.get(words[0], 1) if len(words) > 1 else 0
                assert call.startswith(("'TIME'", "'PUBLISH', ARGV")) or any(
                    name in words[place] for name in ("KEYS[", "key", "lease", "value")
                ), f"{script.name}: {line}"
