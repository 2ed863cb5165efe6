"""Where the files of an embedded Valkey lie: a short, private directory for each instance folder.

The place follows from the user and the instance folder alone. It takes nothing from the environment
(XDG_RUNTIME_DIR, TMPDIR): the service and a `flask` command in another shell must come to the same server.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from shivx.embedded.errors import EmbeddedUnavailable

BASE = Path("/tmp")  # noqa: S108 (the one short path that every process of a user sees; `prepare` verifies it)
DIGEST_BYTES = 8  # two of one user's checkouts get the same name with probability 2**-64
OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True)
class RuntimeDir:
    """The directory with the sockets, locks and log of one embedded Valkey."""

    path: Path

    @classmethod
    def of(cls, instance_dir: Path, base: Path = BASE) -> RuntimeDir:
        """Return the place for *instance_dir*, which need not exist; symbolic links are followed."""
        real = os.fsencode(os.path.realpath(instance_dir))
        digest = hashlib.blake2b(real, digest_size=DIGEST_BYTES).hexdigest()
        return cls(base / f"shivx-{os.geteuid()}-{digest}")

    @property
    def server_socket(self) -> Path:
        """Where Valkey listens."""
        return self.path / "valkey.sock"

    @property
    def control_socket(self) -> Path:
        """Where the keeper listens: it answers each connection once Valkey accepts, or can't be started."""
        return self.path / "keeper.sock"

    @property
    def holders_lock(self) -> Path:
        """Shared by all processes that use the server; exclusive means nobody does."""
        return self.path / "holders.lock"

    @property
    def keeper_lock(self) -> Path:
        """Exclusive to the one keeper, all its life."""
        return self.path / "keeper.lock"

    @property
    def start_lock(self) -> Path:
        """Exclusive to the process that starts a keeper, until that listens."""
        return self.path / "start.lock"

    @property
    def log(self) -> Path:
        """What the keeper and Valkey have to say."""
        return self.path / "valkey.log"

    @property
    def old_log(self) -> Path:
        """What was said before the log was last cut."""
        return self.path / "valkey.log.1"

    def prepare(self) -> None:
        """Make the directory if absent, and verify that nobody else can have a hand in it.

        Raises:
            EmbeddedUnavailable: it is a link, another user's, or open to others.
        """
        with contextlib.suppress(FileExistsError):
            self.path.mkdir(mode=stat.S_IRWXU)
        base, own = self.path.parent.stat(), self.path.lstat()
        if base.st_mode & stat.S_IWOTH and not base.st_mode & stat.S_ISVTX:
            raise EmbeddedUnavailable(f"anyone may replace files in {self.path.parent}: chmod +t it")
        if not stat.S_ISDIR(own.st_mode) or own.st_uid != os.geteuid() or own.st_mode & OTHERS:
            raise EmbeddedUnavailable(
                f"{self.path} is not a private directory (mode 0700) of user {os.geteuid()}; "
                "find out who made it and remove it"
            )
