"""An answer: a fact, and how fresh it and all that it was made of are."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

from cache_ext import Outcome

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
_GRAVITY = (Outcome.HIT, Outcome.MISS, Outcome.STALE)


class Fresh(Protocol):
    """What `cache_ext.Fetched` and `Answer` know of their freshness."""

    @property
    def outcome(self) -> Outcome:
        """Hit, miss or stale."""

    @property
    def age(self) -> float:
        """Seconds."""

    @property
    def ttl_left(self) -> float:
        """Seconds."""


@dataclass(frozen=True, slots=True)
class Answer(Generic[T_co]):
    """A fact with its freshness.

    Args:
        fact: what was asked for.
        outcome: hit if nobody waited for the origin, stale if any part is past its lifetime.
        age: seconds, of the oldest part.
        ttl_left: seconds until the first part expires; negative if it is stale.
    """

    fact: T_co
    outcome: Outcome
    age: float
    ttl_left: float

    @staticmethod
    def of(fact: T, parts: Iterable[Fresh]) -> Answer[T]:
        """Return *fact*, made of *parts*, as an answer."""
        outcome, age, left = Outcome.HIT, 0.0, math.inf
        for part in parts:
            outcome = max(outcome, part.outcome, key=_GRAVITY.index)
            age, left = max(age, part.age), min(left, part.ttl_left)
        return Answer(fact, outcome, age, left)

    @property
    def stale(self) -> bool:
        """Whether any part is past its lifetime."""
        return self.outcome is Outcome.STALE

    def after(self, earlier: Fresh) -> Answer[T_co]:
        """Return this as answered after *earlier*: whoever waited for that waited for the origin too."""
        waited = earlier.outcome is Outcome.MISS and self.outcome is Outcome.HIT
        return replace(self, outcome=Outcome.MISS) if waited else self

    def within(self, seconds: float) -> Answer[T_co]:
        """Return this as expiring in *seconds* at the latest."""
        return replace(self, ttl_left=min(self.ttl_left, seconds))

    def outdated(self) -> Answer[T_co]:
        """Return this as past its lifetime, whatever its parts say."""
        return replace(self.within(0.0), outcome=Outcome.STALE)
