"""While Redis is away the processes of a host load once for all, and believe no more than they may."""

from __future__ import annotations

import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from cache_ext import TieredCache
from cache_ext.coherence import locks
from cache_ext.loading.host import PATIENCE, TURNS, turn_of
from cache_ext.testing import CountingOrigin
from tests.caches import begin, stop_before
from tests.processes import free_port
from tests.waiting import until

Open = Callable[[], TieredCache]
LEFT_CHARACTERS = 32  # the name of a file in which a value was left


@pytest.fixture
def member(make_cache: Callable[..., TieredCache], tmp_path: Path) -> Open:
    """Open the cache of one more process of the host; its Redis does not answer."""
    address = f"redis://127.0.0.1:{free_port()}"
    return lambda: make_cache(address, host_dir=tmp_path)


def left_by(folder: Path) -> Path:
    """The one file in which a process left a value."""
    (found,) = (path for path in folder.rglob("*") if len(path.name) == LEFT_CHARACTERS and path.is_file())
    return found


def test_one_process_loads_for_all(member: Open, origin: CountingOrigin) -> None:
    """What one process loaded is given to the readers of another, which does not load."""
    answers = [member().get_or_load("key", origin.loader("key"), ttl=60, tags=["tag"]) for _ in range(4)]
    assert answers == ["key#1"] * 4


def test_batch_shares_what_is_there(member: Open, origin: CountingOrigin) -> None:
    """Of a batch only what no process has loaded yet is loaded."""
    member().get_or_load("a", origin.loader("a"), ttl=60)
    found = member().get_or_load_many(["a", "b"], origin.load_many, ttl=60)
    assert found == {"a": "a#1", "b": "b#1"}


def test_processes_that_ask_at_once_load_once(member: Open, origin: CountingOrigin) -> None:
    """While one process loads, the others wait for their turn, and then find what it left."""
    origin.hold()
    caches = [member() for _ in range(4)]
    came: list[str] = []
    for cache in caches:
        call = cache.runtime.loading._flying.call
        cache.runtime.loading._flying.call = lambda *a, call=call: came.append("to load") or call(*a)
    answers = [
        begin(lambda cache=cache: cache.get_or_load("key", origin.loader("key"), ttl=60)) for cache in caches
    ]
    until(lambda: len(came) == len(caches), "all have come to load")
    origin.wait_for_call("key")
    origin.release()
    assert {answer.result(10) for answer in answers} == {"key#1"}


def test_turn_of_a_killed_process_passes_on(
    member: Open, origin: CountingOrigin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is killed in its turn keeps nobody waiting."""
    member().get_or_load("other", lambda: 1)
    (folder,) = {path.parent for path in tmp_path.rglob("*.lock")}
    take = (
        "import fcntl, sys, time\n"
        "locks = [open(path, 'w') for path in sys.argv[1:]]\n"
        "for lock in locks: fcntl.flock(lock, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    paths = [str(folder / f"{turn}.lock") for turn in range(TURNS)]
    holder = subprocess.Popen(
        [sys.executable, "-c", take, *paths], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    waiting, wait = threading.Event(), locks.time.sleep
    monkeypatch.setattr(locks.time, "sleep", lambda seconds: (waiting.set(), wait(seconds)))
    cache = member()
    answer = begin(lambda: cache.get_or_load("key", origin.loader("key"), ttl=60))
    assert waiting.wait(10), "it waits for its turn"
    assert origin.calls("key") == 0
    holder.kill()
    holder.communicate()
    assert answer.result(10) == "key#1"


def test_a_load_inside_another_waits_for_no_turn_of_its_own(member: Open) -> None:
    """Two keys that share a turn, one of which is made of the other."""
    cache = member()
    alike = next(f"k{number}" for number in range(10**6) if turn_of(f"k{number}") == turn_of("whole"))
    answer = begin(lambda: cache.get_or_load("whole", lambda: cache.get_or_load(alike, lambda: "part")))
    assert answer.result(PATIENCE / 2) == "part"
    assert cache.get_or_load(alike, lambda: "another") == "part"


@pytest.mark.parametrize("third", [False, True], ids=["the reader", "a third process"])
def test_what_was_invalidated_since_is_not_believed(
    member: Open, origin: CountingOrigin, third: bool
) -> None:
    """Whichever process of the host invalidated, nobody takes what was left before."""
    first, second = member(), member()
    first.get_or_load("key", origin.loader("key"), ttl=60, tags=["tag"])
    (member() if third else second).invalidate_tags("tag")
    assert second.get_or_load("key", origin.loader("key"), ttl=60, tags=["tag"]) == "key#2"


def test_what_is_invalidated_while_one_waits_for_his_turn_counts(
    member: Open, origin: CountingOrigin
) -> None:
    """Whoever gets his turn learns first what was invalidated meanwhile."""
    first, second = member(), member()
    first.get_or_load("key", origin.loader("key"), ttl=60, tags=["tag"])
    second.start()
    second.runtime._upkeep.stop()
    stop = stop_before(second.runtime._leftovers, "open")
    answer = begin(lambda: second.get_or_load("key", origin.loader("key"), ttl=60, tags=["tag"]))
    stop.wait()
    first.invalidate_tags("tag")
    stop.go()
    assert answer.result(10) == "key#2"


def test_what_others_invalidated_leaves_the_rest_alone(member: Open, origin: CountingOrigin) -> None:
    """What was left without any of the invalidated names is taken as before."""
    first, second = member(), member()
    first.get_or_load("key", origin.loader("key"), ttl=60, tags=["tag"])
    first.invalidate_tags("another")
    second.invalidate_tags("yet another")
    assert second.get_or_load("key", origin.loader("key"), ttl=60, tags=["tag"]) == "key#1"


def test_what_was_left_after_an_invalidation_is_believed(member: Open, origin: CountingOrigin) -> None:
    """An invalidation concerns what was loaded before it; afterwards the host loads once again."""
    first, second = member(), member()
    first.invalidate_tags("tag")
    second.start()
    until(lambda: second.runtime.outbox._shared.tags == {"tag"}, "it knows")
    first.get_or_load("key", origin.loader("key"), ttl=60, tags=["tag"])
    assert second.get_or_load("key", origin.loader("key"), ttl=60, tags=["tag"]) == "key#1"


@pytest.mark.parametrize("age", [6.0, -6.0], ids=["too old", "from another boot"])
def test_what_is_left_is_believed_for_seconds(
    member: Open, origin: CountingOrigin, tmp_path: Path, age: float
) -> None:
    """Longer than a copy that nobody can check may be served, nothing is; nor from the clock's future."""
    member().get_or_load("key", origin.loader("key"), ttl=60)
    path = left_by(tmp_path)
    content = path.read_bytes()
    (loaded,) = struct.unpack_from("<d", content)
    path.write_bytes(struct.pack("<d", loaded - age) + content[8:])
    assert member().get_or_load("key", origin.loader("key"), ttl=60) == "key#2"


@pytest.mark.parametrize("content", [b"", b"12345678", b"\x00" * 100, b"\xff" * 9])
def test_odd_files_are_no_values(
    member: Open, origin: CountingOrigin, tmp_path: Path, content: bytes
) -> None:
    """What is no entry is loaded anew."""
    member().get_or_load("key", origin.loader("key"), ttl=60)
    left_by(tmp_path).write_bytes(content)
    assert member().get_or_load("key", origin.loader("key"), ttl=60) == "key#2"


def test_set_is_not_answered_by_what_is_left(member: Open, origin: CountingOrigin) -> None:
    """A value that is set replaces what another process loaded."""
    member().get_or_load("key", origin.loader("key"), ttl=60)
    cache = member()
    cache.set("key", "mine", ttl=60)
    assert cache.get("key") == "mine"


def test_folder_is_for_its_owner_alone(member: Open, tmp_path: Path) -> None:
    """Nobody else on the host may read or write what is left there."""
    member().get_or_load("key", lambda: 1, ttl=60)
    assert left_by(tmp_path).parent.stat().st_mode & 0o077 == 0


def test_without_a_place_each_loads_for_himself(
    make_cache: Callable[..., TieredCache], origin: CountingOrigin, tmp_path: Path
) -> None:
    """A folder that cannot be made costs loads, not answers."""
    (tmp_path / "file").touch()
    cache = make_cache(f"redis://127.0.0.1:{free_port()}", host_dir=tmp_path / "file")
    assert cache.get_or_load("key", origin.loader("key"), ttl=60) == "key#1"
