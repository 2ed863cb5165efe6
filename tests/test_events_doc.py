"""The program in docs/events.md runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cache_ext import cache_of, metrics
from cache_ext.hooks.event import Fate
from shivx.invalidation_rules import RULES
from tests.waiting import until

DOC = Path(__file__).parent.parent / "docs" / "events.md"


def test_each_block_of_the_docs_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """All Python blocks, one after the other; both hooks are called, each with its event."""
    blocks = re.findall(r"^```python\n(.*?)^```", DOC.read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {"__name__": "shop"}
    for block in blocks:
        exec(compile("from __future__ import annotations\n" + block, str(DOC), "exec"), names)
    ledger = names["ledger"]
    until(lambda: len(ledger) == 2, "both hooks are called")
    cache_of(names["app"]).close()
    names["cache"].close()
    assert len(blocks) == 4
    assert ("shop", "SOL-USDC", "trade-17") in ledger
    assert capsys.readouterr().out == "20003 bytes are more than an event may have (16384)\n"


def test_every_outcome_that_is_counted_is_documented() -> None:
    """The label values of the counter of events stand in the docs."""
    run = {"done", "failed", "set_aside", "undecodable", "lost", "started_over"}
    text = DOC.read_text()
    assert metrics.hook_events._labelnames == ("outcome",)
    assert all(f"`{outcome}`" in text for outcome in {*Fate, *run})


def test_the_table_of_the_docs_is_that_of_the_program() -> None:
    """Every type, what it is about, and what it changes."""
    rows = [f"| `{kind}` | `{rule.subject}` | {rule.changes} |" for kind, rule in RULES.items()]
    assert all(row in DOC.read_text() for row in rows)
