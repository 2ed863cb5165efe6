"""docs/explain.md says what is so."""

from __future__ import annotations

import re
from typing import get_args

from cache_ext.explain.answers import Copy, KeyTold, ReadTold, RequestTold, Stored, TagState
from cache_ext.explain.invalidations import RECENT, REMEMBERED, Told, What
from cache_ext.explain.trails import KEPT_READS, MAX_READS, PLACES, WHOLE
from tests.documents import names, rows, tables
from tests.service import ROOT

TEXT = (ROOT / "docs/explain.md").read_text()
TABLES = tables(TEXT)


def test_the_fields_are_those_that_are_told() -> None:
    """All of them, and no others."""
    assert rows(TABLES[1]) == names(KeyTold)
    assert sorted(rows(TABLES[2])) == sorted(names(RequestTold))


def test_what_lies_inside_a_field_is_named() -> None:
    """In the row that it belongs to."""
    for row, kind in (
        ("stored", Stored),
        ("copies", Copy),
        ("tags", TagState),
        ("last_invalidation", Told),
        ("reads", ReadTold),
    ):
        (line,) = re.findall(rf"^\| `{row}`[^|]*\|.*$", TEXT, re.MULTILINE)
        assert [name for name in names(kind) if f"`{name}`" not in line] == []


def test_figures_and_words_are_those_of_the_code() -> None:
    """How much is remembered, and what an invalidation can be aimed at."""
    assert f"last {PLACES:,} requests" in TEXT
    assert f"last {WHOLE} with all that they read, of older ones with {KEPT_READS} reads" in TEXT.replace(
        "\n", " "
    )
    assert f"the last {RECENT} invalidations" in TEXT
    assert f"of {REMEMBERED:,} names" in TEXT
    assert f"beyond {MAX_READS}" in TEXT
    assert [word for word in get_args(What) if f"`{word}`" not in TEXT] == []
