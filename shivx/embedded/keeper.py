"""The process that owns the server: ``python -m shivx.embedded.keeper INSTANCE_DIR LINGER BINARY``.

It is its own session, so no terminal reaches it. It starts the server, starts it again when that dies, tells
those who ask when it accepts, and ends with the last process that holds it. See docs/embedded-valkey.md.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import sys
import threading
import time
from pathlib import Path

from shivx.embedded.deadline import Deadline
from shivx.embedded.errors import EmbeddedUnavailable
from shivx.embedded.lines import READY, accepts
from shivx.embedded.locks import EXCLUSIVE, SHARED, is_current, lock, open_lock, try_lock, wait_until_free
from shivx.embedded.log import Log
from shivx.embedded.paths import RuntimeDir
from shivx.embedded.server import Server

PROBE_SECONDS = 0.005  # while somebody waits: Valkey has no way to say that it listens
HOUSEKEEPING_SECONDS = 5.0
PREDECESSOR_SECONDS = 5.0  # one that ends gives its locks back within milliseconds
BACKLOG = 1024
NOBODY_HOLDS = b"\0"  # beside the numbers of signals, none of which is 0
WAKE_BYTES = 64


class Keeper:
    """The loop around one server.

    Args:
        runtime: its directory, prepared, and the working directory of this process.
        server: not yet started.
        linger: seconds to stay after the last holder.
        starter: the line to the process that started this one, the first to be answered.
    """

    def __init__(self, runtime: RuntimeDir, server: Server, linger: float, starter: socket.socket) -> None:
        self._runtime = runtime
        self._server = server
        self._linger = linger
        self._log = Log(runtime)
        self._directory = os.open(runtime.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try_lock(self._directory, SHARED)  # systemd-tmpfiles leaves locked directories alone
        self._holders = open_lock(runtime.holders_lock)
        self._control = _listen(runtime.control_socket)
        self._waiting = [starter]
        self._wake, self._waker = socket.socketpair()
        self._end_at: float | None = None
        self._unheld = False
        self._over = False

    def run(self) -> None:
        """Keep the server until nobody holds it, it can't be kept, or SIGTERM."""
        self._catch_signals()
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake, selectors.EVENT_READ, self._on_wake)
            selector.register(self._control, selectors.EVENT_READ, self._on_question)
            self._watch_holders()
            while self._tend():
                for key, _ in selector.select(self._patience()):
                    key.data()
        self._close()

    def _catch_signals(self) -> None:
        self._waker.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno())
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda *_: None)  # the byte that Python writes to the waker is enough
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)

    def _watch_holders(self) -> None:
        def wait() -> None:
            wait_until_free(self._holders)
            self._waker.send(NOBODY_HOLDS)

        threading.Thread(target=wait, name="holders", daemon=True).start()

    def _on_wake(self) -> None:
        numbers = self._wake.recv(WAKE_BYTES)
        if signal.SIGTERM in numbers:
            self._log.say("SIGTERM: ending")
            self._over = True
        if NOBODY_HOLDS in numbers:
            self._end_at = time.monotonic() + self._linger

    def _on_question(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):  # the one who asked has gone
            self._waiting.append(self._control.accept()[0])

    def _tend(self) -> bool:
        """Do what is due; return whether to go on."""
        try:
            while (event := self._server.tend()) is not None:
                self._log.say(event)
        except EmbeddedUnavailable as error:
            self._log.say(f"giving up: {error}")
            self._answer(str(error).encode())
            return False
        if self._waiting and accepts(self._runtime.server_socket):
            self._answer(READY)
        if self._end_at is not None and time.monotonic() >= self._end_at:
            self._end_or_go_on()
        self._keep_house()
        return not self._over

    def _answer(self, text: bytes) -> None:
        for line in self._waiting:
            with line, contextlib.suppress(OSError):  # one that gave up meanwhile
                line.send(text)
        self._waiting.clear()

    def _end_or_go_on(self) -> None:
        self._end_at = None
        if try_lock(self._holders, EXCLUSIVE):  # from here on newcomers wait until this process is gone
            self._unheld = self._over = True
        else:
            self._watch_holders()

    def _keep_house(self) -> None:
        if not is_current(self._directory, self._runtime.path):
            self._over = True  # removed under us; users have come to another server by now
        else:
            self._log.cut()

    def _patience(self) -> float:
        moments = [moment for moment in (self._server.start_at, self._end_at) if moment is not None]
        waits = [max(0.0, moment - time.monotonic()) for moment in moments]
        return min([HOUSEKEEPING_SECONDS, *waits, *([PROBE_SECONDS] if self._waiting else [])])

    def _close(self) -> None:
        """End the server and remove what is here; the holders' lock last, so that newcomers wait for it."""
        self._server.kill()
        files = [self._runtime.control_socket, self._runtime.server_socket]
        if self._unheld:
            files += [] if self._server.deaths else [self._runtime.log, self._runtime.old_log]
            files += [self._runtime.start_lock, self._runtime.keeper_lock, self._runtime.holders_lock]
        for file in files:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(file.name, dir_fd=self._directory)  # never in a directory made since
        if self._unheld:
            with contextlib.suppress(OSError):  # not empty: the log is kept, or a newcomer is quick
                self._runtime.path.rmdir()


def _listen(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)  # of a predecessor that was killed
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def _detach() -> None:
    """Leave the process that the starter waits for, and all that it handed down but the standard files."""
    if os.fork():
        os._exit(0)
    os.umask(0o077)
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 (the names alone)
        if int(name) > sys.stderr.fileno():
            with contextlib.suppress(OSError):  # the one that listed them
                os.close(int(name))


def _is_only_keeper(runtime: RuntimeDir) -> bool:
    """Take the keepers' lock for the life of this process; return whether there was none already at work."""
    descriptor = open_lock(runtime.keeper_lock)
    if not try_lock(descriptor, EXCLUSIVE):
        if accepts(runtime.control_socket):
            return False
        lock(descriptor, EXCLUSIVE, Deadline.after(PREDECESSOR_SECONDS))
    return True


def _take_standard_input() -> socket.socket:
    """Return the line to the starter, which it made our standard input."""
    line = socket.socket(fileno=os.dup(sys.stdin.fileno()))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, sys.stdin.fileno())
    os.close(null)
    return line


def main() -> None:
    """Become the keeper of the instance folder named on the command line."""
    instance_dir, linger, binary = sys.argv[1:]
    _detach()
    runtime = RuntimeDir.of(Path(instance_dir))
    runtime.prepare()
    os.chdir(runtime.path)
    if not _is_only_keeper(runtime):
        return
    Keeper(runtime, Server(Path(binary), runtime), float(linger), _take_standard_input()).run()


if __name__ == "__main__":
    main()
