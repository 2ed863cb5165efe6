"""What a server was sent, as it saw it itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import redis

T = TypeVar("T")

OVER = "ECHO over"


def commands_during(url: str, act: Callable[[], T]) -> tuple[T, list[str]]:
    """Return what *act* returns, and all commands that came to the server at *url* meanwhile."""
    with redis.Redis.from_url(url) as desk, desk.monitor() as watched:
        result = act()
        desk.echo("over")
        return result, list(iter(lambda: watched.next_command()["command"], OVER))
