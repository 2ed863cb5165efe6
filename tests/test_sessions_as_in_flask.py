"""What Flask's own tests ask of its sessions, where ours do not differ on purpose."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.cookies import Morsel, SimpleCookie
from typing import Any

import pytest
from flask import Response, session

from tests.session_stage import Shop


def cookie_of(answer: Any) -> Morsel[str]:
    """Return the cookie that an answer sets."""
    (found,) = SimpleCookie(answer.headers["Set-Cookie"]).values()
    return found


def test_the_cookie_is_as_configured(shop: Shop) -> None:
    """Name, domain, path, SameSite and Secure; but no script ever sees it."""
    shop.app.config.update(
        SESSION_COOKIE_NAME="basket",
        SESSION_COOKIE_DOMAIN=".example.com",
        SESSION_COOKIE_PATH="/shop",
        SESSION_COOKIE_SAMESITE="Strict",
        SESSION_COOKIE_SECURE=True,
        SESSION_COOKIE_HTTPONLY=False,
    )
    cookie = cookie_of(shop.client().get("/set/a/b", base_url="https://www.example.com/shop"))
    assert cookie.key == "__Secure-basket"
    assert (cookie["domain"].lstrip("."), cookie["path"]) == ("example.com", "/shop")
    assert (cookie["samesite"], cookie["secure"], cookie["httponly"]) == ("Strict", True, True)


@pytest.mark.parametrize("path", [None, "/bar"])
def test_the_path_is_the_applications_root_unless_another_is_named(shop: Shop, path: str | None) -> None:
    """And the session is found again under it."""
    shop.app.config.update(APPLICATION_ROOT="/foo", SESSION_COOKIE_PATH=path)
    assert cookie_of(shop.client().get("/set/a/b"))["path"] == (path or "/foo")


@pytest.mark.parametrize("secure", [False, True])
def test_others_are_told_the_name_that_counts(shop: Shop, secure: bool) -> None:
    """`get_cookie_name` is asked by extensions and by the test client."""
    shop.app.config.update(SESSION_COOKIE_NAME="basket", SESSION_COOKIE_SECURE=secure)
    interface, client = shop.app.session_interface, shop.client()
    with shop.app.test_request_context():
        name = interface.get_cookie_name(shop.app)
    assert name == ("__Host-basket" if secure else "basket")
    with shop.app.test_request_context(environ_base={"REMOTE_ADDR": "203.0.113.7"}):
        assert interface.get_cookie_name(shop.app) == "__Host-basket"
    scheme = "https" if secure else "http"
    assert cookie_of(client.get("/set/a/b", base_url=f"{scheme}://localhost")).key == name
    assert client.get("/get", base_url=f"{scheme}://localhost").json == {"a": "b"}


def test_it_is_accessed_when_it_is_first_looked_into(shop: Shop) -> None:
    """Not when the request begins: `accessed` is what Vary follows; `modified` only what changes it sets."""
    with shop.app.test_request_context() as context:
        mine = context._session  # behind Flask's back, as `context.session` itself is an access
        assert mine is not None
        assert (mine.accessed, mine.modified, mine.permanent) == (False, False, False)
        session.get("a")
        assert (mine.accessed, mine.modified) == (True, False)
        session["a"] = "b"
        assert (mine.accessed, mine.modified) == (True, True)


VARYING: dict[str, tuple[Callable[[], Any], str | None]] = {
    "get": (lambda: session.get("a"), "Cookie"),
    "getitem": (lambda: session["a"], "Cookie"),
    "setdefault": (lambda: session.setdefault("a", "b"), "Cookie"),
    "set": (lambda: session.update(a="c"), "Cookie"),
    "clear": (lambda: [session.clear()], "Cookie"),
    "nothing": (lambda: None, None),
}


@pytest.mark.parametrize("how", VARYING)
def test_answers_vary_by_cookie_if_the_session_was_looked_into(shop: Shop, how: str) -> None:
    """However; not else."""
    act, expected = VARYING[how]
    shop.app.add_url_rule("/act", view_func=lambda: (act(), "acted")[1], endpoint="act")
    client = shop.client()
    client.get("/set/a/b")
    assert client.get("/act").headers.get("Vary") == expected


def test_what_an_answer_varies_by_already_stays(shop: Shop) -> None:
    """Cookie comes along, once."""

    @shop.app.get("/vary/<words>")
    def vary(words: str) -> Response:
        session["a"] = "b"
        answer = Response("varied")
        answer.vary.update(words.split(","))
        return answer

    client = shop.client()
    assert client.get("/vary/Cookie").headers.getlist("Vary") == ["Cookie"]
    assert (
        client.get("/vary/Accept-Encoding,Accept-Language").headers["Vary"]
        == "Accept-Encoding, Accept-Language, Cookie"
    )


def test_it_is_stored_last(shop: Shop) -> None:
    """What a function after the request puts into it is stored as well."""

    def leave(answer: Response) -> Response:
        session["after"] = "wards"
        return answer

    client = shop.client()
    shop.app.after_request(leave)
    assert client.get("/plain").status_code == 200
    assert client.get("/get").json == {"after": "wards"}


def test_a_permanent_one_expires_as_configured(shop: Shop) -> None:
    """One that is not permanent ends with the browser."""
    shop.app.permanent_session_lifetime = timedelta(minutes=10)

    @shop.app.get("/stay")
    def stay() -> str:
        session.permanent = True
        return "stays"

    client, earliest = shop.client(), datetime.now(UTC) + timedelta(minutes=10, seconds=-1)
    assert cookie_of(client.get("/set/a/b"))["expires"] == ""
    expires = parsedate_to_datetime(cookie_of(client.get("/stay"))["expires"])
    assert earliest <= expires <= datetime.now(UTC) + timedelta(minutes=10)
