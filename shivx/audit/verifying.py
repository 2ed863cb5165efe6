"""Verifying: which rows of the audit are not what was written, and whether any are gone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct
from sqlalchemy import select
from sqlalchemy.orm import Session

from shivx.audit.anchor import Anchor, AnchorDamaged
from shivx.audit.events import Event, Head, Outcome, Row
from shivx.audit.keys import ChainKeys
from shivx.audit.ledger import COUNTS
from shivx.audit.tables import HEAD_ID, chain, counts, event_of, head, row_of

MAX_FINDINGS = 100
MAX_CANDIDATES = 100
"""Places of which is asked whether a row that does not fit its own belongs there."""
_AT_ONCE = 1000


class Finding(Struct, frozen=True):
    """Something that is wrong, with the number of the row, None if it is not about one."""

    number: int | None
    text: str


class Report(Struct):
    """What verifying found.

    Args:
        rows: how many there are.
        head: the end of the chain, as it was found.
        anchored: the end of it that the anchor names, None if there is no anchor.
        findings: what was done to the chain; empty if it is whole. At most `MAX_FINDINGS`.
        unfinished: intents without an outcome: under way, or the process ended in between.
        unchecked: rows, the oldest, that are signed with a key that is no longer listed.
    """

    rows: int
    head: Head
    anchored: Head | None
    findings: list[Finding]
    unfinished: list[Row]
    unchecked: int


class _Walk:
    """Goes along the chain, row by row, and notes what does not fit."""

    def __init__(self, keys: ChainKeys) -> None:
        self._keys = keys
        self.rows = self.unchecked = 0
        self.end = Head()
        self.findings: list[Finding] = []
        self.strange: list[Row] = []
        self.missing: list[int] = []
        self._open: dict[int, Row] = {}

    @property
    def unfinished(self) -> list[Row]:
        """The intents that no outcome has been seen of."""
        return list(self._open.values())

    def take(self, row: Row) -> None:
        """Judge the next *row*."""
        self.rows += 1
        self._note_gap(row.number)
        if not self._keys.knows(row.key_id):
            if self.rows > self.unchecked + 1:  # retired keys signed what is older than all others
                self.findings.append(Finding(row.number, "is signed with a key that is not listed"))
            self.unchecked += 1
        elif not self._keys.is_genuine(row):
            self.strange.append(row)
        elif row.number == self.end.number + 1 and row.previous != self.end.mac and not self._after_strange():
            self.findings.append(Finding(row.number, "does not follow the row before it"))
        self._follow(row)
        self.end = Head(row.number, row.mac)

    def _after_strange(self) -> bool:
        return bool(self.strange) and self.strange[-1].number == self.end.number

    def _note_gap(self, number: int) -> None:
        first, last = self.end.number + 1, number - 1
        if first <= last:
            self.missing += range(first, min(last, first + MAX_CANDIDATES) + 1)
            where = f"row {first} is" if first == last else f"rows {first} to {last} are"
            self.findings.append(Finding(first, f"{where} missing"))

    def _follow(self, row: Row) -> None:
        if row.event.outcome == Outcome.INTENDED:
            self._open[row.number] = row
        elif row.event.of is not None:
            self._open.pop(row.event.of, None)

    def explain(self) -> None:
        """Say of each row that does not fit whether it was changed, or stood elsewhere."""
        places = [row.number for row in self.strange[:MAX_CANDIDATES]] + self.missing[:MAX_CANDIDATES]
        for row in self.strange[:MAX_CANDIDATES]:
            place = next((number for number in places if self._keys.is_genuine(row, number)), None)
            text = "was changed" if place is None else f"was moved here; it was row {place}"
            self.findings.append(Finding(row.number, text))


def verify(session: Session, keys: ChainKeys, anchor: Anchor) -> Report:
    """Return what is wrong with the chain. Others may append meanwhile."""
    anchored, damaged = _anchored(anchor)  # this and the head before the rows: these only become more
    said = _head(session)
    walk = _Walk(keys)
    macs: dict[int, str] = {}
    claims = {claim.number for claim in (anchored, said) if claim is not None}
    rows = session.execute(select(chain).order_by(chain.c.number).execution_options(yield_per=_AT_ONCE))
    for found in rows.mappings():
        if not isinstance(found["number"], int):  # SQLite takes anything for a number
            walk.findings.append(Finding(None, "a row has no number"))
            continue
        row = row_of(found)
        walk.take(row)
        if row.number in claims:
            macs[row.number] = row.mac
    walk.explain()
    findings = sorted(walk.findings, key=lambda finding: finding.number or 0)
    findings += damaged
    if anchored is not None:
        findings += _claim_findings(walk.end, anchored, macs, "the anchor")
    elif walk.rows and not damaged:
        findings.append(Finding(None, "there is no anchor: whether rows at the end are gone is not known"))
    if said is None:
        findings.append(Finding(None, "the head is gone: nothing can be appended"))
    elif not findings:
        findings += _claim_findings(walk.end, said, macs, "the head")
        findings += _behind(_head(session), walk.end)
    findings += _count_findings(session, keys)
    return Report(walk.rows, walk.end, anchored, findings[:MAX_FINDINGS], walk.unfinished, walk.unchecked)


def _anchored(anchor: Anchor) -> tuple[Head | None, list[Finding]]:
    try:
        return anchor.read(), []
    except AnchorDamaged as error:
        return None, [Finding(None, str(error))]


def _head(session: Session) -> Head | None:
    found = session.execute(select(head).where(head.c.id == HEAD_ID)).one_or_none()
    return None if found is None else Head(found.number, found.mac)


def _claim_findings(end: Head, claim: Head, macs: Mapping[int, str], who: str) -> Iterator[Finding]:
    """Yield what is wrong if *who* is right that the chain has the row *claim*."""
    if end.number < claim.number:
        first, last = end.number + 1, claim.number
        where = f"row {first} is" if first == last else f"rows {first} to {last} are"
        yield Finding(first, f"{where} cut off: {who} names row {last}")
    elif macs.get(claim.number, claim.mac) != claim.mac:
        yield Finding(claim.number, f"is not the row that {who} names")


def _behind(said: Head | None, end: Head) -> Iterator[Finding]:
    if said is None or said.number < end.number:
        yield Finding(end.number, "is beyond the head: nothing can be appended")


def _count_findings(session: Session, keys: ChainKeys) -> Iterator[Finding]:
    for found in session.execute(select(counts)).mappings():
        event: Event = event_of(found)
        if not keys.is_signed(COUNTS, event, found["signature"]):
            yield Finding(None, f"a count was changed: {event.outcome} {event.action} by {event.subject}")
