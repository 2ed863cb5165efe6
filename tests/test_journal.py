"""What a process could not tell Redis, all processes of its host know, and tell, even after its end."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from cache_ext import MISS, CachePolicy, TieredCache
from cache_ext.coherence.journal import TELLING_PATIENCE
from cache_ext.testing import CountingOrigin
from tests.caches import begin, connected, stop_before
from tests.journal_member import Member
from tests.races import has_heard
from tests.servers import RunningServer
from tests.waiting import until

pytestmark = pytest.mark.parametrize("server_kind", ["valkey"])

SOON = 2.0  # seconds from Redis' return to its being told, without any read
LONG = CachePolicy(ttl=600, stale_if_error=600, early_refresh=False)
Open = Callable[..., TieredCache]


@pytest.fixture
def server(own_redis_server: RunningServer) -> RunningServer:
    """A server of our own, to be paused."""
    return own_redis_server


@pytest.fixture
def member(server: RunningServer, namespace: str, tmp_path: Path) -> Iterator[Callable[[], Member]]:
    """Start further processes of the host."""
    started: list[Member] = []

    def start() -> Member:
        started.append(Member(server.url, namespace, tmp_path))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.kill()


@pytest.fixture
def opened(make_cache: Callable[..., TieredCache], server: RunningServer, tmp_path: Path) -> Open:
    """Open the cache of a process of the host in this process; with ``host_dir=None``, of another host."""

    def make(**settings: Any) -> TieredCache:
        cache = make_cache(server.url, **{"host_dir": tmp_path, "timeout": 1.0, **settings})
        cache.start()
        return cache

    return make


def load(cache: TieredCache, value: str, key: str = "k", tag: str = "t") -> Any:
    """Read a key as every caller here does."""
    return cache.get_or_load(key, lambda: value, policy=LONG, tags=[tag])


def without_upkeep(cache: TieredCache) -> TieredCache:
    """Return *cache* so that only reads make it look anywhere."""
    upkeep = cache.runtime._upkeep
    assert upkeep is not None
    upkeep.stop()
    return cache


def away(server: RunningServer, *caches: TieredCache) -> None:
    """Let the server hang, until all *caches* have noticed."""
    server.pause()
    for cache in caches:
        trust = cache.runtime.trust
        until(lambda trust=trust: trust.live_until < time.monotonic(), "the backplane is down")
        opens(cache)


def opens(cache: TieredCache) -> None:
    """Open the circuit of *cache*, as failures do."""
    assert cache.gateway is not None
    cache.gateway.breaker._threshold = 1
    cache.gateway.breaker.failure("the test says so")


def closes(cache: TieredCache) -> None:
    """Close the circuit of *cache*, as a probe does."""
    assert cache.gateway is not None
    until(cache.gateway.probe, "Redis answers")
    cache.gateway.breaker.probed(True)


def told(cache: TieredCache, timeout: float = 10.0) -> None:
    """Return when nothing waits to be told."""
    until(lambda: not cache.runtime.outbox.waiting, "Redis was told", timeout)


def kept(cache: TieredCache, value: str = "new") -> str:
    """Return what reads of the key bring until Redis vouches for it; it may not change back meanwhile."""
    seen: list[str] = []

    def checked() -> bool:
        answer = cache.fetch("k", lambda: value, policy=LONG, tags=["t"])
        seen.append(answer.value)
        return cache.get("k") is not MISS and not cache.runtime.outbox.waiting

    until(checked, "Redis is believed again")
    assert len(set(seen)) == 1, f"it changed: {seen}"
    return seen[0]


HOW = pytest.mark.parametrize("how", [("invalidate", "t"), ("soften", "t"), ("delete", "k"), ("clear",)])


@HOW
def test_what_a_killed_process_queued_is_told_by_another(
    server: RunningServer, opened: Open, member: Callable[[], Member], how: tuple[str, ...]
) -> None:
    """It is told before anything that Redis holds is believed, and Redis holds it no more for anybody."""
    survivor, elsewhere = connected(opened()), connected(opened(host_dir=None))
    load(elsewhere, "old")
    killed = member()
    away(server, survivor)
    assert killed.do(*how) is False, "it was queued"
    killed.kill()
    without_upkeep(survivor)
    server.resume()
    closes(survivor)
    assert kept(survivor) == "new"
    connected(elsewhere)
    until(lambda: load(elsewhere, "new") == "new", "it is heard elsewhere")


def test_who_starts_afterwards_believes_no_more(
    server: RunningServer, opened: Open, member: Callable[[], Member]
) -> None:
    """The journal outlives all processes; the next one to start tells what is in it."""
    elsewhere, killed = connected(opened(host_dir=None)), member()
    load(elsewhere, "old")
    server.pause()
    assert killed.do("invalidate", "t") is False
    killed.kill()
    late = without_upkeep(opened(breaker_cooldown=60.0))
    assert late.runtime.outbox.waiting
    server.resume()
    closes(late)
    assert late.get("k") is MISS
    assert not late.runtime.outbox.waiting


def test_redis_is_told_soon_though_nobody_reads(
    server: RunningServer, opened: Open, member: Callable[[], Member]
) -> None:
    """Any process of the host tells it within two seconds of its return."""
    survivor, killed = connected(opened()), member()
    away(server, survivor)
    assert killed.do("invalidate", "t") is False
    killed.kill()
    until(lambda: survivor.runtime.outbox._waiting, "the other one knows")
    server.resume()
    until(lambda: not survivor.runtime.outbox._waiting, "Redis was told", SOON)


@HOW
def test_what_one_process_queues_all_of_the_host_know_at_once(
    server: RunningServer, opened: Open, member: Callable[[], Member], how: tuple[str, ...]
) -> None:
    """While Redis is away no other process serves from its L1 what one has invalidated."""
    reader, other = connected(opened()), member()
    load(reader, "old")
    load(reader, "bystander", "b", "u")
    away(server, reader)
    without_upkeep(reader)
    assert reader.get("k") == "old"
    assert other.do(*how) is False
    assert reader.get("k") is MISS
    assert (reader.get("b") is MISS) == (how == ("clear",))
    server.resume()


def test_what_was_queued_counts_before_l1_is_trusted_again(opened: Open) -> None:
    """A beat came so late that L1 was not trusted, and nobody but the backplane has looked meanwhile."""
    reader, other = connected(opened()), without_upkeep(opened())
    load(reader, "old")
    without_upkeep(reader)
    opens(other)
    assert not other.invalidate_tags("t").applied
    trust = reader.runtime.trust
    trust.live_until = time.monotonic()
    until(lambda: time.monotonic() < trust.live_until, "L1 is trusted again")
    assert reader.get("k") is MISS


def test_what_is_queued_while_redis_is_waited_for_counts(
    server: RunningServer, opened: Open, member: Callable[[], Member]
) -> None:
    """A read that gives Redis up looks at the journal again before it serves from L1."""
    reader, other = connected(opened()), member()
    load(reader, "old")
    away(server, reader)
    without_upkeep(reader)
    stop = stop_before(reader.runtime.store, "read")
    answer = begin(lambda: reader.get("k"))
    stop.wait()
    assert other.do("invalidate", "t") is False
    stop.go()
    assert answer.result(10) is MISS
    server.resume()


def test_load_under_way_is_not_kept(
    server: RunningServer, opened: Open, member: Callable[[], Member], origin: CountingOrigin
) -> None:
    """A load without Redis, during which another process invalidates, is answered and not kept."""
    reader, other = connected(opened()), member()
    away(server, reader)
    without_upkeep(reader)
    origin.hold()
    answer = begin(lambda: reader.get_or_load("k", origin.loader("k"), ttl=60, tags=["t"]))
    origin.wait_for_call("k")
    assert other.do("invalidate", "t") is False
    newcomer = begin(lambda: reader.get_or_load("k", origin.loader("k"), ttl=60, tags=["t"]))
    origin.release()
    assert answer.result(10) == "k#1"
    assert newcomer.result(10) == "k#2", "he came after the invalidation"
    assert reader.get_or_load("k", origin.loader("k"), ttl=60, tags=["t"]) == "k#2"
    server.resume()


def test_stale_value_does_not_outlive_an_invalidation_elsewhere(
    server: RunningServer, opened: Open, member: Callable[[], Member]
) -> None:
    """What may be served when the loader fails is not, if another process invalidated it meanwhile."""
    reader, other = connected(opened()), member()
    load(reader, "old")
    away(server, reader)
    without_upkeep(reader)

    def invalidated_and_down() -> str:
        assert other.do("invalidate", "t") is False
        raise LookupError("the origin is down")

    slot = reader.runtime.near.get("k")
    assert slot is not None
    slot.expire(time.monotonic())
    with pytest.raises(LookupError):
        reader.get_or_load("k", invalidated_and_down, policy=LONG, tags=["t"])
    server.resume()


def test_what_was_left_is_outdated_by_what_redis_was_told(
    server: RunningServer, opened: Open, origin: CountingOrigin
) -> None:
    """Neither who invalidated nor who heard of it takes afterwards what was left on the host before."""
    cache, hears = connected(opened()), connected(opened())
    away(server, cache)
    assert cache.get_or_load("k", origin.loader("k"), ttl=60, tags=["t"]) == "k#1"
    server.resume()
    closes(cache)
    assert cache.invalidate_tags("t").applied
    has_heard(hears, cache)
    has_heard(cache, hears)  # its own words too, which outdate what was left before they come
    for each in (cache, hears):
        opens(each)
    assert hears.get_or_load("k", origin.loader("k"), ttl=60, tags=["t"]) == "k#2"
    assert cache.get_or_load("k", origin.loader("k"), ttl=60, tags=["t"]) == "k#2"


def test_all_may_write_at_once(server: RunningServer, opened: Open, member: Callable[[], Member]) -> None:
    """Nothing that several processes queue at the same time gets lost."""
    reader, writers = connected(opened()), [member() for _ in range(3)]
    away(server, reader)
    without_upkeep(reader)
    for number, writer in enumerate(writers):
        writer.tell("queue", 1000 * number, 200)
    for writer in writers:
        writer.answer()
    assert reader.runtime.outbox.waiting
    expected = {f"tag{1000 * number + each}" for number in range(3) for each in range(200)}
    shared = reader.runtime.outbox._shared
    assert shared.everything or shared.tags == expected, "on a busy machine the lock may be had too late"
    server.resume()


def test_overflow_replaces_the_epoch(
    server: RunningServer, opened: Open, member: Callable[[], Member]
) -> None:
    """What a journal has no room for counts as everything, in all processes and in Redis."""
    reader, writer = connected(opened()), member()
    load(reader, "old")
    load(reader, "old", "bystander", "u")
    away(server, reader)
    without_upkeep(reader)
    long = "x" * 1000
    assert writer.do("invalidate", *(f"{long}{number}" for number in range(1100))) is False
    assert reader.get("bystander") is MISS
    writer.kill()
    server.resume()
    closes(reader)
    assert kept(reader) == "new"
    assert connected(opened(host_dir=None)).get("bystander") is MISS


def test_full_disk_becomes_an_overflow(
    server: RunningServer, opened: Open, member: Callable[[], Member], namespace: str, tmp_path: Path
) -> None:
    """Where no record can be added any more, the header still says that everything was invalidated."""
    reader, writer = connected(opened()), member()
    load(reader, "old")
    load(reader, "old", "bystander", "u")
    size = (tmp_path / namespace / "journal").stat().st_size
    writer.do("limit files", size)
    away(server, reader)
    assert writer.do("invalidate", "t") is False
    writer.kill()
    server.resume()
    assert kept(reader) == "new"
    assert connected(opened(host_dir=None)).get("bystander") is MISS


def test_disk_that_takes_nothing_leaves_memory(
    server: RunningServer, opened: Open, member: Callable[[], Member]
) -> None:
    """Where not even the header can be written, the process itself remembers, and tells."""
    elsewhere, writer = connected(opened(host_dir=None)), member()
    load(elsewhere, "old")
    load(elsewhere, "kept", "bystander", "u")
    writer.do("limit files", 0)
    server.pause()
    assert writer.do("invalidate", "t") is False
    server.resume()
    connected(elsewhere)
    until(lambda: elsewhere.get("k") is MISS, "the other host hears of it")
    assert elsewhere.get("bystander") == "kept"


HOLD = """
import fcntl, os, sys
for path in sys.argv[1:]:
    fcntl.flock(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def stopped_holder() -> Iterator[Callable[[Path], None]]:
    """Let a process take the lock of a file, and stop it there."""
    holders: list[subprocess.Popen[bytes]] = []

    def hold(path: Path) -> None:
        command = [sys.executable, "-c", HOLD, str(path)]
        holders.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        assert holders[-1].stdout is not None
        assert holders[-1].stdout.readline() == b"held\n"
        holders[-1].send_signal(signal.SIGSTOP)

    yield hold
    for holder in holders:
        holder.kill()
        holder.communicate()


def test_stopped_process_with_the_lock_in_its_hand_stops_nobody(
    server: RunningServer,
    opened: Open,
    namespace: str,
    tmp_path: Path,
    stopped_holder: Callable[[Path], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Who cannot append says that everything was invalidated; that is told while the other still stands."""
    first, second = connected(opened()), connected(opened())
    load(first, "old")
    assert second.get("k") == "old"
    load(second, "old", "bystander", "v")
    away(server, first, second)
    without_upkeep(second)
    stopped_holder(tmp_path / namespace / "journal")
    assert not first.invalidate_tags("t").applied
    assert second.get("k") is MISS
    assert second.get("bystander") is MISS
    started = time.monotonic()
    for number in range(100):
        first.invalidate_tags(f"u{number}")
    assert time.monotonic() - started < 2.0, "he is waited for once"
    server.resume()
    assert kept(first) == "new"
    closes(second)
    told(second)
    assert len([line for line in caplog.messages if "overflows" in line]) == 1


def test_stopped_process_that_was_telling_is_not_waited_for(
    server: RunningServer,
    opened: Open,
    namespace: str,
    tmp_path: Path,
    stopped_holder: Callable[[Path], None],
) -> None:
    """While one tells Redis the others do not believe it; if that takes too long they tell it too."""
    cache = connected(opened())
    load(cache, "old")
    away(server, cache)
    cache.invalidate_tags("t")
    stopped_holder(tmp_path / namespace / "telling.lock")
    server.resume()
    closes(cache)
    assert cache.runtime.outbox.waiting
    told(cache, 5 * TELLING_PATIENCE)
    assert kept(cache) == "new"


def test_namespaces_do_not_mix(server: RunningServer, opened: Open, namespace: str) -> None:
    """Each has a journal of its own."""
    one, other = connected(opened()), connected(opened(namespace=f"{namespace}.other"))
    load(other, "other")
    away(server, one, other)
    one.clear()
    assert one.runtime.outbox.waiting
    assert not other.runtime.outbox.waiting
    assert other.get("k") == "other"
    server.resume()


def test_fresh_journal_says_nothing(server: RunningServer, opened: Open) -> None:
    """A host that never had a journal outdates nothing when it gets one."""
    load(connected(opened(host_dir=None)), "kept")
    assert connected(opened()).get("k") == "kept"


def held_by(cache: TieredCache) -> Path | None:
    """Return where the file lies that *cache* has for a journal, None while it has none."""
    with suppress(FileNotFoundError):
        return Path(f"/proc/self/fd/{cache.runtime.outbox._journal._fd}").readlink()
    return None


def test_journal_that_was_removed_is_begun_anew(
    server: RunningServer, opened: Open, namespace: str, tmp_path: Path
) -> None:
    """After somebody deleted it under running processes, they meet in a new one."""
    first, second = connected(opened()), connected(opened())
    load(second, "old")
    path = tmp_path / namespace / "journal"
    path.unlink()
    until(path.exists, "there is a new one")
    until(lambda: held_by(first) == held_by(second) == path.resolve(), "both have it")
    away(server, first, second)
    without_upkeep(second)
    first.invalidate_tags("t")
    assert second.get("k") is MISS
    server.resume()


def test_without_a_place_invalidations_wait_in_memory(
    server: RunningServer, opened: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Where no journal can be kept all goes on as without one, and one line in the log says so."""
    (tmp_path / "file").touch()
    cache = connected(opened(host_dir=tmp_path / "file"))
    load(cache, "old")
    away(server, cache)
    assert not cache.invalidate_tags("t").applied
    assert not cache.invalidate_tags("u").applied
    server.resume()
    assert kept(cache) == "new"
    told(cache)
    assert len([line for line in caplog.messages if "no journal" in line]) == 1
