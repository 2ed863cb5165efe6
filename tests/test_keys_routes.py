"""``/api/auth/keys``: one's own keys, no more rights than one has, nothing in the answer that need not be."""

from __future__ import annotations

import time
from contextlib import closing

import pytest
from flask import Flask

from blueprints.errors import answer_outside, register_error_handlers
from blueprints.keys import keys
from cache_ext import CacheSettings
from cache_ext.limits.limiter import Limiter
from shivx.audit.audit import Audit
from shivx.gate import Gate
from shivx.identity import Tier
from shivx.times import format_time
from tests.accounts_stage import SECRET, Session, sqlite_url
from tests.waiting import until

PATH = "/api/auth/keys"


@pytest.fixture
def empty_database_url(tmp_path):
    """What does not depend on the database is shown on one kind."""
    return sqlite_url(tmp_path)


@pytest.fixture
def site(office, tmp_path):
    """The routes on an office, with a client that has the session of an admin."""
    app: Flask = office.app
    with closing(Audit(office.database, [SECRET], tmp_path)) as audit:
        office.audit = audit
        yield client_of(app, office)


def client_of(app, office):
    """Return a client of the routes."""
    app.extensions["shivx"] = office  # `access` and `audit` are all that the views ask it for
    register_error_handlers(app)
    app.register_blueprint(keys)
    app.wsgi_app = Gate(
        app.wsgi_app,
        identify=office.access.identities.identify,
        limiter=Limiter(None, CacheSettings()),
        limits=dict.fromkeys(Tier, 1000),
        answer=answer_outside,
        seconds=1.0,
    )
    admin = office.accounts.create("admin", Tier.ADMIN)
    office.sessions.session = Session(admin.id, admin.epoch)
    client = app.test_client()
    client.set_cookie("session", "good")
    return client


def with_key(key):
    """Return the headers of a request that presents *key*."""
    return {"headers": {"X-API-Key": key}}


def test_a_key_is_made_shown_once_listed_and_revoked(site):
    """The whole life of one."""
    end = format_time(int(time.time() * 1000) + 3_600_000)
    made = site.post(PATH, json={"name": "my bot", "scopes": ["read", "keys"], "expires_at": end})
    assert (made.status_code, sorted(made.json)) == (201, ["id", "key"])
    assert made.headers["Cache-Control"] == "no-store"
    listed = site.get(PATH)
    assert listed.headers["Cache-Control"] == "no-store"
    (shown,) = listed.json["keys"]
    assert made.json["key"] not in listed.text
    assert shown["hint"] == made.json["key"][:8]
    assert (shown["id"], shown["name"], shown["scopes"]) == (made.json["id"], "my bot", ["keys", "read"])
    assert (shown["expires_at"], shown["last_used_at"]) == (end, None)
    assert site.get(PATH, **with_key(made.json["key"])).status_code == 200
    until(lambda: site.get(PATH).json["keys"][0]["last_used_at"] is not None, "the last use is shown")
    assert site.get(PATH).json["keys"][0]["last_used_at"] > shown["created_at"]
    gone = site.delete(f"{PATH}/{made.json['id']}")
    assert (gone.status_code, gone.data) == (204, b"")
    refused = site.get(PATH, **with_key(made.json["key"]))
    assert (refused.status_code, refused.json["code"]) == (401, "unauthenticated")
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    assert site.get(PATH).json == {"keys": [], "next": None}


def test_the_list_comes_in_pages(site):
    """As all lists do."""
    made = [site.post(PATH, json={"name": f"bot {number}"}).json["id"] for number in range(5)]
    first = site.get(f"{PATH}?limit=3").json
    last = site.get(f"{PATH}?limit=3&cursor={first['next']}").json
    assert [key["id"] for key in first["keys"] + last["keys"]] == made
    assert last["next"] is None
    assert site.get(f"{PATH}?cursor=garbage").status_code == 400
    assert site.get(f"{PATH}?limit=0").status_code == 400
    assert site.get(f"{PATH}?verbose=1").status_code == 400


def test_nobody_without_account_gets_in(site, office):
    """A 401 on each of them, that says how."""
    stranger = office.app.test_client()
    for answer in (stranger.get(PATH), stranger.post(PATH, json={"name": "x"}), stranger.delete(f"{PATH}/1")):
        assert (answer.status_code, answer.json["code"]) == (401, "unauthenticated")
        assert answer.content_type == "application/problem+json"


def test_a_key_needs_the_scope(site, office):
    """One made for reading cannot make others; nor can a service's."""
    reader = site.post(PATH, json={"name": "reader", "scopes": ["read"]}).json["key"]
    service = office.accounts.create("bot", Tier.SERVICE)
    events = office.keys.create(service.id, "bot").text
    for key in (reader, events):
        for answer in (
            site.get(PATH, **with_key(key)),
            site.post(PATH, json={"name": "x"}, **with_key(key)),
            site.delete(f"{PATH}/1", **with_key(key)),
        ):
            assert (answer.status_code, answer.json["code"]) == (403, "forbidden")


def test_a_key_makes_none_that_may_more_or_lives_longer(site):
    """Nobody widens or prolongs what he was lent."""
    now = int(time.time() * 1000)
    lent = {"name": "lent", "scopes": ["keys", "read"], "expires_at": now + 60_000}
    key = with_key(site.post(PATH, json=lent).json["key"])
    for wish in (
        {"scopes": ["admin"], "expires_at": now + 50_000},
        {"scopes": ["read"]},
        {"scopes": ["read"], "expires_at": now + 70_000},
    ):
        assert site.post(PATH, json={"name": "more", **wish}, **key).status_code == 400
    assert site.post(PATH, json={"name": "less", "expires_at": now + 50_000}, **key).status_code == 201


def test_the_keys_of_others_do_not_exist(site, office):
    """Neither to see nor to revoke."""
    other = office.accounts.create("other", Tier.PREMIUM)
    theirs = office.keys.create(other.id, "not mine")
    assert site.get(PATH).json["keys"] == []
    for number in (theirs.id, 4711, 2**63 - 1, 2**63, 10**30):
        assert site.delete(f"{PATH}/{number}").status_code == 404
    assert office.keys.find(theirs.text) is not None


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        ({}, "body"),
        ([], "body"),
        ("name", "body"),
        ({"name": ""}, "name"),
        ({"name": None}, "name"),
        ({"name": 1}, "name"),
        ({"name": "a\u0000b"}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "\u202eevil"}, "name"),
        ({"name": "a" * 401}, "name"),
        ({"name": "a" * 101}, "name"),
        ({"name": "x", "tier": "admin"}, "body"),
        ({"name": "x", "scopes": "admin"}, "scopes"),
        ({"name": "x", "scopes": []}, "scopes"),
        ({"name": "x", "scopes": ["root"]}, "scopes"),
        ({"name": "x", "scopes": [["admin"]]}, "scopes"),
        ({"name": "x", "scopes": ["read"] * 21}, "scopes"),
        ({"name": "x", "expires_at": "tomorrow"}, "expires_at"),
        ({"name": "x", "expires_at": 1.5}, "expires_at"),
        ({"name": "x", "expires_at": True}, "expires_at"),
        ({"name": "x", "expires_at": -5}, "expires_at"),
        ({"name": "x", "expires_at": 10**400}, "expires_at"),
        ({"name": "x", "expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
    ],
)
def test_what_cannot_be_is_a_400_that_names_it(site, body, parameter):
    """And never a 500; nothing is made."""
    answer = site.post(PATH, json=body)
    assert (answer.status_code, answer.json["code"]) == (400, "invalid_request")
    assert [error["parameter"] for error in answer.json["errors"]] == [parameter]
    assert site.get(PATH).json["keys"] == []


@pytest.mark.parametrize(
    ("data", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b'{"name": "\xff"}', "application/json", 400),
        (b'{"name": "\\ud800"}', "application/json", 400),
        (b"[" * 10_000, "application/json", 400),
        (b'{"name": "' + b"x" * 20_000 + b'"}', "application/json", 413),
        (b'{"name": "x"}', "text/plain", 415),
        (b'{"name": "x"}', "application/x-www-form-urlencoded", 415),
        (b'{"name": "x"}', None, 415),
    ],
)
def test_a_body_that_is_no_small_json_is_refused(site, data, content_type, status):
    """By the status that says why."""
    answer = site.post(PATH, data=data, content_type=content_type)
    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"


def test_a_full_set_of_keys_is_a_conflict(site, monkeypatch):
    """It says what to do."""
    monkeypatch.setattr("shivx.accounts.api_keys.MAX_KEYS", 1)
    site.post(PATH, json={"name": "one"})
    answer = site.post(PATH, json={"name": "two"})
    assert (answer.status_code, answer.json["code"]) == (409, "conflict")


def test_a_database_that_is_away_is_a_503_that_tells_nothing(site, office, monkeypatch):
    """With Retry-After; not a word of how it is called."""

    def broken(*_):
        raise OSError("/var/lib/hush")

    site.get(PATH)
    monkeypatch.setattr(office.database, "_transact", broken)
    answer = site.get(PATH)
    assert (answer.status_code, answer.json["code"]) == (503, "unavailable")
    assert answer.headers["Retry-After"] == "1"
    assert "hush" not in answer.text
