"""The program in docs/decorators.md runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cache_ext import cache_of

DOC = Path(__file__).parent.parent / "docs" / "decorators.md"


def test_each_block_of_the_docs_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """All Python blocks, one after the other, and the key that one prints is the one described."""
    blocks = re.findall(r"^```python\n(.*?)^```", DOC.read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {"__name__": "shop"}
    for block in blocks:
        exec(compile("from __future__ import annotations\n" + block, str(DOC), "exec"), names)
    cache_of(names["app"]).close()
    assert len(blocks) == 4
    assert capsys.readouterr().out == "memo:shop.price('SOL',1)\n"
