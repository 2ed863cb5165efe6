"""docs/scaling.md says what is so."""

from __future__ import annotations

import re

from cache_ext.keys import BUCKETS
from cache_ext.transport import nodes, sentinels
from shivx.redis_url import check_redis_url
from tests.service import ROOT

TEXT = (ROOT / "docs/scaling.md").read_text()


def test_the_figures_are_those_of_the_program() -> None:
    """How often is looked, how long a word counts, how many buckets there are."""
    assert f"watches all sentinels, every {sentinels.ROUND:g} s" in TEXT
    assert f"counts, for {sentinels.CONFIRMED:g} s after a majority" in TEXT
    assert f"longer than {sentinels.CONFIRMED:g} s after" in TEXT
    assert f"every second, every {nodes.HURRIED:g} s while something is in doubt" in TEXT
    assert nodes.ROUND == 1
    assert f"Buckets are {BUCKETS} and" in TEXT
    assert f"up to {BUCKETS} nodes" in TEXT


def test_addresses_are_accepted() -> None:
    """Each that it shows in full."""
    shown = re.findall(r"`((?:rediss?|unix)(?:\+\w+)?://[^`]+)`", TEXT)
    assert len(shown) == 4
    for url in shown:
        if not url.endswith("://"):
            check_redis_url(url)


def test_tests_it_names_exist() -> None:
    """Who looks for the proof finds it."""
    named = set(re.findall(r"`(test_\w+\.py)`", TEXT))
    assert named
    assert [name for name in named if not (ROOT / "tests" / name).exists()] == []
