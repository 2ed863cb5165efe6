"""A process of its own that uses an embedded Valkey, told what to do line by line on standard input.

``python -m tests.embedded_holder INSTANCE_DIR LINGER`` says "loaded", then answers each of these with a line:
``ensure`` (the server's process number), ``release``, ``fork`` (the parent releases
and ends, its child goes on and says its number), ``spawn`` (an unrelated program; its number).
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

from shivx.embedded import EmbeddedValkey

PEER = struct.Struct("3i")  # process, user, group


def server_pid(valkey: EmbeddedValkey) -> int:
    """Return the number of the process that listens at the address, as the kernel tells it."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(valkey.url.removeprefix("unix://"))
        pid, _, _ = PEER.unpack(line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER.size))
    return pid


def obey(order: str, valkey: EmbeddedValkey) -> object:
    """Do what *order* says and return what to answer."""
    if order == "ensure":
        valkey.ensure()
        return server_pid(valkey)
    if order == "release":
        return valkey.release()
    if order == "fork":
        if os.fork():
            valkey.release()
            os._exit(0)
        return os.getpid()
    if order == "spawn":
        return subprocess.Popen(["sleep", "60"], stdin=subprocess.DEVNULL, close_fds=False).pid
    raise ValueError(order)


def main() -> None:
    """Obey until standard input ends."""
    valkey = EmbeddedValkey(Path(sys.argv[1]), linger=float(sys.argv[2]))
    print("loaded", flush=True)
    # Not by iterating: what a buffer has read ahead would be lost or doubled in a fork.
    while order := os.read(0, 64).decode().strip():
        print(obey(order, valkey), flush=True)


if __name__ == "__main__":
    main()
