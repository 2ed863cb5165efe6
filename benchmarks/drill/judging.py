"""What became of the requests of a drill: which failed, which were told what is wrong or too old."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from benchmarks.course import Bots
from benchmarks.drill.truth import Fact, Truth, read, unix_ms
from benchmarks.open_lines import Reply
from benchmarks.rows import percentile

LIFE = {"price": 5.0, "orderbook": 10.0}
"""Seconds that such a fact may be served unmarked, the default settings."""
BOUND = 1.0
"""Seconds after an invalidation until no worker has what it ended: the bound of staleness."""
SLOW = 0.25
"""Seconds, more than is asked."""
OK, LIMITED = 200, 429
NAMED = frozenset({502, 503})
"""What the contract says when the exchange has given nothing and nothing may be served."""
PROBLEM = b"application/problem+json"


Span = tuple[float, float]
"""From when to when, monotonic seconds."""


@dataclass(frozen=True)
class Change:
    """An event that was accepted: prices and books of *pair* from before it are not to be served.

    Args:
        asked: when it was sent; `done`: when its answer was here; monotonic seconds.
    """

    pair: str
    asked: float
    done: float


@dataclass
class Findings:
    """What clients saw. Moments are when requests were due, monotonic seconds.

    Args:
        failed: no answer, or one that the contract does not name.
        lost: were under way in a worker that was killed.
        named: told, as the contract says, that nothing may be served.
        wrong: told what never was, or what is older than it may be and not marked so.
        stale: told what is older, and marked.
    """

    total: int = 0
    failed: list[Reply] = field(default_factory=list)
    lost: int = 0
    named: int = 0
    limited: int = 0
    wrong: list[tuple[str, Reply]] = field(default_factory=list)
    stale: int = 0
    p99: float = 0.0
    slow: list[Reply] = field(default_factory=list)


class Judge:
    """Looks at replies.

    Args:
        bots: the course that they are replies to.
        truth: of the exchange that is served.
        offset: what to add to monotonic seconds for Unix seconds.
    """

    def __init__(self, bots: Bots, truth: Truth, offset: float) -> None:
        self._bots = bots
        self._truth = truth
        self._offset = offset
        self._looked_at: dict[tuple[int, bytes], tuple[str, float, bool]] = {}
        self._computed: dict[tuple[int, str], Fact] = {}

    def judge(
        self,
        replies: Iterable[Reply],
        during: Span,
        changes: Sequence[Change],
        killed: Sequence[Span] = (),
    ) -> Findings:
        """Return what is found in *replies*.

        Args:
            during: when the fault began and ended.
            killed: from when to when a worker was.
        """
        found, waits = Findings(), []
        for each in replies:
            found.total += 1
            if each.status == 0 and any(each.due <= last and first <= each.ended for first, last in killed):
                found.lost += 1
                continue
            if during[0] <= each.due <= during[1]:
                waits.append(each.wait)
            if each.wait > SLOW:
                found.slow.append(each)
            self._place(each, found, changes)
        found.p99 = percentile(waits, 0.99) if waits else 0.0
        return found

    def _place(self, reply: Reply, found: Findings, changes: Sequence[Change]) -> None:
        if reply.status == LIMITED:
            found.limited += 1
        elif reply.status in NAMED and PROBLEM in reply.head and reply.header(b"Retry-After"):
            found.named += 1
        elif reply.status != OK:
            found.failed.append(reply)
        elif why := self._fault(reply, changes):
            found.wrong.append((why, reply))
        elif reply.header(b"X-Cache") == b"STALE":
            found.stale += 1

    def _fault(self, reply: Reply, changes: Sequence[Change]) -> str:
        """Return what is wrong with an answer; "" for nothing."""
        kind, pair = self._bots.asked[reply.asked]
        key = (reply.asked, reply.body)
        if key not in self._looked_at:
            self._looked_at[key] = self._look(reply.asked, reply.body)
        why, told, stale = self._looked_at[key]
        if kind not in LIFE or why:
            return why
        received = told - self._offset
        if not stale and reply.due - received > LIFE[kind]:
            return f"{reply.due - received:.2f} s old, unmarked"
        for change in changes:
            if change.pair == pair and reply.due > change.done + BOUND and received + 0.001 < change.asked:
                before, after = change.asked - received, reply.due - change.done
                return f"from {before:.2f} s before an event, asked {after:.2f} s after it"
        return ""

    def _look(self, asked: int, body: bytes) -> tuple[str, float, bool]:
        """Return what is wrong with a body, when that was told, Unix seconds, and whether it is stale."""
        kind, pair = self._bots.asked[asked]
        fact = read(body)
        why = self._untrue(kind, asked, fact) if fact["pair"] == pair else f"of {fact['pair']}"
        return why, unix_ms(fact["received_at"]) / 1000, bool(fact["stale"])

    def _untrue(self, kind: str, asked: int, fact: Fact) -> str:
        """Return how *fact* differs from what was; "" if it does not."""
        if kind in ("price", "orderbook", "candles"):
            look = {"price": self._truth.price, "orderbook": self._truth.book, "candles": self._truth.candles}
            return "" if look[kind](fact) else f"no such {kind}"
        told = {name: fact[name] for name in ("indicators", "prediction", "probabilities") if name in fact}
        # What is computed from closed candles is the same however often it is computed.
        first = self._computed.setdefault((asked, str(fact["candles_until"])), told)
        return "" if first == told else f"another {kind} of the same candles"
