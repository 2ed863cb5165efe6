"""What the audit keeps: events, and the rows of the chain that they become."""

from __future__ import annotations

import re
from enum import StrEnum

from msgspec import Struct

from shivx.identity import Caller
from shivx.redaction import Redactor

MAX_TARGET = 256
MAX_TEXT = 128
"""Characters of any other text."""
MINUTE_MS = 60_000

_hide = Redactor()
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")


class Outcome(StrEnum):
    """How it went. INTENDED stands before each change; DONE, QUEUED or FAILED follows, if the process lives.

    QUEUED: Redis is away and is told first of all when it is back. DENIED, LIMITED (there were too many),
    READ and NOTED (somebody did it to what is his own) are counted by the minute.
    """

    INTENDED = "intended"
    DONE = "done"
    QUEUED = "queued"
    FAILED = "failed"
    DENIED = "denied"
    LIMITED = "limited"
    READ = "read"
    NOTED = "noted"


COUNTED = frozenset({Outcome.DENIED, Outcome.LIMITED, Outcome.READ, Outcome.NOTED})
BOUNDED = COUNTED - {Outcome.READ}
"""Of what is counted, what others than admins can cause."""


class Event(Struct, frozen=True):
    """Something that somebody did or tried.

    Args:
        at: when, Unix ms; of what is counted: when first in its minute.
        action: one of few, such as ``cache.flush`` or the endpoint that was denied.
        target: what it was about, for people.
        subject: whose quota the request cost; see `Caller`.
        address: where it came from, behind the trusted proxies.
        count: how often; of what is not counted 1.
        of: the number of the row with the intent of which this is the outcome.
    """

    at: int
    outcome: str
    action: str
    target: str
    subject: str
    address: str
    request_id: str
    tier: str
    via: str
    account: int | None = None
    name: str = ""
    key: int | None = None
    count: int = 1
    of: int | None = None

    @classmethod
    def by(
        cls,
        caller: Caller,
        action: str,
        target: str,
        outcome: Outcome,
        request_id: str,
        address: str,
        at: int,
    ) -> Event:
        """Return the event that *caller* causes; text is made printable and cut to what the table holds,
        and credentials that stand in the target, a path say, are taken out.
        """
        return cls(
            at,
            str(outcome),
            printable(action),
            printable(_hide(target), MAX_TARGET),
            printable(caller.subject),
            printable(address),
            printable(request_id),
            str(caller.tier),
            str(caller.via),
            caller.account,
            printable(caller.name),
            caller.key,
        )

    @property
    def minute(self) -> int:
        """Which minute since 1970 it is of."""
        return self.at // MINUTE_MS


class Row(Struct, frozen=True):
    """An event as a link of the chain.

    Args:
        number: from 1, without gaps.
        previous: the mac of the row before it; "" of the first.
        key_id: which key made the mac.
        mac: of all the above and the event, hex.
    """

    number: int
    event: Event
    previous: str
    key_id: str
    mac: str


class Head(Struct, frozen=True):
    """The end of the chain: number and mac of its last row, 0 and "" before there is one."""

    number: int = 0
    mac: str = ""


def printable(text: str, max_characters: int = MAX_TEXT) -> str:
    """Return *text* without what could disturb a log or a database, cut to *max_characters*."""
    clean = _UNPRINTABLE.sub("\ufffd", text)
    return clean if len(clean) <= max_characters else clean[: max_characters - 1] + "…"
