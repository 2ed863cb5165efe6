"""docs/monitoring.md says what is so."""

from __future__ import annotations

import re

from cache_ext.explain.invalidations import Told
from cache_ext.stats.members import Member
from cache_ext.stats.recommendations import OF_REDIS, RULES
from cache_ext.stats.redis_facts import RedisFacts
from cache_ext.stats.report import Backplane, CacheStats, Finding, Minute, Often, Quantiles, Report
from shivx.wiring import setting_name
from tests.documents import names, rows, tables
from tests.service import ROOT

TEXT = (ROOT / "docs/monitoring.md").read_text()
TABLES = tables(TEXT)


def test_the_fields_are_those_that_are_told() -> None:
    """All of them, and no others."""
    assert rows(TABLES[0]) == names(Report)
    assert rows(TABLES[1]) == names(CacheStats)


def test_what_lies_inside_a_field_is_named() -> None:
    """In the row that it belongs to."""
    for row, kind in (
        ("processes", Member),
        ("operations", Quantiles),
        ("redis", RedisFacts),
        ("backplane", Backplane),
        ("top_keys", Often),
        ("alerts", Finding),
        ("recent_invalidations", Told),
        ("loads", Quantiles),
        ("minutes", Minute),
    ):
        (line,) = re.findall(rf"^\| `{row}`[^|]*\|.*$", TEXT, re.MULTILINE)
        assert [name for name in names(kind) if f"`{name}`" not in line] == []


def test_the_rules_are_those_that_there_are() -> None:
    """In their order, with level, setting and change."""
    told = [[cell.strip() for cell in row.split("|")[1:-1]] for row in TABLES[3].splitlines()[2:]]
    rules = []
    for rule in RULES:
        change = rule.change
        if rule.setting is not None:
            ours = not rule.setting.startswith(OF_REDIS)
            name = setting_name(rule.setting) if ours else rule.setting.removeprefix(OF_REDIS)
            change = f"`{name}`: {change}"
        rules.append([f"`{rule.name}`", rule.level.value, change])
    assert [[name, level, change] for name, level, _, change in told] == rules
