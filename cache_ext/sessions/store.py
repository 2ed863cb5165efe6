"""Sessions in Redis: read, stored if nobody was faster, listed, ended. Each is one script in one slot.

shop:{07}:x:session:<hash>   a session, sealed; <hash> is that of its id, which nobody but the client has
shop:{07}:x:sessions:12      the hashes of the sessions of account 12, oldest first
shop:{07}:x:sessions         the hashes of all sessions of the bucket, and when they end: to count them
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from cache_ext.errors import PayloadError, StoreUnavailable
from cache_ext.keys import BUCKETS, KeySpace
from cache_ext.sessions.ids import SessionId, account_bucket
from cache_ext.sessions.lives import Lives
from cache_ext.sessions.records import MAX_BYTES, TOKEN_BYTES, Record, RecordCodec
from cache_ext.transport.commands import Command
from cache_ext.transport.connection import RedisGateway
from cache_ext.transport.trips import Trips

_MILLISECONDS = 1000
MOST_TRIES = 16
"""So often a writer may be overtaken before he gives up; the request's budget usually ends it earlier."""
_LONGEST_LIST = 64
"""More names than any list of an account has; beyond that somebody else has written it."""


class Kept(NamedTuple):
    """A session as it was read, or has just been written.

    Args:
        at: when that was, Unix seconds by the clock of Redis.
        token: what tells this state of it from any other.
    """

    id: SessionId
    record: Record
    token: bytes
    at: float


class Gone(Exception):
    """The session has ended meanwhile."""


class SessionStore:
    """The sessions of one namespace.

    Args:
        gateway: the way to Redis; None if there is none: then it is away for ever.
        start: sees to it that somebody looks after the gateway's circuit.
        patience: seconds that one who reads outside of any request waits for those who read with him.
    Raises (all methods):
        StoreUnavailable: no usable answer in time.
    """

    def __init__(
        self,
        gateway: RedisGateway | None,
        keyspace: KeySpace,
        codec: RecordCodec,
        lives: Lives,
        start: Callable[[], None],
        patience: float,
    ) -> None:
        self._gateway = gateway
        self._keyspace = keyspace
        self._codec = codec
        self._lives = lives
        self._start = start
        self._trips: Trips[Command, Any] = Trips(self._read_all, patience)
        if gateway is not None:
            self._read, self._write, self._end, self._list = (
                gateway.script(f"session_{verb}") for verb in ("read", "write", "end", "list")
            )

    def time(self) -> float:
        """Return the clock of Redis, Unix seconds."""
        return _clock(*self._run([("TIME",)])[0])

    def read(self, session: SessionId) -> Kept | None:
        """Return a session that is still good, None if there is none. All who wait to read go together."""
        key = self._key(session)
        seconds, microseconds, sealed = self._trips.ask(
            ("EVALSHA", self._read, 1, key, self._idle, MAX_BYTES)
        )
        if not sealed:
            return None
        return self._opened(session, key, sealed, _clock(seconds, microseconds))

    def write(self, session: SessionId, record: Record, before: Kept | None, at: float) -> Kept:
        """Store *record* if what lies there is still what *before* says.

        Args:
            session: under which id; if that of *before* is another, that one ends.
            before: as it was read; None: there was nothing.
            at: the time, by the clock of Redis.
        Raises:
            Gone: it ended meanwhile.
            Overtaken: it is another by now; the caller looks at that and tries again.
        """
        source = session if before is None else before.id
        token = b"" if before is None else before.token
        sealed = self._codec.seal(record, target := self._key(session))
        left = min(self._lives.idle, record.created + self._lives.ttl - at)
        keys = (
            self._key(source),
            target,
            self._index(session.bucket, record.account),
            self._census(session.bucket),
            self._prefix(session.bucket),
        )
        words: Command = (
            *(token, TOKEN_BYTES, MAX_BYTES, sealed, _ms(left), source.name, session.name),
            *(0 if record.account is None else self._lives.most, _ms(self._lives.ttl)),
        )
        (reply,) = self._run([("EVALSHA", self._write, len(keys), *keys, *words)], kept=True)
        match reply:
            case [1]:
                return Kept(session, record, sealed[:TOKEN_BYTES], at)
            case [-1, bytes(other)]:
                found = self._opened(source, keys[0], other, at)
                if found is not None and before is not None:
                    raise Overtaken(found)
        raise Gone

    def end(self, session: SessionId, account: int | None) -> None:
        """End one session of *account*, None for nobody's."""
        self._ended(session.bucket, account, "", [session.name])

    def revoke(self, account: int, name: str) -> bool:
        """End the session called *name*; tell whether the account had one."""
        if all(kept.id.name != name for kept in self.of(account)):
            return False
        return self._ended(account_bucket(account), account, "", [name]) > 0

    def revoke_all(self, account: int, but: str = "") -> int:
        """End all sessions of *account* but the one called *but*; return how many there were."""
        return self._ended(account_bucket(account), account, but, [])

    def carry_over(self, kept: Kept, epoch: int) -> None:
        """Have *kept* go on in another epoch of its account; do nothing if it has ended or left its own."""
        was = kept.record.epoch
        for _ in range(MOST_TRIES):
            if kept.record.epoch != was:
                return
            try:
                self.write(kept.id, replace(kept.record, epoch=epoch), kept, kept.at)
            except Overtaken as overtaken:
                kept = overtaken.kept
            except Gone:
                return
            else:
                return
        raise StoreUnavailable("too many write the session at once")

    def of(self, account: int) -> list[Kept]:
        """Return the sessions of *account*, oldest first; of their ids only clients have the text."""
        bucket = account_bucket(account)
        command = ("EVALSHA", self._list, 2, self._index(bucket, account), self._prefix(bucket))
        (reply,) = self._run([(*command, _LONGEST_LIST, MAX_BYTES)])
        seconds, microseconds, *found = reply
        at, kept = _clock(seconds, microseconds), []
        for name, sealed in zip(found[::2], found[1::2], strict=True):
            session = SessionId("", name.decode("ascii", "replace"), bucket)
            each = self._opened(session, self._key(session), sealed, at)
            if each is not None and each.record.account == account:
                kept.append(each)
        return kept

    def count(self) -> int:
        """Return how many sessions there are."""
        at = _ms(self.time())
        counts = self._run([("ZCOUNT", self._census(bucket), at, "+inf") for bucket in range(BUCKETS)])
        self._run([("ZREMRANGEBYSCORE", self._census(bucket), "-inf", at) for bucket in range(BUCKETS)])
        return sum(counts)

    def _read_all(self, reads: Sequence[Command]) -> Sequence[Any]:
        """Return the answers to *reads*; the requests of a browser, which come together, share one."""
        different = list(dict.fromkeys(reads))
        answers = dict(zip(different, self._run(different), strict=True))
        return [answers[read] for read in reads]

    def _run(self, commands: Sequence[Command], kept: bool = False) -> list[Any]:
        """Ask Redis.

        Args:
            kept: what *commands* write is to survive the server, if the settings say so.
        """
        if self._gateway is None:
            raise StoreUnavailable("there is no Redis for sessions")
        self._start()
        run = self._gateway.run_kept if kept else self._gateway.run
        return run(commands, "session")

    def _ended(self, bucket: int, account: int | None, but: str, names: Sequence[str]) -> int:
        keys = (self._index(bucket, account), self._census(bucket), self._prefix(bucket))
        command: Command = ("EVALSHA", self._end, len(keys), *keys, but, *names)
        count: int = self._run([command], kept=True)[0]
        return count

    def _opened(self, session: SessionId, key: str, sealed: bytes, at: float) -> Kept | None:
        record = self._believed(key, sealed, at)
        return None if record is None else Kept(session, record, sealed[:TOKEN_BYTES], at)

    def _believed(self, key: str, sealed: bytes, at: float) -> Record | None:
        """Return what was sealed for *key* if its time is not over, whoever has kept it alive."""
        try:
            record = self._codec.open(sealed, key)
        except PayloadError:
            return None
        idle = self._lives.idle + self._lives.note_after
        over = at >= record.created + self._lives.ttl or at >= record.seen + idle
        return None if over else record

    @property
    def _idle(self) -> int:
        return _ms(self._lives.idle)

    def _key(self, session: SessionId) -> str:
        return self._prefix(session.bucket) + session.name

    def _prefix(self, bucket: int) -> str:
        return self._keyspace.place(bucket, "session:")

    def _index(self, bucket: int, account: int | None) -> str:
        return self._keyspace.place(bucket, f"sessions:{'-' if account is None else account}")

    def _census(self, bucket: int) -> str:
        return self._keyspace.place(bucket, "sessions")


class Overtaken(Exception):
    """Somebody else has written the session meanwhile: `kept` is what he made of it."""

    def __init__(self, kept: Kept) -> None:
        super().__init__()
        self.kept = kept


def _clock(seconds: bytes, microseconds: bytes) -> float:
    return int(seconds) + int(microseconds) / 1e6


def _ms(seconds: float) -> int:
    return max(1, round(seconds * _MILLISECONDS))
