"""docs/audit.md says what is so."""

from __future__ import annotations

import re
from pathlib import Path

from blueprints.admin import _closed, _open
from shivx.audit import bounds, command, counting
from shivx.audit.anchor import FILE_NAME
from shivx.audit.events import Event, Head, Outcome
from shivx.audit.keys import ChainKeys

TEXT = (Path(__file__).parent.parent / "docs/audit.md").read_text()
EVENT = Event(0, "done", "a", "t", "account:1", "::1", "id", "admin", "key")


def test_the_fields_of_an_entry_are_those_named() -> None:
    """In the sentence about the list, and no others."""
    (sentence,) = re.findall(r"lists entries, newest first: (.*?)\.\n", TEXT, re.DOTALL)
    named = set(re.findall(r"`([a-z_]+)`", sentence))
    row = ChainKeys(["k" * 32]).link(Head(), EVENT)
    assert named == set(_closed(row)) == set(_open(EVENT))


def test_the_outcomes_are_those_named() -> None:
    """In the table."""
    table = TEXT.split("| outcome | |")[1].split("\n\n")[0]
    named = {
        name for cell in re.findall(r"^\| (.*?) \|", table, re.MULTILINE) for name in cell.split("`")[1::2]
    }
    assert named == {str(outcome) for outcome in Outcome}


def test_the_figures_are_those_of_the_program() -> None:
    """Bounds, exit codes and the file's name."""
    assert f"{bounds.ROWS_A_MINUTE} rows a minute and {bounds.ROWS_A_DAY} a day" in TEXT
    assert f"wait in memory, {counting.MAX_WAITING} different ones" in TEXT
    assert (
        f"{command.WHOLE}: whole · {command.DAMAGED}: damaged · {command.UNCHECKED}: whole as far as" in TEXT
    )
    assert f"`{FILE_NAME}`" in TEXT
    assert bounds.OTHERS in TEXT
