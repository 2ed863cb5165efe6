"""Trips among greenlets, on a ferry that answers at once: prints, as JSON, who went with whom."""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402 (gevent wants to come first)
import select  # noqa: E402

import gevent  # noqa: E402

from cache_ext.transport import trips as trips_module  # noqa: E402
from cache_ext.transport.greenlets import give_way, system_poll  # noqa: E402
from cache_ext.transport.trips import Trips  # noqa: E402


def die() -> None:
    """Give way, and be killed meanwhile; whoever comes next is not."""
    trips_module.give_way = give_way
    give_way()
    raise gevent.GreenletExit


def main() -> None:
    """Let eight ask at once, and then four, the first of whom is killed before his trip begins."""
    sailed: list[list[int]] = []

    def ask(questions):
        sailed.append(list(questions))
        return [10 * question for question in questions]

    trips = Trips(ask, 10.0)
    crew = [gevent.spawn(trips.ask, number) for number in range(8)]
    gevent.joinall(crew, raise_error=True)
    found = {"trips": list(sailed), "answers": [each.value for each in crew]}
    sailed.clear()
    trips_module.give_way = die
    gevent.joinall([gevent.spawn(trips.ask, number) for number in range(4)])
    found["after a killed leader"] = list(sailed)
    found["poll"] = "gevent" if isinstance(system_poll(), select.poll) else "system"
    print(json.dumps(found))


if __name__ == "__main__":
    main()
