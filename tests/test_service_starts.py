"""Starting, stopping, reloading, starting again: nothing is left, nobody is disturbed, no request fails."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.embedded_stage import open_inodes
from tests.service import GunicornService
from tests.service_stage import processes_of, run_id, runtime_of, until_embedded_gone
from tests.traffic import PATIENCE, PRICE, connected, failures, steady, until_all_serve, until_seen
from tests.waiting import until

pytestmark = pytest.mark.service

ENOUGH = 50  # requests
LONG_SEGMENT = "a-very-long-name-of-a-folder-" * 8  # a name has at most 255 bytes, a Unix socket's path 107

DROPPED_EXIT = re.compile(r"Exception ignored in: .*\nTraceback .*\n(?: .*\n)+SystemExit: 0\n")
"""What the interpreter prints where gunicorn's handler of SIGINT, which raises, comes into a finalizer."""


@pytest.fixture(scope="module")
def first() -> Iterator[GunicornService]:
    """A service that others must not disturb."""
    with GunicornService(workers=2) as service:
        until_all_serve(service, 2)
        yield service


@pytest.mark.parametrize("worker_class", ["gevent", "gthread"])
def test_interrupt_from_the_terminal_ends_everything(worker_class: str) -> None:
    """Ctrl-C, which reaches the whole foreground group, leaves no process, socket or lock."""
    with GunicornService(workers=2, worker_class=worker_class) as service:
        until_all_serve(service, 2)
        os.killpg(service.pid, signal.SIGINT)
        until_embedded_gone(service)
        until(lambda: not service.worker_pids(), "workers are gone", PATIENCE)
        with socket.socket() as client:
            host, _, port = service.url.removeprefix("http://").partition(":")
            assert client.connect_ex((host, int(port))) != 0
        assert "SIGKILL" not in service.log, "each ended by itself"
        assert "Traceback" not in DROPPED_EXIT.sub("", service.log)
        instance = service.instance_dir / "instance"
        left = {str(each.relative_to(instance)) for each in instance.rglob("*") if each.is_file()}
        kept = {"run/host/shivx/journal", "secret_keys", "shivx.db", "shivx.db.lock"}
        log = {"shivx.db-wal", "shivx.db-shm"}  # SQLite's, which stay if two processes close at one moment
        assert left - log == kept, "what is to outlive it"


def test_second_start_on_the_address_fails_and_disturbs_nobody(first: GunicornService) -> None:
    """It says which address is in use and how to take another; the first one serves on, its numbers too."""
    before = run_id(first), first.worker_pids()
    ended = first.start_again()
    assert ended.returncode != 0
    assert f"{first.url.removeprefix('http://')} is in use" in ended.stderr
    assert "SHIVX_BIND" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert (run_id(first), first.worker_pids()) == before
    assert first.get(PRICE).status == 200
    assert connected(first) == 2
    run = first.instance_dir / "instance" / "run"
    assert [each.name for each in run.glob("metrics-*")] == [f"metrics-{first.pid}"]


def test_two_checkouts_are_independent(first: GunicornService) -> None:
    """Each has its own Valkey and its own cache; the end of one is nothing to the other."""
    first.get(PRICE)
    with GunicornService() as second:
        until_all_serve(second, 1)
        assert run_id(second) != run_id(first)
        assert second.get(PRICE).headers["X-Cache"] == "MISS"
        pair = processes_of(first)
    assert processes_of(first) == pair
    assert first.get(PRICE).status == 200


@pytest.mark.parametrize("worker_class", ["gevent", "gthread"])
def test_reload_under_load_fails_no_request(worker_class: str) -> None:
    """SIGHUP brings new workers, which use the same server and what is cached in it."""
    with GunicornService(workers=2, worker_class=worker_class) as service:
        until_all_serve(service, 2)
        old, run = service.worker_pids(), run_id(service)
        with steady(service) as seen:
            service.signal(signal.SIGHUP)
            until(lambda: not set(old) & set(service.worker_pids()), "the old ones are gone", PATIENCE)
            until_all_serve(service, 2)
            until_seen(seen, ENOUGH)
        assert failures(seen) == []
        assert run_id(service) == run
        assert processes_of(service).keys() == {"keeper", "server"}


def test_master_holds_the_server(first: GunicornService) -> None:
    """However long new workers take on a slow machine, the server is there when they come."""
    lock = runtime_of(first).holders_lock.stat().st_ino
    assert lock in open_inodes(first.pid)


def test_reload_with_a_wrong_setting_is_refused(first: GunicornService) -> None:
    """Who has made a mistake in `.env` is told so, and the service serves on as before."""
    workers = first.worker_pids()
    mistake = first.instance_dir / ".env"
    mistake.write_text("SHIVX_CACHE_DEFAULT_TTL=never\n")
    first.signal(signal.SIGHUP)
    until(lambda: "Not reloaded" in first.log, "it is told", PATIENCE)
    mistake.unlink()
    assert "SHIVX_CACHE_DEFAULT_TTL: must be a number" in first.log
    assert first.worker_pids() == workers
    assert first.get(PRICE).status == 200


def test_stopped_and_started_at_once_finds_the_same_server(tmp_path: Path) -> None:
    """Within the two seconds that the server stays after its last user, a start finds it and its data."""
    with GunicornService(folder=tmp_path, env={"SHIVX_CACHE_MARKET_PRICE_TTL": "60"}) as service:
        until_all_serve(service, 1)
        answer, run = service.get(PRICE), run_id(service)
        os.kill(service.pid, signal.SIGTERM)
        address = service.url.removeprefix("http://")
        until(lambda: not service.worker_pids(), "its worker is gone", PATIENCE)
        with GunicornService(
            folder=tmp_path, bind=address, env={"SHIVX_CACHE_MARKET_PRICE_TTL": "60"}
        ) as successor:
            again = successor.get(PRICE)
            same = run_id(successor) == run  # else this machine was too slow
            assert (again.status, again.body == answer.body) == (200, same)


def test_very_long_path_works(tmp_path: Path) -> None:
    """Sockets do not lie in the instance folder, so its path may be as long as the system allows."""
    folder = tmp_path / LONG_SEGMENT / LONG_SEGMENT
    folder.mkdir(parents=True)
    with GunicornService(folder=folder) as service:
        until_all_serve(service, 1)
        assert service.get(PRICE).status == 200
        assert run_id(service)
