"""A process of a host whose processes share a journal: ``journal_member.py URL NAMESPACE HOST_DIR``.

It takes orders from its input, one a line, and answers each on its output; both are JSON. It ends with its
input.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from cache_ext import MISS, TieredCache, open_cache

ROOT = Path(__file__).parent.parent


class Member:
    """Such a process, as a test sees it. Call it in the main thread, and close it."""

    def __init__(self, url: str, namespace: str, host_dir: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.journal_member", url, namespace, str(host_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        self.answer()

    @property
    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        return self.process.stdin, self.process.stdout

    def tell(self, order: str, *words: object) -> None:
        """Give an order."""
        self._pipes[0].write(json.dumps([order, *words]).encode() + b"\n")
        self._pipes[0].flush()

    def answer(self) -> Any:
        """Return the answer to the order that was given before all others not answered yet."""
        return json.loads(self._pipes[1].readline())

    def do(self, order: str, *words: object) -> Any:
        """Give an order and return the answer."""
        self.tell(order, *words)
        return self.answer()

    def kill(self) -> None:
        """End the process at once, as a crash does."""
        self.process.kill()
        self.process.wait()
        for pipe in self._pipes:
            pipe.close()


def queue(cache: TieredCache, first: int, count: int) -> None:
    """Invalidate *count* tags, each in a call of its own."""
    for number in range(first, first + count):
        cache.invalidate_tags(f"tag{number}")


def get(cache: TieredCache, key: str) -> object:
    """Return the value of *key*, None if there is none."""
    value = cache.get(key)
    return None if value is MISS else value


def orders(cache: TieredCache) -> dict[str, Callable[..., object]]:
    """Return what can be ordered; what answers has an answer that JSON knows."""
    return {
        "invalidate": lambda *tags: cache.invalidate_tags(*tags).applied,
        "soften": lambda *tags: cache.invalidate_tags(*tags, soft=True).applied,
        "delete": lambda *keys: cache.delete(*keys).applied,
        "clear": lambda: cache.clear().applied,
        "queue": lambda first, count: queue(cache, first, count),
        "get": lambda key: get(cache, key),
        "load": lambda key, value, tag: cache.get_or_load(key, lambda: value, ttl=600, tags=[tag]),
        "limit files": lambda size: resource.setrlimit(
            resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
        ),
    }


def main() -> None:
    """Do as told."""
    url, namespace, host_dir = sys.argv[1:]
    cache = open_cache(url, namespace=namespace, host_dir=Path(host_dir), op_timeout=0.5, breaker_failures=1)
    cache.start()
    known = orders(cache)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        order, *words = json.loads(line)
        print(json.dumps(known[order](*words)), flush=True)
    cache.close()


if __name__ == "__main__":
    main()
