"""The leak check sees what a test leaves behind, and nothing else."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from tests.leaks import find_leaks, take_census


def test_nothing_new_is_no_leak() -> None:
    """A test that cleans up passes at once."""
    before = take_census()
    with ThreadPoolExecutor(1) as pool, socket.socket():
        pool.submit(int).result()
    assert find_leaks(before, grace=0) == []


def test_thread_that_stays_is_named() -> None:
    """A running thread is a leak until it ends."""
    before, stop = take_census(), threading.Event()
    thread = threading.Thread(target=stop.wait, name="forgotten", daemon=True)
    thread.start()
    assert find_leaks(before, grace=0) == ["thread 'forgotten' (daemon)"]
    stop.set()
    thread.join()
    assert find_leaks(before, grace=0) == []


def test_thread_that_is_ending_has_a_grace() -> None:
    """What ends within the grace is no leak."""
    before = take_census()
    threading.Thread(target=threading.Event().wait, args=(0.05,)).start()
    assert find_leaks(before, grace=5) == []


def test_open_socket_is_named_with_its_addresses() -> None:
    """A listening socket is a leak until it is closed."""
    before = take_census()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (leak,) = find_leaks(before, grace=0)
        assert f"('127.0.0.1', {port})" in leak
    assert find_leaks(before, grace=0) == []


def test_child_process_is_named_with_its_command() -> None:
    """A running child is a leak, unless it is known to belong to the session."""
    before = take_census()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        (leak,) = find_leaks(before, grace=0)
        assert leak.startswith(f"child process {child.pid}: ")
        assert find_leaks(before, allowed_children=[child.pid], grace=0) == []
    assert find_leaks(before, grace=0) == []


def test_unreaped_child_is_a_leak() -> None:
    """A child that has ended but was not waited for is one, too."""
    before = take_census()
    with subprocess.Popen(["true"]) as child:
        (leak,) = find_leaks(before, grace=0.2)
        assert leak == f"child process {child.pid}: (ended, but nobody waited for it)"
