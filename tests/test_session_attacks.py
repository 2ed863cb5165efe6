"""Attacks on sessions: whoever reads, forges, swaps or replays what lies in Redis gets in nowhere."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import redis
from flask import session

from cache_ext.codec.seal import KeyRing
from cache_ext.sessions.ids import SessionId
from cache_ext.sessions.records import Record
from tests.session_stage import SECRET, Shop, cookie_of, session_keys, stored

OTHER_SECRET = "another secret, of the attacker's own making"
MARK = "a-very-private-remark"


@pytest.fixture
def raw(redis_url: str) -> Any:
    """A client of the Redis, as an attacker who got in there has it."""
    with redis.Redis.from_url(redis_url) as client:
        yield client


def who(client: Any) -> int | None:
    """Return the account that the shop takes *client* for; anything but an answer fails."""
    answer = client.get("/who")
    assert answer.status_code == 200
    return answer.json


def content(client: Any) -> dict[str, Any]:
    """Return what the client's session holds."""
    answer = client.get("/get")
    assert answer.status_code == 200
    return answer.json


def test_a_dump_of_redis_lets_nobody_in_and_shows_nothing(shop: Shop, raw: Any) -> None:
    """Neither id nor content nor device is in any key or value, in clear or encoded; and no name is an id."""
    client = shop.client()
    client.get(f"/set/remark/{MARK}")
    client.post("/in/7", headers={"User-Agent": f"browser-{MARK}"})
    sid = cookie_of(client)
    assert content(client) == {"remark": MARK}
    dump = b"\n".join(name.encode() + b" " + value for name, value in stored(raw_url(raw), "session").items())
    secret = base64.urlsafe_b64decode(sid)
    for told in (sid.encode(), secret, secret[1:], secret.hex().encode(), MARK.encode(), b"remark"):
        assert told not in dump
    for key in session_keys(raw_url(raw)):
        for guess in (key.rpartition(":")[2], base64.urlsafe_b64encode(key[-33:].encode()).decode()):
            thief = shop.client()
            thief.set_cookie("session", guess)
            assert who(thief) is None


def raw_url(raw: Any) -> str:
    """Return the address of the server that *raw* asks."""
    options = raw.connection_pool.connection_kwargs
    return f"redis://{options['host']}:{options['port']}"


def test_an_id_of_the_clients_choice_is_never_adopted(shop: Shop) -> None:
    """Fixation: a planted id, well-formed or not, is not the id of any session that follows."""
    for planted in (SessionId.make(None).text, SessionId.make(7).text, "mine", "../session", "A" * 44):
        victim = shop.client()
        victim.set_cookie("session", planted)
        victim.get("/set/fruit/apple")
        assert cookie_of(victim) != planted
        victim.set_cookie("session", planted)
        victim.post("/in/7")
        assert cookie_of(victim) != planted


def test_a_session_has_another_id_after_login(shop: Shop, redis_url: str) -> None:
    """Fixation with a real session: who planted it has a dead id; what was in it stays with its user."""
    attacker, victim = shop.client(), shop.client()
    attacker.get("/set/fruit/apple")
    planted = cookie_of(attacker)
    victim.set_cookie("session", planted)
    victim.post("/in/7")
    assert cookie_of(victim) != planted
    assert who(victim) == 7
    assert content(victim) == {"fruit": "apple"}
    assert who(attacker) is None
    assert content(attacker) == {}
    assert len(session_keys(redis_url)) == 1


def test_another_account_finds_nothing_of_the_one_before(shop: Shop) -> None:
    """Who logs in where somebody else is logged in gets an empty session."""
    client = shop.signed_in(7)
    client.get("/set/remark/private")
    client.post("/in/8")
    assert who(client) == 8
    assert content(client) == {}


def test_clearing_a_session_signs_out(shop: Shop) -> None:
    """Flask's idiom for logging out ends account and id, also if something is put in afterwards."""

    @shop.app.get("/clear")
    def clear() -> str:
        session.clear()
        session["fruit"] = "pear"
        return "cleared"

    client = shop.signed_in(7)
    sid = cookie_of(client)
    client.get("/clear")
    assert cookie_of(client) != sid
    assert who(client) is None
    assert content(client) == {"fruit": "pear"}
    client.set_cookie("session", sid)
    assert who(client) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "A" * 43,
        "A" * 45,
        "\u00ff" * 44,
        "=" * 44,
        "A" * 10_000,
        "_" * 44,
    ],
)
def test_what_cannot_be_an_id_is_not_looked_for(shop: Shop, text: str) -> None:
    """Garbage costs no trip, and no error."""
    client = shop.app.test_client(use_cookies=False)
    assert client.get("/who", environ_overrides={"HTTP_COOKIE": f"session={text}"}).json is None
    assert shop.commands == []


def test_guessed_ids_find_nothing(shop: Shop) -> None:
    """An id has 256 bits that nobody chose; one that differs from a real one in one of them is none."""
    sid = cookie_of(shop.signed_in(7))
    secret = base64.urlsafe_b64decode(sid)
    for bit in range(8, 8 * 33, 37):
        near = (int.from_bytes(secret) ^ 1 << bit).to_bytes(33)
        thief = shop.client()
        thief.set_cookie("session", base64.urlsafe_b64encode(near).decode())
        assert who(thief) is None
    made = [SessionId.make(7) for _ in range(100)]
    assert len({base64.urlsafe_b64decode(each.text)[1:] for each in made}) == 100
    assert all(len(base64.urlsafe_b64decode(each.text)[1:]) == 32 for each in made)


def forged(ring: KeyRing, key: str, **changes: Any) -> bytes:
    """Return a session of account 1, as who has that key ring would seal it."""
    record = {"format": 1, "account": 1, "epoch": 0, "created": 2e9, "seen": 2e9, "device": "", "address": ""}
    made = Record(**{**record, "data": {"admin": b"\xc3"}, **changes})
    return ring.seal(msgspec.msgpack.encode(made), key.encode())


def forgeries(namespace: str, key: str, genuine: bytes) -> dict[str, bytes]:
    """Return what an attacker might put in the place of *genuine*, by name."""
    ours, theirs = (
        KeyRing((SECRET,), f"{namespace} sessions"),
        KeyRing((OTHER_SECRET,), f"{namespace} sessions"),
    )
    body = msgspec.msgpack.encode(Record(1, 1, 0, 2e9, 2e9, "", "", {}))
    return {
        "nothing": b"",
        "garbage": secrets.token_bytes(200),
        "text": b'{"account": 1}',
        "pickle": b"cos\nsystem\n(S'touch /tmp/owned'\ntR.",
        "in clear": body,
        "truncated": genuine[:-1],
        "head alone": genuine[:16],
        "key id alone": genuine[:4],
        "one bit": genuine[:-1] + bytes([genuine[-1] ^ 1]),
        "longer": genuine + b"\0",
        "too large": genuine + bytes(70_000),
        "another key": forged(theirs, key),
        "another purpose": forged(KeyRing((SECRET,), namespace), key),
        "another place": forged(ours, key + "0"),
        "no record": ours.seal(b"\x93\x01\x02\x03", key.encode()),
        "another format": ours.seal(
            msgspec.msgpack.encode([2, *msgspec.msgpack.decode(body)[1:]]), key.encode()
        ),
        "not msgpack": ours.seal(b"\xc1", key.encode()),
    }


@pytest.mark.parametrize("name", forgeries("n", "k", b"genuine genuine genuine"))
def test_a_forged_session_is_none(shop: Shop, raw: Any, namespace: str, redis_url: str, name: str) -> None:
    """Whatever lies under the key: nobody is signed in, nothing is read, nothing fails, and login works."""
    client = shop.signed_in(7)
    client.get("/set/remark/private")
    (key,) = session_keys(redis_url)
    raw.set(key, forgeries(namespace, key, raw.get(key))[name])
    assert who(client) is None
    assert content(client) == {}
    assert client.get("/set/fruit/apple").status_code == 200
    assert content(client) == {"fruit": "apple"}
    assert client.post("/in/7").status_code == 200
    assert who(client) == 7


@pytest.mark.parametrize("kind", ["list", "hash", "zset", "set", "string", "many"])
def test_other_types_under_every_key_are_no_error(shop: Shop, raw: Any, redis_url: str, kind: str) -> None:
    """Also under the list of an account and the census: all goes on, and the circuit stays closed."""
    plant = {
        "list": lambda key: raw.rpush(key, "x", b"\xff\xfe", "../x"),
        "hash": lambda key: raw.hset(key, "a", "b"),
        "zset": lambda key: raw.zadd(key, {"a": 1}),
        "set": lambda key: raw.sadd(key, "a"),
        "string": lambda key: raw.set(key, "garbage"),
        "many": lambda key: raw.rpush(key, *range(5000)),
    }[kind]
    for _ in range(6):  # more than open the circuit
        client = shop.signed_in(7)
        for key in stored(redis_url, "session"):
            raw.delete(key)
            plant(key)
        assert who(client) is None
        assert content(client) == {}
        assert shop.sessions.list(7) == []
        assert shop.sessions.revoke(7, "0" * 40) is False
        shop.sessions.measure()
        assert client.get("/set/fruit/apple").status_code == 200
        assert client.post("/in/7").status_code == 200
        assert who(client) == 7
        assert [info.device for info in shop.sessions.list(7)] != []
        assert client.post("/out").status_code == 200
        raw.flushall()
    assert shop.cache.gateway.breaker.state == "closed"


def test_a_session_under_another_id_is_none(shop: Shop, raw: Any, redis_url: str) -> None:
    """Swapped: another's blob under my key does not open, since it is sealed beside its own key."""
    victim = shop.signed_in(7)
    victim.get("/set/remark/private")
    (theirs,) = session_keys(redis_url)
    thief = shop.signed_in(8)
    (mine,) = set(session_keys(redis_url)) - {theirs}
    raw.set(mine, raw.get(theirs))
    assert who(thief) is None
    assert content(thief) == {}
    assert who(victim) == 7


def test_a_replayed_session_of_another_epoch_is_none(
    make_shop: Callable[..., Shop], raw: Any, redis_url: str
) -> None:
    """Revoke-all holds, though the attacker puts the old blob back and has its id."""
    epochs = {7: 1}
    shop = make_shop(epochs)
    client = shop.signed_in(7)
    client.get("/set/remark/private")
    (key,) = session_keys(redis_url)
    blob = raw.get(key)
    epochs[7] = 2
    shop.sessions.revoke_all(7)
    raw.set(key, blob)
    assert who(client) is None
    assert content(client) == {}
    assert shop.sessions.list(7) == []


def test_a_session_of_an_account_that_is_no_more_is_none(make_shop: Callable[..., Shop]) -> None:
    """No account, no epoch, no session."""
    epochs = {7: 1}
    client = (shop := make_shop(epochs)).signed_in(7)
    del epochs[7]
    assert who(client) is None
    assert shop.sessions.list(7) == []


def test_a_session_is_not_kept_alive_past_its_time(
    make_shop: Callable[..., Shop], raw: Any, redis_url: str
) -> None:
    """Who takes the ttl off a key in Redis does not prolong the session: its end is inside the seal."""
    shop = make_shop()
    client = shop.signed_in(7)
    (key,) = session_keys(redis_url)
    raw.persist(key)
    shop.sessions.store._lives = shop.sessions.store._lives._replace(ttl=1e-6)
    assert who(client) is None


def test_secrets_rotate(make_shop: Callable[..., Shop]) -> None:
    """Sessions sealed with an older key go on while it is in the ring, and end when it is not."""
    old = make_shop(settings={"secret_keys": (SECRET,)})
    client = old.signed_in(7)
    both, new = (
        make_shop(settings={"secret_keys": keys}) for keys in ((OTHER_SECRET, SECRET), (OTHER_SECRET,))
    )
    for shop, expected in ((both, 7), (new, None)):
        browser = shop.client()
        browser.set_cookie("session", cookie_of(client))
        assert who(browser) == expected


def test_no_id_and_no_content_is_shown_by_repr(shop: Shop) -> None:
    """What ends up in a log or traceback tells nobody how to get in."""
    made = SessionId.make(7)
    assert made.text not in repr(made)
