"""What a host's processes leave each other does not pile up."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cache_ext import TieredCache
from cache_ext.codec.entries import EntryCodec
from cache_ext.codec.seal import KeyRing
from cache_ext.codec.values import ValueCodec
from cache_ext.loading import leftovers
from cache_ext.loading.leftovers import OLD, SWEEP, SWEEP_EVERY, Leftovers
from cache_ext.testing import FakeClock
from tests.processes import free_port
from tests.waiting import until

ANOTHER_BOOT = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def left(tmp_path: Path, clock: FakeClock) -> Leftovers:
    """The folder as one process has it."""
    codec = EntryCodec(ValueCodec(), KeyRing((), "test"), 1000)
    return Leftovers(tmp_path, codec, clock.monotonic)


def plant(folder: Path, number: int, age: float = 0.0, suffix: str = "") -> Path:
    """Leave a file of *age* seconds."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{number:032x}{suffix}"
    path.touch()
    then = time.time() - age
    os.utime(path, (then, then))
    return path


def test_old_files_go(left: Leftovers) -> None:
    """What may be served no more is removed, half written ones too; the rest stays."""
    folder = left.open()
    old = [plant(folder, 1, 2 * OLD), plant(folder, 2, 2 * OLD, ".123.part")]
    kept = [plant(folder, 3), plant(folder, 4, 0, ".123.part"), plant(folder, 5, 2 * OLD, ".txt")]
    (folder / "07.lock").touch()
    os.utime(folder / "07.lock", (0, 0))
    left.sweep()
    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in [*kept, folder / "07.lock"])


def test_what_earlier_boots_left_goes_with_its_folder(left: Leftovers, tmp_path: Path) -> None:
    """Their clock says nothing, whatever the age. What is not ours is not touched."""
    plant(tmp_path / ANOTHER_BOOT, 1)
    plant(tmp_path / ANOTHER_BOOT, 2, 0, ".123.part")
    (tmp_path / ANOTHER_BOOT / "07.lock").touch()
    foreign = plant(tmp_path / "backup", 1, 2 * OLD)
    (tmp_path / "boot").symlink_to(tmp_path / "backup")
    left.sweep()
    assert not (tmp_path / ANOTHER_BOOT).exists()
    assert foreign.exists()


def test_sweeping_is_bounded(left: Leftovers, clock: FakeClock) -> None:
    """A sweep goes on where it stopped, and rests when it is through."""
    folder = left.open()
    for number in range(SWEEP + 1):
        plant(folder, number, 2 * OLD)
    left.sweep()
    assert len(list(folder.iterdir())) == 1
    left.sweep()
    assert not list(folder.iterdir())
    late = plant(folder, 1, 2 * OLD)
    left.sweep()
    assert late.exists()
    clock.advance(SWEEP_EVERY)
    left.sweep()
    assert not late.exists()


def test_running_process_sweeps(
    make_cache: Callable[..., TieredCache], tmp_path: Path, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It needs nobody to ask for it."""
    monkeypatch.setattr(leftovers, "SWEEP_EVERY", 0.0)
    (tmp_path / namespace).mkdir()
    old = plant(tmp_path / namespace / ANOTHER_BOOT, 1)
    make_cache(f"redis://127.0.0.1:{free_port()}", host_dir=tmp_path).start()
    until(lambda: not old.exists(), "it is gone")
