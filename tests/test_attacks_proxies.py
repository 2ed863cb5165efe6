"""An address is what the proxies that one trusts say, and nothing that a client writes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.attack_stage import SHOWN, Fortress, fortress, tier_in
from tests.servers import RunningServer, SharedServers

pytestmark = pytest.mark.service

LIMIT = 1000
NAMES = (
    *(
        "X-Real-IP",
        "X-Client-IP",
        "X-Cluster-Client-IP",
        "True-Client-IP",
        "CF-Connecting-IP",
        "Fastly-Client-IP",
    ),
    *("X-Originating-IP", "X-Remote-IP", "X-Remote-Addr", "Remote-Addr", "X-ProxyUser-Ip", "Via"),
)


@pytest.fixture(scope="module", params=[0, 1, 2])
def behind(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    shared_servers: SharedServers,
    module_redis_server: RunningServer,
) -> Iterator[tuple[int, Fortress]]:
    """A service behind so many proxies, none of which is there: the tests speak as the last of them."""
    settings = {
        "TRUSTED_PROXIES": str(request.param),
        "LIMIT_ANONYMOUS": str(LIMIT),
        "CACHE_NAMESPACE": f"behind{request.param}",
    }
    folder = tmp_path_factory.mktemp("accounts")
    with fortress(folder, module_redis_server.url, shared_servers, **settings) as running:
        yield request.param, running


def left(running: Fortress, *lines: str) -> int:
    """Send a request with these headers; return how many more its address may send."""
    _, text = running.raw(*lines)
    return int(text.lower().partition("x-ratelimit-remaining: ")[2].partition("\r\n")[0])


def same_client(running: Fortress, first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    """Tell whether two requests cost the same quota."""
    before = left(running, *first)
    return left(running, *second) == before - 1


def told(*addresses: str) -> tuple[str]:
    """Return the header that says these, the client's own claim first."""
    return (f"X-Forwarded-For: {', '.join(addresses)}",)


def test_what_a_client_claims_is_not_believed(behind: tuple[int, Fortress]) -> None:
    """Entries before those of the trusted proxies change nothing, however many, whatever they are."""
    hops, running = behind
    proxies = [f"198.51.100.{hop + 1}" for hop in range(hops)]
    for claim in (
        "203.0.113.9",
        "127.0.0.1",
        "::1",
        "unknown",
        "_hidden",
        "admin",
        "",
        "203.0.113.9:80",
        "%00",
    ):
        for claims in ([claim], [claim, claim], [claim] * 50):
            assert same_client(running, told("192.0.2.1", *proxies), told(*claims, *proxies)), claims


def test_what_the_trusted_proxy_says_counts(behind: tuple[int, Fortress]) -> None:
    """The entry of the outermost trusted proxy is the client; without proxies no entry is."""
    hops, running = behind
    inner = [f"198.51.100.{hop + 1}" for hop in range(hops - 1)]
    one, other = told("203.0.113.20", *inner), told("203.0.113.21", *inner)
    assert same_client(running, one, other) == (hops == 0)
    assert same_client(running, one, one)


def test_a_header_sent_twice_is_one_list(behind: tuple[int, Fortress]) -> None:
    """A claim in a line of its own, before or after, does not displace what the proxies say."""
    hops, running = behind
    proxies = [f"198.51.100.{hop + 31}" for hop in range(hops)]
    claimed = ("X-Forwarded-For: 192.0.2.77", *told(*proxies)) if hops else told("192.0.2.77")
    assert same_client(running, told("192.0.2.78", *proxies), claimed)


def test_fewer_entries_than_proxies_are_not_believed(behind: tuple[int, Fortress]) -> None:
    """Who reaches the service past a proxy is the peer that he is."""
    hops, running = behind
    for count in range(hops):
        claims = [f"203.0.113.{50 + entry}" for entry in range(count)]
        lines = told(*claims) if claims else ()
        assert same_client(running, (), lines), claims


def test_no_other_header_names_an_address(behind: tuple[int, Fortress]) -> None:
    """Neither those of other vendors nor the standard one, nor the same by another spelling."""
    _, running = behind
    for name in (*NAMES, "X_Forwarded_For", "X-Forwarded_For", "X-Forwarded-For-"):
        assert same_client(running, (), (f"{name}: 203.0.113.88",)), name
    assert same_client(running, (), ("Forwarded: for=203.0.113.88",))


def test_addresses_of_one_ipv6_customer_are_one(behind: tuple[int, Fortress]) -> None:
    """Hopping within a /64 gains nothing; another /64 is another client."""
    hops, running = behind
    inner = [f"198.51.100.{hop + 1}" for hop in range(hops - 1)]
    first = told("2001:db8:5:6::1", *inner)
    for address in ("2001:db8:5:6:ffff::2", "2001:0DB8:0005:0006::3", "[2001:db8:5:6::4]:443"):
        assert same_client(running, first, told(address, *inner)), address
    assert same_client(running, first, told("2001:db8:5:7::1", *inner)) == (hops == 0)


def test_an_address_makes_nobody_anybody(behind: tuple[int, Fortress]) -> None:
    """From whichever address a request claims to come, loopback too, it is anonymous."""
    hops, running = behind
    for address in ("127.0.0.1", "::1", "10.0.0.1", "localhost"):
        answer = running.send(SHOWN, {"X-Forwarded-For": ", ".join([address] * max(hops, 1))})
        assert tier_in(answer) == "anonymous"


def test_metrics_are_not_had_by_claiming_to_be_local(behind: tuple[int, Fortress]) -> None:
    """Behind a proxy, a claim beyond what the proxies say does not make a client loopback."""
    hops, running = behind
    if hops:
        proxies = [f"203.0.113.{hop + 1}" for hop in range(hops)]
        for claim in ("127.0.0.1", "::1", "localhost"):
            assert running.raw(*told(claim, *proxies), path="/metrics")[0] == 401
