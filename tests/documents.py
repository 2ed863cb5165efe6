"""The fenced blocks of README.md and docs/, and what runs each.

What is no program is marked ``text`` or not at all: diagrams, answers, lines of a log. Of all else a test
runs each block. A comment in the line before one says so where `test_documents.py` cannot:
``<!-- run by test_newcomer.py -->`` or ``<!-- not run: its reason -->``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from msgspec import Struct
from msgspec.structs import fields

from tests.service import ROOT

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
TEXT = frozenset({"", "text"})
_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>.*?) -->\n)?^```(?P<language>\w*)(?P<more>[^\n]*)\n(?P<text>.*?)^```$", re.M | re.S
)
_RUN_BY = "run by "
_NOT_RUN = "not run: "


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Args:
        page: the file.
        line: where it begins.
        language: as it says, "" if it does not.
        mark: the comment before it, "" if there is none.
    """

    page: Path
    line: int
    language: str
    mark: str
    text: str

    @property
    def name(self) -> str:
        """Where it is."""
        return f"{self.page.name}:{self.line}"

    @property
    def run_by(self) -> str | None:
        """The file of tests that runs it, if it is not run here."""
        return self.mark.removeprefix(_RUN_BY) if self.mark.startswith(_RUN_BY) else None

    @property
    def reason(self) -> str | None:
        """Why nothing runs it, if nothing does."""
        return self.mark.removeprefix(_NOT_RUN) if self.mark.startswith(_NOT_RUN) else None


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of *page* that are programs."""
    text = page.read_text()
    found = [
        Block(page, text.count("\n", 0, each.start()) + 1, each["language"], each["mark"] or "", each["text"])
        for each in _BLOCK.finditer(text)
    ]
    return [block for block in found if block.language not in TEXT]


def tables(text: str) -> list[str]:
    """Return the tables of a page."""
    return re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)


def rows(table: str) -> list[str]:
    """Return the names in the first column of *table*."""
    return [name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])]


def names(kind: type[Struct]) -> list[str]:
    """Return the names of a shape's fields, as a table has them."""
    return [field.name for field in fields(kind)]
