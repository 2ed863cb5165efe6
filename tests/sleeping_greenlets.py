"""What becomes of greenlets that sleep until they are woken: prints, as JSON, what each came back with."""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402 (gevent wants to come first)
from collections.abc import Callable  # noqa: E402

import gevent  # noqa: E402

from cache_ext.transport.greenlets import give_way, sleepers  # noqa: E402
from tests.test_sleepers import outcomes  # noqa: E402


def wake_later(wake: Callable[[], None]) -> None:
    """Wake him when nothing else happens in his thread; for a native thread."""
    monkey.get_original("time", "sleep")(0.05)
    wake()


def main() -> None:
    """Try what threads can do, and what only greenlets can: be killed, and be woken by a native thread."""
    make = sleepers()
    found: dict[str, object] = dict(outcomes(make))
    native, killed = make(), make()
    start_native = monkey.get_original("_thread", "start_new_thread")
    start_native(wake_later, (native.wake,))
    found["woken by a native thread"] = native.sleep(2.0)
    active = gevent.get_hub().loop.activecnt
    victim = gevent.spawn(killed.sleep, 10.0)
    give_way()
    victim.kill()
    found["timers left"] = gevent.get_hub().loop.activecnt - active
    killed.wake()
    found["killed"] = isinstance(victim.value, gevent.GreenletExit)
    found["asleep when another who was killed is woken"] = make().sleep(0.01)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
