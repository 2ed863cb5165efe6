"""What a measured provider remembers of its origin, for health to tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

import pytest

from shivx.errors import OriginError, OriginInvalid, OriginUnavailable, UnknownPair
from shivx.models import Catalogue, Pair, Ticker
from shivx.providers.measured import MeasuredProvider
from shivx.providers.simulated import SimulatedExchange


class Moody(SimulatedExchange):
    """The simulated exchange, with a mood: an error that it raises, or gives for pairs of a batch."""

    mood: Exception | None = None
    pairs_hit: Sequence[Pair] = ()

    def ticker(self, catalogue: Catalogue, pair: Pair) -> Ticker:
        """Raise the mood, if there is one."""
        if self.mood is not None:
            raise self.mood
        return super().ticker(catalogue, pair)

    def tickers(self, catalogue: Catalogue, pairs: Sequence[Pair]) -> Mapping[Pair, Ticker | OriginError]:
        """Give an error for the pairs that are hit."""
        found = dict(super().tickers(catalogue, pairs))
        return found | {pair: OriginUnavailable("moody") for pair in self.pairs_hit}


@pytest.mark.parametrize(
    ("mood", "answers"),
    [
        (None, True),
        (OriginUnavailable("down"), False),
        (OriginInvalid("nonsense"), False),
        (UnknownPair("no such pair"), True),
    ],
)
def test_origin_answers_unless_its_last_answer_was_none(mood: Exception | None, answers: bool) -> None:
    """An origin that is down or talks nonsense does not answer; one that says that a pair is unknown does."""
    moody = Moody()
    measured = MeasuredProvider(moody)
    moody.mood = mood
    with suppress(OriginError, UnknownPair):
        measured.ticker(measured.catalogue(), "BTC-USDC")
    assert measured.answers is answers


@pytest.mark.parametrize(("hit", "answers"), [(["BTC-USDC"], True), (["BTC-USDC", "ETH-USDC"], False)])
def test_batch_that_fails_whole_is_no_answer(hit: Sequence[Pair], answers: bool) -> None:
    """A batch counts as an answer if any of its pairs has a price."""
    moody = Moody()
    measured = MeasuredProvider(moody)
    moody.pairs_hit = hit
    measured.tickers(measured.catalogue(), ["BTC-USDC", "ETH-USDC"])
    assert measured.answers is answers
