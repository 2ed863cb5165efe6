"""Clients of the running service: many at once or a steady stream, and the numbers it counts meanwhile."""

from __future__ import annotations

import http.client
import math
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from tests.caches import all_at_once
from tests.service import Answer, GunicornService
from tests.waiting import until

PRICE = "/api/market/price/SOL-USDC"
HEALTH = "/api/admin/cache/health"
PAUSE = 0.02  # seconds between the requests of a steady client, so that clients do not starve the service
PATIENCE = 60.0  # seconds: how long a busy machine may take for what takes one


@dataclass(frozen=True)
class Exchange:
    """One request: the answer, or why there was none, and how long that took in seconds."""

    answer: Answer | None
    error: str
    seconds: float

    @property
    def failure(self) -> str:
        """What went wrong, empty if the client got a 200."""
        if self.answer is None:
            return self.error
        return "" if self.answer.status == 200 else f"{self.answer.status} {self.answer.body!r}"


def at_once(service: GunicornService, path: str, clients: int) -> list[Answer]:
    """Let so many clients ask for *path* at the same instant, each on a connection of its own."""
    return all_at_once(clients, lambda _: service.get(path))


@contextmanager
def steady(service: GunicornService, path: str = PRICE, clients: int = 4) -> Iterator[list[Exchange]]:
    """Let clients ask for *path* again and again while the block lasts; yield what came of it so far."""
    over = threading.Event()
    seen: list[Exchange] = []

    def ask() -> None:
        while not over.wait(PAUSE):
            began = time.monotonic()
            answer, error = None, ""
            try:
                answer = service.get(path)
            except (OSError, http.client.HTTPException) as problem:
                error = repr(problem)
            seen.append(Exchange(answer, error, time.monotonic() - began))

    with ThreadPoolExecutor(clients) as pool:
        asking = [pool.submit(ask) for _ in range(clients)]
        try:
            until_seen(seen, 2 * clients)
            yield seen
        finally:
            over.set()
    for each in asking:
        each.result()


def until_seen(seen: list[Exchange], more: int) -> None:
    """Wait until the steady clients have so many more answers."""
    enough = len(seen) + more
    until(lambda: len(seen) >= enough, f"{more} more requests are answered", PATIENCE)


def failures(seen: list[Exchange]) -> list[str]:
    """Return what went wrong, a line for each request that got no 200."""
    return [each.failure for each in list(seen) if each.failure]


def number(service: GunicornService, name: str, **labels: str) -> float:
    """Return the sum of what /metrics says of *name* with these *labels*; NaN if it says nothing at all."""
    answer = service.get("/metrics")
    if answer.status != 200:
        return math.nan
    return sum(
        sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def connected(service: GunicornService) -> float:
    """Return how many workers have said that they reach Redis."""
    return number(service, "redis_circuit_state", state="closed")


def until_all_serve(service: GunicornService, workers: int) -> None:
    """Wait until that many workers have said that they reach Redis."""
    until(lambda: connected(service) == workers, f"{workers} workers are connected", PATIENCE)


def health(service: GunicornService) -> str:
    """Return what one worker says of itself."""
    return service.get(HEALTH).body.decode()
