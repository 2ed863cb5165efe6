"""The link that a development service prints lets in once, soon, here, and nowhere else."""

from __future__ import annotations

import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cache_ext.testing import FakeClock
from shivx.app import create_app
from shivx.config import Settings
from shivx.identity import Tier
from shivx.one_time_links import SECONDS, OneTimeLinks, are_offered
from tests.accounts_stage import PASSWORD
from tests.market_stage import SECRET, ScriptedExchange, Site, open_site, settings_for

ONCE, PAGE = "/api/auth/once", "/admin/cache"
NAME = "local-admin"


@pytest.fixture
def site(
    clock: FakeClock, redis_url: str, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    """The application as in development, but for its Redis, which is shared by tests."""
    monkeypatch.setattr("shivx.app.are_offered", lambda settings: True)
    settings = settings_for(redis_url, cache_namespace=namespace, instance_dir=tmp_path)
    with open_site(settings, ScriptedExchange(clock)) as opened:
        yield opened


@pytest.fixture
def links(site: Site) -> OneTimeLinks:
    """Its links, as whoever starts it makes them."""
    return OneTimeLinks(site.services.settings.instance_dir)


def show(site: Site, token: str, client: Any = None, **options: Any) -> Any:
    """Show *token*."""
    return (client or site.client).post(ONCE, json={"token": token}, **options)


def rows(site: Site) -> list[tuple[str, str, str]]:
    """Return action, target and outcome of the rows of the audit, oldest first."""
    found = reversed(site.services.audit.page(100).rows)
    return [(row.event.action, row.event.target, row.event.outcome) for row in found]


def test_a_link_lets_in_as_an_admin(site: Site, links: OneTimeLinks) -> None:
    """With a session under a new id; what was meant and done is in the audit."""
    client = site.app.test_client()
    answer = show(site, links.make(), client)
    assert (answer.status_code, answer.json["username"], answer.json["tier"]) == (200, NAME, "admin")
    assert answer.headers["Cache-Control"] == "no-store"
    assert "HttpOnly" in answer.headers["Set-Cookie"]
    assert client.get(PAGE).status_code == 200
    target = f"account {NAME}"
    assert rows(site) == [("auth.login_once", target, "intended"), ("auth.login_once", target, "done")]


def test_nobody_gets_in_a_second_time(site: Site, links: OneTimeLinks) -> None:
    """The refusal is in the audit as well."""
    token = links.make()
    assert show(site, token).status_code == 200
    answer = show(site, token)
    assert (answer.status_code, answer.json["code"]) == (401, "unauthenticated")
    assert "Set-Cookie" not in answer.headers
    site.services.audit.flush()
    page = site.services.audit.page(100)
    events = [*page.open, *(row.event for row in page.rows)]
    assert "denied" in [each.outcome for each in events]


def test_of_several_at_once_one_gets_in(tmp_path: Path) -> None:
    """Whoever is first."""
    links, crowd, let_in = OneTimeLinks(tmp_path), 8, []
    for _ in range(20):
        token, start = links.make(), threading.Barrier(crowd)

        def take(token: str = token, start: threading.Barrier = start) -> None:
            start.wait()
            let_in.append(OneTimeLinks(tmp_path).take(token))

        threads = [threading.Thread(target=take) for _ in range(crowd)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sum(let_in) == 20


def test_a_link_ends_in_time(tmp_path: Path, clock: FakeClock) -> None:
    """After a quarter of an hour; a clock that was set back makes it no longer; then it is gone."""
    links = OneTimeLinks(tmp_path, clock.time)
    early, late, ahead = links.make(), links.make(), links.make()
    clock.advance(SECONDS - 1)
    assert links.take(early)
    clock.advance(1)
    assert not links.take(late)
    assert not OneTimeLinks(tmp_path, lambda: clock.time() - 2 * SECONDS).take(ahead)
    assert list((tmp_path / "run" / "links").iterdir()) == []


def test_old_links_are_removed_when_one_is_made(tmp_path: Path, clock: FakeClock) -> None:
    """Those that count stay."""
    links = OneTimeLinks(tmp_path, clock.time)
    links.make()
    clock.advance(SECONDS / 2)
    good = links.make()
    clock.advance(SECONDS / 2)
    links.make()
    assert len(list((tmp_path / "run" / "links").iterdir())) == 2
    assert links.take(good)
    dropped = links.make()
    links.drop(dropped)
    assert not links.take(dropped)


def test_a_link_of_another_instance_is_refused(site: Site, tmp_path: Path) -> None:
    """It goes on being good there."""
    other = OneTimeLinks(tmp_path / "another")
    token = other.make()
    assert show(site, token).status_code == 401
    assert other.take(token)


def test_only_a_hash_is_kept(tmp_path: Path) -> None:
    """Of 256 random bits, where nobody else can read; its hash lets nobody in."""
    links = OneTimeLinks(tmp_path)
    token, other = links.make(), links.make()
    assert len(token) == 43
    assert token != other
    for path in (tmp_path / "run" / "links").iterdir():
        assert token not in path.read_text() + path.name
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert not links.take(path.name)
    assert stat.S_IMODE((tmp_path / "run" / "links").stat().st_mode) == 0o700


@pytest.mark.parametrize("token", ["", "..", "../links", "x" * 128, "\N{SNOWMAN}", "a/b", "\ud800"])
def test_what_is_no_token_lets_nobody_in(site: Site, links: OneTimeLinks, token: str) -> None:
    """Whatever it looks like; the good one stays good."""
    good = links.make()
    assert show(site, token).status_code in (400, 401)
    assert links.take(good)


@pytest.mark.parametrize(
    ("base", "address", "headers"),
    [
        ("http://localhost", "203.0.113.9", {}),
        ("http://shivx.example", "127.0.0.1", {}),
        ("http://localhost", "127.0.0.1", {"X-Forwarded-For": "127.0.0.1"}),
        ("http://localhost", "127.0.0.1", {"Origin": "http://evil.example"}),
        ("http://localhost", "127.0.0.1", {"Sec-Fetch-Site": "cross-site"}),
    ],
)
def test_nobody_gets_in_from_elsewhere(
    site: Site, links: OneTimeLinks, base: str, address: str, headers: dict[str, str]
) -> None:
    """Another machine, a name that could mean another, a proxy, another site; and the link stays good."""
    token = links.make()
    answer = show(site, token, base_url=base, headers=headers, environ_overrides={"REMOTE_ADDR": address})
    assert (answer.status_code, answer.json["code"]) == (403, "forbidden")
    assert links.take(token)


@pytest.mark.parametrize(
    "settings",
    [
        {"env": "production", "redis_url": "redis://127.0.0.1:1"},
        {"env": "production"},
        {"redis_url": "redis://127.0.0.1:1"},
        {"bind": "0.0.0.0:8000"},
        {"bind": "192.0.2.1:8000"},
        {"bind": "[::]:8000"},
    ],
)
def test_there_is_no_such_route_elsewhere(tmp_path: Path, settings: dict[str, Any]) -> None:
    """Neither in production nor with a Redis of one's own, nor where others can come: not even the page."""
    made = Settings(secret_keys=(SECRET,), instance_dir=tmp_path, **settings)
    assert not are_offered(made)
    assert [rule for rule in create_app(made).url_map.iter_rules() if "once" in rule.rule] == []


@pytest.mark.parametrize("bind", ["127.0.0.1:8000", "localhost:8000", "[::1]:8000"])
def test_a_service_of_ones_own_offers_it(tmp_path: Path, bind: str) -> None:
    """Embedded, in development, on loopback."""
    made = Settings(secret_keys=(SECRET,), instance_dir=tmp_path, bind=bind)
    assert are_offered(made)
    rules = {rule.rule for rule in create_app(made).url_map.iter_rules()}
    assert {ONCE, "/admin/login/once"} <= rules


def test_nobody_logs_in_to_that_account_by_password(site: Site, links: OneTimeLinks) -> None:
    """It has none."""
    show(site, links.make())
    for password in ("", "None", PASSWORD):
        body = {"username": NAME, "password": password}
        assert site.client.post("/api/auth/login", json=body).status_code == 401


def test_an_account_that_was_disabled_stays_so(site: Site, links: OneTimeLinks) -> None:
    """And one of another tier is no admin because of its name."""
    accounts = site.services.access.accounts
    account = accounts.create(NAME, Tier.PREMIUM)
    assert show(site, links.make()).status_code == 403
    accounts.set_tier(account.id, Tier.ADMIN)
    assert show(site, links.make()).status_code == 200
    accounts.disable(account.id)
    assert show(site, links.make()).status_code == 403


def test_looking_at_the_link_does_not_use_it_up(site: Site, links: OneTimeLinks) -> None:
    """The page has no token in it, and none is taken from a URL."""
    token = links.make()
    page = site.get(f"/admin/login/once?token={token}")
    assert page.status_code == 200
    assert token not in page.text
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert links.take(token)
