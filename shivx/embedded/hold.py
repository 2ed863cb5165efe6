"""A process' share in the server: while one process has one, the keeper stays."""

from __future__ import annotations

import contextlib
import os

from shivx.embedded.deadline import Deadline
from shivx.embedded.locks import SHARED, is_current, lock, open_lock
from shivx.embedded.paths import RuntimeDir


class Hold:
    """The shared lock of this process and of those it forks.

    The lock belongs to the open file, so a forked child holds from its first moment, whatever becomes of its
    parent, until it drops its own descriptor. A program that is run instead inherits nothing.

    There is no mutex, which another thread could have at the moment of a fork, and the child would have it
    for ever. Threads that come at the same time take two shares, which does no harm.
    """

    def __init__(self, runtime: RuntimeDir) -> None:
        self._runtime = runtime
        self._descriptors: list[int] = []

    @property
    def taken(self) -> bool:
        """Whether this process has a share, be it in a directory that was removed since."""
        return bool(self._descriptors)

    def take(self, deadline: Deadline) -> None:
        """Take a share, waiting for a keeper that is just ending to be gone.

        Raises:
            TimeoutError: it was not gone by *deadline*.
        """
        if not any(is_current(present, self._runtime.holders_lock) for present in tuple(self._descriptors)):
            self.drop()
            self._descriptors.append(self._lock_current(deadline))

    def drop(self) -> None:
        """Give up this process' share; does nothing if it has none."""
        while self._descriptors:
            os.close(self._descriptors.pop())  # never LOCK_UN: that would end the children's share too

    def _lock_current(self, deadline: Deadline) -> int:
        while True:
            with contextlib.suppress(FileNotFoundError):  # an ending keeper has removed the directory
                self._runtime.prepare()
                descriptor = open_lock(self._runtime.holders_lock)
                if self._is_ours(descriptor, deadline):
                    return descriptor
                os.close(descriptor)
            deadline.left()

    def _is_ours(self, descriptor: int, deadline: Deadline) -> bool:
        """Lock, and return whether the file is still the one others find: a keeper that ends removes it."""
        try:
            lock(descriptor, SHARED, deadline)
        except BaseException:
            os.close(descriptor)
            raise
        return is_current(descriptor, self._runtime.holders_lock)
