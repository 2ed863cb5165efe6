"""Storing a session: what one request changed goes onto what others made of it meanwhile."""

from __future__ import annotations

from cache_ext.errors import StoreUnavailable
from cache_ext.sessions.changes import Changes
from cache_ext.sessions.ids import SessionId
from cache_ext.sessions.reader import SessionReader, address_of, device_of
from cache_ext.sessions.records import Record, RecordCodec
from cache_ext.sessions.session import SafeSession
from cache_ext.sessions.store import MOST_TRIES, Gone, Kept, Overtaken, SessionStore


class SessionWriter:
    """Stores sessions.

    Args:
        reader: is told what became of a request's session.
    """

    def __init__(self, store: SessionStore, codec: RecordCodec, reader: SessionReader) -> None:
        self._store = store
        self._codec = codec
        self._reader = reader

    def commit(self, session: SafeSession) -> None:
        """Store *session* now, if it was changed. One that was ended meanwhile stays so.

        Raises:
            StoreUnavailable: it cannot be stored.
            UnsupportedValue: something in it cannot be kept exactly.
        """
        if not session.modified:
            return
        session.load()
        if session.away:
            raise StoreUnavailable("it is not known what is in the session")
        if session.is_empty:
            self.end(session)
            return
        packed = self._codec.pack(dict(session))
        try:
            kept = self._put(session, session.changes(packed))
        except Gone:
            session.ended()  # without a word to the client: who ended it may have given him another one
        else:
            session.stored(kept, packed)
        self._reader.note(session.environ, session.kept)

    def end(self, session: SafeSession) -> None:
        """End *session*, and have the client forget its id.

        Raises:
            StoreUnavailable: it goes on.
        """
        session.load()
        if session.away:
            raise StoreUnavailable("it is not known whether there is a session")
        if session.kept is not None:
            self._store.end(session.kept.id, session.kept.record.account)
        session.ended()
        session.cookie = ""
        self._reader.note(session.environ, None)

    def _put(self, session: SafeSession, changes: Changes) -> Kept:
        before = session.kept
        at = self._store.time() if before is None else before.at
        target = self._target(session)
        moves = before is not None and before.record.account != session.account
        for _ in range(MOST_TRIES):
            try:
                record = self._record(session, before, changes, at)
                kept = self._store.write(target, record, None if moves else before, at)
            except Overtaken as overtaken:
                before = overtaken.kept
            else:
                if moves and before is not None:
                    self._store.end(before.id, before.record.account)
                return kept
        raise StoreUnavailable("too many write the session at once")

    def _target(self, session: SafeSession) -> SessionId:
        kept = session.kept
        if kept is not None and not session.renewed:
            return kept.id
        stays = kept is not None and kept.record.account == session.account
        return SessionId.make(session.account, kept.id.bucket if kept is not None and stays else None)

    def _record(self, session: SafeSession, before: Kept | None, changes: Changes, at: float) -> Record:
        """Return what is to be stored. Signing in or out begins a new life; a new id alone does not."""
        goes_on = before is not None and before.record.account == session.account
        epoch = before.record.epoch if before is not None and session.epoch is None else session.epoch
        return Record(
            format=1,
            account=session.account,
            epoch=epoch or 0,
            created=before.record.created if before is not None and goes_on else at,
            seen=at,
            device=device_of(session.environ),
            address=address_of(session.environ),
            data=changes.onto({} if before is None else before.record.data),
        )
