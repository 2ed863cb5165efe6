"""What goes with every answer: its id, headers that protect, and CORS for the origins listed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Response, request

from cache_ext.testing import FakeClock
from shivx.edge.cors import EXPOSED, Cors
from shivx.request_ids import REQUEST_ID, current_request_id
from tests.market_stage import ScriptedExchange, Site, open_site, settings_for

PRICE = "/api/market/price/BTC-USDC"
SHOP, OTHER = "https://shop.example", "https://other.example"
PREFLIGHT = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "x-api-key"}
EVERYWHERE = [PRICE, f"{PRICE}?limit=0", "/api/market/price/NO-NO", "/nowhere", "/healthz", "/metrics"]
EVERYWHERE += ["/problems/forbidden", "/api/admin/cache/health"]


def site_with(clock: FakeClock, *origins: str, **settings: Any) -> Any:
    """Open the application with *origins* listed."""
    return open_site(settings_for(cors_origins=origins, **settings), ScriptedExchange(clock), clock=clock)


@pytest.fixture
def site(clock: FakeClock) -> Iterator[Site]:
    """The application with one origin listed, and a page."""
    with site_with(clock, SHOP) as opened:
        opened.app.add_url_rule("/page", "page", lambda: Response("<p>", mimetype="text/html"))
        opened.app.add_url_rule("/api/vary", "vary", lambda: Response("x", headers={"Vary": "Cookie"}))
        opened.app.add_url_rule("/api/bug", "bug", lambda: 1 / 0)
        yield opened


@pytest.mark.parametrize("path", EVERYWHERE)
def test_no_answer_may_be_taken_for_something_else(site: Site, path: str) -> None:
    """nosniff, and a policy that runs nothing and keeps out of frames: on answers, errors and probes."""
    headers = site.get(path).headers
    assert headers.getlist("X-Content-Type-Options") == ["nosniff"]
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert "Strict-Transport-Security" not in headers


def test_a_304_and_a_bug_carry_the_headers_too(site: Site) -> None:
    """Whatever the status."""
    again = site.get(PRICE, headers={"If-None-Match": site.get(PRICE).headers["ETag"]})
    assert again.status_code == 304
    bug = site.get("/api/bug")
    assert bug.status_code == 500
    for answer in (again, bug):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Request-ID"]


def test_pages_run_only_what_comes_from_here(site: Site) -> None:
    """No script or style inside a page, none from elsewhere, and no frame around it."""
    policy = site.get("/page").headers["Content-Security-Policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["frame-ancestors"] == rules["base-uri"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == "'self'"
    assert "unsafe" not in policy
    headers = site.get("/page").headers
    assert (headers["Referrer-Policy"], headers["X-Frame-Options"]) == ("no-referrer", "DENY")


def test_a_view_may_have_a_policy_of_its_own(site: Site) -> None:
    """It is kept as it is."""
    own = {"Content-Security-Policy": "default-src 'self'"}
    site.app.add_url_rule("/own", "own", lambda: Response("x", headers=own))
    assert site.get("/own").headers.getlist("Content-Security-Policy") == ["default-src 'self'"]


def test_hsts_is_for_tls_only_as_trusted_proxies_say(clock: FakeClock) -> None:
    """A client cannot ask for it by a header; a proxy that is trusted can."""
    claimed = {"X-Forwarded-Proto": "https"}
    with site_with(clock) as site:
        assert "Strict-Transport-Security" not in site.get(PRICE, headers=claimed).headers
        assert site.get(PRICE, base_url="https://localhost").headers["Strict-Transport-Security"]
    with site_with(clock, trusted_proxies=1) as site:
        assert "Strict-Transport-Security" not in site.get(PRICE).headers
        found = site.get(PRICE, headers=claimed).headers["Strict-Transport-Security"]
    assert found == "max-age=31536000"


def test_a_listed_origin_may_read_and_sees_what_it_needs(site: Site) -> None:
    """Exactly it, with credentials, and the headers of the contract."""
    headers = site.get(PRICE, headers={"Origin": SHOP}).headers
    assert headers.getlist("Access-Control-Allow-Origin") == [SHOP]
    assert headers["Access-Control-Allow-Credentials"] == "true"
    exposed = set(headers["Access-Control-Expose-Headers"].split(", "))
    wanted = {"ETag", "Age", "X-Cache", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"}
    assert wanted | {"RateLimit", "RateLimit-Policy"} <= exposed == set(EXPOSED)


UNLISTED = [OTHER, "null", "https://shop.example.evil", "http://shop.example", f"{SHOP}:444", f"{SHOP}/", ""]
UNLISTED += ["https://SHOP.example", "*", f"{SHOP}, {OTHER}"]


@pytest.mark.parametrize("origin", UNLISTED)
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_no_other_origin_is_told_anything(site: Site, origin: str, method: str) -> None:
    """Never reflected, whatever it looks like; preflights neither."""
    answer = site.client.open(PRICE, method=method, headers={"Origin": origin, **PREFLIGHT})
    assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]
    assert "Origin" in answer.headers["Vary"]


@pytest.mark.parametrize("path", [PRICE, "/api/nowhere", f"{PRICE}?limit=0"])
@pytest.mark.parametrize("sent", [{}, {"Origin": SHOP}, {"Origin": OTHER}])
def test_caches_are_told_that_the_answer_depends_on_the_origin(
    site: Site, path: str, sent: dict[str, str]
) -> None:
    """With a list, every answer varies by Origin, also one to a request that had none."""
    assert site.get(path, headers=sent).headers.getlist("Vary") == ["Origin"]


def test_vary_is_added_to_not_replaced(site: Site) -> None:
    """What a view varies by stays."""
    assert site.get("/api/vary").headers.getlist("Vary") == ["Cookie, Origin"]


def test_a_304_can_be_read_across_origins(site: Site) -> None:
    """Browsers take its headers for those of the stored answer."""
    tag = site.get(PRICE).headers["ETag"]
    again = site.get(PRICE, headers={"If-None-Match": tag, "Origin": SHOP})
    assert (again.status_code, again.headers["Access-Control-Allow-Origin"]) == (304, SHOP)


def test_a_preflight_is_answered_without_asking_anybody(site: Site) -> None:
    """204, methods and headers of the API, for ten minutes, and nothing below is asked."""
    answer = site.client.options("/api/bug", headers={"Origin": SHOP, **PREFLIGHT})
    assert (answer.status_code, answer.data) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == SHOP
    assert answer.headers["Access-Control-Allow-Methods"] == "GET, HEAD, POST, DELETE"
    assert "X-API-Key" in answer.headers["Access-Control-Allow-Headers"].split(", ")
    assert answer.headers["Access-Control-Max-Age"] == "600"
    assert answer.headers["Vary"].split(", ")[0] == "Origin"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_preflight_tells_what_is_left_and_takes_nothing(clock: FakeClock) -> None:
    """The figures of the address, like every answer of the API; it is answered where nothing is left, too."""
    with site_with(clock, SHOP, limit_anonymous=2) as site:
        told = []
        for _ in range(3):
            answer = site.client.options(PRICE, headers={"Origin": SHOP, **PREFLIGHT})
            assert answer.status_code == 204
            assert answer.headers["RateLimit-Policy"] == '"anonymous";q=2;w=60'
            assert (answer.headers["X-RateLimit-Limit"], "RateLimit" in answer.headers) == ("2", True)
            told += [answer.headers["X-RateLimit-Remaining"], site.get(PRICE).status_code]
    assert told == ["2", 200, "1", 200, "0", 429]


def test_options_without_origin_is_no_preflight(site: Site) -> None:
    """Flask answers it, with the methods that there are."""
    assert "GET" in site.client.options(PRICE).headers["Allow"]


@pytest.mark.parametrize("path", ["/page", "/metrics", "/healthz"])
def test_what_is_not_the_api_is_for_no_other_origin(site: Site, path: str) -> None:
    """Pages and numbers say nothing of CORS."""
    headers = site.get(path, headers={"Origin": SHOP}).headers
    assert "Access-Control-Allow-Origin" not in headers


def test_any_origin_reads_without_credentials(clock: FakeClock) -> None:
    """With * the answer is the same for all, so it does not vary, and never with cookies."""
    with site_with(clock, "*") as site:
        headers = site.get(PRICE, headers={"Origin": OTHER}).headers
        assert headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in headers
        assert "Vary" not in headers
    with site_with(clock, "*", SHOP) as site:
        headers = site.get(PRICE, headers={"Origin": OTHER}).headers
        assert headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in headers
        assert site.get(PRICE, headers={"Origin": SHOP}).headers["Access-Control-Allow-Origin"] == SHOP


def test_without_a_list_there_is_no_cors(clock: FakeClock) -> None:
    """Neither headers nor Vary, for anybody."""
    with site_with(clock) as site:
        headers = site.get(PRICE, headers={"Origin": SHOP}).headers
    assert not [name for name, _ in headers if name.startswith("Access-Control") or name == "Vary"]
    assert not Cors(()).covers({"PATH_INFO": PRICE})


def test_the_id_is_where_everybody_finds_it(site: Site) -> None:
    """In the environment and in the context while the request lasts, and not after it."""
    seen: list[object] = []

    def look() -> str:
        seen.extend([request.environ[REQUEST_ID], current_request_id()])
        return ""

    site.app.add_url_rule("/look", "look", look)
    site.get("/look", headers={"X-Request-ID": "mine"})
    assert seen == ["mine", "mine"]
    assert current_request_id() is None
