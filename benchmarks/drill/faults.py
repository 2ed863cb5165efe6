"""The faults: on what site each befalls, how it begins and how it ends."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from benchmarks.drill.judging import Span
from benchmarks.drill.sites import Site, abroad, clockwork, cramped, fleet, plain, watched
from cache_ext.testing import FaultProxy
from tests.exchange_server import ExchangeServer
from tests.servers import RunningServer
from tests.service import ROOT
from tests.waiting import until

SLOW_SECONDS = 0.05
"""Each reply of Redis comes so much later."""
EVENTS_AFTER = 5
"""So many invalidations pass between a snapshot and the failure after which it is restored."""
STEP = 3600.0
STOP_SECONDS = 60.0
FORMAT, NEXT_FORMAT = "FORMAT = 1\n", "FORMAT = 7\n"
FORMAT_FILE = Path("cache_ext/codec/entries.py")


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong.

    Args:
        name: as the table has it.
        site: where.
        befall: begins it when entered, ends it when left; yields from when to when workers were killed.
        lasts: False if it is over as soon as it has begun.
        events: whether events are told meanwhile. Without the exchange nothing may be served after one.
    """

    name: str
    site: Callable[[], AbstractContextManager[Site]]
    befall: Callable[[Site], AbstractContextManager[list[Span]]]
    lasts: bool = True
    events: bool = True


Block = Iterator[list[Span]]


@contextmanager
def _refused(site: Site) -> Block:
    _line(site).refuse()
    yield []
    _line(site).heal()


@contextmanager
def _hung(site: Site) -> Block:
    _redis(site).pause()
    yield []
    _redis(site).resume()


@contextmanager
def _slow(site: Site) -> Block:
    _line(site).delay(SLOW_SECONDS)
    yield []
    _line(site).heal()


@contextmanager
def _emptied_by_a_restart(site: Site) -> Block:
    _redis(site).kill()
    _redis(site).start()
    yield []


@contextmanager
def _rolled_back(site: Site) -> Block:
    server = _redis(site)
    with _admin(server) as admin:
        admin.save()
    enough = len(site.changes) + EVENTS_AFTER
    until(lambda: len(site.changes) >= enough, "events that the snapshot does not know", STOP_SECONDS)
    server.kill()
    server.start()
    (server.directory / "dump.rdb").unlink()
    yield []


@contextmanager
def _flushed(site: Site) -> Block:
    assert _redis(site).ask("FLUSHALL") == b"+OK"
    yield []


@contextmanager
def _full(site: Site) -> Block:
    with _admin(_redis(site)) as admin:
        admin.config_set("maxmemory-policy", "noeviction")
        admin.config_set("maxmemory", "1")
        yield []
        admin.config_set("maxmemory", "0")


@contextmanager
def _read_only(site: Site) -> Block:
    with _admin(_redis(site)) as admin:
        admin.execute_command("REPLICAOF", "127.0.0.1", "1")
        yield []
        admin.execute_command("REPLICAOF", "NO", "ONE")


@contextmanager
def _failing_over(site: Site) -> Block:
    assert site.sentinels is not None
    old = site.sentinels.primary
    old.kill()
    site.sentinels.until_taken_over(old)
    yield []


@contextmanager
def _origin_down(site: Site) -> Block:
    exchange = _exchange(site)
    port = int(exchange.url.rpartition(":")[2])
    exchange.close()
    yield []
    site.exchange = ExchangeServer("binance", port)


def _origin(kind: str) -> Callable[[Site], AbstractContextManager[list[Span]]]:
    """Return what has the exchange answer in the manner of *kind*; see tests/exchange_faults.py."""

    @contextmanager
    def befall(site: Site) -> Block:
        _exchange(site).fault("*", kind)
        yield []
        _exchange(site).heal()

    return befall


@contextmanager
def _worker_killed(site: Site) -> Block:
    victim, *_ = site.service.worker_pids()
    began = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    until(lambda: victim not in site.service.worker_pids(), "it is gone", STOP_SECONDS)
    yield [(began, time.monotonic())]


@contextmanager
def _reloaded(site: Site) -> Block:
    before = set(site.service.worker_pids())
    site.service.signal(signal.SIGHUP)
    until(lambda: not before & set(site.service.worker_pids()), "all workers are new", STOP_SECONDS)
    yield []


@contextmanager
def _rolled_out(site: Site) -> Block:
    """End each instance in turn, and start it again from a program that stores in another format."""
    root = _next_version(site.folder)
    assert site.proxy is not None
    assert site.again is not None
    for number, name in enumerate(("one", "two", "three")):
        site.services[number].stop()
        site.services[number] = site.again(number, root)
        site.services[number].start()
        site.proxy.until_up(name)
    yield []


@contextmanager
def _disk_full(site: Site) -> Block:
    assert site.disk is not None
    site.disk.fill()
    yield []
    site.disk.empty()


@contextmanager
def _redis_clock(site: Site) -> Block:
    _redis(site).step_clock(STEP)  # type: ignore[attr-defined]
    yield []
    _redis(site).step_clock(0.0)  # type: ignore[attr-defined]


FAULTS = (
    Fault("Redis refuses connections", plain, _refused),
    Fault("Redis hangs (SIGSTOP)", plain, _hung),
    Fault(f"Redis is slow ({SLOW_SECONDS * 1000:.0f} ms a reply)", plain, _slow),
    Fault("Redis restarted empty", plain, _emptied_by_a_restart, lasts=False),
    Fault("Redis restored from an old snapshot", plain, _rolled_back, lasts=False),
    Fault("Redis flushed", plain, _flushed, lasts=False),
    Fault("Redis full (maxmemory)", plain, _full),
    Fault("Redis read-only", plain, _read_only),
    Fault("a worker killed (SIGKILL)", plain, _worker_killed),
    Fault("gunicorn reloaded (HUP)", plain, _reloaded, lasts=False),
    Fault("Redis fails over (Sentinel)", watched, _failing_over, lasts=False),
    Fault("exchange down", abroad, _origin_down, events=False),
    Fault("exchange slow (no answer)", abroad, _origin("hang"), events=False),
    Fault("exchange answers nonsense", abroad, _origin("words"), events=False),
    Fault("exchange limits us (429)", abroad, _origin("limit"), events=False),
    Fault("disk full for SQLite", cramped, _disk_full),
    Fault("Redis' clock an hour ahead, and back", clockwork, _redis_clock),
    Fault("rolled out with another format version", fleet, _rolled_out, lasts=False),
)
"""All of them. To add one, write what befalls a site, and put it here; those of one site stand together."""


def _next_version(folder: Path) -> Path:
    """Return a copy of the program that stores entries in another format than this one."""
    root = folder / "next"
    for name in ("shivx", "blueprints", "cache_ext"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("wsgi.py", "gunicorn.conf.py"):
        shutil.copy(ROOT / name, root / name)
    text = (root / FORMAT_FILE).read_text()
    assert text.count(FORMAT) == 1, f"the format version is not where it was: {FORMAT_FILE}"
    (root / FORMAT_FILE).write_text(text.replace(FORMAT, NEXT_FORMAT))
    return root


def _admin(server: RunningServer) -> redis.Redis:
    return redis.Redis.from_url(server.url, socket_timeout=5.0)


def _redis(site: Site) -> RunningServer:
    assert site.redis is not None
    return site.redis


def _line(site: Site) -> FaultProxy:
    assert site.line is not None
    return site.line


def _exchange(site: Site) -> ExchangeServer:
    assert site.exchange is not None
    return site.exchange
