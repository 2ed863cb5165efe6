"""Two networks of their own with one line between them, which can be cut: a partition that is real."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from shutil import rmtree
from typing import NamedTuple

from tests.processes import spawn, terminate
from tests.waiting import until

NEAR, FAR = "10.231.77.1", "10.231.77.2"
LINE = "veth-shivx"


class Side(NamedTuple):
    """Where a process runs.

    Args:
        host: the address that it listens on.
        enter: what stands in front of its command.
    """

    host: str = "127.0.0.1"
    enter: tuple[str, ...] = ()


HERE = Side()
"""The network that the tests themselves are in."""


class Partition:
    """Two namespaces, called near and far, which end with pytest, however that happens.

    Raises:
        OSError: or subprocess.CalledProcessError; this machine permits none.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="shivx-net-"))
        self._holders: list[subprocess.Popen[bytes]] = []
        try:
            for _ in range(2):
                holder = spawn(("unshare", "--net", "sleep", "infinity"), self._folder / "log")
                self._holders.append(holder)
                until(lambda holder=holder: self._is_apart(holder), "the namespace is there", 5.0)
            one, other = (str(holder.pid) for holder in self._holders)
            _run(
                "ip", "link", "add", LINE, "netns", one, "type", "veth", "peer", "name", LINE, "netns", other
            )
            for side in (self.near, self.far):
                _run(*side.enter, "ip", "address", "add", f"{side.host}/24", "dev", LINE)
                _run(*side.enter, "ip", "link", "set", "lo", "up")
            self.heal()
        except BaseException:
            self.close()
            raise

    @property
    def near(self) -> Side:
        """The one side."""
        return Side(NEAR, self._entering(0))

    @property
    def far(self) -> Side:
        """The other."""
        return Side(FAR, self._entering(1))

    def cut(self) -> None:
        """Let nothing pass between the sides; connections stay open, and silent."""
        for side in (self.near, self.far):
            _run(*side.enter, "ip", "link", "set", LINE, "down")

    def heal(self) -> None:
        """Let everything pass."""
        for side in (self.near, self.far):
            _run(*side.enter, "ip", "link", "set", LINE, "up")

    def close(self) -> None:
        """End the namespaces."""
        for holder in self._holders:
            terminate(holder)
        rmtree(self._folder)

    def _entering(self, number: int) -> tuple[str, ...]:
        return ("nsenter", f"--net=/proc/{self._holders[number].pid}/ns/net")

    def _is_apart(self, holder: subprocess.Popen[bytes]) -> bool:
        if holder.poll() is not None:
            raise OSError((self._folder / "log").read_text())
        name = Path(f"/proc/{holder.pid}/ns/net").readlink()
        return name != Path("/proc/self/ns/net").readlink()


def permitted() -> bool:
    """Tell whether this machine lets us have namespaces."""
    try:
        Partition().close()
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
