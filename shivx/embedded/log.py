"""The keeper's log, which the server writes to as well; bounded in size."""

from __future__ import annotations

import os
import sys
import time

from shivx.embedded.paths import RuntimeDir

MAX_BYTES = 1_000_000  # one such file, and the one before it


class Log:
    """The file behind standard output and error."""

    def __init__(self, runtime: RuntimeDir) -> None:
        self._runtime = runtime

    def say(self, text: str) -> None:
        """Append a line."""
        moment = time.strftime("%d %b %Y %H:%M:%S")
        sys.stderr.write(f"{os.getpid()}:keeper {moment} {text}\n")
        sys.stderr.flush()

    def cut(self) -> None:
        """Put the file aside, in place of the one before, if it has grown too long.

        The server opens it by name for each line, so it follows.
        """
        if os.fstat(sys.stderr.fileno()).st_size < MAX_BYTES:
            return
        self._runtime.log.replace(self._runtime.old_log)
        fresh = os.open(self._runtime.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        for standard in (sys.stdout.fileno(), sys.stderr.fileno()):
            os.dup2(fresh, standard)
        os.close(fresh)
