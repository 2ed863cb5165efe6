"""What a newcomer does: clone, `make run`, ask for a price twice, Ctrl-C; then once more. All for real."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shivx.embedded.paths import RuntimeDir
from tests.embedded_stage import processes_at
from tests.processes import free_port, processes, spawn
from tests.service import DIRECT, ROOT
from tests.waiting import until

pytestmark = pytest.mark.service

INSTALL_SECONDS = 400.0  # half a minute with a near package index
START_SECONDS = 60.0
END_SECONDS = 30.0
# What the developer or CI has set is no newcomer's; PIP_ alone stays, which says where packages come from.
KEPT = ("PATH", "HOME", "LANG", "SSL_CERT_FILE", "http_proxy", "https_proxy", "no_proxy")


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """A fresh clone of what is committed, under a name with a space; goes, for its packages take 300 MB."""
    folder = tmp_path / "my ShivX"
    subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True, timeout=END_SECONDS)
    yield folder
    shutil.rmtree(folder)


def environment(port: int) -> dict[str, str]:
    """What the newcomer's shell has set."""
    kept = {name: text for name, text in os.environ.items() if name in KEPT or name.startswith("PIP_")}
    # Modules are compiled when imported instead: most are not, and it takes half the time.
    return {**kept, "PIP_NO_COMPILE": "1", "SHIVX_BIND": f"127.0.0.1:{port}", "WEB_CONCURRENCY": "1"}


@contextmanager
def make_run(checkout: Path, port: int, log: Path, patience: float) -> Iterator[None]:
    """Run `make run` in the foreground of a terminal while the block lasts; end it with Ctrl-C."""
    process = spawn(["make", "run"], log, cwd=checkout, env=environment(port), on_parent_death=signal.SIGTERM)
    try:
        until(lambda: process.poll() is not None or answers(port), "it answers", patience)
        yield
        os.killpg(process.pid, signal.SIGINT)
        process.wait(END_SECONDS)
        until(lambda: not left_of(process.pid, checkout), "all processes have ended", END_SECONDS)
    except BaseException:
        print(log.read_text())
        raise
    finally:
        for pid in left_of(process.pid, checkout):
            os.kill(pid, signal.SIGKILL)
        process.wait()


def answers(port: int) -> bool:
    """Whether the service is ready."""
    try:
        with DIRECT.open(f"http://127.0.0.1:{port}/readyz", timeout=END_SECONDS) as response:
            return response.status == 200
    except OSError:
        return False


def price(port: int) -> str:
    """Do as the README says, for a pair that is not warmed; return X-Cache."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/market/price/ADA-USDC")
    with DIRECT.open(request, timeout=END_SECONDS) as response:
        return response.headers["X-Cache"]


def left_of(session: int, checkout: Path) -> set[int]:
    """The processes that `make run` has started, near and far."""
    near = {found.pid for found in processes() if found.session == session and not found.ended}
    return near | processes_at(RuntimeDir.of(checkout / "instance").path)


def test_clone_make_run_and_again(checkout: Path, tmp_path: Path) -> None:
    """With nothing but Python, make and an index it serves; Ctrl-C leaves nothing; a second run is quick."""
    port, first, second = free_port(), tmp_path / "first.log", tmp_path / "second.log"
    with make_run(checkout, port, first, INSTALL_SECONDS):
        assert [price(port), price(port)] == ["MISS", "HIT"]
        said = first.read_text()
        assert f"http://127.0.0.1:{port}" in said
        assert "curl" in said
        assert "simulated" in said
        assert f"http://127.0.0.1:{port}/admin/login/once#token=" in said
    assert "Traceback" not in first.read_text()
    with make_run(checkout, port, second, START_SECONDS):
        assert [price(port), price(port)] == ["MISS", "HIT"]
    assert "Installing" not in second.read_text()
    assert not RuntimeDir.of(checkout / "instance").path.exists()
    untracked = subprocess.run(
        ["git", "-C", checkout, "status", "--porcelain"], check=True, capture_output=True, timeout=END_SECONDS
    )
    assert untracked.stdout == b""
