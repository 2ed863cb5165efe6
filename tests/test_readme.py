"""What README.md and docs/ say is so: the Python in the README runs, commands exist, links lead somewhere."""

from __future__ import annotations

import importlib
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest
from flask import Flask

from cache_ext import MISS, cache_of
from shivx import create_app
from shivx.config import Settings
from tests.service import ROOT

PAGES = [ROOT / "README.md", ROOT / "CHANGES.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
PART = re.compile(r"&&|\|\||[;|]")  # between the commands of a line
TARGET = re.compile(r"^([a-z-]+):", re.MULTILINE)
COMMENT = re.compile(r" +#.*")
RunBlock = Callable[[int], ModuleType]
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of a page that are in *language*."""
    return [text for kind, text in FENCE.findall(page.read_text()) if kind == language]


def commands(page: Path, program: str) -> Iterator[list[str]]:
    """Yield the arguments of each call of *program* in a page's shell blocks and code spans."""
    prose = FENCE.sub("", page.read_text())
    lines = [COMMENT.sub("", line) for block in blocks(page, "sh") for line in block.splitlines()]
    for part in (part for text in [*lines, *CODE.findall(prose)] for part in PART.split(text)):
        words = shlex.split(part) if part.count('"') % 2 == part.count("'") % 2 == 0 else []
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            del words[0]
        if words and words[0] == program:
            yield words[1:]


def anchors(page: Path) -> set[str]:
    """Return the names that a page's headings have on a forge."""
    headings = HEADING.findall(FENCE.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.fixture
def run_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunBlock:
    """Run the README's Python block of that number as a reader would, from a file of its own."""

    def run(number: int) -> ModuleType:
        (tmp_path / "shop.py").write_text(blocks(ROOT / "README.md", "python")[number])
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "shop", raising=False)
        return importlib.import_module("shop")

    return run


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    """The service as a newcomer has it, not connected to anything."""
    app = create_app(Settings.from_environment({"SHIVX_INSTANCE_DIR": str(tmp_path)}, None))
    yield app
    cache_of(app).close()


def test_python_without_flask_runs_as_written(run_block: RunBlock) -> None:
    """The first block loads once, invalidates and closes."""
    shop = run_block(0)
    assert shop.stock == {"apples": 3}
    assert shop.cache.get("stock:berlin") is MISS


def test_python_with_flask_runs_as_written(run_block: RunBlock) -> None:
    """The second block is an application that answers, from its cache the second time."""
    app = run_block(1).app
    try:
        assert [app.test_client().get("/stock").json for _ in range(2)] == [{"apples": 3}] * 2
        assert cache_of(app).get("stock") == {"apples": 3}
    finally:
        cache_of(app).close()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Each relative link names a file of the repository, and a heading in it if it says so."""
    broken = []
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if "://" in link or link.startswith("mailto:"):
            continue
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_make_targets_exist() -> None:
    """Each `make TARGET` in the documents is in the Makefile."""
    targets = set(TARGET.findall((ROOT / "Makefile").read_text()))
    named = {
        word
        for page in PAGES
        for words in commands(page, "make")
        for word in words
        if "=" not in word and not word.startswith("-")
    }
    assert {"run", "test"} <= named
    assert named - targets == set()


def test_flask_commands_exist(app: Flask) -> None:
    """Each `flask GROUP COMMAND` in the documents is there, and takes the options that are shown."""
    known = {"run", "shell", "routes"}  # Flask's own
    wrong = []
    for words in (words for page in PAGES for words in commands(page, "flask")):
        if words and words[0] in known:
            continue
        found: click.Command | None = app.cli
        options = [word for word in words if word.startswith("--")]
        for word in (word for word in words if word.isalpha()):
            if isinstance(found, click.Group):
                found = found.get_command(click.Context(found), word)
        takes = {name for each in (found.params if found else []) for name in each.opts}
        if found is None or not set(options) <= takes | {"--help"}:
            wrong.append(" ".join(words))
    assert wrong == []
