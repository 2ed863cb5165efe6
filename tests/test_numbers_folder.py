"""The folder of the workers' numbers: in memory where there is room, and nobody else's is ever removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from shivx import numbers_folder
from tests.small_disk import BYTES, SmallDisk


@pytest.fixture
def link(tmp_path: Path) -> Path:
    """Where the folder is to be."""
    return tmp_path / "run" / "metrics-1"


def test_it_is_private_and_in_memory_and_goes_as_a_whole(link: Path, tmp_path: Path) -> None:
    """A link leads to a folder of this user alone; made twice it is one, and nothing of it stays."""
    memory = tmp_path / "memory"
    memory.mkdir()
    numbers_folder.make(link, memory)
    numbers_folder.make(link, memory)
    (place,) = memory.iterdir()
    assert (link.resolve(), place.stat().st_mode & 0o777) == (place, 0o700)
    (link / "counter_1.db").touch()
    numbers_folder.remove(link, memory)
    assert (list(memory.iterdir()), list(link.parent.iterdir())) == ([], [])
    numbers_folder.remove(link, memory)


def test_the_usual_memory_is_taken(link: Path) -> None:
    """On this machine it is there."""
    numbers_folder.make(link)
    assert link.readlink().parent == Path("/dev/shm")
    numbers_folder.remove(link)


def test_without_memory_it_is_a_folder_like_any_other(link: Path, tmp_path: Path) -> None:
    """There is none, or none that takes files."""
    numbers_folder.make(link, tmp_path / "nowhere")
    assert link.is_dir()
    assert not link.is_symlink()
    (link / "counter_1.db").touch()
    numbers_folder.remove(link, tmp_path / "nowhere")
    assert not link.exists()


def test_memory_without_room_is_not_taken(link: Path, small_disk: SmallDisk) -> None:
    """It would be as a full disk is: a mapped page of it can no more be written."""
    assert small_disk.free <= BYTES == numbers_folder.ROOM_BYTES
    (small_disk.folder / "taken").write_bytes(b"x")
    numbers_folder.make(link, small_disk.folder)
    assert not link.is_symlink()


def test_a_link_whose_folder_is_gone_is_made_anew(link: Path, tmp_path: Path) -> None:
    """Systems remove what users left in memory."""
    numbers_folder.make(link, tmp_path)
    link.readlink().rmdir()
    numbers_folder.make(link, tmp_path)
    assert list(link.iterdir()) == []


def test_what_a_strange_link_leads_to_stays(link: Path, tmp_path: Path) -> None:
    """Only the link goes, whoever made it."""
    other = tmp_path / "precious"
    other.mkdir()
    link.parent.mkdir()
    link.symlink_to(other)
    numbers_folder.remove(link, tmp_path)
    assert other.is_dir()
    assert not link.is_symlink()
