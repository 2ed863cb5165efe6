"""The addresses of Redis that SHIVX_REDIS_URL may hold."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, parse_qsl, urlsplit

SENTINEL = ("redis+sentinel", "rediss+sentinel")
CLUSTER = ("redis+cluster", "rediss+cluster")
SCHEMES = ("redis", "rediss", "unix", *SENTINEL, *CLUSTER)
MAX_PORT = 65_535
OPTIONS = frozenset(
    {"db", "ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile"}
)
"""What the query of a URL may set; pool and timeouts have settings of their own."""
SENTINELS_OWN = frozenset({"sentinel_username", "sentinel_password"})
"""What it may set besides if the hosts are sentinels: as whom to come to these."""

_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\[\]:,/@\s]+)(?::([0-9]{1,5}))?")
_DATABASE = re.compile(r"/?|/[0-9]{1,5}")
_SERVICE = re.compile(r"/[^/\s]+(?:/[0-9]{1,5})?")


def check_redis_url(url: str) -> str:
    """Return *url* if it is well formed.

    Raises:
        ValueError: it is not; the message says what is allowed, and nothing of what it holds.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("not a URL") from None
    if parts.scheme not in SCHEMES or not url.startswith(f"{parts.scheme}://"):
        raise ValueError(f"a URL that begins with {', '.join(f'{each}://' for each in SCHEMES)}")
    if parts.fragment or any(character.isspace() for character in url):
        raise ValueError("a URL without # or spaces; in a password, percent-encode them")
    allowed = OPTIONS | SENTINELS_OWN if parts.scheme in SENTINEL else OPTIONS
    if {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)} - allowed:
        raise ValueError(f"after ? come only {', '.join(sorted(allowed))}")
    if parts.scheme == "unix":
        if not parts.path.strip("/"):
            raise ValueError("unix:// is followed by the path of a socket")
    else:
        _check_hosts(parts)
        _check_path(parts)
    return url


def _check_hosts(parts: SplitResult) -> None:
    hosts = parts.netloc.rpartition("@")[2].split(",")
    if len(hosts) > 1 and parts.scheme not in SENTINEL + CLUSTER:
        raise ValueError(f"{parts.scheme}:// names one host")
    for host in hosts:
        match = _HOST.fullmatch(host)
        if match is None or not 0 < int(match[1] or MAX_PORT) <= MAX_PORT:
            raise ValueError(f"a host is NAME:PORT, with a port of 1 to {MAX_PORT}")


def _check_path(parts: SplitResult) -> None:
    if parts.scheme in SENTINEL:
        if not _SERVICE.fullmatch(parts.path):
            raise ValueError(f"{parts.scheme}://HOST:PORT,HOST:PORT/SERVICE, the service's name included")
    elif parts.scheme in CLUSTER:
        if parts.path.strip("/"):
            raise ValueError(f"{parts.scheme}://HOST:PORT,HOST:PORT, without a database: a cluster has one")
    elif not _DATABASE.fullmatch(parts.path):
        raise ValueError("after the host comes /DATABASE, a number, or nothing")
