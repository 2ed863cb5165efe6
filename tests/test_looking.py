"""Those who miss a key in L1 at once make one round trip together, and none past an invalidation."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from cache_ext import TieredCache, open_cache
from tests.waiting import until

READERS = 20


class Gate:
    """Counts the store's reads and who came for a look, and holds the reads until it is opened."""

    def __init__(self, cache: TieredCache, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reads = 0
        self.came = 0
        self.open = threading.Event()
        store, looks = cache.runtime.store, cache.runtime.looks
        read, board = store.read, looks._board

        def counted_read(*args: Any) -> Any:
            self.reads += 1
            found = read(*args)
            assert self.open.wait(10)
            return found

        def counted_board(*args: Any) -> Any:
            boarded = board(*args)
            self.came += 1
            return boarded

        monkeypatch.setattr(store, "read", counted_read)
        monkeypatch.setattr(looks, "_board", counted_board)


@pytest.fixture
def cache(redis_url: str, namespace: str) -> Iterator[TieredCache]:
    """A cache with an empty L1 and a live backplane, where another has stored a value for `key`."""
    other = open_cache(redis_url, namespace=namespace)
    other.set("key", "first", ttl=60, tags=["tag"])
    other.close()
    mine = open_cache(redis_url, namespace=namespace, op_timeout=5.0)
    mine.start()
    until(lambda: mine.runtime.trust.live_until > 0, "the backplane is live")
    yield mine
    mine.close()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads enough for all readers."""
    with ThreadPoolExecutor(READERS + 1) as threads:
        yield threads


def ask(cache: TieredCache, pool: ThreadPoolExecutor, value: str) -> list[Future[str]]:
    """Let all readers ask for the key at once; whoever has to load gets *value*."""
    return [
        pool.submit(cache.get_or_load, "key", lambda: value, ttl=60, tags=["tag"]) for _ in range(READERS)
    ]


def test_readers_of_one_key_share_one_round_trip(
    cache: TieredCache, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty threads that miss in L1 at once ask the store once, and none of them loads."""
    gate = Gate(cache, monkeypatch)
    answers = ask(cache, pool, "loaded")
    until(lambda: gate.came == READERS, "all readers have come")
    gate.open.set()
    assert {answer.result(10) for answer in answers} == {"first"}
    assert gate.reads == 1


def test_shared_look_is_not_believed_past_an_invalidation(
    cache: TieredCache, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a look found before an invalidation of this process is not given to who waits for it after."""
    gate = Gate(cache, monkeypatch)
    leader = pool.submit(cache.get_or_load, "key", lambda: "second", ttl=60, tags=["tag"])
    until(lambda: gate.reads == 1, "the leader has read, and is held")
    cache.invalidate_tags("tag")
    late = ask(cache, pool, "second")
    until(lambda: gate.came == READERS + 1, "all readers have come")
    gate.open.set()
    assert {answer.result(10) for answer in late} == {"second"}
    assert leader.result(10) in {"first", "second"}


def test_killed_looker_leaves_nobody_waiting(
    cache: TieredCache, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If whoever looks for the others dies on the way, they look themselves."""
    store = cache.runtime.store
    read, gate = store.read, Gate(cache, monkeypatch)
    deaths = iter([SystemExit("killed")])

    def die_once(*args: Any) -> Any:
        assert gate.open.wait(10)
        for death in deaths:
            raise death
        return read(*args)

    monkeypatch.setattr(store, "read", die_once)
    answers = ask(cache, pool, "loaded")
    until(lambda: gate.came == READERS, "all readers have come")
    gate.open.set()
    failures = [answer for answer in answers if isinstance(answer.exception(10), SystemExit)]
    assert len(failures) == 1
    assert {answer.result(10) for answer in answers if answer not in failures} == {"first"}
