"""What `cache_ext.testing` ships does what its users rely on: clock, origin, fault proxy, fixture."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from cache_ext import MISS, TieredCache
from cache_ext.testing import CountingOrigin, FakeClock, FaultProxy
from tests.caches import begin
from tests.servers import RunningServer
from tests.waiting import until

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```python( conftest)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHORT = 0.2
"""Seconds in which an answer comes if it comes at all."""
ECHO = b"*2\r\n$4\r\nECHO\r\n$10\r\n0123456789\r\n"
ECHOED = b"$10\r\n0123456789\r\n"
HANG_UP = b"*1\r\n$4\r\nQUIT\r\n"


@pytest.fixture
def server_kind() -> str:
    """Which server stands behind a proxy makes no difference."""
    return "valkey"


@pytest.fixture
def proxy(redis_url: str) -> Iterator[FaultProxy]:
    """A proxy before the shared server."""
    with FaultProxy(redis_url) as proxy:
        yield proxy


@pytest.fixture
def dial(proxy: FaultProxy) -> Iterator[type[socket.socket]]:
    """Connect to the proxy: ``dial()``; the line is closed with the test."""
    lines: list[socket.socket] = []

    def dial() -> socket.socket:
        lines.append(socket.create_connection(("127.0.0.1", proxy.port), 5.0))
        return lines[-1]

    yield dial
    for line in lines:
        line.close()


def read(line: socket.socket, count: int) -> bytes:
    """Return *count* bytes, fewer if the line ends before."""
    data = b""
    while len(data) < count and (more := line.recv(count - len(data))):
        data += more
    return data


def silent(line: socket.socket) -> bool:
    """Tell whether nothing comes, no end either."""
    line.settimeout(SHORT)
    try:
        line.recv(1)
    except TimeoutError:
        return True
    finally:
        line.settimeout(5.0)
    return False


def test_clock_moves_only_when_told(clock: FakeClock) -> None:
    """Both clocks advance by the same seconds."""
    monotonic, unix = clock.monotonic(), clock.time()
    clock.advance(1.5)
    assert (clock.monotonic() - monotonic, clock.time() - unix) == (1.5, 1.5)


def test_wall_clock_may_jump_back(clock: FakeClock) -> None:
    """A step changes the wall clock alone; the monotonic one never runs back."""
    monotonic, unix = clock.monotonic(), clock.time()
    clock.step_wall_clock(-900)
    assert (clock.monotonic() - monotonic, clock.time() - unix) == (0, -900)
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1)


def test_origin_counts_calls_by_key(origin: CountingOrigin) -> None:
    """Every call counts for its key, those of a batch included."""
    assert [origin("a"), origin.loader("a")()] == ["a#1", "a#2"]
    assert origin.load_many(["a", "b"]) == {"a": "a#3", "b": "b#1"}
    assert (origin.calls("a"), origin.calls("b"), origin.total) == (3, 1, 4)


@pytest.mark.parametrize("key", ["a", None])
def test_held_origin_answers_when_released(origin: CountingOrigin, key: str | None) -> None:
    """A held call is counted when it arrives and answers only after the release."""
    origin.hold(key)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(origin, "a")
        origin.wait_for_call("a")
        assert not answer.done()
        origin.release(key)
        assert answer.result() == "a#1"


@pytest.mark.parametrize("key", ["a", None])
def test_failing_origin_recovers(origin: CountingOrigin, key: str | None) -> None:
    """Failures count as calls and end with recover."""
    origin.fail_with(LookupError("down"), key)
    with pytest.raises(LookupError, match="down"):
        origin("a")
    origin.recover(key)
    assert origin("a") == "a#2"


def test_origin_may_fail_or_be_held_for_one_key_alone(origin: CountingOrigin) -> None:
    """Other keys are answered meanwhile."""
    origin.hold("slow")
    origin.fail_with(LookupError("down"), "bad")
    assert origin("good") == "good#1"


def test_a_proxy_without_fault_is_transparent(proxy: FaultProxy) -> None:
    """A client sees the server, and what passes is counted."""
    big = "x" * 1_000_000
    with redis.Redis.from_url(proxy.url) as client:
        client.set("k", big)
        assert client.get("k") == big.encode()
    assert proxy.connections == 1
    assert proxy.bytes_up > 1_000_000
    until(lambda: proxy.bytes_down > 1_000_000, "what came is counted, a moment after it was sent on")
    until(lambda: proxy.open_connections == 0, "the end was told to both sides")


def test_a_proxy_keeps_the_rest_of_the_url() -> None:
    """User, password, database and options stay."""
    with FaultProxy("redis://me:secret@127.0.0.1:6379/3?a=b") as proxy:
        assert proxy.url == f"redis://me:secret@127.0.0.1:{proxy.port}/3?a=b"
    with pytest.raises(ValueError, match="unix"):
        FaultProxy("unix:///tmp/s")


def test_delayed_replies_come_late(proxy: FaultProxy, dial) -> None:
    """Each by so many seconds, and in order; then in time again."""
    line = dial()
    proxy.delay(SHORT)
    for _ in range(2):
        started = time.monotonic()
        line.sendall(ECHO)
        assert read(line, len(ECHOED)) == ECHOED
        assert time.monotonic() - started >= SHORT
    proxy.heal()
    line.sendall(ECHO)
    assert read(line, len(ECHOED)) == ECHOED


def test_a_hanging_proxy_accepts_and_forwards_later(proxy: FaultProxy, dial) -> None:
    """Old and new connections stay; what was sent is answered after healing."""
    old = dial()
    proxy.hang()
    new = dial()
    for line in (old, new):
        line.sendall(ECHO)
        assert silent(line)
    proxy.heal()
    assert [read(line, len(ECHOED)) for line in (old, new)] == [ECHOED, ECHOED]


@pytest.mark.parametrize("reset", [True, False])
def test_a_cut_ends_what_is_open(proxy: FaultProxy, dial, reset: bool) -> None:
    """With RST or FIN; who connects again is served."""
    line = dial()
    line.sendall(ECHO)
    read(line, len(ECHOED))
    proxy.cut(reset=reset)
    if reset:
        with pytest.raises(ConnectionResetError):
            line.recv(1)
    else:
        assert line.recv(1) == b""
    line = dial()
    line.sendall(ECHO)
    assert read(line, len(ECHOED)) == ECHOED


def test_a_cut_may_come_in_the_middle_of_a_reply(proxy: FaultProxy, dial) -> None:
    """So many bytes arrive and no more; if lasting, on new connections too, until healed."""
    line = dial()
    line.sendall(ECHO)
    read(line, len(ECHOED))
    proxy.cut(after=7, reset=False, lasting=True)
    for each in (line, dial()):
        each.sendall(ECHO)
        assert read(each, len(ECHOED)) == ECHOED[:7]
    proxy.heal()
    line = dial()
    line.sendall(ECHO)
    assert read(line, len(ECHOED)) == ECHOED


def test_refused_connections_are_refused(proxy: FaultProxy, dial) -> None:
    """Nothing listens meanwhile, those that were open are reset, and nobody else is given the port."""
    line = dial()
    line.sendall(ECHO)
    read(line, len(ECHOED))
    proxy.refuse()
    with pytest.raises(ConnectionResetError):
        line.recv(1)
    for _ in range(100):
        with pytest.raises(ConnectionRefusedError):
            dial()
    proxy.heal()
    line = dial()
    line.sendall(ECHO)
    assert read(line, len(ECHOED)) == ECHOED


def test_a_vanished_peer_says_nothing_for_ever(proxy: FaultProxy, dial) -> None:
    """No bytes, no end; healing serves new connections, not those of that time."""
    line = dial()
    line.sendall(ECHO)
    read(line, len(ECHOED))
    proxy.half_open()
    line.sendall(HANG_UP)
    assert silent(line)
    proxy.heal()
    assert silent(line)
    line = dial()
    line.sendall(ECHO)
    assert read(line, len(ECHOED)) == ECHOED


@pytest.mark.parametrize("fault", ["hang", "half_open", "delay"])
def test_a_fault_may_concern_some_connections_only(proxy: FaultProxy, dial, fault: str) -> None:
    """Those whose client has sent the given bytes; all others are served."""
    marked, plain = dial(), dial()
    arguments = [60.0] if fault == "delay" else []
    getattr(proxy, fault)(*arguments, only=b"0123456789")
    marked.sendall(ECHO)
    plain.sendall(b"*1\r\n$4\r\nPING\r\n")
    assert read(plain, 7) == b"+PONG\r\n"
    assert silent(marked)


def test_a_proxy_may_turn_to_another_server(proxy: FaultProxy, dial, own_redis_server: RunningServer) -> None:
    """New connections lead there; those there are stay until they are cut."""
    with redis.Redis.from_url(proxy.url) as client:
        before = client.info("server")["run_id"]
        proxy.retarget("127.0.0.1", own_redis_server.port)
        assert client.info("server")["run_id"] == before
        proxy.cut()
        with redis.Redis.from_url(own_redis_server.url) as other:
            assert client.info("server")["run_id"] == other.info("server")["run_id"] != before


def test_a_dead_server_behind_the_proxy_ends_connections(own_redis_server: RunningServer) -> None:
    """Its end is told; whoever connects then is cut off."""
    with FaultProxy(own_redis_server.url) as proxy, redis.Redis.from_url(proxy.url) as client:
        assert client.ping()
        own_redis_server.kill()
        with pytest.raises(redis.ConnectionError):
            client.ping()


def test_a_closed_proxy_takes_no_orders(redis_url: str) -> None:
    """Closing twice is fine."""
    proxy = FaultProxy(redis_url)
    proxy.close()
    proxy.close()
    with pytest.raises(RuntimeError, match="closed"):
        proxy.heal()


def test_a_call_that_hangs_in_the_proxy_can_be_ended_by_closing_it(proxy: FaultProxy, dial) -> None:
    """Nothing of a test is left hanging."""
    line = dial()
    proxy.hang()
    line.sendall(ECHO)
    reading = begin(lambda: line.recv(1))
    proxy.close()
    with pytest.raises(ConnectionResetError):
        reading.result(10)


def test_the_fixture_is_a_cache_of_this_process(cache_ext_cache: TieredCache) -> None:
    """Unless the environment names a Redis."""
    assert cache_ext_cache.get_or_load("k", lambda: 1, ttl=60) == 1
    assert cache_ext_cache.get("k") == 1
    assert cache_ext_cache.get("other") is MISS


def run_the_examples(folder: Path, **environment: str) -> str:
    """Run the test file of docs/testing.md by pytest, in a process of its own; return its last line."""
    blocks = BLOCK.findall((ROOT / "docs" / "testing.md").read_text())
    (folder / "conftest.py").write_text("".join(text for conftest, text in blocks if conftest))
    (folder / "test_shop.py").write_text("\n".join(text for conftest, text in blocks if not conftest))
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", str(folder)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    ended = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout
    return ended.stdout.splitlines()[-1]


def test_the_examples_of_the_docs_run_without_redis(tmp_path: Path) -> None:
    """All but the one that needs a Redis."""
    assert run_the_examples(tmp_path).startswith("4 passed, 1 skipped")


def test_the_examples_of_the_docs_run_with_redis(tmp_path: Path, redis_server: RunningServer) -> None:
    """The fixture's cache lies in the Redis that the environment names, and leaves nothing behind there."""
    names = run_the_examples(tmp_path, CACHE_EXT_TEST_REDIS_URL=redis_server.url)
    assert names.startswith("5 passed")
    with redis.Redis.from_url(redis_server.url) as client:
        assert [name for name in client.scan_iter() if not name.startswith(b"test-hang:")] == []
