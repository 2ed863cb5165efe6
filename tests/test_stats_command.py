"""``flask cache stats``: tables that fit, lines for programs, and watching until Ctrl-C."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from msgspec.structs import replace
from rich.console import Console

from cache_ext import CacheExt, CachePolicy, TieredCache
from cache_ext.stats.report import Often, Report
from cache_ext.stats.reporting import report_of
from cache_ext.web import tables
from tests.caches import connected
from tests.waiting import until

APP = """
import os
from flask import Flask
from cache_ext import CacheExt
app = Flask(__name__)
app.config.update(CACHE_EXT_REDIS_URL=os.environ["URL"], CACHE_EXT_NAMESPACE=os.environ["SPACE"])
CacheExt(app)
"""
PRICE = CachePolicy(ttl=600, name="price")
HOSTILE = "k\x1b[2J[/bold][red]:\N{RIGHT-TO-LEFT OVERRIDE}"
READS = 20
PATIENCE = 60.0  # seconds: a program starts slowly on a busy machine
HEAD = "processes 1, circuit: 1 closed"


@pytest.fixture
def server_kind() -> str:
    """Which server it is makes no difference."""
    return "valkey"


@pytest.fixture
def cache(make_cache: Callable[..., TieredCache], redis_url: str) -> TieredCache:
    """A cache that has told what it counted: one miss, hits besides."""
    made = connected(make_cache(redis_url))
    for _ in range(READS):
        made.get_or_load("price:1", lambda: 1, policy=PRICE)
    made.runtime.stats.tick()
    return made


@contextmanager
def command(folder: Path, cache: TieredCache, *words: str, **streams: Any) -> Iterator[subprocess.Popen[str]]:
    """Run ``flask cache stats`` beside *cache* while the block lasts."""
    (folder / "app.py").write_text(APP)
    more = {"URL": cache.settings.redis_url, "SPACE": cache.settings.namespace}
    more |= {"PYTHONPATH": str(Path.cwd()), "PYTHONUNBUFFERED": "1", "TERM": "xterm"}
    with subprocess.Popen(
        [sys.executable, "-m", "flask", "--app", str(folder / "app.py"), "cache", "stats", *words],
        env={**os.environ, **more},
        text=True,
        **streams,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def drawn(report: Report, *, columns: int, terminal: bool) -> list[str]:
    """Return the lines that are drawn of *report*."""
    file = io.StringIO()
    console = Console(file=file, width=columns, markup=False, emoji=False, highlight=False)
    console.print(tables.render(report, terminal))
    return file.getvalue().splitlines()


def test_a_pipe_gets_whole_lines(cache: TieredCache, tmp_path: Path) -> None:
    """Columns that programs can split, whatever the width of the terminal, and no control characters."""
    with command(tmp_path, cache, stdout=subprocess.PIPE) as process:
        said = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 0
    lines = said.splitlines()
    assert lines[0] == HEAD
    reads, loads = (line.split() for line in lines if line.startswith("price "))
    assert reads == ["price", str(READS - 1), "0", "1", "0", "0", *["95.0%"] * 3]
    assert loads[1] == "1"
    assert "\x1b" not in said


def test_names_are_shown_and_not_obeyed(cache: TieredCache) -> None:
    """Whatever Redis says they are: nothing of them is markup, or moves the cursor."""
    report = replace(report_of(cache), top_keys=(Often(HOSTILE, READS),))
    text = "\n".join(drawn(report, columns=200, terminal=False))
    assert "k\N{REPLACEMENT CHARACTER}[2J[/bold][red]:\N{REPLACEMENT CHARACTER}" in text


def test_figures_are_whole_on_a_small_terminal(cache: TieredCache) -> None:
    """Of 80 columns: a name is broken if there is no room, a number never."""
    lines = drawn(report_of(cache), columns=80, terminal=True)
    assert max(map(len, lines)) <= 80
    (reads, loads) = (line.split() for line in lines if line.strip().startswith("price "))
    assert reads[1:] == [str(READS - 1), "0", "1", "0", "0", *["95.0%"] * 3]
    assert "…" not in "".join(lines)
    assert len(loads) >= 9


def test_watching_on_a_terminal_goes_on_until_ctrl_c(cache: TieredCache, tmp_path: Path) -> None:
    """Each refresh is in place of the one before; the terminal is given back, and the status is 0."""
    master, slave = pty.openpty()
    shown = b""
    with command(tmp_path, cache, "--watch", "--every=0.1", stdout=slave, stdin=slave) as process:
        os.close(slave)
        while shown.count(HEAD.encode()) < 3:
            shown += os.read(master, 100_000)
        process.send_signal(signal.SIGINT)
        while b"\x1b[?1049l" not in shown:
            shown += os.read(master, 100_000)
        assert process.wait(PATIENCE) == 0
    os.close(master)
    assert shown.index(b"\x1b[?1049h") < shown.index(HEAD.encode())


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_watching_in_a_pipe_goes_on_until_ctrl_c(
    cache: TieredCache, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """Tables, or a line of JSON, one after the other, without control characters."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    said = []
    with command(tmp_path, cache, "--watch", "--every=0.1", *words, **streams) as process:
        assert process.stdout is not None
        heads = 0
        while heads < 2:
            said.append(process.stdout.readline())
            assert said[-1] != "", "it has ended"
            heads += said[-1].startswith("{") if words else said[-1].rstrip() == HEAD
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert "\x1b" not in "".join(said) + rest
    if words:
        assert [json.loads(line)["complete"] for line in said] == [True] * 2


def test_watching_outlasts_redis(own_redis_server: Any, namespace: str) -> None:
    """While it does not answer that is what is shown; a first look at nothing is an error."""
    app = Flask("watched")
    app.config.update(CACHE_EXT_REDIS_URL=own_redis_server.url, CACHE_EXT_NAMESPACE=namespace)
    cache = CacheExt().init_app(app)
    cache.start()
    until(lambda: report_of(cache).complete, "it is connected")
    own_redis_server.kill()
    until(lambda: not report_of(cache).complete, "it is away")
    (line,) = drawn(report_of(cache), columns=300, terminal=True)
    assert line.startswith("nothing is known of the service: this process alone is known: ")
    cache.close()


def test_without_rich_there_is_a_clear_error_and_json(
    cache: TieredCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is needed for tables alone, by this command alone."""
    app = Flask("plain")
    settings = cache.settings
    app.config.update(CACHE_EXT_REDIS_URL=settings.redis_url, CACHE_EXT_NAMESPACE=settings.namespace)
    CacheExt().init_app(app)
    monkeypatch.delitem(sys.modules, "cache_ext.web.tables")
    monkeypatch.delattr("cache_ext.web.tables")
    monkeypatch.setitem(sys.modules, "rich", None)
    done = app.test_cli_runner().invoke(args=["cache", "stats"])
    assert (done.exit_code, done.stdout) == (1, "")
    assert "tables need Rich (pip install rich), --json does not" in done.stderr
    done = app.test_cli_runner().invoke(args=["cache", "stats", "--json"])
    assert (done.exit_code, json.loads(done.stdout)["complete"]) == (0, True)
