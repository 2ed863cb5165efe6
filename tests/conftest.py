"""Fixtures: real servers, a fake clock, a counting origin, and a check that nothing leaks."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import redis
from argon2 import PasswordHasher

from cache_ext import TieredCache, open_cache
from cache_ext.testing import CountingOrigin, FakeClock
from cache_ext.transport.connection import RedisGateway
from tests.accounts_stage import CHEAP, SECRET, Office, sqlite_url, upgrade
from tests.attack_stage import Fortress, fortress
from tests.browser import Browser, Tab, chromium, tabs
from tests.caches import connected
from tests.certificates import Certificates
from tests.cluster import CALM_TIMEOUT_MS, Cluster
from tests.fault_stage import SteppableServer
from tests.haproxy import program_of_haproxy
from tests.leaks import find_leaks, take_census
from tests.namespaces import permitted
from tests.nginx import program_of_nginx
from tests.postgres import PostgresServer
from tests.promtool import program_of_prometheus
from tests.sentinels import Sentinels
from tests.servers import KINDS, RunningServer, ServerAbsent, SharedServers
from tests.session_stage import Shop
from tests.small_disk import SmallDisk
from tests.varnish import Varnish, find_program

pytest_plugins = ["cache_ext.testing.fixtures", "tests.turns"]


@pytest.fixture(scope="session")
def shared_servers() -> Iterator[SharedServers]:
    """The server processes that tests share."""
    servers = SharedServers()
    yield servers
    servers.close()


@pytest.fixture(autouse=True)
def no_leaks(shared_servers: SharedServers) -> Iterator[None]:
    """Fail a test that leaves threads, child processes or sockets behind."""
    before = take_census()
    yield
    leaks = find_leaks(before, allowed_children=shared_servers.pids)
    if leaks:
        pytest.fail("the test left behind:\n  " + "\n  ".join(leaks), pytrace=False)


@pytest.fixture(params=KINDS)
def server_kind(request: pytest.FixtureRequest) -> str:
    """Each kind of server in turn; narrow it with ``parametrize("server_kind", ["valkey"])``."""
    return request.param


@pytest.fixture
def redis_server(server_kind: str, shared_servers: SharedServers) -> RunningServer:
    """A server that tests share, empty. Do not stop, pause or configure it: see `own_redis_server`."""
    try:
        return shared_servers.get(server_kind)
    except ServerAbsent as absent:
        pytest.skip(str(absent))


@pytest.fixture
def redis_url(redis_server: RunningServer) -> str:
    """The TCP address of the shared, empty server."""
    return redis_server.url


@pytest.fixture
def redis_unix_url(redis_server: RunningServer) -> str:
    """The Unix-socket address of the shared, empty server."""
    return redis_server.unix_url


@pytest.fixture
def start_redis(server_kind: str) -> Iterator[Callable[..., RunningServer]]:
    """Start fresh servers: ``start_redis("--maxmemory", "10mb")``. They end with the test."""
    started: list[RunningServer] = []

    def start(*options: str) -> RunningServer:
        try:
            started.append(RunningServer(server_kind, *options))
        except ServerAbsent as absent:
            pytest.skip(str(absent))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def own_redis_server(start_redis: Callable[..., RunningServer]) -> RunningServer:
    """A fresh server for this test alone, to be stopped, killed, paused or configured."""
    return start_redis()


@pytest.fixture
def steppable_redis_server(server_kind: str) -> Iterator[SteppableServer]:
    """A fresh server for this test alone, whose wall clock can be set."""
    try:
        server = SteppableServer(server_kind)
    except ServerAbsent as absent:
        pytest.skip(str(absent))
    yield server
    server.close()


@pytest.fixture(scope="session")
def shared_cluster(shared_servers: SharedServers) -> Iterator[Cluster]:
    """The Valkey cluster that tests share, for what uses it only: nobody stops, moves or empties it."""
    cluster = Cluster(node_timeout_ms=CALM_TIMEOUT_MS)
    shared_servers.others.append(cluster)
    yield cluster
    shared_servers.others.remove(cluster)
    cluster.close()


@pytest.fixture
def start_cluster(server_kind: str) -> Iterator[Callable[..., Cluster]]:
    """Start clusters to be broken: ``start_cluster(full_coverage=False)``. They end with the test."""
    with ExitStack() as started:

        def start(*options: str, **settings: Any) -> Cluster:
            try:
                return started.enter_context(closing(Cluster(server_kind, *options, **settings)))
            except ServerAbsent as absent:
                pytest.skip(str(absent))

        yield start


@pytest.fixture
def start_sentinels(server_kind: str) -> Iterator[Callable[..., Sentinels]]:
    """Start sentinels and what they watch: ``start_sentinels(replicas=2)``. They end with the test."""
    with ExitStack() as started:

        def start(*options: str, **settings: Any) -> Sentinels:
            try:
                return started.enter_context(closing(Sentinels(server_kind, *options, **settings)))
            except ServerAbsent as absent:
                pytest.skip(str(absent))

        yield start


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """What a server on loopback shows to clients by TLS; ``certificates.authority`` is whom they trust."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def module_redis_server(shared_servers: SharedServers) -> Iterator[RunningServer]:
    """A fresh Valkey for the tests of one file, which nobody empties in between."""
    server = RunningServer("valkey")
    shared_servers.others.append(server)
    yield server
    shared_servers.others.remove(server)
    server.close()


def _running_postgres(shared_servers: SharedServers) -> Iterator[PostgresServer]:
    try:
        server = PostgresServer()
    except ServerAbsent as absent:
        pytest.skip(str(absent))
    shared_servers.others.append(server)
    yield server
    shared_servers.others.remove(server)
    server.close()


@pytest.fixture(scope="module")
def start_fortress(
    tmp_path_factory: pytest.TempPathFactory,
    shared_servers: SharedServers,
    module_redis_server: RunningServer,
) -> Iterator[Callable[..., Fortress]]:
    """Start services for the tests of one file to attack: ``start_fortress(TRUSTED_PROXIES="1")``."""
    with ExitStack() as started:

        def start(**settings: str) -> Fortress:
            folder = tmp_path_factory.mktemp("accounts")
            return started.enter_context(
                fortress(folder, module_redis_server.url, shared_servers, **settings)
            )

        yield start


@pytest.fixture
def intruder(stronghold: Fortress) -> Iterator[redis.Redis]:
    """A connection to the Redis of the file's `stronghold`, which was emptied before."""
    with redis.Redis.from_url(stronghold.redis_url) as client:
        client.flushall()
        yield client


@pytest.fixture(scope="session")
def postgres_server(shared_servers: SharedServers) -> Iterator[PostgresServer]:
    """The PostgreSQL server that tests share."""
    yield from _running_postgres(shared_servers)


@pytest.fixture
def own_postgres_server(shared_servers: SharedServers) -> Iterator[PostgresServer]:
    """A PostgreSQL server of this test alone, which may stop it."""
    yield from _running_postgres(shared_servers)


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The address, as SQLAlchemy writes it, of an empty PostgreSQL database for this test alone."""
    database = postgres_server.new_database()
    yield postgres_server.url(database)
    postgres_server.drop(database)


@pytest.fixture(scope="module")
def start_varnish(shared_servers: SharedServers) -> Iterator[Callable[[str, str], Varnish]]:
    """Start Varnishes for the tests of one file: ``start_varnish(origin, token)``."""
    started: list[Varnish] = []

    def start(origin: str, token: str) -> Varnish:
        try:
            started.append(Varnish(origin, token))
        except ServerAbsent as absent:
            pytest.skip(str(absent))
        shared_servers.others.append(started[-1])
        return started[-1]

    yield start
    for varnish in started:
        shared_servers.others.remove(varnish)
        varnish.close()


@pytest.fixture
def namespace() -> str:
    """A key prefix that no other test uses."""
    return f"test-{secrets.token_hex(4)}"


@pytest.fixture
def clock() -> FakeClock:
    """A clock that moves only by ``clock.advance(seconds)``."""
    return FakeClock()


@pytest.fixture
def origin() -> Iterator[CountingOrigin]:
    """An origin that counts its calls and can hold them or fail; released at the end."""
    origin = CountingOrigin()
    yield origin
    origin.release()


@pytest.fixture
def make_cache(namespace: str) -> Iterator[Callable[..., TieredCache]]:
    """Open caches of one namespace, as several processes would: ``make_cache(url, pubsub=False)``.

    They are given a second for Redis instead of a tenth, so that a busy machine is not taken for a dead
    server, and are closed with the test.
    """
    opened: list[TieredCache] = []

    def make(url: str = "memory://", **settings: object) -> TieredCache:
        opened.append(open_cache(url, **{"namespace": namespace, "op_timeout": 1.0, **settings}))
        return opened[-1]

    yield make
    for cache in opened:
        cache.close()


@pytest.fixture(params=["memory", *KINDS])
def cache(
    request: pytest.FixtureRequest, make_cache: Callable[..., TieredCache], shared_servers: SharedServers
) -> TieredCache:
    """A cache on each kind of store in turn, its backplane up."""
    if request.param == "memory":
        return make_cache()
    try:
        return connected(make_cache(shared_servers.get(request.param).url))
    except ServerAbsent as absent:
        pytest.skip(str(absent))


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database of each kind, without tables."""
    return sqlite_url(tmp_path) if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
def database_url(empty_database_url: str) -> str:
    """The URL of a database of each kind, with empty tables."""
    upgrade(empty_database_url)
    return empty_database_url


@pytest.fixture
def make_office(make_cache: Callable[..., TieredCache], database_url: str) -> Iterator[Callable[..., Office]]:
    """Open the accounts of one database as several processes would: ``make_office(redis_url)``."""
    opened: list[Office] = []

    def make(url: str = "memory://", hasher: PasswordHasher = CHEAP, **settings: object) -> Office:
        cache = make_cache(url, secret_keys=(SECRET,), **settings)
        opened.append(Office(cache, database_url, hasher))
        return opened[-1]

    yield make
    for office in opened:
        office.access.close()


@pytest.fixture
def office(make_office: Callable[..., Office]) -> Office:
    """The accounts of an empty database, in one process."""
    return make_office()


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The operations of all round trips to Redis that requests make, in order."""
    made: list[str] = []
    original: Callable[..., Any] = RedisGateway.run

    def run(self: RedisGateway, commands: Any, operation: str = "other", **options: Any) -> Any:
        made.append(operation)
        return original(self, commands, operation, **options)

    monkeypatch.setattr(RedisGateway, "run", run)
    return made


@pytest.fixture
def make_shop(redis_url: str, namespace: str) -> Iterator[Callable[..., Shop]]:
    """Open shops of one namespace, as several processes would."""
    opened: list[Shop] = []

    def make(epochs: dict[int, int] | None = None, **options: Any) -> Shop:
        opened.append(Shop(redis_url, namespace, epochs, **options))
        return opened[-1]

    yield make
    for shop in opened:
        shop.close()


@pytest.fixture
def shop(make_shop: Callable[..., Shop]) -> Shop:
    """A shop."""
    return make_shop()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk for this test alone, which it may fill."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        disk = SmallDisk(folder)
    except ServerAbsent as absent:
        pytest.skip(str(absent))
    yield disk
    disk.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, for the tests of one file."""
    try:
        with chromium() as running:
            yield running
    except ServerAbsent as absent:
        pytest.skip(str(absent))


@pytest.fixture
def open_tab(browser: Browser) -> Iterator[Callable[..., Tab]]:
    """Open tabs: ``open_tab(service.url, size=(360, 740))``; what goes wrong in one fails the test."""
    with tabs(browser) as open_one:
        yield open_one


@pytest.fixture(scope="session")
def varnishd() -> str:
    """The program of Varnish."""
    try:
        return find_program()
    except ServerAbsent as absent:
        pytest.skip(str(absent))


@pytest.fixture
def prometheus() -> str:
    """Where the program of Prometheus is."""
    try:
        return program_of_prometheus("prometheus")
    except ServerAbsent as absent:
        pytest.skip(str(absent))


@pytest.fixture(scope="session")
def haproxy() -> str:
    """Where the program of HAProxy is."""
    try:
        return program_of_haproxy()
    except ServerAbsent as absent:
        pytest.skip(str(absent))


@pytest.fixture
def nginx() -> str:
    """Where the program of nginx is."""
    try:
        return program_of_nginx()
    except ServerAbsent as absent:
        pytest.skip(str(absent))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs network namespaces where there are none to be had, and say so."""
    apart = [item for item in items if item.get_closest_marker("namespaces")]
    if apart and not permitted():
        items[:] = [item for item in items if item not in apart]
        config.hook.pytest_deselected(items=apart)
        print(f"\nno network namespaces on this machine: {len(apart)} tests of partitions are left out")
