"""Sessions at the margins: cookies that go, clients that lie, writes that are lost."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from cache_ext import metrics
from cache_ext.codec.seal import KeyRing
from cache_ext.codec.values import ValueCodec
from cache_ext.errors import PayloadError, UnsupportedValue
from cache_ext.sessions.ids import RANDOM_BYTES, SessionId
from cache_ext.sessions.lives import Lives
from cache_ext.sessions.reader import MAX_ADDRESS, MAX_DEVICE, SessionReader
from cache_ext.sessions.records import MAX_BYTES, Record, RecordCodec
from tests.servers import RunningServer
from tests.session_stage import SECRET, Shop, cookie_of, held_write

ELSEWHERE = {"REMOTE_ADDR": "203.0.113.7"}


def environ_of(client: Any) -> dict[str, Any]:
    """Return the environment of a request of *client*, as far as sessions ask for it."""
    return {
        "HTTP_COOKIE": f"session={cookie_of(client)}",
        "wsgi.url_scheme": "http",
        "HTTP_HOST": "localhost",
    }


def test_a_cookie_is_taken_back_as_it_was_given(shop: Shop) -> None:
    """A browser takes no word about a __Host- cookie that is not Secure: it would stay logged in."""
    sid = cookie_of(shop.signed_in(7))
    browser = shop.app.test_client(use_cookies=False)
    answer = browser.post("/out", headers={"Cookie": f"__Host-session={sid}"}, environ_overrides=ELSEWHERE)
    name, *attributes = answer.headers["Set-Cookie"].split("; ")
    assert name == "__Host-session="
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax", "Max-Age=0"} <= set(attributes)


def test_content_that_nobody_can_read_any_more_signs_nobody_out(shop: Shop) -> None:
    """It was made by a program that knew more types: what it held is lost, not whose session it is."""
    client = shop.signed_in(7)
    store, session = shop.sessions.store, SessionId.parse(cookie_of(client))
    kept = store.read(session)
    store.write(session, replace(kept.record, data={"fruit": b"\xc1"}), kept, kept.at)
    assert client.get("/get").json == {}
    assert client.get("/who").json == 7


def test_what_a_client_calls_itself_is_cut_and_fit_to_be_shown(shop: Shop) -> None:
    """However long, and whatever would steer a terminal."""
    name = ("\u202e\x1b[2J" + "x" * 5000).encode().decode("latin-1")
    far = {"REMOTE_ADDR": "y" * 500}
    shop.client().post("/in/7", headers={"User-Agent": name}, environ_overrides=far)
    (listed,) = shop.sessions.list(7)
    assert len(listed.device) <= MAX_DEVICE
    assert listed.device.isprintable()
    assert len(listed.address) == MAX_ADDRESS


def test_what_one_application_noted_is_nothing_to_another(make_shop: Callable[..., Shop]) -> None:
    """Both may be behind one door, with one environment."""
    one, other = make_shop(), make_shop()
    environ = environ_of(one.signed_in(7))
    assert one.sessions.reader.read(environ).account == 7
    other.commands.clear()
    other.sessions.reader.read(environ)
    assert len(other.commands) == 1


def test_a_session_that_ends_while_it_is_noted_is_none(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was read before it ended; that it was seen can be written no more."""
    client, store = shop.signed_in(7), shop.sessions.store
    reader = SessionReader(store, Lives(60.0, 0.0, 5), lambda environ: "session", None)
    write = store.write

    def late(*arguments: Any) -> Any:
        store.revoke_all(7)
        return write(*arguments)

    monkeypatch.setattr(store, "write", late)
    assert reader.find(environ_of(client)) is None


def test_who_writes_a_session_too_late_is_told_that_there_is_none(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever asks in the same request afterwards."""
    client, noted, reader = shop.signed_in(7), [], shop.sessions.reader
    monkeypatch.setattr(reader, "note", lambda environ, kept, **_: noted.append(kept))
    held_write(shop, client, lambda: shop.sessions.revoke_all(7))
    assert noted[-1] is None


def test_what_a_session_said_is_judged_by_who_asks_for_the_session(make_shop: Callable[..., Shop]) -> None:
    """Whoever compares the epoch himself is told of an old one; in the same request nobody else is."""
    shop = make_shop({7: 0})
    reader, environ = shop.sessions.reader, environ_of(shop.signed_in(7))
    assert reader.said(dict(environ)) == reader.read(dict(environ)) == reader.said(environ)
    shop.epochs[7] = 5
    assert reader.said(environ).epoch == 0
    assert (reader.find(environ), reader.said(environ), reader.read(environ)) == (None, None, None)


def test_an_old_session_that_was_not_seen_lately_is_not_noted_as_seen(
    make_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody keeps it alive by sending it, though its epoch is for others to compare."""
    shop = make_shop({7: 0})
    reader, environ = shop.sessions.reader, environ_of(shop.signed_in(7))
    monkeypatch.setattr(reader, "_lives", reader._lives._replace(idle=-80.0))
    assert reader.said(dict(environ)) is not None
    shop.epochs[7] = 5
    assert reader.said(dict(environ)) is None


def test_the_same_bytes_are_opened_once_and_others_are_not_taken_for_them(shop: Shop) -> None:
    """Nor the same ones under another key; what is large is not kept in memory."""
    codec = shop.sessions.store._codec
    record = Record(1, 7, 0, 1.0, 1.0, "", "", {"a": b"\x01"})
    sealed = codec.seal(record, "here")
    assert codec.open(sealed, "here") is codec.open(bytes(bytearray(sealed)), "here")
    for other, key in ((sealed, "there"), (sealed[:-1] + bytes([sealed[-1] ^ 1]), "here")):
        for _ in range(2):
            with pytest.raises(PayloadError):
                codec.open(other, key)
    large = codec.seal(Record(1, 7, 0, 1.0, 1.0, "", "", {"a": bytes(2_000)}), "here")
    assert codec.open(large, "here") is not codec.open(large, "here")


def test_a_life_begins_with_signing_in(shop: Shop) -> None:
    """However long there was a session before, of nobody."""
    client = shop.client()
    client.get("/set/a/b")
    before = shop.sessions.store.read(SessionId.parse(cookie_of(client))).record.created
    client.post("/in/7")
    (listed,) = shop.sessions.list(7)
    assert listed.created > before


def test_an_idle_session_is_not_kept_alive_in_redis(shop: Shop) -> None:
    """Whoever takes its ttl off: when it was seen is inside the seal."""
    client = shop.signed_in(7)
    shop.sessions.store._lives = shop.sessions.store._lives._replace(idle=-60.0)
    assert client.get("/who").json is None


def test_a_write_that_is_lost_is_counted(own_redis_server: RunningServer, namespace: str) -> None:
    """While Redis is away the answer goes out, and the metric tells."""
    shop = Shop(own_redis_server.url, namespace)
    try:
        before = metrics.sessions_unwritten._value.get()
        own_redis_server.kill()
        assert shop.client().get("/set/a/b").status_code == 200
        assert metrics.sessions_unwritten._value.get() == before + 1
    finally:
        shop.close()


def test_what_is_sealed_and_yet_no_session_is_none() -> None:
    """One too large, and one with more fields than this program knows."""
    ring = KeyRing((SECRET,))
    codec = RecordCodec(ring, ValueCodec())
    record = Record(1, 7, 1, 0.0, 0.0, "", "", {})
    fields = msgspec.to_builtins(record)
    assert codec.open(ring.seal(msgspec.msgpack.encode(fields), b"key"), "key") == record
    for odd in ([*fields, "more"], [*fields[:-1], {"a": bytes(MAX_BYTES)}]):
        with pytest.raises(PayloadError):
            codec.open(ring.seal(msgspec.msgpack.encode(odd), b"key"), "key")


def test_the_largest_session_is_kept_and_one_byte_more_is_refused(shop: Shop) -> None:
    """With a clear error, before anything is sent; what was there before stays."""
    client = shop.client()
    codec = shop.sessions.store._codec
    spare = MAX_BYTES - len(codec.seal(Record(1, None, 0, 0.0, 0.0, "", "", {"a": bytes(60_000)}), "key"))
    largest = Record(1, None, 0, 0.0, 0.0, "", "", {"a": bytes(60_000 + spare)})
    assert codec.open(codec.seal(largest, "key"), "key") == largest
    largest.data["a"] += b"x"
    with pytest.raises(UnsupportedValue, match=f"{MAX_BYTES + 1} bytes; {MAX_BYTES} is the most"):
        codec.seal(largest, "key")
    assert client.get("/set/a/b").status_code == 200
    with pytest.raises(UnsupportedValue):
        client.get("/set/large/" + "x" * MAX_BYTES)
    shop.app.testing = False
    answer = client.get("/set/large/" + "x" * MAX_BYTES)
    assert (answer.status_code, answer.headers.get("Set-Cookie")) == (500, None)
    assert client.get("/get").json == {"a": "b"}


def test_every_byte_of_an_id_is_random() -> None:
    """In a hundred of them each place has many values; the first says the bucket."""
    made = [SessionId.make(7).text for _ in range(100)]
    raws = [base64.urlsafe_b64decode(text) for text in made]
    assert len(raws[0]) == RANDOM_BYTES + 1
    assert min(len({raw[place] for raw in raws}) for place in range(1, RANDOM_BYTES + 1)) > 50


def test_a_write_seals_anew_with_the_newest_key(make_shop: Callable[..., Shop]) -> None:
    """So that the older one can be taken off the list when the sessions of before are over."""
    other = "another secret, which is to follow the first"
    client = make_shop(settings={"secret_keys": (SECRET,)}).signed_in(7)
    both, new = (make_shop(settings={"secret_keys": keys}) for keys in ((other, SECRET), (other,)))
    sid = cookie_of(client)
    for shop, path in ((both, "/set/a/b"), (new, "/who")):
        browser = shop.client()
        browser.set_cookie("session", sid)
        assert browser.get(path).text.strip() in {"set", "7"}
