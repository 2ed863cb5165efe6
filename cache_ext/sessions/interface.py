"""Flask-Session's Redis interface, made safe: read late, sealed, stored if changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from flask import Flask, Request, Response, has_request_context, request
from flask.sessions import SessionInterface, SessionMixin
from flask_session.redis.redis import RedisSessionInterface

from cache_ext import metrics
from cache_ext.errors import PayloadError, StoreUnavailable
from cache_ext.sessions.cookies import cookie_name, is_direct_loopback
from cache_ext.sessions.reader import Environ, SessionReader
from cache_ext.sessions.records import RecordCodec
from cache_ext.sessions.session import SafeSession
from cache_ext.sessions.store import Kept
from cache_ext.sessions.writer import SessionWriter

SAMESITE = "Lax"


class SafeSessionInterface(RedisSessionInterface):  # type: ignore[misc]
    """What ``app.session_interface`` is. Of Flask-Session it keeps the session's behaviour and the names.

    Its own ways to Redis are closed: it would read what pickle wrote, and connect to localhost on its own.

    Args:
        behind_proxies: no request comes directly, whatever it looks like.
    """

    session_class = SafeSession

    def __init__(self, app: Flask, behind_proxies: bool) -> None:
        SessionInterface.__init__(self)
        self.app = app
        self._behind_proxies = behind_proxies

    def join(self, reader: SessionReader, writer: SessionWriter, codec: RecordCodec) -> None:
        """Take the parts that need to know the cookie's name, which is known here."""
        self._reader, self._writer, self._codec = reader, writer, codec

    def open_session(self, app: Flask, request: Request) -> SafeSession:
        """Return the session of *request*, not read yet."""
        environ = request.environ
        return self.session_class(environ, lambda: self._reader.find(environ), self._unpacked)

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Store *session* if it was changed, and tell the client.

        While Redis is away nothing is stored, and the answer goes out: a view that depends on it says so
        by `Sessions.commit`.
        """
        assert isinstance(session, SafeSession)  # noqa: S101 (it is what open_session returned)
        if session.accessed:
            response.vary.add("Cookie")
        if not session.loaded and not session.modified:
            return
        try:
            self._writer.commit(session)
        except StoreUnavailable:
            metrics.sessions_unwritten.inc()
        self._tell(app, session, response)

    def regenerate(self, session: SafeSession) -> None:
        """Give *session* a new id when it is stored: Flask-Session's way to say it."""
        session.renew()

    def cookie_of(self, environ: Environ) -> str:
        """Return the name of the cookie that counts for the request of *environ*."""
        app = self.app
        secure = self._is_secure(environ)
        plain: str = app.config["SESSION_COOKIE_NAME"]
        return cookie_name(plain, secure, self.get_cookie_domain(app), self.get_cookie_path(app))

    def get_cookie_name(self, app: Flask) -> str:
        """Return the cookie's name for the request under way, with the prefix that goes with it."""
        return self.cookie_of(request.environ if has_request_context() else {})

    def get_cookie_secure(self, app: Flask) -> bool:
        """Return True but for a developer's browser on this very host."""
        return self._is_secure(request.environ if has_request_context() else {})

    def get_cookie_httponly(self, app: Flask) -> bool:
        """Return True: no script needs it."""
        return True

    def get_cookie_samesite(self, app: Flask) -> str:
        """Return what the application has configured, Lax by default."""
        return app.config["SESSION_COOKIE_SAMESITE"] or SAMESITE

    def _is_secure(self, environ: Environ) -> bool:
        if self.app.config["SESSION_COOKIE_SECURE"] or self._behind_proxies:
            return True
        return not is_direct_loopback(environ)

    def _unpacked(self, kept: Kept) -> dict[str, Any]:
        try:
            return self._codec.unpack(kept.record.data)
        except PayloadError:  # by another version of the program: what it holds is lost, not who it is
            return {}

    def _tell(self, app: Flask, session: SafeSession, response: Response) -> None:
        """Set or delete the cookie."""
        if session.cookie is None and session.kept is not None and self._refreshes(app, session):
            session.cookie = session.kept.id.text
        if session.cookie is None:
            return
        response.vary.add("Cookie")
        name, guards = self.get_cookie_name(app), self._guards(app)
        if session.cookie:
            expires = self.get_expiration_time(app, session)
            response.set_cookie(name, session.cookie, expires=expires, **guards)
        else:
            response.delete_cookie(name, **guards)
        session.cookie = None

    def _refreshes(self, app: Flask, session: SafeSession) -> bool:
        """Tell whether an unchanged session's cookie is to be sent again, so that it lasts."""
        return bool(session.permanent and app.config["SESSION_REFRESH_EACH_REQUEST"])

    def _guards(self, app: Flask) -> dict[str, Any]:
        return {
            "domain": self.get_cookie_domain(app),
            "path": self.get_cookie_path(app),
            "secure": self.get_cookie_secure(app),
            "httponly": self.get_cookie_httponly(app),
            "samesite": self.get_cookie_samesite(app),
            "partitioned": self.get_cookie_partitioned(app),
        }

    def _closed(self, *arguments: Any) -> NoReturn:
        raise NotImplementedError("sessions are reached through cache_ext.sessions alone")

    _retrieve_session_data: Callable[..., Any] = _closed
    _delete_session: Callable[..., Any] = _closed
    _upsert_session: Callable[..., Any] = _closed
