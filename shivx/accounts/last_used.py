"""When API keys were last used: noted at once, written rarely, and never while a request waits."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict

from sqlalchemy import or_, update
from sqlalchemy.exc import SQLAlchemyError

from shivx.accounts.database import Database
from shivx.accounts.models import ApiKeyRow
from shivx.accounts.offload import later
from shivx.errors import ShivxError

_log = logging.getLogger(__name__)

GRAIN = 300.0
"""Seconds: what is written may be so much too early."""
MAX_NOTED = 10_000
"""Keys of which one process remembers that it has written them lately."""


class LastUsed:
    """Writes, at most once in `GRAIN` for each key and process, that it was used."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._written: OrderedDict[int, float] = OrderedDict()
        self._failing = False

    def note(self, key: int) -> None:
        """Say that *key* is being used. Returns at once."""
        now = time.monotonic()
        if now - self._written.get(key, -GRAIN) < GRAIN:
            return
        self._written[key] = now
        if len(self._written) > MAX_NOTED:
            self._written.popitem(last=False)
        later(lambda: self._write(key, time.time()), "shivx-last-used")

    def _write(self, key: int, now: float) -> None:
        older = or_(ApiKeyRow.last_used_at.is_(None), ApiKeyRow.last_used_at < now - GRAIN)
        statement = update(ApiKeyRow).where(ApiKeyRow.id == key, older).values(last_used_at=now)
        try:
            self._database.write(lambda session: session.execute(statement) and None)
        except (ShivxError, SQLAlchemyError) as error:
            if not self._failing:
                _log.warning("the last use of API keys cannot be written: %s", type(error).__name__)
            self._failing = True
        else:
            self._failing = False
