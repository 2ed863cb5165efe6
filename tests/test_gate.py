"""The gate before the API: who counts against what, and what each answer tells of the limit."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask, request
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.test import EnvironBuilder, run_wsgi_app

from blueprints.costs import CostTable
from blueprints.errors import PROBLEM_TYPE, answer_outside
from cache_ext import TieredCache
from cache_ext.testing import FakeClock
from shivx.addresses import UNKNOWN, address_subject
from shivx.errors import Refused
from shivx.gate import LIMIT, OPEN_PATHS, Gate, anonymous
from shivx.identity import CALLER, Caller, Tier, Via, caller_of
from tests.caches import connected
from tests.limits_stage import limiter_on
from tests.market_stage import Site, scripted_site

LIMITS = {tier: 3 + number for number, tier in enumerate(Tier)}
NAMES = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "RateLimit-Policy", "RateLimit")


def by_header(environ: dict[str, Any]) -> Caller:
    """Believe a header, as only a test does: ``X-Test-Account: premium 12``."""
    given = environ.get("HTTP_X_TEST_ACCOUNT")
    if given is None:
        return anonymous(environ)
    if given == "bad":
        raise Refused("the API key is not valid")
    tier, number = given.split()
    return Caller(Tier(tier), f"account:{number}", Via.KEY, int(number), key=7)


def app_behind_gate(cache: TieredCache, hops: int = 0, **options: Any) -> Flask:
    """Return an application with a gate that counts in *cache*, behind *hops* proxies."""
    app = Flask("behind")

    @app.route("/api/whoami", methods=["GET", "POST", "HEAD", "OPTIONS"])
    def whoami() -> dict[str, object]:
        return {"subject": caller_of(request.environ).subject}

    @app.get("/api/broken")
    def broken() -> str:
        raise RuntimeError("a bug")

    @app.get("/page")
    def page() -> str:
        return caller_of(request.environ).subject

    for path in OPEN_PATHS:
        app.add_url_rule(path, path, lambda: caller_of(request.environ).subject)
    gate = Gate(
        app.wsgi_app,
        identify=by_header,
        limiter=limiter_on(cache),
        limits=LIMITS,
        answer=answer_outside,
        seconds=1.0,
        **options,
    )
    app.wsgi_app = ProxyFix(gate, x_for=hops) if hops else gate
    return app


@pytest.fixture
def app(make_cache: Callable[..., TieredCache]) -> Flask:
    """An application whose limits are counted in this process."""
    return app_behind_gate(make_cache())


def ask(app: Flask, path: str = "/api/whoami", account: str | None = None, **options: Any) -> Any:
    """Send a request as *account*, say ``premium 12``."""
    headers = dict(options.pop("headers", {}))
    if account is not None:
        headers["X-Test-Account"] = account
    return app.test_client().open(path, headers=headers, **options)


def test_each_tier_has_its_limit_and_all_its_figures(app: Flask) -> None:
    """The headers are those of the contract, to the letter."""
    for number, (tier, limit) in enumerate(LIMITS.items()):
        account = None if tier is Tier.ANONYMOUS else f"{tier} {number}"
        before = int(time.time())
        answer = ask(app, account=account)
        assert answer.status_code == 200
        assert answer.headers["X-RateLimit-Limit"] == str(limit)
        assert answer.headers["X-RateLimit-Remaining"] == str(limit - 1)
        assert before <= int(answer.headers["X-RateLimit-Reset"]) <= time.time()
        assert answer.headers["RateLimit-Policy"] == f'"{tier}";q={limit};w=60'
        assert re.fullmatch(rf'"{tier}";r={limit - 1};t=(60|61)', answer.headers["RateLimit"])
        assert "Retry-After" not in answer.headers


def test_figures_are_of_the_answer_that_decided(
    make_cache: Callable[..., TieredCache], redis_url: str, trips: list[str]
) -> None:
    """Let in or refused, a request asks Redis about its limit once."""
    app = app_behind_gate(connected(make_cache(redis_url)))
    for left, status in ((2, 200), (1, 200), (0, 200), (0, 429)):
        trips.clear()
        answer = ask(app)
        assert (answer.status_code, answer.headers["X-RateLimit-Remaining"]) == (status, str(left))
        assert trips.count("limit") == 1


def test_too_many_are_told_when_to_come_back(app: Flask) -> None:
    """429, a problem document, Retry-After as far ahead as X-RateLimit-Reset; and the figures."""
    answers = [ask(app) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    refused = answers[-1]
    assert refused.content_type == PROBLEM_TYPE
    assert refused.json["code"] == "rate_limited"
    assert refused.json["type"] == "/problems/rate_limited"
    assert refused.headers["X-RateLimit-Remaining"] == "0"
    ahead = int(refused.headers["X-RateLimit-Reset"]) - time.time()
    assert abs(int(refused.headers["Retry-After"]) - ahead) < 2


def test_accounts_count_apart_from_addresses_and_keys(app: Flask) -> None:
    """One account has one quota, whichever key; others of the same address have theirs."""
    assert [ask(app, account="premium 1").status_code for _ in range(6)] == [200] * 5 + [429]
    assert ask(app, account="premium 2").status_code == 200
    assert ask(app).status_code == 200


def test_bad_credentials_cost_their_address(app: Flask) -> None:
    """401 with the figures of the address, and in the end 429: keys cannot be guessed at leisure."""
    answers = [ask(app, account="bad") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [401] * 3 + [429] * 2
    assert answers[0].json["code"] == "unauthenticated"
    assert answers[0].headers["WWW-Authenticate"].startswith("Bearer")
    assert answers[0].headers["X-RateLimit-Remaining"] == "2"
    assert ask(app).status_code == 429


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
def test_every_method_counts(app: Flask, method: str) -> None:
    """Whatever the method."""
    assert ask(app, method=method).headers["X-RateLimit-Remaining"] == "2"


@pytest.mark.parametrize(
    "path", ["/api", "/api/", "/api/nowhere", "//api/whoami", "/api//whoami", "///api/whoami"]
)
def test_every_path_of_the_api_counts(app: Flask, path: str) -> None:
    """What is not there counts as well, and slashes lead around nothing."""
    environ = EnvironBuilder(path="/").get_environ() | {"PATH_INFO": path}
    _, _, headers = run_wsgi_app(app.wsgi_app, environ)
    assert headers["X-RateLimit-Remaining"] == "2"


def test_an_answer_to_a_bug_tells_the_figures_too(app: Flask) -> None:
    """500 is an answer like others."""
    app.config["PROPAGATE_EXCEPTIONS"] = False
    answer = ask(app, "/api/broken")
    assert (answer.status_code, answer.headers["X-RateLimit-Remaining"]) == (500, "2")


@pytest.mark.parametrize("path", [*sorted(OPEN_PATHS), "/page"])
def test_what_is_not_the_api_is_not_limited(app: Flask, path: str) -> None:
    """No figures, no end; and credentials do not matter where operators' machines ask."""
    for _ in range(10):
        answer = ask(app, path)
        assert answer.status_code == 200
        assert not {*NAMES} & {*answer.headers.keys()}
    assert ask(app, path, account="bad").status_code == (401 if path == "/page" else 200)
    assert ask(app).headers["X-RateLimit-Remaining"] == "2"


def test_no_header_can_say_who_one_is(app: Flask) -> None:
    """Names that look like those of the environment become HTTP_ ones, which nobody reads."""
    forged = {
        "shivx.caller": "admin",
        "shivx-caller": "admin",
        "Shivx-Limit": "none",
        "Remote-Addr": "1.1.1.1",
        "X-Real-IP": "1.1.1.1",
        "Forwarded": "for=1.1.1.1",
        "X-Forwarded-For": "1.1.1.1",
        "X-Tier": "admin",
        "X-RateLimit-Limit": "1000",
    }
    answer = ask(app, headers=forged)
    assert answer.json == {"subject": "address:127.0.0.1"}
    assert answer.headers["X-RateLimit-Limit"] == str(LIMITS[Tier.ANONYMOUS])
    assert answer.headers["X-RateLimit-Remaining"] == "2"


@pytest.mark.parametrize(
    ("hops", "forwarded", "subject"),
    [
        (0, "9.9.9.9", "address:127.0.0.1"),
        (1, "9.9.9.9", "address:9.9.9.9"),
        (1, "6.6.6.6, 9.9.9.9", "address:9.9.9.9"),
        (2, "6.6.6.6, 9.9.9.9, 10.0.0.1", "address:9.9.9.9"),
        (2, "9.9.9.9", "address:127.0.0.1"),
        (1, "nonsense", UNKNOWN),
        (1, "", "address:127.0.0.1"),
    ],
)
def test_forwarded_addresses_count_as_far_as_proxies_are_trusted(
    make_cache: Callable[..., TieredCache], hops: int, forwarded: str, subject: str
) -> None:
    """What the nearest proxies say is believed; what clients put before it, is not."""
    app = app_behind_gate(make_cache(), hops)
    answer = ask(app, headers={"X-Forwarded-For": forwarded})
    assert answer.json == {"subject": subject}


@pytest.mark.parametrize(
    ("address", "subject"),
    [
        ("203.0.113.7", "address:203.0.113.7"),
        ("::ffff:203.0.113.7", "address:203.0.113.7"),
        ("203.0.113.7:4711", "address:203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "address:2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "address:2001:db8:1:2::/64"),
        ("[2001:db8:1:2::9]:4711", "address:2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "address:2001:db8:1:3::/64"),
        ("fe80::1%eth0", "address:fe80::/64"),
        ("::1", "address:::/64"),
        ("", UNKNOWN),
        ("1.2.3", UNKNOWN),
        ("01.2.3.4", UNKNOWN),
        ("[", UNKNOWN),
        ("1.2.3.4, 5.6.7.8", UNKNOWN),
        ("x" * 10_000, UNKNOWN),
    ],
)
def test_subjects_of_addresses(address: str, subject: str) -> None:
    """IPv6 by its /64, IPv4 within IPv6 as IPv4, with port or zone or without; all else shares one."""
    assert address_subject(address) == subject


def test_a_view_may_cost_more(make_cache: Callable[..., TieredCache]) -> None:
    """The table names endpoints; what it does not name, and what is not there, costs 1."""
    cache = make_cache()
    table = CostTable(app_behind_gate(cache).url_map, {"whoami": 2})
    app = app_behind_gate(cache, cost_of=table.cost_of)
    assert ask(app, "/api/broken/not/there").headers["X-RateLimit-Remaining"] == "2"
    assert ask(app).headers["X-RateLimit-Remaining"] == "0"
    assert ask(app).status_code == 429


def test_what_it_finds_is_in_the_environment(make_cache: Callable[..., TieredCache]) -> None:
    """Caller and decision, for whoever is behind it."""
    seen: dict[str, Any] = {}

    def behind(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.update(environ)
        start_response("304 NOT MODIFIED", [("RateLimit", "mine"), ("ETag", '"1"')])
        return []

    app = app_behind_gate(make_cache())
    app.wsgi_app._app = behind
    answer = ask(app, account="service 5")
    assert (seen[CALLER].tier, seen[CALLER].account) == (Tier.SERVICE, 5)
    assert (seen[LIMIT].allowed, seen[LIMIT].limit) == (True, LIMITS[Tier.SERVICE])
    assert answer.status_code == 304
    assert answer.headers["ETag"] == '"1"'
    (told,) = answer.headers.getlist("RateLimit")
    assert told.startswith(f'"service";r={LIMITS[Tier.SERVICE] - 1};t=6')


@pytest.fixture
def site(clock: FakeClock) -> Iterator[Site]:
    """The application, with a small limit."""
    with scripted_site(clock, limit_anonymous=5) as opened:
        yield opened


def test_the_service_limits_its_api(site: Site) -> None:
    """Prices, answers without a body and errors alike cost one, until it is enough; the rest goes on."""
    first = site.get("/api/market/price/BTC-USDC")
    again = site.get("/api/market/price/BTC-USDC", headers={"If-None-Match": first.headers["ETag"]})
    missing = site.get("/api/market/price/NOPE-USDC")
    batch = site.get("/api/market/prices?pairs=BTC-USDC,ETH-USDC,SOL-USDC")
    health = site.get("/api/admin/cache/health")
    answers = [first, again, missing, batch, health]
    assert [answer.status_code for answer in answers] == [200, 304, 404, 200, 200]
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["4", "3", "2", "1", "0"]
    assert {answer.headers["RateLimit-Policy"] for answer in answers} == {'"anonymous";q=5;w=60'}
    assert site.get("/api/market/price/BTC-USDC").status_code == 429
    assert [site.get(path).status_code for path in ("/healthz", "/readyz", "/metrics")] == [200] * 3
    text = site.get("/metrics").text
    assert 'rate_limit_requests_total{outcome="refused_alone",tier="anonymous"}' in text


def test_refusals_name_the_request(site: Site) -> None:
    """The id that a client gives is in the answer, as on every other."""
    for _ in range(6):
        answer = site.get("/api/market/pairs", headers={"X-Request-ID": "mine-1"})
        assert answer.headers["X-Request-ID"] == "mine-1"
    assert answer.status_code == 429


def test_a_view_of_the_service_may_have_a_limit_of_its_own(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond it 429 as a problem document with Retry-After, while the tier's figures say what is left.

    What is counted is what reaches the view.
    """
    monkeypatch.setattr("shivx.app.VIEW_LIMITS", {"market.list_pairs": "2/minute"})
    with scripted_site(clock) as site:
        to_the_view = {"Cache-Control": "no-cache"}
        answers = [site.get("/api/market/pairs", headers=to_the_view) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert answers[2].json["code"] == "rate_limited"
        assert 60 <= int(answers[2].headers["Retry-After"]) <= 62
        assert int(answers[2].headers["X-RateLimit-Remaining"]) > 1000
        assert site.get("/api/market/price/BTC-USDC").status_code == 200
