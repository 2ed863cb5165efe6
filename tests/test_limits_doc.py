"""docs/limits.md names tests, modules, settings and figures that exist."""

from __future__ import annotations

import re
from pathlib import Path

from blueprints.costs import COSTS, VIEW_LIMITS
from cache_ext.limits import shares
from cache_ext.limits.decision import SLICES, Answer, decide
from cache_ext.limits.limiter import WINDOW
from shivx.config import Settings
from shivx.gate import OPEN_PATHS, limit_headers
from shivx.identity import Tier

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs/limits.md").read_text()


def test_each_test_and_module_that_is_named_exists() -> None:
    """By file, module and script."""
    for file in re.findall(r"`(test_[a-z_]+\.py)`", TEXT):
        assert (ROOT / "tests" / file).exists(), file
    named = re.findall(r"`((?:shivx|blueprints|cache_ext|limits|lua)/[a-z_]+(?:\.lua)?)`", TEXT)
    assert len(named) >= 9
    for name in named:
        path = (
            ROOT / name
            if name.startswith(("shivx", "blueprints", "cache_ext"))
            else ROOT / "cache_ext" / name
        )
        assert path.exists() or path.with_suffix(".py").exists(), name


def test_the_tables_name_what_there_is() -> None:
    """Headers, settings, open paths and figures are those of the program."""
    sample = decide(Answer(1_000, 0, 13_000, 13_000), 60, WINDOW)
    for name, _ in limit_headers(Tier.ANONYMOUS, sample):
        assert f"| `{name}` |" in TEXT, name
    for name in re.findall(r"`SHIVX_([A-Z_]+)`", TEXT):
        assert name.lower() in Settings.model_fields or name == "LIMIT_", name
    for path in OPEN_PATHS:
        assert f"`{path}`" in TEXT
    assert f"{shares.LINES} lines" in TEXT
    assert f"{shares.WAYS} that meet" in TEXT
    assert f"{SLICES} slices" in TEXT
    assert f"{shares.PATIENCE * 1000:.0f} ms" in TEXT
    assert "MOST = 60, 14, 10, 614" in (ROOT / "cache_ext/lua/admit.lua").read_text()
    assert "at most 614 bytes" in TEXT


def test_the_example_is_what_the_program_says() -> None:
    """To the letter."""
    headers = dict(limit_headers(Tier.ANONYMOUS, decide(Answer(1_000, 45, 13_000, 0), 60, WINDOW)))
    assert f"`{headers['RateLimit-Policy']}`" in TEXT
    assert f"`{headers['RateLimit']}`" in TEXT


def test_no_view_costs_more_or_has_a_limit_of_its_own() -> None:
    """As the text says; who adds one says so there."""
    assert dict(COSTS) == dict(VIEW_LIMITS) == {}
