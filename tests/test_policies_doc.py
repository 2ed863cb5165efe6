"""The program in docs/policies.md runs as it stands there."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from cache_ext import CachePolicy
from cache_ext.reading.terms import Wishes

DOC = Path(__file__).parent.parent / "docs" / "policies.md"


def test_each_block_of_the_docs_runs() -> None:
    """All Python blocks, one after the other; their assertions hold."""
    blocks = re.findall(r"^```python\n(.*?)^```", DOC.read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {"__name__": "shop"}
    for block in blocks:
        exec(compile(block, str(DOC), "exec"), names)
    assert len(blocks) == 5


def test_nothing_is_left_out() -> None:
    """Each field of the policy and each wish has its place there; `sensitive` is told of elsewhere."""
    text = DOC.read_text()
    said = {field.name for field in fields(CachePolicy)} - {"sensitive"} | set(Wishes.__annotations__)
    assert [name for name in sorted(said) if f"{name}=" not in text] == []
