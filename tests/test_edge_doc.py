"""docs/edge.md says what is so."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

from shivx.edge.cors import EXPOSED
from shivx.edge.security import add_security_headers
from shivx.logs import JsonFormatter
from shivx.request_ids import following

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs/edge.md").read_text()


def test_each_module_that_is_named_exists() -> None:
    """By its path."""
    named = re.findall(r"`((?:shivx|blueprints)/[a-z_/]+\.py)`", TEXT)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_headers_in_the_table_are_those_that_are_sent() -> None:
    """Name and value, of pages and of all else."""
    rows = re.findall(r"^\| (?:`([A-Za-z-]+)`)? *\| ([^|]+) \| `(.+)` \|$", TEXT, re.MULTILINE)
    told: dict[str, dict[str, str]] = {"text/html": {}, "application/json": {}}
    name = ""
    for given, where, value in rows:
        name = given or name
        for kind, headers in told.items():
            if "pages" not in where or kind == "text/html":
                headers.setdefault(name, value)
    for kind, headers in told.items():
        sent = [("Content-Type", kind)]
        add_security_headers({"wsgi.url_scheme": "https"}, sent)
        assert dict(sent[1:]) == headers


def test_the_exposed_headers_are_those_named() -> None:
    """In the list of what pages see."""
    (sentence,) = re.findall(r"Pages see the headers (.*?)\.\n- ", TEXT, re.DOTALL)
    assert tuple(re.findall(r"`([^`]+)`", sentence)) == EXPOSED


def test_the_fields_of_a_line_are_those_named() -> None:
    """In the table."""
    table = TEXT.split("| field | |")[1].split("\n\n")[0]
    try:
        raise ValueError
    except ValueError as error:
        info = (ValueError, error, None)
    record = logging.LogRecord("x", logging.INFO, "x.py", 1, "x", (), info)
    with following("x"):
        assert set(json.loads(JsonFormatter().format(record))) == set(re.findall(r"`([a-z_]+)`", table))
