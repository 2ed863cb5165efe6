"""One fault under load, from warm keys before it until all is well after it."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.course import stranger
from benchmarks.drill.faults import Fault
from benchmarks.drill.judging import Change, Findings, Judge
from benchmarks.drill.sites import Site
from benchmarks.open_load import OpenLoad
from tests.service import GunicornService

HEALTH = "/api/admin/cache/health"
TOLD_EVERY = 0.3
"""Seconds between two events."""
PATIENCE = 10.0
STREAK = 12
"""So many answers in a row, each on a connection of its own, so that every one of four workers was asked."""
BREATH = 0.02
TOO_LONG = 60.0
HEALTHY_WITHIN = 60.0


@dataclass(frozen=True)
class Sizes:
    """How long is looked: seconds of load before, during and after a fault, and requests a second."""

    before: float
    during: float
    after: float
    rate: float


FULL, TINY = Sizes(3.0, 5.0, 3.0, 500.0), Sizes(0.5, 0.5, 0.5, 50.0)


@dataclass(frozen=True)
class Outcome:
    """What a fault did.

    Args:
        recovered: seconds from its end until the service said that it is healthy, and no request had failed
            or been slow.
        refused_events: how many events were not accepted.
    """

    fault: str
    found: Findings
    recovered: float
    refused_events: int


def drill(fault: Fault, site: Site, sizes: Sizes) -> Outcome:
    """Let *fault* befall *site*."""
    for number in range(len(site.bots.asked)):
        site.service.get(site.bots.path(number), stranger())
    until_healthy(site.services)
    load = OpenLoad(site.port, site.bots, sizes.rate, TOO_LONG * 4)
    pause = threading.Event()
    with load:
        with _events(site, enabled=fault.events) as refused:
            pause.wait(sizes.before)
            began = time.monotonic()
            with fault.befall(site) as killed:
                pause.wait(sizes.during if fault.lasts else 0)
            ended = time.monotonic()
            healthy = until_healthy(site.services)
            pause.wait(sizes.after)
        replies = load.end()
    changes, site.changes = site.changes, []
    judge = Judge(site.bots, site.truth, time.time() - time.monotonic())
    found = judge.judge(replies, (began, max(ended, began + sizes.during)), changes, killed)
    troubled = [each.ended for each in (*found.failed, *found.slow) if each.due > ended]
    return Outcome(fault.name, found, max([healthy, *troubled]) - ended, len(refused))


def until_healthy(services: list[GunicornService]) -> float:
    """Return when all workers had begun to say that they are healthy, monotonic seconds.

    Raises:
        TimeoutError: they do not within a minute.
    """
    since, streak, pause = time.monotonic(), 0, threading.Event()
    deadline = since + HEALTHY_WITHIN
    while streak < STREAK * len(services):
        if _is_healthy(services[streak % len(services)]):
            since = time.monotonic() if streak == 0 else since
            streak += 1
        else:
            streak = 0
            if time.monotonic() > deadline:
                raise TimeoutError("the service is not healthy again")
            pause.wait(BREATH)
    return since


def _is_healthy(service: GunicornService) -> bool:
    try:
        return bool(json.loads(service.get(HEALTH, stranger()).body)["status"] == "healthy")
    except (OSError, ValueError, http.client.HTTPException):
        return False


@contextmanager
def _events(site: Site, *, enabled: bool) -> Iterator[list[int]]:
    """Tell the service of trades all the time, while the block lasts; yield the refusals as they come."""
    over, refused = threading.Event(), []

    def tell() -> None:
        number = 0
        while not over.wait(TOLD_EVERY):
            pair = site.bots.pairs[number % len(site.bots.pairs)]
            number += 1
            asked = time.monotonic()
            status = _post(site, pair)
            if status == http.client.ACCEPTED:
                site.changes.append(Change(pair, asked, time.monotonic()))
            else:
                refused.append(status)

    teller = threading.Thread(target=tell)
    if enabled:
        teller.start()
    try:
        yield refused
    finally:
        over.set()
        if enabled:
            teller.join()


def _post(site: Site, pair: str) -> int:
    """Tell of a trade in *pair*; return the status of the answer, 0 for none."""
    line = http.client.HTTPConnection("127.0.0.1", site.port, timeout=PATIENCE)
    body = json.dumps({"type": "trade_executed", "pair": pair, "source": site.source})
    try:
        line.request("POST", "/api/events", body, {"X-API-Key": site.key, "Content-Type": "application/json"})
        return line.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        line.close()
