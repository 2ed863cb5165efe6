"""Uses the models of a folder in a process of its own and prints, as JSON, what came of it.

``python -m tests.models_process FOLDER fork|gevent|lazy``
"""

from __future__ import annotations

import sys

SCENE = sys.argv[2]
if SCENE == "gevent":
    from gevent import monkey

    monkey.patch_all()

import importlib  # noqa: E402 (gevent wants to come first)
import json  # noqa: E402
import os  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from shivx.app import create_app  # noqa: E402
from shivx.ml.features import NAMES  # noqa: E402
from shivx.ml.registry import Registry  # noqa: E402
from shivx.ml.sessions import OpenModel, Sessions  # noqa: E402
from tests.market_stage import settings_for  # noqa: E402

TICK_SECONDS = 0.005
ROW = [[0.5] * len(NAMES)]
TIMES = 200
PATIENCE = 10.0


def opened(sessions: Sessions) -> OpenModel:
    """Return the model that answers, opened if it is not yet."""
    return sessions.opened("direction", sessions.serving("direction"))


def threads() -> int:
    """Return how many threads the system counts in this process."""
    return sum(1 for _ in Path("/proc/self/task").iterdir())


def lazy(sessions: Sessions) -> dict[str, Any]:
    """Make an application, open a model, ask it often: what is loaded when, and what threads that takes."""
    create_app(settings_for(model_dir=sessions.registry.folder))
    before = "onnxruntime" in sys.modules
    importlib.import_module("onnxruntime")
    alone = threads()
    model = opened(sessions)
    for _ in range(TIMES):
        model.predict(ROW * 100)
    return {"loaded before": before, "threads": [alone, threads()]}


def fork(sessions: Sessions) -> dict[str, Any]:
    """Ask in the parent, then in a child and in the parent at once."""
    mine, right = opened(sessions), opened(sessions).predict(ROW)
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        its_own = opened(sessions) is not mine
        found = [opened(sessions).predict(ROW) for _ in range(TIMES)]
        os.write(writing, b"right" if its_own and found == [right] * TIMES else b"wrong")
        os._exit(0)
    found = [mine.predict(ROW) for _ in range(TIMES)]
    os.waitpid(child, 0)
    return {"child": os.read(reading, 5).decode(), "parent": found == [right] * TIMES}


def in_greenlets(sessions: Sessions) -> dict[str, Any]:
    """Let several ask at once for a model whose file comes only when a greenlet has gone on meanwhile."""
    import gevent  # noqa: PLC0415

    native, read, ticks = monkey.get_original("time", "sleep"), sessions.registry.model, [0]

    def tick() -> None:
        while True:
            ticks[0] += 1
            gevent.sleep(TICK_SECONDS)

    def read_late(name: str, version: str) -> bytes:
        so_far, deadline = ticks[0], time.monotonic() + PATIENCE
        while ticks[0] < so_far + 3 and time.monotonic() < deadline:
            native(TICK_SECONDS)
        went_on.append(ticks[0] >= so_far + 3)
        return read(name, version)

    went_on: list[bool] = []
    sessions.registry.model = read_late  # type: ignore[method-assign]
    gevent.spawn(tick)
    asked = [gevent.spawn(opened, sessions) for _ in range(8)]
    gevent.joinall(asked, raise_error=True)
    return {
        "models": len({id(job.value) for job in asked}),
        "went on": went_on,
        "patched": type(threading.Lock()).__module__.startswith("gevent"),
    }


if __name__ == "__main__":
    found = {"lazy": lazy, "fork": fork, "gevent": in_greenlets}[SCENE](Sessions(Registry(Path(sys.argv[1]))))
    print(json.dumps(found))
