"""Works with accounts under gevent and prints, as JSON, how evenly another greenlet ran meanwhile.

``python -m tests.accounts_gevent DATABASE_URL SCENE``
"""

from gevent import monkey

monkey.patch_all()

import itertools  # noqa: E402 (gevent wants to come first)
import json  # noqa: E402
import sys  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402

import gevent  # noqa: E402
import gevent.event  # noqa: E402
from argon2 import PasswordHasher  # noqa: E402
from sqlalchemy import text  # noqa: E402
from sqlalchemy.orm import Session  # noqa: E402

from cache_ext import open_cache  # noqa: E402
from shivx.accounts.key_text import make_key  # noqa: E402
from shivx.errors import Conflict, InvalidParameter  # noqa: E402
from shivx.identity import Tier  # noqa: E402
from tests.accounts_stage import PASSWORD, SECRET, Office  # noqa: E402

USERS = 12
TICK_SECONDS = 0.005
SLOW = PasswordHasher(time_cost=20, memory_cost=16_384, parallelism=1)
"""Some tenths of a second."""


def tick(moments: list[float]) -> None:
    """Note the time over and over."""
    while True:
        moments.append(time.monotonic())
        gevent.sleep(TICK_SECONDS)


def tick_beside(moments: list[float]) -> None:
    """Note the time over and over in a thread that no greenlet can stop; only the machine can."""
    sleep = monkey.get_original("time", "sleep")
    while True:
        moments.append(time.monotonic())
        sleep(TICK_SECONDS)


def log_in(office: Office) -> None:
    """Let several log in at once: each comparison takes long."""
    jobs = [gevent.spawn(office.login.verify, "alice", PASSWORD, f"address:{n}") for n in range(4)]
    gevent.joinall(jobs, raise_error=True)
    assert all(job.value.name == "alice" for job in jobs)


def lock(office: Office) -> None:
    """Let writers wait for one that holds the database for half a second."""

    held = gevent.get_hub().loop.async_()
    holds = gevent.event.Event()
    held.start(holds.set)

    def hold(session: Session) -> None:
        session.execute(text("UPDATE accounts SET epoch = epoch"))
        held.send()
        monkey.get_original("time", "sleep")(0.5)  # in a thread of the hub's pool, as a slow disk would

    jobs = [gevent.spawn(office.database.write, hold)]
    holds.wait()
    held.close()
    jobs += [gevent.spawn(office.accounts.bump_epoch, 1) for _ in range(USERS)]
    gevent.joinall(jobs, raise_error=True)


def crowd(office: Office) -> None:
    """Let many look for keys at once, more than there are places; some of what they do fails."""
    keys = [office.keys.create(1, f"bot {number}").text for number in range(USERS)]

    def use(text: str) -> None:
        assert office.identify(HTTP_X_API_KEY=text).name == "alice"
        assert office.keys.find(make_key()) is None
        for failing in (Conflict, InvalidParameter):
            try:
                office.accounts.create("alice" if failing is Conflict else "", Tier.PREMIUM)
            except failing:
                continue
            raise AssertionError("it was to fail")

    gevent.joinall([gevent.spawn(use, key) for key in keys], raise_error=True)


def longest_gap(moments: list[float]) -> float:
    """Return the longest time between two of *moments*."""
    return max(after - before for before, after in itertools.pairwise(moments))


def main() -> None:
    """Play one scene."""
    url, scene = sys.argv[1:]
    office = Office(open_cache("memory://", secret_keys=(SECRET,)), url, SLOW)
    office.accounts.create("alice", Tier.PREMIUM, PASSWORD)
    moments: list[float] = []
    beside: list[float] = []
    monkey.get_original("_thread", "start_new_thread")(tick_beside, (beside,))
    ticker = gevent.spawn(tick, moments)
    {"log_in": log_in, "lock": lock, "crowd": crowd}[scene](office)
    ticker.kill()
    office.access.close()
    print(
        json.dumps(
            {
                "seconds": moments[-1] - moments[0],
                "longest_gap": longest_gap(moments),
                "longest_gap_beside": longest_gap(beside.copy()),
                "patched": type(threading.Lock()).__module__.startswith("gevent"),
            }
        )
    )


if __name__ == "__main__":
    main()
