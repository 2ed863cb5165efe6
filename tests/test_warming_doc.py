"""docs/warming.md says what is so."""

from __future__ import annotations

from shivx.warming.steps import CANDLES, TIMEFRAME
from shivx.warming.targets import HOTTEST
from shivx.warming.warmer import AT_ONCE, LONGEST_WAIT, TRIES
from tests.service import ROOT

TEXT = (ROOT / "docs/warming.md").read_text()


def test_the_figures_are_those_of_the_program() -> None:
    """Pairs, candles, calls, tries."""
    words = {2: "two", 3: "three"}
    assert f"then the {HOTTEST} that were read most" in TEXT
    assert f"{CANDLES} candles of {TIMEFRAME}" in TEXT
    assert f"then {words[AT_ONCE]} pairs at a time" in TEXT
    assert f"is asked {words[TRIES]} times, if that is within {LONGEST_WAIT:.0f} s" in TEXT
