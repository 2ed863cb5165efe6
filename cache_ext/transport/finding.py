"""The way to Redis that an address names: one server, the primary that sentinels name, or a cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry

from cache_ext.errors import ConfigurationError
from cache_ext.settings import CacheSettings
from cache_ext.transport.cluster import Cluster
from cache_ext.transport.greeting import Lies, Reception, Users
from cache_ext.transport.nodes import Nodes
from cache_ext.transport.sentinels import PATIENCE, Primary, Sentinels
from cache_ext.transport.server import Address, Server
from cache_ext.transport.ways import Single, Texts, Way

SENTINEL, CLUSTER = "+sentinel", "+cluster"
SCHEMES = (
    *("redis://", "rediss://", "unix://"),
    *(f"{base}{kind}://" for kind in (SENTINEL, CLUSTER) for base in ("redis", "rediss")),
)
_PORTS = {SENTINEL: 26_379, CLUSTER: 6_379}
_SENTINELS_OWN = {"sentinel_username": "username", "sentinel_password": "password"}
"""What the query of an address says of the sentinels, and redis-py's names for it."""


class Place(NamedTuple):
    """What an address with several hosts says.

    Args:
        hosts: of sentinels, or of some nodes.
        service: the name under which sentinels watch the primary.
        options: redis-py's connection options for the servers themselves, but for host and port.
        sentinels: the same for sentinels.
    """

    hosts: tuple[Address, ...]
    service: str
    options: dict[str, Any]
    sentinels: dict[str, Any]


def make_way(
    settings: CacheSettings,
    users: Users,
    texts: Texts,
    monotonic: Callable[[], float],
    before_connect: Callable[[], None] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Way:
    """Return the way to the Redis of *settings*, or the server of *options*, redis-py's connection options.

    Raises:
        ConfigurationError: the address is none of `SCHEMES`.
    """
    url = settings.redis_url
    if not url.startswith(SCHEMES):
        raise ConfigurationError(f"redis_url starts with {', '.join(SCHEMES)}")

    def server(given: Mapping[str, Any], lies_here: Lies = _anywhere, **more: Any) -> Server:
        primary = more.pop("primary", False)
        reception = Reception(users, monotonic, settings.timeout, before_connect, lies_here, primary)
        return Server(given, settings, reception, monotonic, **more)

    kind = next((kind for kind in _PORTS if urlsplit(url).scheme.endswith(kind)), None)
    if kind is None or options is not None:
        return Single(server(options or parse_url(url)), texts)
    place = read_address(url, kind)
    if kind == SENTINEL:
        clients = [_sentinel(host, place.sentinels) for host in place.hosts]
        sentinels = Sentinels(clients, place.service, monotonic)
        return Primary(
            sentinels, lambda find: server(place.options, find=find, primary=True), texts, monotonic
        )

    def node(address: Address, lies_here: Lies) -> Server:
        return server(place.options | {"host": address.host, "port": address.port}, lies_here)

    return Cluster(Nodes(place.hosts, node, monotonic, settings.op_timeout), texts, monotonic)


def read_address(url: str, kind: str) -> Place:
    """Return what *url* says, which names several hosts: sentinels or nodes of a cluster.

    Raises:
        ConfigurationError: it is malformed.
    """
    parts = urlsplit(url)
    credentials, at, hosts = parts.netloc.rpartition("@")
    _, service, *database = (parts.path if kind == SENTINEL else "/" + parts.path).split("/")
    own = dict(parse_qsl(parts.query))
    sentinels = {name: own.pop(key) for key, name in _SENTINELS_OWN.items() if key in own}
    query = f"?{urlencode(own)}" if own else ""
    base = parts.scheme.removesuffix(kind)
    try:
        options = parse_url(f"{base}://{credentials}{at}any/{'/'.join(database)}{query}")
        addresses = tuple(_host(text, _PORTS[kind]) for text in hosts.split(","))
    except ValueError as error:
        raise ConfigurationError(f"redis_url: {error}") from None
    if kind == SENTINEL and not service:
        raise ConfigurationError("redis_url names the service that the sentinels watch after the hosts")
    del options["host"]
    tls = {name: value for name, value in options.items() if name.startswith("ssl_")}
    encrypted = {"ssl": True} if base == "rediss" else {}
    return Place(addresses, service, options, sentinels | tls | encrypted)


def _host(text: str, port: int) -> Address:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError("a host is NAME:PORT")
    return Address(parts.hostname, parts.port or port)


def _sentinel(host: Address, options: Mapping[str, Any]) -> redis.Redis:
    return redis.Redis(
        host=host.host,
        port=host.port,
        socket_timeout=PATIENCE,
        socket_connect_timeout=PATIENCE,
        retry=Retry(NoBackoff(), 0),
        **options,
    )


def _anywhere(key: str) -> bool:
    return True
