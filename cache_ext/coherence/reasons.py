"""Who decided an invalidation and why: told along with it, so that every process can say later."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

MAX_REASON = 200
"""Characters of a reason that are told."""
_MARK = "\x02"
"""Stands between the parts of a signature; names have no control characters."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_reason: ContextVar[str] = ContextVar("cache_ext_reason", default="")


class By(NamedTuple):
    """The process that decided something, and its reason; "" if it gave none."""

    host: str
    pid: int
    reason: str = ""


UNKNOWN = By("", 0)
"""Of who did not say who he is."""


@contextmanager
def because(reason: str) -> Iterator[None]:
    """Let what is invalidated inside the block be told with *reason*, of which 200 characters count."""
    reset = _reason.set(_CONTROL.sub(" ", reason)[:MAX_REASON])
    try:
        yield
    finally:
        _reason.reset(reset)


def myself() -> By:
    """Return this process, with the reason of the block that the caller is in."""
    return By(socket.gethostname(), os.getpid(), _reason.get())


def signed(name: str) -> str:
    """Return the signature of this process, called *name*, under what it decides now."""
    host, pid, reason = myself()
    return _MARK.join((name, host, str(pid), reason))


def read_signature(signature: str) -> tuple[str, By]:
    """Return the name and the process in *signature*; of an older program's there is only a name."""
    name, *parts = signature.split(_MARK, 3)
    if len(parts) != 3 or not (parts[1].isascii() and parts[1].isdigit() and len(parts[1]) < 10):
        return name, UNKNOWN
    return name, By(parts[0], int(parts[1]), parts[2][:MAX_REASON])
