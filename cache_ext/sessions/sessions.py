"""Sessions of an application: who signs in and out, which sessions an account has, and ending them."""

from __future__ import annotations

from flask import Flask, session
from msgspec import Struct

from cache_ext import metrics
from cache_ext.codec.seal import KeyRing
from cache_ext.codec.values import ValueCodec
from cache_ext.engine import TieredCache
from cache_ext.errors import ConfigurationError, StoreUnavailable
from cache_ext.keys import KeySpace
from cache_ext.sessions.interface import SafeSessionInterface
from cache_ext.sessions.lives import Lives
from cache_ext.sessions.reader import EpochOf, SessionReader
from cache_ext.sessions.records import RecordCodec
from cache_ext.sessions.session import SafeSession
from cache_ext.sessions.store import SessionStore
from cache_ext.sessions.writer import SessionWriter

DAY = 86_400.0
MOST = 5
"""Sessions of one account; the oldest ends for the sixth."""


class SessionInfo(Struct, frozen=True):
    """A session in the list of its account's. Times are Unix seconds.

    Args:
        id: by which it can be revoked; of no use to get in.
        device: what the client called itself.
        address: whence it came last.
        ends: at the latest.
    """

    id: str
    device: str
    address: str
    created: float
    seen: float
    ends: float


class Sessions:
    """The sessions of *app*: makes ``flask.session`` one that is kept in the Redis of *cache*.

    Args:
        cache: whose Redis, namespace and secret keys it is.
        ttl: seconds from signing in to the end.
        idle: seconds from the last use to the end.
        most: sessions of one account.
        epoch_of: returns the epoch that an account's sessions must have been signed in with, None if there
            is no such account; others are over, whoever has a copy of one. None: epochs do not matter.
        behind_proxies: no request comes directly, whatever it looks like.
    Raises:
        ConfigurationError: the cache has no secret keys.
    """

    def __init__(
        self,
        app: Flask,
        cache: TieredCache,
        *,
        ttl: float = DAY,
        idle: float = DAY,
        most: int = MOST,
        epoch_of: EpochOf | None = None,
        behind_proxies: bool = False,
    ) -> None:
        settings = cache.settings
        if not settings.secret_keys:
            raise ConfigurationError("sessions need secret_keys")
        self._lives = Lives(ttl, min(idle, ttl), most)
        self._epoch_of = epoch_of
        codec = RecordCodec(KeyRing(settings.secret_keys, f"{settings.namespace} sessions"), ValueCodec())

        def start() -> None:
            cache.runtime.start()  # after a fork that of the child

        self.store = SessionStore(
            cache.gateway, KeySpace(settings.namespace), codec, self._lives, start, settings.op_timeout
        )
        interface = SafeSessionInterface(app, behind_proxies)
        self.reader = SessionReader(self.store, self._lives, interface.cookie_of, epoch_of)
        self._writer = SessionWriter(self.store, codec, self.reader)
        interface.join(self.reader, self._writer, codec)
        app.session_interface = interface

    def require(self) -> None:
        """Return if sessions can be stored, as far as that is known.

        Raises:
            StoreUnavailable: they cannot.
        """
        self.store.time()

    def sign_in(self, account: int, epoch: int = 0) -> str:
        """Make the current session one of *account*, under a new id, and store it; return its name.

        What nobody's session held stays; what another account's did goes.

        Raises:
            StoreUnavailable: it cannot be stored; nobody is signed in.
        """
        mine = self._current()
        mine.load()
        if mine.account not in (None, account):
            mine.clear()
        mine.account, mine.epoch = account, epoch
        mine.renew()
        try:
            self._writer.commit(mine)
        except StoreUnavailable:
            mine.ended()
            raise
        if mine.kept is None:
            raise StoreUnavailable("the session was ended while it was signed in")
        return mine.kept.id.name

    def sign_out(self) -> None:
        """End the current session, if there is one.

        Raises:
            StoreUnavailable: it goes on.
        """
        self._writer.end(self._current())

    def commit(self) -> None:
        """Store what the current request changed now, rather than after it.

        Raises:
            StoreUnavailable: it cannot be stored.
        """
        self._writer.commit(self._current())

    def list(self, account: int) -> list[SessionInfo]:
        """Return the sessions of *account* that are of its epoch, oldest first.

        Raises:
            StoreUnavailable: they cannot be read.
        """
        epoch = None if self._epoch_of is None else self._epoch_of(account)
        return [
            SessionInfo(
                kept.id.name,
                kept.record.device,
                kept.record.address,
                kept.record.created,
                kept.record.seen,
                kept.record.created + self._lives.ttl,
            )
            for kept in self.store.of(account)
            if self._epoch_of is None or kept.record.epoch == epoch
        ]

    def revoke(self, account: int, name: str) -> bool:
        """End the session of *account* that is called *name*; tell whether there was one.

        Raises:
            StoreUnavailable: it goes on.
        """
        return self.store.revoke(account, name)

    def carry_over(self, account: int, before: int, epoch: int) -> None:
        """Have the sessions of *account* that are of the epoch *before* go on in *epoch*, its new one.

        Copies of them, and of all that ended in the epoch before, are over for good.

        Raises:
            StoreUnavailable: some could not be carried over; they are over too.
        """
        for kept in self.store.of(account):
            if kept.record.epoch == before:
                self.store.carry_over(kept, epoch)

    def revoke_all(self, account: int, but: str = "") -> int:
        """End the sessions of *account* but the one called *but*; return how many there were.

        Another epoch of the account ends them as well, and copies of them too.

        Raises:
            StoreUnavailable: they go on.
        """
        return self.store.revoke_all(account, but)

    def measure(self) -> None:
        """Set the metric ``sessions_active``, if Redis answers; to be called before numbers are read."""
        try:
            metrics.sessions_active.set(self.store.count())
        except StoreUnavailable:
            return

    @staticmethod
    def _current() -> SafeSession:
        found = session._get_current_object()  # type: ignore[attr-defined]
        if not isinstance(found, SafeSession):
            raise ConfigurationError("another session_interface was set on this app")
        return found
