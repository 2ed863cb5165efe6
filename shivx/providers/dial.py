"""A TCP connection within a deadline, finding the host's address included."""

from __future__ import annotations

import queue
import socket
import threading
from typing import Any

from shivx.providers.deadline import Deadline, DeadlinePassed


def dial(host: str, port: int, deadline: Deadline) -> socket.socket:
    """Return a TCP connection to the first address of *host* that answers.

    Raises:
        DeadlinePassed, TimeoutError: none did in time.
        OSError: all refused, or there is no such host.
    """
    failure: OSError | None = None
    for family, address in _addresses(host, port, deadline):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(deadline.remaining())
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.connect(address)
        except DeadlinePassed:
            sock.close()
            raise
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure or OSError(f"{host} has no address")


def _addresses(host: str, port: int, deadline: Deadline) -> list[tuple[socket.AddressFamily, Any]]:
    """Look *host* up. The system's resolver knows no deadline, so it is asked in a thread of its own."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        found = _resolve(host, port, deadline)
    return [(family, address) for family, _, _, _, address in found]


def _resolve(host: str, port: int, deadline: Deadline) -> list[Any]:
    answers: queue.SimpleQueue[list[Any] | OSError] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answers.put(error if isinstance(error, OSError) else OSError(str(error)))

    threading.Thread(target=look_up, name=f"resolve-{host}", daemon=True).start()
    try:
        answer = answers.get(timeout=deadline.remaining())
    except queue.Empty:
        raise DeadlinePassed(f"{host} was not resolved in time") from None
    if isinstance(answer, OSError):
        raise answer
    return answer
