"""API keys: shown once, good for what they were made for, and refused everywhere once revoked."""

from __future__ import annotations

import logging
import time

import pytest
import redis
from sqlalchemy import event, text

from shivx.accounts import api_keys
from shivx.accounts.accounts import UnknownAccount
from shivx.accounts.api_keys import MAX_KEYS, UnknownKey
from shivx.accounts.key_text import PREFIX, digest_of, make_key
from shivx.accounts.key_text import _number as number_in
from shivx.errors import Conflict, DatabaseUnavailable, InvalidParameter
from shivx.identity import Tier
from tests.caches import connected
from tests.market_stage import with_clock
from tests.waiting import until

BOUND = 1.0  # seconds: the staleness bound of L1


@pytest.fixture
def owner(office):
    """An account."""
    return office.accounts.create("owner", Tier.ADMIN)


def statements(office):
    """Return a list that fills with the SQL that *office* sends from now on."""
    sent = []
    event.listen(office.database.engine, "before_cursor_execute", lambda *args: sent.append(args[2]))
    return sent


def test_a_key_has_256_bits_and_says_what_it_is():
    """Prefix, 43 digits of base 62, checksum; no two alike."""
    made = {make_key() for _ in range(200)}
    assert len(made) == 200
    assert all(key.startswith(PREFIX) and len(key) == 53 and digest_of(key) for key in made)


def test_every_bit_of_a_key_is_random():
    """Among 200 keys each of the 256 is 0 in some and 1 in others; there are no more."""
    numbers = [number_in(make_key()[len(PREFIX) : -6]) for _ in range(200)]
    assert {len({number >> bit & 1 for number in numbers}) for bit in range(256)} == {2}
    assert max(numbers) < 2**256


def test_a_mistyped_key_is_known_without_asking(office):
    """Any one character changed, dropped or swapped: neither cache nor database is asked."""
    office.database.prepare()
    sent, key = statements(office), make_key()
    typos = [key[:at] + ("x" if key[at] != "x" else "y") + key[at + 1 :] for at in range(len(key))]
    typos += [key[:at] + key[at + 1 :] for at in range(len(key))]
    typos += ["", "shx_", key + "\n", key.upper(), "\ud800" * 53, "shx_" + "\u0663" * 49, "x" * 10**7]
    assert [office.keys.find(typo) for typo in typos] == [None] * len(typos)
    assert sent == []


def test_a_key_opens_what_it_was_made_for(office, owner):
    """It is found by its text alone, again and again; the second time without the database."""
    made = office.keys.create(owner.id, "my bot", ["read", "events"])
    facts = office.keys.find(made.text)
    assert (facts.id, facts.account, facts.scopes) == (made.id, owner, {"read", "events"})
    sent = statements(office)
    assert office.keys.find(made.text) == facts
    assert sent == []


def test_only_a_hash_is_kept(office, owner):
    """Nothing in the database is the key, or a part of it beyond its first four digits."""
    key = office.keys.create(owner.id, "my bot").text
    rows = office.database.read(lambda session: [*session.execute(text("SELECT * FROM api_keys"))])
    assert key not in repr(rows)
    assert key[4:9] not in repr(rows)
    assert key[:8] in repr(rows)


def test_the_text_is_in_no_repr(office, owner):
    """Whoever logs what `create` returned logs no secret."""
    made = office.keys.create(owner.id, "my bot")
    assert made.text not in repr(made)
    assert made.text not in str(made)


def test_the_list_shows_what_owners_need(office, owner):
    """In pages, in order, of one account only."""
    made = [office.keys.create(owner.id, f"bot {number}", expires_at=2e9 + number).id for number in range(3)]
    other = office.accounts.create("other", Tier.PREMIUM)
    office.keys.create(other.id, "not mine")
    first = office.keys.list(owner.id, limit=2)
    last = office.keys.list(owner.id, after=first[-1].id)
    assert [key.id for key in (*first, *last)] == made
    assert last[0].name == "bot 2"
    assert (last[0].expires_at, last[0].last_used_at, last[0].scopes) == (2e9 + 2, None, ("read",))


@pytest.mark.parametrize(
    ("tier", "scopes", "given"),
    [
        (Tier.PREMIUM, None, {"read"}),
        (Tier.SERVICE, None, {"events"}),
        (Tier.PREMIUM, ["keys"], {"keys"}),
        (Tier.ADMIN, ["admin", "read"], {"admin", "read"}),
    ],
)
def test_scopes_are_at_most_those_of_the_tier(office, tier, scopes, given):
    """Without a wish they are the least that makes sense."""
    account = office.accounts.create("someone", tier)
    assert office.keys.find(office.keys.create(account.id, "bot", scopes).text).scopes == given


@pytest.mark.parametrize(
    ("tier", "scopes", "code"),
    [
        (Tier.PREMIUM, ["admin"], "not_allowed"),
        (Tier.SERVICE, ["read"], "not_allowed"),
        (Tier.ADMIN, ["root"], "unknown_choice"),
        (Tier.ADMIN, [], "unknown_choice"),
    ],
)
def test_other_scopes_are_refused(office, tier, scopes, code):
    """Those that the tier does not have, that do not exist, and none at all."""
    account = office.accounts.create("someone", tier)
    with pytest.raises(InvalidParameter) as refused:
        office.keys.create(account.id, "bot", scopes)
    assert refused.value.code == code


def test_a_key_that_would_never_be_good_is_refused(office, owner):
    """Its end lies in the past, or nobody has the account."""
    with pytest.raises(InvalidParameter):
        office.keys.create(owner.id, "bot", expires_at=time.time() - 1)
    with pytest.raises(UnknownAccount):
        office.keys.create(4711, "bot")


def test_an_account_has_so_many_keys_at_most(office, owner):
    """One that makes keys in a loop fills nobody's disk."""
    for number in range(MAX_KEYS):
        office.keys.create(owner.id, f"bot {number}")
    with pytest.raises(Conflict):
        office.keys.create(owner.id, "one too many")
    office.keys.revoke(office.keys.list(owner.id)[0].id)
    office.keys.create(owner.id, "fits again")


def test_a_revoked_key_is_gone(office, owner):
    """At once in this process, for good; its number too."""
    made = office.keys.create(owner.id, "bot")
    assert office.keys.find(made.text) is not None
    assert office.keys.revoke(made.id) == owner.id
    assert office.keys.find(made.text) is None
    with pytest.raises(UnknownKey):
        office.keys.revoke(made.id)
    assert office.keys.create(owner.id, "bot").id > made.id


def test_nobody_revokes_the_keys_of_others(office, owner):
    """To him they do not exist."""
    made = office.keys.create(owner.id, "bot")
    with pytest.raises(UnknownKey):
        office.keys.revoke(made.id, account=owner.id + 1)
    assert office.keys.find(made.text) is not None


@pytest.mark.parametrize("server_kind", ["valkey"])
@pytest.mark.parametrize("change", ["revoke", "disable", "tier"])
def test_every_process_learns_of_a_change_within_the_bound(make_office, redis_url, change):
    """One process has the key in its L1; another changes the key or its account."""
    here, there = make_office(redis_url), make_office(redis_url)
    connected(here.cache)
    connected(there.cache)
    owner = here.accounts.create("owner", Tier.ADMIN)
    made = here.keys.create(owner.id, "bot", ["admin"])
    assert there.keys.find(made.text).account.tier is Tier.ADMIN
    assert there.accounts.get(owner.id) == owner
    if change == "revoke":
        here.keys.revoke(made.id)
        until(lambda: there.keys.find(made.text) is None, "the key is refused", BOUND)
    elif change == "disable":
        here.accounts.disable(owner.id)
        until(lambda: there.keys.find(made.text).account.disabled, "the key is refused", BOUND)
        until(lambda: there.accounts.get(owner.id).disabled, "the account is refused", BOUND)
    else:
        here.accounts.set_tier(owner.id, Tier.PREMIUM)
        until(lambda: there.keys.find(made.text).account.tier is Tier.PREMIUM, "rights shrink", BOUND)
        until(lambda: there.accounts.epoch(owner.id) != owner.epoch, "sessions end", BOUND)


@pytest.mark.parametrize("server_kind", ["valkey"])
def test_redis_holds_nothing_of_a_key(make_office, redis_server):
    """Neither its text nor, readable, whose it is; what is kept is sealed."""
    office = make_office(redis_server.url)
    connected(office.cache)
    owner = office.accounts.create("owner-with-a-name", Tier.ADMIN)
    made = office.keys.create(owner.id, "bot")
    office.keys.find(made.text)
    with redis.Redis.from_url(redis_server.url) as client:
        raw = [client.get(key) for key in client.scan_iter("*apikey*")]
    assert len(raw) == 1
    assert b"owner-with-a-name" not in raw[0]
    assert made.text.encode() not in raw[0]


@pytest.mark.parametrize("server_kind", ["valkey"])
def test_an_entry_of_another_key_opens_nothing(make_office, redis_server):
    """Who writes to Redis cannot give a weak key the rights of a strong one, nor make up rights."""
    office, other = make_office(redis_server.url), make_office(redis_server.url)
    connected(office.cache)
    owner = office.accounts.create("owner", Tier.ADMIN)
    strong = office.keys.create(owner.id, "strong", ["admin"]).text
    weak = office.keys.create(owner.id, "weak", ["read"]).text
    office.keys.find(strong)
    office.keys.find(weak)
    with redis.Redis.from_url(redis_server.url) as client:
        (of_strong,) = client.scan_iter(f"*apikey*{digest_of(strong).hex()}")
        (of_weak,) = client.scan_iter(f"*apikey*{digest_of(weak).hex()}")
        client.set(of_weak, client.get(of_strong))
        client.set(of_strong, b"\x00garbage")
    connected(other.cache)
    assert other.keys.find(weak).scopes == {"read"}
    assert other.keys.find(strong).scopes == {"admin"}


@pytest.mark.parametrize("server_kind", ["valkey"])
def test_garbage_keys_leave_nothing_behind(make_office, redis_server):
    """A plausible key that nobody has costs one look into the database, the second time none."""
    office = make_office(redis_server.url)
    connected(office.cache)
    office.accounts.create("somebody", Tier.ADMIN)
    garbage = [make_key() for _ in range(20)]
    with redis.Redis.from_url(redis_server.url) as client:
        before, sent = set(client.scan_iter("*apikey*")), statements(office)
        for _ in range(3):
            assert [office.keys.find(key) for key in garbage] == [None] * 20
        assert set(client.scan_iter("*apikey*")) <= before
        names = b" ".join(client.scan_iter())
    assert not [key for key in garbage if digest_of(key).hex().encode() in names]
    assert sum(statement.startswith("SELECT") for statement in sent) == 20


def test_so_many_keys_that_are_none_are_remembered_and_no_more(office, monkeypatch):
    """Whoever guesses fills no memory; the newest are those that are known."""
    monkeypatch.setattr(api_keys, "MAX_UNKNOWN", 5)
    garbage = [make_key() for _ in range(20)]
    assert [office.keys.find(key) for key in garbage] == [None] * 20
    sent = statements(office)
    assert [office.keys.find(key) for key in reversed(garbage[-5:])] == [None] * 5
    assert sent == []
    assert office.keys.find(garbage[0]) is None
    assert len(sent) > 0


@pytest.mark.parametrize("server_kind", ["valkey"])
def test_keys_work_without_redis(make_office, own_redis_server):
    """The database is asked, and a revocation counts at once in this process."""
    office = make_office(own_redis_server.url)
    connected(office.cache)
    owner = office.accounts.create("owner", Tier.ADMIN)
    made, other = office.keys.create(owner.id, "bot"), office.keys.create(owner.id, "other bot")
    office.keys.find(made.text)
    own_redis_server.stop()
    assert office.keys.find(made.text).account == owner
    assert office.keys.find(other.text).account == owner
    assert office.keys.find(make_key()) is None
    office.keys.revoke(made.id)
    assert office.keys.find(made.text) is None
    assert office.keys.find(other.text) is not None


def broken(*_):
    """Stand for a database that is away."""
    raise DatabaseUnavailable("away")


def test_keys_that_are_known_outlive_the_database(office, owner, monkeypatch):
    """What the cache has is served on; what it does not have cannot be judged."""
    made = office.keys.create(owner.id, "bot")
    office.keys.find(made.text)
    monkeypatch.setattr(office.database, "read", broken)
    assert office.keys.find(made.text).account == owner
    with pytest.raises(DatabaseUnavailable):
        office.keys.find(make_key())


def test_they_do_so_past_their_time_and_not_for_ever(office, clock, monkeypatch):
    """A minute is fresh, five more if the database is away; after a revocation not a moment."""
    with_clock(office.cache, clock)
    owner = office.accounts.create("owner", Tier.ADMIN)
    made, revoked = (office.keys.create(owner.id, name) for name in ("bot", "revoked"))
    office.keys.find(made.text)
    office.keys.find(revoked.text)
    office.keys.revoke(revoked.id)
    office.keys.find(made.text)
    monkeypatch.setattr(office.database, "read", broken)
    with pytest.raises(DatabaseUnavailable):
        office.keys.find(revoked.text)
    clock.advance(61)
    assert office.keys.find(made.text).account == owner
    clock.advance(300)
    with pytest.raises(DatabaseUnavailable):
        office.keys.find(made.text)


def test_the_last_use_is_written_rarely_and_later(office, owner):
    """Many uses of one key are one write, which no request waits for."""
    made = office.keys.create(owner.id, "bot")
    sent = statements(office)
    for _ in range(50):
        office.identify(HTTP_X_API_KEY=made.text)
    until(lambda: office.keys.list(owner.id)[0].last_used_at is not None, "the last use is written")
    assert time.time() - office.keys.list(owner.id)[0].last_used_at < 60
    assert sum(statement.startswith("UPDATE") for statement in sent) == 1


def test_a_last_use_that_cannot_be_written_harms_nobody(office, owner, monkeypatch, caplog):
    """It is logged once, without the key; requests go on."""
    keys = [office.keys.create(owner.id, f"bot {number}").text for number in range(3)]
    monkeypatch.setattr(office.database, "write", broken)
    with caplog.at_level(logging.WARNING):
        for key in keys:
            assert office.identify(HTTP_X_API_KEY=key).account == owner.id
        until(lambda: "last use" in caplog.text, "it is logged")
    assert not any(key in caplog.text for key in keys)
