"""Who stands behind a request: a key before a session, a session only of its epoch, else an address."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import event

from shivx.accounts.identities import address_subject
from shivx.accounts.key_text import make_key
from shivx.errors import Refused, TooManyRequests
from shivx.identity import Tier, Via
from tests.accounts_stage import Session, sqlite_url


@pytest.fixture
def empty_database_url(tmp_path):
    """What does not depend on the database is shown on one kind."""
    return sqlite_url(tmp_path)


@pytest.fixture
def owner(office):
    """An account."""
    return office.accounts.create("owner", Tier.PREMIUM)


@pytest.fixture
def key(office, owner):
    """The text of a key of his."""
    return office.keys.create(owner.id, "bot", ["read"]).text


def test_nobody_is_anonymous(office):
    """He has an address, no rights, no account."""
    caller = office.identify()
    assert (caller.tier, caller.via, caller.account, caller.scopes) == (
        Tier.ANONYMOUS,
        Via.NOTHING,
        None,
        set(),
    )
    assert caller.subject == "address:203.0.113.7"


@pytest.mark.parametrize(
    ("address", "subject"),
    [
        ("203.0.113.7", "address:203.0.113.7"),
        ("::ffff:203.0.113.7", "address:203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "address:2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "address:2001:db8:1:2::/64"),
        ("fe80::1%eth0", "address:fe80::/64"),
        ("", "address:unknown"),
        ("unix:", "address:unknown"),
        ("1.2.3.4\x00", "address:unknown"),
    ],
)
def test_a_quota_is_that_of_an_address_or_its_64(address, subject):
    """A customer has a whole /64, in which he may use any address."""
    assert address_subject(address) == subject


@pytest.mark.parametrize(
    "headers",
    [
        lambda key: {"HTTP_X_API_KEY": key},
        lambda key: {"HTTP_AUTHORIZATION": f"Bearer {key}"},
        lambda key: {"HTTP_AUTHORIZATION": f"bearer  {key}"},
        lambda key: {"HTTP_AUTHORIZATION": f"Bearer {key}", "HTTP_X_API_KEY": key},
        lambda key: {"HTTP_AUTHORIZATION": "Basic dTpw", "HTTP_X_API_KEY": key},
    ],
)
def test_a_key_is_its_account(office, owner, key, headers):
    """In either header; the quota is the account's, the rights are the key's."""
    caller = office.identify(**headers(key))
    assert (caller.account, caller.name, caller.tier, caller.via) == (
        owner.id,
        "owner",
        Tier.PREMIUM,
        Via.KEY,
    )
    assert (caller.subject, caller.scopes) == (f"account:{owner.id}", {"read"})
    assert caller.key == office.keys.list(owner.id)[0].id


@pytest.mark.parametrize(
    "headers",
    [
        lambda key: {"HTTP_X_API_KEY": ""},
        lambda key: {"HTTP_X_API_KEY": "garbage"},
        lambda key: {"HTTP_X_API_KEY": f"{key},{key}"},
        lambda key: {"HTTP_X_API_KEY": make_key()},
        lambda key: {"HTTP_AUTHORIZATION": "Bearer "},
        lambda key: {"HTTP_AUTHORIZATION": "Bearer garbage"},
        lambda key: {"HTTP_AUTHORIZATION": f"Bearer {key}", "HTTP_X_API_KEY": make_key()},
        lambda key: {"HTTP_AUTHORIZATION": f"Bearer {make_key()}", "HTTP_X_API_KEY": key},
        lambda key: {"HTTP_X_API_KEY": "garbage", "HTTP_COOKIE": "session=good"},
    ],
)
def test_what_is_no_good_key_is_refused(office, owner, key, headers):
    """Never taken for anonymous, or for the session beside it: its sender counts on it."""
    office.sessions.session = Session(owner.id, owner.epoch)
    with pytest.raises(Refused) as refused:
        office.identify(**headers(key))
    assert key not in str(refused.value)


def test_a_key_ends_at_its_time(office, owner):
    """Judged at every request, however long ago the key was looked up."""
    end = time.time() + 3600
    made = office.keys.create(owner.id, "bot", expires_at=end)
    now = end - 0.001
    office.access.identities._now = lambda: now
    assert office.identify(HTTP_X_API_KEY=made.text).account == owner.id
    now = end
    with pytest.raises(Refused):
        office.identify(HTTP_X_API_KEY=made.text)


def test_a_key_of_a_disabled_account_is_refused(office, owner, key):
    """At once."""
    office.identify(HTTP_X_API_KEY=key)
    office.accounts.disable(owner.id)
    with pytest.raises(Refused):
        office.identify(HTTP_X_API_KEY=key)


def test_rights_shrink_with_the_account(office):
    """A key keeps no right that its account has lost."""
    admin = office.accounts.create("admin", Tier.ADMIN)
    made = office.keys.create(admin.id, "bot", ["admin", "read"])
    assert office.identify(HTTP_X_API_KEY=made.text).scopes == {"admin", "read"}
    office.accounts.set_tier(admin.id, Tier.PREMIUM)
    caller = office.identify(HTTP_X_API_KEY=made.text)
    assert (caller.tier, caller.scopes) == (Tier.PREMIUM, {"read"})
    office.accounts.set_tier(admin.id, Tier.SERVICE)
    assert office.identify(HTTP_X_API_KEY=made.text).scopes == set()


def test_a_session_is_its_account_with_all_its_rights(office, owner):
    """Those that its tier has now."""
    office.sessions.session = Session(owner.id, owner.epoch)
    caller = office.identify(HTTP_COOKIE="session=good")
    assert (caller.account, caller.via, caller.key) == (owner.id, Via.SESSION, None)
    assert caller.scopes == {"read", "keys"}
    assert caller.subject == f"account:{owner.id}"


def test_a_key_counts_before_a_session(office, owner, key):
    """Whoever sends both means the key."""
    other = office.accounts.create("other", Tier.ADMIN)
    office.sessions.session = Session(other.id, other.epoch)
    assert office.identify(HTTP_COOKIE="session=good", HTTP_X_API_KEY=key).account == owner.id


@pytest.mark.parametrize("end", ["bump_epoch", "disable"])
def test_revoking_all_sessions_holds_against_a_replayed_one(office, owner, end):
    """However genuine it looks: its epoch is over."""
    replayed = office.sessions.session = Session(owner.id, owner.epoch)
    assert office.identify(HTTP_COOKIE="session=good").account == owner.id
    getattr(office.accounts, end)(owner.id)
    office.sessions.session = replayed
    assert office.identify(HTTP_COOKIE="session=good").tier is Tier.ANONYMOUS


def test_a_session_of_nobody_is_none(office):
    """Its account is not in this database."""
    office.sessions.session = Session(4711, 1)
    assert office.identify(HTTP_COOKIE="session=good").tier is Tier.ANONYMOUS


def test_no_header_makes_anybody_somebody(office, owner):
    """Names that proxies and programs use for identities mean nothing."""
    for name in ("X_REMOTE_USER", "REMOTE_USER", "X_TIER", "X_ACCOUNT", "SHIVX_CALLER", "X_FORWARDED_USER"):
        assert office.identify(**{f"HTTP_{name}": "owner"}).tier is Tier.ANONYMOUS


@pytest.fixture
def statements(office):
    """What the database was asked."""
    asked = []

    def note(connection, cursor, statement, *rest):
        asked.append(statement)

    with office.app.app_context():
        engine = office.database.engine
    event.listen(engine, "before_cursor_execute", note)
    yield asked
    event.remove(engine, "before_cursor_execute", note)


def guess(office, address="203.0.113.7"):
    """Present a key that nobody has; return what is said to that."""
    with pytest.raises((Refused, TooManyRequests)) as refused:
        office.identify(HTTP_X_API_KEY=make_key(), REMOTE_ADDR=address)
    return refused.value


def test_guesses_soon_no_longer_reach_the_database(office, statements):
    """As many as an address has requests; then it is told to wait, and others are looked up as before."""
    limit = office.settings.limit_anonymous
    assert {type(guess(office)) for _ in range(limit)} == {Refused}
    reached = len(statements)
    assert reached >= limit
    told = [guess(office) for _ in range(5)]
    assert [(type(each), each.retry_after) for each in told] == [(TooManyRequests, 17)] * 5
    assert len(statements) == reached
    assert type(guess(office, "198.51.100.1")) is Refused
    assert len(statements) > reached


def test_guesses_of_one_ipv6_customer_count_together(office):
    """Each from another address of his /64: the next after the last allowed waits."""
    for number in range(office.settings.limit_anonymous):
        assert type(guess(office, f"2001:db8::{number:x}")) is Refused
    assert type(guess(office, "2001:db8::ffff:1")) is TooManyRequests
    assert type(guess(office, "2001:db8:0:1::1")) is Refused


def test_a_key_that_is_known_works_beside_guesses(office, key):
    """From the same address; one that would have to be looked up waits, and works from elsewhere."""
    assert office.identify(HTTP_X_API_KEY=key).via is Via.KEY
    other = office.keys.create(office.accounts.create("other", Tier.PREMIUM).id, "bot", ["read"]).text
    for _ in range(office.settings.limit_anonymous):
        guess(office)
    assert office.identify(HTTP_X_API_KEY=key).via is Via.KEY
    with pytest.raises(TooManyRequests):
        office.identify(HTTP_X_API_KEY=other)
    assert office.identify(HTTP_X_API_KEY=other, REMOTE_ADDR="198.51.100.1").via is Via.KEY


def test_looking_up_good_keys_is_no_guessing(office, owner):
    """However many come from one address; nor is what cannot be a key."""
    for number in range(office.settings.limit_anonymous + 5):
        account = office.accounts.create(f"owner-{number}", Tier.PREMIUM)
        text = office.keys.create(account.id, "bot", ["read"]).text
        assert office.identify(HTTP_X_API_KEY=text).account == account.id
        with pytest.raises(Refused):
            office.identify(HTTP_X_API_KEY="garbage")
    assert not office.limiter.counts.total()
