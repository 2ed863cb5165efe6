"""Which session a request has: found out once, before Flask or in it, and noted in the WSGI environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from msgspec.structs import replace
from werkzeug.sansio.http import parse_cookie

from cache_ext.errors import StoreUnavailable
from cache_ext.sessions.ids import SessionId
from cache_ext.sessions.lives import Lives
from cache_ext.sessions.store import Gone, Kept, Overtaken, SessionStore

NOTE = "cache_ext.session"
"""Where the environment has what was found; no header can put anything there."""
MAX_DEVICE = 200
"""Characters of what a client calls itself."""
MAX_ADDRESS = 64
_KNOWN_COOKIES, _USUAL_COOKIES = 1_024, 2_048
"""Cookie fields that are remembered parsed, and the characters of the longest of them."""

Environ = Mapping[str, Any]


class EpochOf(Protocol):
    """Says of which epoch an account's sessions have to be."""

    def __call__(self, account: int, /) -> int | None:
        """Return the account's epoch, None if there is no such account (any more)."""


class SessionFacts(NamedTuple):
    """What a session says of who makes a request. Times are Unix seconds.

    Args:
        name: the hash of its id, by which it can be revoked.
    """

    account: int
    epoch: int
    created: float
    seen: float
    name: str


@lru_cache(_KNOWN_COOKIES)
def _claim(cookies: str, name: str) -> SessionId | None:
    """Return the session that the cookie *name* names; browsers send the same cookies again and again."""
    return SessionId.parse(parse_cookie(cookies).get(name, ""))


class SessionReader:
    """Finds the session of a request.

    Args:
        cookie_of: returns the name of the cookie that counts for a request.
        epoch_of: see `EpochOf`; None if epochs do not matter.
    """

    def __init__(
        self,
        store: SessionStore,
        lives: Lives,
        cookie_of: Callable[[Environ], str],
        epoch_of: EpochOf | None,
    ) -> None:
        self._store = store
        self._lives = lives
        self._cookie_of = cookie_of
        self._epoch_of = epoch_of

    def read(self, environ: Environ) -> SessionFacts | None:
        """Return what the session of a request says of its account.

        None if nobody is signed in, and while Redis is away.
        """
        return self._facts(environ, judged=True)

    def said(self, environ: Environ) -> SessionFacts | None:
        """Do as `read`, whatever the epoch: for who looks at the account anyway, and compares it himself."""
        return self._facts(environ, judged=False)

    def _facts(self, environ: Environ, judged: bool) -> SessionFacts | None:
        try:
            kept = self._find(environ, judged)
        except StoreUnavailable:
            return None
        if kept is None or kept.record.account is None:
            return None
        record = kept.record
        return SessionFacts(kept.record.account, record.epoch, record.created, record.seen, kept.id.name)

    def find(self, environ: Environ) -> Kept | None:
        """Return the session of a request, None if it has none that is good.

        Raises:
            StoreUnavailable: that cannot be found out; told again, without asking again, to who asks again.
        """
        return self._find(environ, judged=True)

    def _find(self, environ: Environ, judged: bool) -> Kept | None:
        noted = environ.get(NOTE)
        if noted is None and not environ.get("HTTP_COOKIE"):
            return None
        if isinstance(noted, _Note) and noted.store is self._store:
            if noted.failure is not None:
                raise StoreUnavailable(str(noted.failure)) from noted.failure
            if noted.judged or not judged:
                return noted.kept
            kept = noted.kept if noted.kept is None or self._is_of_epoch(noted.kept) else None
        else:
            try:
                kept = self._look(environ, judged)
            except StoreUnavailable as failure:
                self.note(environ, None, failure)
                raise
        self.note(environ, kept, judged=judged)
        return kept

    def note(
        self,
        environ: Environ,
        kept: Kept | None,
        failure: StoreUnavailable | None = None,
        judged: bool = True,
    ) -> None:
        """Have everybody who asks for the request's session get *kept*, or *failure*, from now on.

        Args:
            judged: whether it is known to be of its epoch.
        """
        if isinstance(environ, MutableMapping):
            environ[NOTE] = _Note(self._store, kept, failure, judged)

    def claimed(self, environ: Environ) -> SessionId | None:
        """Return the session that a request's cookie names, whether there is such a one or not."""
        if not (cookies := environ.get("HTTP_COOKIE")):
            return None
        claim = _claim if len(cookies) <= _USUAL_COOKIES else _claim.__wrapped__
        return claim(cookies, self._cookie_of(environ))

    def _look(self, environ: Environ, judged: bool) -> Kept | None:
        claimed = self.claimed(environ)
        kept = None if claimed is None else self._store.read(claimed)
        if kept is None:
            return None
        lately = kept.at < kept.record.seen + self._lives.note_after
        if lately and not judged:
            return kept
        if not self._is_of_epoch(kept):
            return None
        return kept if lately else self._noticed(kept, environ)

    def _is_of_epoch(self, kept: Kept) -> bool:
        account = kept.record.account
        if account is None or self._epoch_of is None:
            return True
        return self._epoch_of(account) == kept.record.epoch

    def _noticed(self, kept: Kept, environ: Environ) -> Kept | None:
        """Note that the session was seen."""
        record = replace(kept.record, seen=kept.at, device=device_of(environ), address=address_of(environ))
        try:
            return self._store.write(kept.id, record, kept, kept.at)
        except Overtaken as overtaken:  # by somebody who has noted it as well
            return overtaken.kept
        except Gone:
            return None


class _Note(NamedTuple):
    store: SessionStore
    kept: Kept | None
    failure: StoreUnavailable | None
    judged: bool


def device_of(environ: Environ) -> str:
    """Return what the client calls itself, fit to be shown."""
    text = str(environ.get("HTTP_USER_AGENT", ""))[:MAX_DEVICE]
    return "".join(character for character in text if character.isprintable())


def address_of(environ: Environ) -> str:
    """Return whence the request came, "" if that is not known."""
    return str(environ.get("REMOTE_ADDR") or "")[:MAX_ADDRESS]
