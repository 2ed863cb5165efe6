"""The servers that tests run against behave as the fixtures promise."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import redis

from tests.processes import spawn
from tests.servers import RunningServer
from tests.waiting import until


def test_shared_server_is_empty_for_each_test(redis_url: str, redis_unix_url: str) -> None:
    """TCP and Unix socket lead to the same server, and nothing of other tests is in it."""
    with redis.Redis.from_url(redis_url) as by_tcp, redis.Redis.from_url(redis_unix_url) as by_socket:
        assert by_tcp.dbsize() == 0
        by_tcp.set("left-over", "for the next test to find")
        assert by_socket.get("left-over") == b"for the next test to find"


def test_shared_server_is_emptied_between_tests(redis_server: RunningServer) -> None:
    """What the test before wrote is gone."""
    assert redis_server.ask("DBSIZE") == b":0"


@pytest.mark.parametrize("end", [RunningServer.stop, RunningServer.kill])
def test_server_comes_back_at_the_same_address(own_redis_server: RunningServer, end) -> None:
    """After stop or kill nobody listens; after start the same URL answers again, from a new process."""
    first_pid = own_redis_server.pid
    with redis.Redis.from_url(own_redis_server.url, retry=None) as client:
        end(own_redis_server)
        assert not own_redis_server.running
        with pytest.raises(redis.ConnectionError):
            client.ping()
        own_redis_server.start()
        assert client.ping()
    assert own_redis_server.pid != first_pid


def test_paused_server_accepts_but_does_not_answer(own_redis_server: RunningServer) -> None:
    """A paused server is a hang, not a refusal; resumed it answers."""
    own_redis_server.pause()
    client = redis.Redis.from_url(own_redis_server.url, socket_timeout=0.05, retry=None)
    with client, pytest.raises(redis.TimeoutError):
        client.ping()
    own_redis_server.resume()
    assert own_redis_server.ask("PING") == b"+PONG"


def test_options_reach_the_server(start_redis) -> None:
    """What a test adds to the command line is in force."""
    server = start_redis("--maxmemory", "10mb", "--maxmemory-policy", "allkeys-lru")
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "allkeys-lru"}


def test_closed_server_leaves_no_directory() -> None:
    """Directory, socket and log are removed."""
    server = RunningServer("valkey")
    server.close()
    assert not server.directory.exists()


def test_server_dies_with_a_killed_pytest() -> None:
    """SIGKILL for the process that started a server ends the server as well."""
    program = """if True:
        from tests.servers import RunningServer
        server = RunningServer("valkey")
        print(server.pid, server.directory, flush=True)
        input()
    """
    root = Path(__file__).parent.parent
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        pid, directory = parent.stdout.readline().decode().split()
        assert _lives(pid)
        parent.send_signal(signal.SIGKILL)
    until(lambda: not _lives(pid), "the server is gone")
    shutil.rmtree(directory)


def test_server_cannot_be_started_by_a_passing_thread(tmp_path: Path) -> None:
    """The kernel would end the server with that thread, so it is an error."""
    failures: list[BaseException] = []

    def start() -> None:
        try:
            spawn(["true"], tmp_path / "log")
        except RuntimeError as failure:
            failures.append(failure)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "main thread" in str(failures[0])


def _lives(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
