"""The journal as a file: what is torn, damaged, full, or somebody else's, and who has seen how much of it."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from cache_ext.coherence.journal import KEPT_BYTES, Journal
from cache_ext.coherence.outbox import CHUNK, MAX_NAMES, REST, Outbox
from cache_ext.coherence.records import BASE_AT, HEADER_BYTES, MAX_BYTES, Names, parse_header
from cache_ext.errors import StoreUnavailable
from cache_ext.stores.local import LocalStore
from cache_ext.testing import FakeClock
from tests.waiting import until

ROOT = Path(__file__).parent.parent


class ToldStore(LocalStore):
    """A store that notes what it is told, or is away."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, set[str]]] = []
        self.answers = 1_000_000
        """So often; then it is away."""

    def _tell(self, what: str, names: Collection[str] = ()) -> None:
        if self.answers == 0:
            raise StoreUnavailable("away")
        self.answers -= 1
        self.told.append((what, set(names)))

    def invalidate(self, tags: Collection[str], soft: bool = False) -> dict[str, object]:  # type: ignore[override]
        """Note it."""
        self._tell("soft" if soft else "tags", tags)
        return {}

    def delete(self, keys: Collection[str]) -> int:
        """Note it."""
        self._tell("keys", keys)
        return 0

    def clear(self) -> dict[int, bytes]:
        """Note it."""
        self._tell("everything")
        return {}


class Process:
    """What one process of the host has of the journal, and what it was made to do."""

    def __init__(self, path: Path, clock: FakeClock) -> None:
        self.applied = Names()
        self.journal = Journal(path)
        self.outbox = Outbox(self.journal, self._apply, clock.monotonic)
        self.outbox.open()

    def _apply(self, names: Names) -> None:
        self.applied.update(names)


Join = Callable[[], Process]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal lies."""
    return tmp_path / "host" / "journal"


@pytest.fixture
def join(path: Path, clock: FakeClock) -> Join:
    """Let one more process use it."""
    return lambda: Process(path, clock)


@pytest.fixture
def store() -> ToldStore:
    """A store that answers."""
    return ToldStore()


def test_others_do_and_tell_what_one_queued(join: Join, store: ToldStore) -> None:
    """All kinds of names arrive; the store is told once, and then nothing waits for anybody."""
    one, other = join(), join()
    one.outbox.add(tags=["t"], soft=["s"], keys=["k"])
    assert other.outbox.waiting
    assert other.applied == Names({"t"}, {"k"}, {"s"})
    other.outbox.settle(store)
    assert sorted(store.told) == [("keys", {"k"}), ("soft", {"s"}), ("tags", {"t"})]
    one.outbox.settle(store)
    assert len(store.told) == 3
    assert not one.outbox.waiting
    assert one.applied == Names(), "it knows what it did itself"


def test_what_is_new_is_done_once(join: Join) -> None:
    """Each look brings what was queued since the last."""
    one, other = join(), join()
    for number in range(3):
        one.outbox.add(tags=[f"t{number}"])
        other.applied = Names()
        other.outbox.catch_up()
        assert other.applied == Names({f"t{number}"})
    assert other.outbox._shared.tags == {"t0", "t1", "t2"}


def test_what_was_told_and_cut_off_unseen_counts_as_everything(
    join: Join, store: ToldStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who missed records that are gone by now drops all that he has, once."""
    monkeypatch.setattr("cache_ext.coherence.journal.KEPT_BYTES", 0)
    one, other = join(), join()
    one.outbox.add(tags=["missed"])
    one.outbox.settle(store)
    one.outbox.add(tags=["t"])  # cuts off what was told
    other.outbox.catch_up()
    assert other.applied.everything
    other.applied = Names()
    one.outbox.add(tags=["u"])
    other.outbox.catch_up()
    assert other.applied == Names({"u"})


def test_what_was_told_is_still_done_by_who_comes_late(join: Join, store: ToldStore) -> None:
    """Told records are read as long as they are there."""
    one, other = join(), join()
    one.outbox.add(tags=["t"])
    one.outbox.settle(store)
    assert not other.outbox.waiting
    assert other.applied == Names({"t"})


def test_journal_does_not_grow_with_what_was_told(join: Join, store: ToldStore, path: Path) -> None:
    """Records that were told give way to others when there are many of them."""
    one, names = join(), [f"{number}" * 1000 for number in range(10)]
    for _ in range(20):
        one.outbox.add(tags=names)
        one.outbox.settle(store)
    assert path.stat().st_size < HEADER_BYTES + KEPT_BYTES + 2 * 10_100
    assert len(store.told) == 20


def test_record_that_a_killed_process_did_not_end_does_not_count(join: Join, path: Path) -> None:
    """Bytes behind the end were written by a call that never returned; the next record overwrites them."""
    one, other = join(), join()
    one.outbox.add(tags=["t"])
    with path.open("ab") as file:
        file.write(b"half a rec")
    other.outbox.catch_up()
    assert other.applied == Names({"t"})
    one.outbox.add(tags=["u"])
    other.outbox.catch_up()
    assert other.applied == Names({"t", "u"})


@pytest.mark.parametrize("damage", ["torn", "flipped", "unknown kind"])
def test_damaged_record_counts_as_everything(join: Join, store: ToldStore, path: Path, damage: str) -> None:
    """What cannot be read may have named anything; after it was told, all is well again."""
    one, other = join(), join()
    one.outbox.add(tags=["t" * 20])
    content = bytearray(path.read_bytes())
    if damage == "torn":
        os.truncate(path, len(content) - 5)
    else:
        content[-5 if damage == "flipped" else HEADER_BYTES] ^= 1
        path.write_bytes(content)
    assert other.outbox.waiting
    assert other.applied.everything
    other.outbox.settle(store)
    assert ("everything", set()) in store.told
    assert not other.outbox.waiting
    late = join()
    assert not late.outbox.waiting


@pytest.mark.parametrize("content", [b"not a journal", b"\x00" * 64, b"\xff" * 56])
def test_damaged_header_counts_as_everything(
    join: Join, store: ToldStore, path: Path, content: bytes
) -> None:
    """For who starts with it, and for who runs; then it is a journal again."""
    running = join()
    path.write_bytes(content)
    running.outbox.catch_up()
    assert running.applied.everything
    late = join()
    assert late.outbox.waiting
    late.outbox.settle(store)
    assert store.told == [("everything", set())]
    running.outbox.open()
    running.outbox.settle(store)
    late.outbox.add(tags=["t"])
    running.outbox.catch_up()
    assert "t" in running.applied.tags


def test_new_journal_is_empty(join: Join, path: Path) -> None:
    """Who makes it has nothing to tell, nor has who finds a file without content."""
    assert not join().outbox.waiting
    path.unlink()
    path.touch(0o600)
    assert not join().outbox.waiting


def test_overflow_is_everything_until_it_was_told(
    join: Join, store: ToldStore, caplog: pytest.LogCaptureFixture
) -> None:
    """What the journal has no room for is told as everything; another overflow meanwhile counts anew."""
    one, other = join(), join()
    one.outbox.add(tags=["x" * MAX_BYTES])
    one.outbox.add(tags=["x" * MAX_BYTES])
    assert len(caplog.messages) == 1
    other.outbox.catch_up()
    assert other.applied.everything
    assert one.applied == Names()
    other.applied = Names()
    clear = store.clear

    def clear_while_it_overflows_again() -> dict[int, bytes]:
        one.outbox.add(tags=["y" * MAX_BYTES])
        return clear()

    store.clear = clear_while_it_overflows_again  # type: ignore[method-assign]
    other.outbox.settle(store)
    store.clear = clear  # type: ignore[method-assign]
    assert other.outbox.waiting
    assert other.applied.everything
    one.outbox.settle(store)
    assert not other.outbox.waiting
    assert [what for what, _ in store.told] == ["everything"] * 2


def test_clear_is_an_overflow(join: Join, store: ToldStore) -> None:
    """Everything is everything."""
    one, other = join(), join()
    one.outbox.add(everything=True)
    other.outbox.settle(store)
    assert other.applied.everything
    assert store.told == [("everything", set())]


def test_what_is_queued_while_the_store_is_told_waits_for_the_next_time(join: Join, store: ToldStore) -> None:
    """Nobody takes a name that was queued too late for one that was told."""
    one, other = join(), join()
    one.outbox.add(tags=["t"])
    tell = store.invalidate

    def invalidate_while_more_comes(tags: Collection[str], soft: bool = False) -> dict[str, object]:
        other.outbox.add(tags=["t"])
        one.outbox.add(tags=["u"])
        return tell(tags, soft)

    store.invalidate = invalidate_while_more_comes  # type: ignore[method-assign]
    one.outbox.settle(store)
    store.invalidate = tell  # type: ignore[method-assign]
    assert one.outbox.waiting
    other.outbox.settle(store)
    assert [names for _, names in store.told] == [{"t"}, {"t", "u"}]
    assert not one.outbox.waiting


def test_store_that_fails_in_between_is_told_the_rest(join: Join, store: ToldStore, clock: FakeClock) -> None:
    """Names are told in portions that fit a request; who fails rests, and goes on where he was."""
    one = join()
    tags = {f"t{number}" for number in range(2 * CHUNK)}
    one.outbox.add(tags=tags)
    store.answers = 1
    with pytest.raises(StoreUnavailable):
        one.outbox.settle(store)
    assert one.outbox.waiting
    store.answers = 10
    with pytest.raises(StoreUnavailable):
        one.outbox.settle(store)
    assert len(store.told) == 1, "it was not asked again so soon"
    clock.advance(REST)
    one.outbox.settle(store)
    assert [len(names) for _, names in store.told] == [CHUNK, CHUNK]
    assert store.told[0][1] | store.told[1][1] == tags
    assert not one.outbox.waiting


def test_too_many_names_are_told_as_everything(join: Join, store: ToldStore) -> None:
    """Replacing the epoch costs less than ten thousand tags, by then."""
    one, other = join(), join()
    one.outbox.add(tags=[f"t{number}" for number in range(MAX_NAMES + 1)])
    other.outbox.settle(store)
    assert store.told == [("everything", set())]


def test_process_that_tells_keeps_others_from_believing(join: Join, store: ToldStore) -> None:
    """Meanwhile the store is not available to them, and they do not tell it a second time."""
    one, other = join(), join()
    one.outbox.add(tags=["t"])
    tell = store.invalidate

    def invalidate_while_another_looks(tags: Collection[str], soft: bool = False) -> dict[str, object]:
        with pytest.raises(StoreUnavailable):
            other.outbox.settle(store)
        return tell(tags, soft)

    store.invalidate = invalidate_while_another_looks  # type: ignore[method-assign]
    one.outbox.settle(store)
    assert store.told == [("tags", {"t"})]


def test_disk_that_refuses_the_end_of_it_has_it_told_once(join: Join, store: ToldStore, path: Path) -> None:
    """A process that cannot write that the store was told remembers it all the same."""
    one = join()
    one.outbox.add(tags=["t"])
    one.outbox.add(everything=True)
    read_only = os.open(path, os.O_RDONLY)
    os.dup2(read_only, one.journal._fd)
    os.close(read_only)
    one.outbox.settle(store)
    assert store.told == [("everything", set())]
    assert not one.outbox.waiting
    other = join()
    assert other.outbox.waiting, "the file does not know"
    other.outbox.add(tags=["u"])
    one.outbox.settle(store)
    assert store.told[1:] == [("tags", {"u"})]


def test_folder_and_file_are_for_their_owner_alone(join: Join, path: Path) -> None:
    """Nobody else may read or write them."""
    join().outbox.add(tags=["t"])
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("how", ["link", "second name", "writable by others", "folder"])
def test_file_of_others_is_not_used(
    join: Join, path: Path, tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What others could write to, or could have put there to be overwritten, is left as it is."""
    path.parent.mkdir(mode=0o700)
    precious = tmp_path / "precious"
    precious.write_text("precious")
    if how == "folder":
        path.mkdir()
    elif how == "link":
        path.symlink_to(precious)
    elif how == "second name":
        path.hardlink_to(precious)
    else:
        path.touch()
        path.chmod(0o666)
    one = join()
    one.outbox.add(tags=["t"])
    assert one.outbox.waiting, "in memory"
    assert precious.read_text() == "precious"
    assert how == "folder" or path.stat().st_size in (0, len("precious"))
    assert len(caplog.messages) == 1


def test_folder_that_is_a_link_is_not_used(join: Join, path: Path, tmp_path: Path) -> None:
    """A link may lead to where others can write."""
    (tmp_path / "elsewhere").mkdir()
    path.parent.symlink_to(tmp_path / "elsewhere")
    join().outbox.add(tags=["t"])
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_folder_that_others_could_write_to_is_closed_to_them(join: Join, path: Path) -> None:
    """As an older program may have left it."""
    path.parent.mkdir()
    path.parent.chmod(0o777)
    join()
    assert path.parent.stat().st_mode & 0o022 == 0


def test_cache_that_is_forgotten_leaves_no_open_file(join: Join, path: Path) -> None:
    """Nobody need close it."""
    held = Path(f"/proc/self/fd/{join().journal._fd}")
    gc.collect()
    assert not held.exists() or held.readlink() != path


FORK = """
import os, sys
from pathlib import Path
from cache_ext.coherence.journal import Journal
journal = Journal(Path(sys.argv[1]))
journal.open()
lock = journal.locked()
assert lock.__enter__()
if os.fork():
    os._exit(0)  # as if killed: it frees nothing
os.read(0, 1)
other = Journal(Path(sys.argv[1]))
other.open()
with other.locked() as held:
    print("free" if held else "kept", flush=True)
os._exit(0)
"""


def test_forked_child_does_not_keep_the_lock_of_its_parent(path: Path) -> None:
    """The lock of a parent that is killed is free, though a child was forked while it was held."""
    process = subprocess.Popen(
        [sys.executable, "-c", FORK, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    until(lambda: process.poll() is not None, "the parent is gone")
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"x")
    process.stdin.close()
    assert process.stdout.read() == b"free\n"
    process.stdout.close()


def test_positions_stand_where_the_header_says(join: Join, path: Path) -> None:
    """Header and records are where the layout puts them."""
    one = join()
    one.outbox.add(tags=["t"])
    content = path.read_bytes()
    header = parse_header(content[:HEADER_BYTES])
    assert header is not None
    assert HEADER_BYTES + header.end - header.base == len(content)
    assert content[BASE_AT : BASE_AT + 8] == bytes(8)
