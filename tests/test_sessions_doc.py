"""docs/sessions.md says what is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from blueprints.auth import auth
from cache_ext import cache_of
from cache_ext.sessions.ids import SessionId
from cache_ext.sessions.records import MAX_BYTES
from cache_ext.sessions.sessions import MOST
from cache_ext.sessions.writer import MOST_TRIES
from cache_ext.testing import FakeClock
from tests.market_stage import scripted_site

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs/sessions.md").read_text()


def test_each_test_and_module_that_is_named_exists() -> None:
    """File and function, module and script."""
    for file, function in re.findall(r"`(test_[a-z_]+\.py)(?:::(test_\w+))?`", TEXT):
        assert f"def {function}" in (ROOT / "tests" / file).read_text(), f"{file}::{function}"
    named = re.findall(r"`((?:sessions/[a-z_]+)|(?:lua/[a-z_]+\.lua))`", TEXT)
    assert len(named) > 8
    for name in named:
        assert (ROOT / "cache_ext" / (name if name.endswith(".lua") else f"{name}.py")).exists(), name


def test_the_numbers_are_those_of_the_code() -> None:
    """Bytes, tries, characters, sessions."""
    assert f"at most {MAX_BYTES} bytes" in TEXT
    assert f"at most {MOST_TRIES} times" in TEXT
    assert f"{len(SessionId.make(None).text)} characters" in TEXT
    assert MOST == 5


def test_the_routes_are_those_of_the_service(clock: FakeClock) -> None:
    """Method and path."""
    told = set(re.findall(r"^\| `([A-Z]+) (/\S+)`", TEXT, re.MULTILINE))
    with scripted_site(clock) as site:
        rules = [rule for rule in site.app.url_map.iter_rules() if rule.endpoint.startswith(f"{auth.name}.")]
        there = {
            (method, rule.rule.replace("<session>", "{id}"))
            for rule in rules
            for method in rule.methods - {"HEAD", "OPTIONS"}
        }
    assert told == there


@pytest.mark.parametrize("server_kind", ["valkey"])
def test_the_program_runs(redis_url: str, namespace: str) -> None:
    """As it stands there, on a Redis of the test."""
    (block,) = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": "shop"}
    exec(compile(block.replace("redis://127.0.0.1:6379", redis_url), "sessions.md", "exec"), names)
    try:
        client = names["app"].test_client()
        assert client.post("/enter/7").text == "in"
        with client.session_transaction() as mine:
            assert dict(mine) == {"fruit": "apple"}
        assert len(names["sessions"].list(7)) == 1
    finally:
        cache_of(names["app"]).close()
